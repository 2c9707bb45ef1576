"""The rules of ARCHITECTURE.md about who may import whom, held over every import, nested ones included."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("stores", "corpora", "extractors", "fusion", "reports", "flows")
FORBIDDEN = {
    "stores": {"corpora", "extractors", "fusion", "reports", "flows", "prefect", "distributed", "torch"},
    "corpora": {"extractors", "fusion", "reports", "flows", "prefect", "distributed", "torch"},
    "extractors": {"corpora", "fusion", "reports", "flows", "prefect", "distributed"},
    "fusion": {"corpora", "extractors", "reports", "flows", "prefect", "distributed"},
    "reports": {"corpora", "extractors", "fusion", "flows", "prefect", "distributed", "torch"},
    "flows": set(),
}
OTHER_NAMES = {"dask.distributed": "distributed", "torchvision": "torch", "prefect_dask": "prefect"}


def imported(source: str) -> set[str]:
    """Return the packages a module imports anywhere in it, under the names used in FORBIDDEN."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    other = {short for name in names for long, short in OTHER_NAMES.items() if f"{name}.".startswith(f"{long}.")}
    return {name.partition(".")[0] for name in names} | other


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_what_the_design_allows(room):
    wrong = {
        f"{path.relative_to(ROOT)} imports {name}"
        for path in (ROOT / room).rglob("*.py")
        for name in imported(path.read_text(encoding="utf-8")) & FORBIDDEN[room]
    }
    assert not wrong


@pytest.mark.parametrize(
    ("source", "package"),
    [
        ("def f():\n    import torch.nn as nn", "torch"),
        ("if True:\n    from dask import distributed", "distributed"),
        ("import dask.distributed", "distributed"),
        ("class A:\n    from flows.cli import main", "flows"),
        ("from torchvision.models import resnet18", "torch"),
    ],
)
def test_the_check_sees_nested_and_indirect_imports(source, package):
    assert package in imported(source)
