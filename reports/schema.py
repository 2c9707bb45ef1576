"""What results.json holds, told by its dataclasses: `python -m reports.schema` writes it into docs/report.md."""

import inspect
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from reports.chapters._chapter import Chapter, chapters
from reports.results import Results
from reports.side_by_side.flips import SideBySide

DOCS = Path(__file__).resolve().parents[1] / "docs" / "report.md"
START, END = "<!-- fields: python -m reports.schema -->", "<!-- end of fields -->"
_PLAIN = {str: "text", int: "whole number", float: "number", bool: "true or false", type(None): "null", Any: "anything"}


def documented() -> str:
    """Return the fields of results.json, of every chapter's value, and of a comparison, as Markdown."""
    told: set[type] = set()
    blocks = [*_blocks(Results, "results.json", told)]
    for name, chapter in chapters().items():
        blocks += _blocks(value_of(type(chapter)), f"`chapters.{name}`", told)
    blocks += _blocks(SideBySide, "results.json of a comparison", told)
    return "\n\n".join(blocks)


def value_of(chapter: type[Chapter[Any]]) -> type:
    """Return the class of the value a chapter computes."""
    bases: tuple[Any, ...] = vars(chapter)["__orig_bases__"]
    for base in bases:
        if typing.get_origin(base) is Chapter:
            found: type = typing.get_args(base)[0]
            return found
    raise TypeError(f"{chapter.__name__} should derive from Chapter[<its value>]")


def _blocks(kind: type, where: str, told: set[type]) -> Iterator[str]:
    """Yield a class and the classes below it, each once, headed by where it comes first."""
    if kind in told:
        return
    told.add(kind)
    hints = typing.get_type_hints(kind)
    own = [(field.name, hints[field.name]) for field in fields(kind)]
    said = inspect.cleandoc(kind.__doc__ or "")
    listed = ", ".join(f"`{name}` ({_words(hint)})" for name, hint in own)
    yield f"### {where}: {kind.__name__}\n\n{said}\n\nFields: {listed}."
    for _, hint in own:
        for below in _classes(hint):
            yield from _blocks(below, where, told)


def _classes(hint: Any) -> Iterator[type]:
    if isinstance(hint, type) and is_dataclass(hint):
        yield hint
    for part in typing.get_args(hint):
        yield from _classes(part)


def _words(hint: Any) -> str:
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return " or ".join(_words(part) for part in parts)
    if origin is tuple:
        inner = parts[0] if parts[-1] is Ellipsis else None
        return f"list of {_words(inner)}" if inner else f"list of ({', '.join(map(_words, parts))})"
    if origin is not None and isinstance(origin, type) and issubclass(origin, Mapping):
        return f"object of {_words(parts[1])} by name"
    return _PLAIN.get(hint) or str(getattr(hint, "__name__", hint))


def main() -> None:
    text = DOCS.read_text(encoding="utf-8")
    before, after = text[: text.index(START)], text[text.index(END) :]
    DOCS.write_text(f"{before}{START}\n\n{documented()}\n\n{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
