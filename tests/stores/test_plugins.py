import importlib
import sys

import pytest

from stores.errors import NotFound
from stores.plugins import find_plugin, nearest, plugin_names

PACKAGE = "plugs_for_test"


@pytest.fixture
def base(tmp_path, monkeypatch):
    """Write a package of plug-ins and return their base class."""
    folder = tmp_path / PACKAGE
    folder.mkdir()
    start = f"from {PACKAGE}._base import Base\n"
    (folder / "__init__.py").write_text("")
    (folder / "_base.py").write_text("class Base: pass\n")
    (folder / "average.py").write_text(start + "class Average(Base): pass\nclass _Hidden(Base): pass\n")
    (folder / "two.py").write_text(start + "class A(Base): pass\nclass B(Base): pass\n")
    (folder / "borrowed.py").write_text(f"from {PACKAGE}.average import Average\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module(f"{PACKAGE}._base").Base
    for name in [name for name in sys.modules if name.startswith(PACKAGE)]:
        del sys.modules[name]


def test_modules_are_plugins_unless_they_start_with_an_underscore(base):
    assert plugin_names(PACKAGE) == ["average", "borrowed", "two"]


def test_a_plugin_is_the_one_public_class_its_module_defines(base):
    assert find_plugin(PACKAGE, "average", base).__name__ == "Average"


@pytest.mark.parametrize(("name", "found"), [("two", 2), ("borrowed", 0)])
def test_a_module_without_exactly_one_is_refused(base, name, found):
    with pytest.raises(NotFound, match=f"should define exactly one Base, found {found}"):
        find_plugin(PACKAGE, name, base)


def test_an_unknown_name_shows_the_nearest(base):
    with pytest.raises(NotFound, match=r"did you mean 'average'.*there are: average, borrowed, two"):
        find_plugin(PACKAGE, "averag", base)


def test_nothing_near_gives_no_hint():
    assert nearest("xyz", ["average"]) == ""
