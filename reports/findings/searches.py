"""Which settings were searched, how, and what was chosen; and how often test parts were opened, in words."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from stores.openings import SCORE, Openings


@dataclass(frozen=True, kw_only=True)
class Searched:
    """The search of one model; `space` and `chosen` are text by setting.

    `folds` is None where the validation part judges; `scope` is repeat or study.
    """

    model: str
    method: str
    folds: int | None
    scope: str
    trials: int
    space: Mapping[str, str]
    chosen: Mapping[str, str]


def read_searches(runs: pa.Table) -> tuple[Searched, ...]:
    """Return the search of every model that was searched, by name; `runs` are those of the report."""
    columns = ["model", "spec", "hyper"]
    by_model: dict[str, list[tuple[dict[str, Any], dict[str, Any]]]] = {}
    for row in runs.select(columns).to_pylist():
        spec = json.loads(row["spec"])
        if spec.get("search") and "reads" not in spec["config"]:  # a combiner's is the search of what it reads
            by_model.setdefault(row["model"], []).append((spec["search"], json.loads(row["hyper"])))
    return tuple(_searched(model, own) for model, own in sorted(by_model.items()))


def in_words(searches: Sequence[Searched]) -> str:
    """Return how settings were chosen, for the methods."""
    kinds: dict[tuple[str, int | None, str], list[Searched]] = {}
    for own in searches:
        kinds.setdefault((own.method, own.folds, own.scope), []).append(own)
    return " ".join(_kind(*kind, own) for kind, own in kinds.items())


def seen_by_choice(searches: Sequence[Searched], protocol: str) -> bool:
    """Whether settings were chosen on samples that other repeats test on."""
    return protocol != "fixed" and any(own.scope == "study" for own in searches)


def opened(openings: Openings) -> str:
    """Return one line on how often test parts were opened."""
    scored = openings.purposes.get(SCORE, 0)
    if not openings.purposes:
        return "no opening was noted"
    others = [f"{count:,} for {purpose}" for purpose, count in openings.purposes.items() if purpose != SCORE]
    cut = [f"of them {openings.interrupted:,} with no score stored, cut short or not done yet"]
    cut = cut if openings.interrupted else []
    cut += [f"{openings.at_once:,} by two commands at once, with one outcome"] if openings.at_once else []
    times = "once" if openings.most <= 1 else f"{openings.most} times"
    most = f"at most {times} a model and repeat"
    return ", ".join([f"{scored:,} to score {openings.runs:,} runs", *cut, most, *others])


def _searched(model: str, own: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> Searched:
    search = own[0][0]
    space = {name: _space(tried) for name, tried in search["space"].items()}
    used = {name: [_value(hyper, name) for _, hyper in own] for name in space}
    return Searched(
        model=model,
        method=search["method"],
        folds=search["folds"],
        scope=search["scope"],
        trials=search["trials"],
        space=space,
        chosen={name: _chosen(search["space"][name], values) for name, values in used.items()},
    )


def _value(hyper: Mapping[str, Any], name: str) -> Any:
    return hyper[name] if name in hyper else hyper[name.rpartition(".")[2]]


def _space(tried: Mapping[str, Any]) -> str:
    if "values" in tried:
        return ", ".join(map(_text, tried["values"]))
    return f"{_text(tried['low'])} to {_text(tried['high'])}{' (log)' if tried['log'] else ''}"


def _chosen(tried: Mapping[str, Any], values: Sequence[Any]) -> str:
    """Return how often each value was taken, or median and extremes of a range."""
    if "values" in tried:
        counts = Counter(values)
        return ", ".join(f"{_text(value)} ({counts[value]})" for value in tried["values"] if counts[value])
    return f"median {_text(float(np.median(values)))} ({_text(min(values))} to {_text(max(values))})"


def _text(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _kind(method: str, folds: int | None, scope: str, searches: Sequence[Searched]) -> str:
    fewest, most = min(own.trials for own in searches), max(own.trials for own in searches)
    budget = str(most) if fewest == most else f"between {fewest} and {most}"
    how = f"a grid of {budget} points" if method == "grid" else f"{budget} trials of Bayesian optimisation (TPE)"
    judged = (
        "on the validation part"
        if folds is None
        else f"as the mean over {folds} folds of training and validation, no group in two folds"
    )
    where = (
        "within each repeat anew"
        if scope == "repeat"
        else "once, on training and validation of the first repeat, for all repeats"
    )
    alike = Counter(tuple(sorted(own.space)) for own in searches)
    whose = ", and ".join(f"{', '.join(names)} of {count} model{'s' * (count > 1)}" for names, count in alike.items())
    return (
        f"{whose} were chosen by {how} a model, {where}, by the lowest validation "
        f"cross-entropy, {judged}; no test part was opened for it."
    )
