"""What tests take for granted, as rows of a table: what came out alike stands together."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from reports.statistics._statistic import Assumption
from reports.words import exact, listed, number

MOST_NAMED = 4  # tests that stand by name


@dataclass(frozen=True, kw_only=True)
class Alike:
    """One assumption, checked on the same and with the same outcome, of several tests."""

    name: str
    checked_on: str
    outcome: str
    found: Mapping[str, Assumption]

    @property
    def who(self) -> str:
        """The tests by name, or how many they are."""
        return listed(self.found) if len(self.found) <= MOST_NAMED else f"{len(self.found)} tests"

    @property
    def figure(self) -> str:
        return _range([it.statistic for it in self.found.values()], lambda value: number(value, 3))

    @property
    def p(self) -> str:
        return _range([it.p for it in self.found.values()], exact)


def assumed(results: Iterable[tuple[str, Any]]) -> list[Alike]:
    """Return the assumptions of (name, result) pairs; a result that is None has none."""
    alike: dict[tuple[str, str, str], dict[str, Assumption]] = {}
    for name, result in results:
        for it in result.assumptions if result else ():
            alike.setdefault((it.name, it.checked_on, it.outcome), {})[name] = it
    return [Alike(name=name, checked_on=on, outcome=out, found=found) for (name, on, out), found in alike.items()]


def _range(figures: Iterable[float | None], show: Callable[[float], str]) -> str:
    known = sorted(figure for figure in figures if figure is not None)
    return " to ".join(dict.fromkeys(show(figure) for figure in (known[0], known[-1]))) if known else ""
