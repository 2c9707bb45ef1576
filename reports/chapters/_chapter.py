"""What a chapter of the report is: a frozen value computed from a case, and how it is shown."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, ClassVar, Generic, TypeVar

from reports.case import Case
from reports.chapters import ORDER
from reports.drawing import Figure
from reports.results import Results
from stores.plugins import find_plugin, plugin_names

T = TypeVar("T")
Rows = Sequence[Mapping[str, Any]]


class Chapter(ABC, Generic[T]):
    """A plug-in of `reports/chapters`: `<name>.py` with one public subclass, and `<name>.html.j2` beside it.

    The template is given `value`, `results`, `figures` (those of this chapter by group), whatever `context` returns,
    and the macros of `reports/page/macros.html.j2`. `value` is written to results.json under the chapter's name.
    """

    title: ClassVar[str]

    @abstractmethod
    def compute(self, case: Case) -> T | None:
        """Return what the chapter says, a frozen dataclass; None if there is nothing to say, and it is left out."""

    def figures(self, value: T, results: Results) -> Iterable[Figure]:
        """Return its figures; `group` is where in the template they belong."""
        return ()

    def tables(self, value: T, results: Results) -> Mapping[str, Rows]:
        """Return rows by file name, without suffix; rows of a table share their keys. Written as CSV and LaTeX."""
        return {}

    def context(self, value: T, results: Results) -> Mapping[str, Any]:
        """Return further names for the template: texts and rows of texts, nothing that is computed anew."""
        return {}


@cache
def chapters() -> Mapping[str, Chapter[Any]]:
    """Return all chapters by name, in the order of the page."""
    place = {name: i for i, name in enumerate(ORDER)}
    names = sorted(plugin_names("reports.chapters"), key=lambda name: (place.get(name, len(ORDER)), name))
    kinds: Any = Chapter
    return {name: find_plugin("reports.chapters", name, kinds)() for name in names}


def told(results: Results) -> Iterator[tuple[str, Chapter[Any], Any]]:
    """Yield name, chapter and value of every chapter that has something to say, in the order of the page."""
    for name, chapter in chapters().items():
        if name in results.chapters:
            yield name, chapter, results.chapters[name]
