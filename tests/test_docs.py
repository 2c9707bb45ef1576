"""What the documents say is tried: settings are parsed, tables are read, commands and files exist."""

import re
import tomllib
from pathlib import Path
from typing import Any

import click
import pytest

from flows.cli import cli
from flows.study_config import parse_study
from stores.root import Root

CHECKOUT = Path(__file__).resolve().parents[1]
DOCUMENTS = [CHECKOUT / "README.md", CHECKOUT / "ARCHITECTURE.md", *sorted((CHECKOUT / "docs").glob("*.md"))]
TEXTS = {path.name: path.read_text(encoding="utf-8") for path in DOCUMENTS}


def blocks(language: str) -> list[str]:
    return [block for text in TEXTS.values() for block in re.findall(rf"```{language}\n(.*?)```", text, flags=re.S)]


def commands() -> list[list[str]]:
    shown = [line for block in blocks("bash") for line in block.splitlines() if line.strip()]
    inline = [code for text in TEXTS.values() for code in re.findall(r"`((?:affuse|make) [^`]+)`", text)]
    return [line.split() for line in (*shown, *inline)]


def readme_study() -> dict[str, Any]:
    first, *_ = re.findall(r"```toml\n(.*?)```", TEXTS["README.md"], flags=re.S)
    return tomllib.loads(first)


def settings() -> list[dict[str, Any]]:
    """The tables the other documents show; each stands in the place of one of the README's study."""
    shown = [tomllib.loads(block) for block in blocks("toml")]
    return [tables for tables in shown if tables != readme_study()]


@pytest.mark.parametrize("tables", settings(), ids=lambda tables: "-".join(tables))
def test_settings_that_are_shown_are_valid_in_a_study(tables: dict[str, Any], tmp_path: Path) -> None:
    study = readme_study()
    features = study["features"] | tables.get("features", {})
    assert set(parse_study({**study, **tables, "features": features}, base=tmp_path).features) == set(features)


def test_the_readmes_study_reads_the_readmes_table(tmp_path: Path) -> None:
    table = re.search(r"```\n(id,text,.*?)```", TEXTS["README.md"], flags=re.S)
    assert table is not None
    (tmp_path / "samples.csv").write_text(table[1], encoding="utf-8")
    config = parse_study(readme_study(), base=tmp_path)
    manifest = config.corpus.build(Root(tmp_path / "runs"), base=tmp_path)
    assert [sample.labels["emotion"] for sample in manifest.samples] == ["joy"]
    assert config.modalities == ("image", "speech", "text")


@pytest.mark.parametrize("command", [c for c in commands() if c[0] == "make"], ids=" ".join)
def test_every_verb_of_make_that_is_named_exists(command: list[str]) -> None:
    makefile = (CHECKOUT / "Makefile").read_text(encoding="utf-8")
    assert re.search(rf"^{command[1]}:", makefile, flags=re.M)


@pytest.mark.parametrize("command", [c for c in commands() if c[0] == "affuse"], ids=" ".join)
def test_every_command_and_option_that_is_named_exists(command: list[str]) -> None:
    if command[1].startswith("-"):
        return
    found: click.Command = cli
    words = iter(command[1:])
    while isinstance(found, click.Group):
        found = found.commands.get(next(words, "")) or found.commands["study"]  # `affuse report STUDY.toml`
    options = {name for parameter in found.params for name in parameter.opts} | {"--help"}
    assert {word for word in command[2:] if word.startswith("--")} <= options


def test_the_deployments_that_are_named_are_those_of_prefect_yaml() -> None:
    deployed = set(re.findall(r"- name: (\S+)", (CHECKOUT / "prefect.yaml").read_text(encoding="utf-8")))
    named = {c[3].split("/")[1] for c in commands() if c[:3] == ["prefect", "deployment", "run"]}
    assert named == deployed


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_file_a_document_links_to_exists(document: Path) -> None:
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", TEXTS[document.name]):
        assert (document.parent / link).exists(), link


def test_every_module_the_architecture_names_exists() -> None:
    for path in re.findall(
        r"`((?:flows|extractors|fusion|reports|corpora|stores|tests)/[\w/]+\.py)`", TEXTS["ARCHITECTURE.md"]
    ):
        assert (CHECKOUT / path).is_file(), path


def test_the_lock_holds_exact_versions_and_marks_what_only_linux_has() -> None:
    lines = [line for line in (CHECKOUT / "requirements.lock").read_text().splitlines() if not line.startswith("#")]
    for line in lines:
        assert re.fullmatch(r"[\w.-]+==[\w.!+-]+( ; .+)?", line), line
        if line.startswith(("nvidia", "cuda", "triton")):
            assert "sys_platform == 'linux'" in line
