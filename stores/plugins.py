"""Find a plug-in by its module name: one module is one plug-in, no registry to edit."""

import difflib
import importlib
import pkgutil
from typing import TypeVar

from stores.errors import NotFound, UnknownPlugin

T = TypeVar("T")


def plugin_names(package: str) -> list[str]:
    """Return the names of the plug-ins in `package`: its modules that do not start with `_`, which are plumbing."""
    module = importlib.import_module(package)
    found = (info.name for info in pkgutil.iter_modules(module.__path__) if not info.ispkg)
    return sorted(name for name in found if not name.startswith("_"))


def find_plugin(package: str, name: str, base: type[T]) -> type[T]:
    """Return the one public subclass of `base` that the module `package.name` defines.

    Raises UnknownPlugin, naming the nearest, if there is no such module.
    """
    names = plugin_names(package)
    if name not in names:
        raise UnknownPlugin(f"unknown {package} plug-in {name!r}{nearest(name, names)}; there are: {', '.join(names)}")
    module = importlib.import_module(f"{package}.{name}")
    found = [
        value
        for key, value in vars(module).items()
        if isinstance(value, type)
        and issubclass(value, base)
        and value.__module__ == module.__name__
        and not key.startswith("_")
    ]
    if len(found) != 1:
        raise NotFound(f"{package}/{name}.py should define exactly one {base.__name__}, found {len(found)}")
    return found[0]


def nearest(name: str, names: list[str]) -> str:
    """Return `; did you mean 'x'?` or an empty string."""
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""
