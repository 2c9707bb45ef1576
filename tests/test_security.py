"""No pickle is read and no code comes from data: a scan of every module, and of what it calls."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("stores", "corpora", "extractors", "fusion", "reports", "flows", "benchmarks")
MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
BUILTINS = {"eval", "exec", "compile", "__import__"}
METHODS = {"read_pickle", "to_pickle", "unsafe_load", "full_load"}
ALLOWED: set[tuple[str, str]] = set()  # (module, what): MMSA's files will be the one exception


def dangers(source: str) -> set[str]:
    """Return what a module does that could read a pickle or run code from data."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.split(".")[0] in MODULES}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in MODULES:
            found.add(node.module or "")
        elif isinstance(node, ast.Call):
            found |= _of_call(node)
    return found


def _of_call(node: ast.Call) -> set[str]:
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    owner = node.func.value.id if isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name) else ""
    keywords = {keyword.arg: getattr(keyword.value, "value", None) for keyword in node.keywords}
    if name in METHODS or (name in BUILTINS and isinstance(node.func, ast.Name)):
        return {name}
    if (owner, name) == ("torch", "load") and keywords.get("weights_only") is not True:
        return {"torch.load without weights_only=True"}
    if (owner, name) in (("np", "load"), ("numpy", "load")) and keywords.get("allow_pickle", False) is not False:
        return {"np.load with allow_pickle"}
    if (owner, name) == ("yaml", "load"):
        return {"yaml.load"}
    return set()


@pytest.mark.parametrize("room", ROOMS)
def test_no_module_reads_a_pickle_or_runs_code_from_data(room: str) -> None:
    found = {
        (f"{path.relative_to(ROOT)}", danger)
        for path in (ROOT / room).rglob("*.py")
        for danger in dangers(path.read_text(encoding="utf-8"))
    }
    assert found - ALLOWED == set()


@pytest.mark.parametrize(
    ("source", "danger"),
    [
        ("import pickle", "pickle"),
        ("def f():\n    from joblib import load", "joblib"),
        ("import torch\ntorch.load('x')", "torch.load without weights_only=True"),
        ("torch.load('x', weights_only=False)", "torch.load without weights_only=True"),
        ("np.load('x', allow_pickle=True)", "np.load with allow_pickle"),
        ("import pandas as pd\npd.read_pickle('x')", "read_pickle"),
        ("eval('1')", "eval"),
        ("yaml.load('x', Loader=yaml.Loader)", "yaml.load"),
    ],
)
def test_the_scan_sees_each_way_to_do_it(source: str, danger: str) -> None:
    assert danger in dangers(source)


def test_the_scan_lets_the_safe_ways_pass() -> None:
    assert dangers("torch.load('x', weights_only=True)\nnp.load('x')\nre.compile('x')\nmodel.eval()") == set()
