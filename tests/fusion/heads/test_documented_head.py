"""docs/heads.md: the head it shows keeps the contract of heads, and its tables name heads that exist."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

from fusion.training_config import TrainingConfig, with_preset
from stores.plugins import plugin_names
from stores.settings import build

CHECKOUT = Path(__file__).resolve().parents[3]
TEXT = (CHECKOUT / "docs" / "heads.md").read_text(encoding="utf-8")
BESIDE = "import fusion.heads\n\nfusion.heads.__path__.append({folder!r})\n"


def _first_column(heading: str) -> list[str]:
    section = TEXT[TEXT.index(heading) :].split("\n## ", 1)[0]
    return re.findall(r"^\| `(\w+)` \|", section, flags=re.M)


def test_the_head_it_shows_keeps_the_contract(tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, flags=re.S)
    (name,) = re.findall(r"This is `fusion/heads/(\w+)\.py`", TEXT)
    folder = tmp_path / "more_heads"
    folder.mkdir()
    (folder / f"{name}.py").write_text(code, encoding="utf-8")
    (tmp_path / "beside.py").write_text(BESIDE.format(folder=str(folder)), encoding="utf-8")
    contract = "tests/fusion/heads/test_contract.py"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "beside", "-p", "no:cacheprovider", "-k", name, contract],
        cwd=CHECKOUT,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    assert int(passed[1]) >= 10
    assert len(code.splitlines()) <= 45


def test_its_tables_name_the_same_heads_and_all_exist_and_the_example_runs_them() -> None:
    computed, sources = _first_column("## What they compute"), _first_column("## Where they come from")
    assert computed == sources
    assert set(computed) <= set(plugin_names("fusion.heads"))
    example = tomllib.loads((CHECKOUT / "examples" / "strategies.toml").read_text(encoding="utf-8"))
    assert set(example["heads"]) == set(computed)


def test_the_settings_it_calls_defaults_are_the_defaults_and_all_of_them() -> None:
    (shown,) = (block for block in re.findall(r"```toml\n(.*?)```", TEXT, flags=re.S) if 'preset = "paper"' in block)
    table = tomllib.loads(shown)["training"]
    assert build(TrainingConfig, with_preset(table), where="training") == TrainingConfig()
    assert set(table) - {"preset"} == set(TrainingConfig.__dataclass_fields__)
