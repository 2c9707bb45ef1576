"""What was run and asked in a study and in others of its corpus, beside what a report shows of it."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reports.config import ReportConfig
from stores.openings import Openings, count_openings
from stores.plans import Row, asked_of_corpus
from stores.spelling import few
from stores.studies import StudyStore


@dataclass(frozen=True, kw_only=True)
class Record:
    """All that was asked of this corpus under this root when the report was made, the first `as_of` entries.

    `asked` has them in order of time: study, seed, protocol, name, digest of the study file, kind (run or report),
    reference and whether that was so by default, primary metric, how many models and runs, and `after` how many test
    parts of the corpus had been opened to score. `scored` are the models ever scored in this study, with whatever
    settings: (runs, runs the report shows). `others` are other studies of the corpus, with their scored runs. `changed`
    is what the report asks otherwise than whatever was asked before any test part was opened: what -> (then, now).
    """

    as_of: int
    asked: tuple[Mapping[str, Any], ...]
    scored: Mapping[str, tuple[int, int]]
    others: tuple[Mapping[str, Any], ...]
    changed: Mapping[str, tuple[str, str]]

    @property
    def runs(self) -> int:
        return sum(runs for runs, _ in self.scored.values())


def read_record(
    store: StudyStore, shown: Collection[str], config: ReportConfig, reference: str, as_of: int | None = None
) -> tuple[Record, Openings]:
    """Return the record of a study, whose report shows the runs `shown`, and its openings of test parts.

    `reference` is the model that others are set against. With `as_of` both are as they were after so many entries.
    """
    rows, opened = asked_of_corpus(store)
    until = None if as_of is None or as_of >= len(rows) else rows[as_of]["time"]
    rows, opened = rows[:as_of], [row for row in opened if until is None or row["time"] < until]
    times = [row["time"] for row in opened]
    asked = [_entry(row, bisect_left(times, row["time"])) for row in rows]
    runs = {(row["study"], row["seed"], row["protocol"], row["run_id"]) for row in opened if row["study"] != store.id}
    record = Record(
        as_of=len(rows),
        asked=tuple(asked),
        scored=_scored(store, rows, opened, shown),
        others=tuple(
            {"study": study, "seed": seed, "protocol": protocol, "runs": count}
            for (study, seed, protocol), count in sorted(Counter(own[:3] for own in runs).items())
        ),
        changed=_changed(asked, config, reference),
    )
    return record, count_openings(store, until)


def _entry(row: Row, after: int) -> dict[str, Any]:
    own = {name: value for name, value in row.items() if name != "time"}  # two runs of one study would differ in it
    return {**own, "models": len({*row["models"]}), "runs": len(row["runs"]), "after": after}


def _scored(
    store: StudyStore, rows: Sequence[Row], opened: Sequence[Row], shown: Collection[str]
) -> dict[str, tuple[int, int]]:
    """Count the runs that were opened to score, and those sealed by versions that noted no opening, by model."""
    table, noted = store.runs(), {*store.log("openings")["run_id"].to_pylist()}
    sealed = {} if table is None else dict(zip(*table.select(["run_id", "model"]).to_pydict().values(), strict=True))
    own = [(row["runs"], row["models"]) for row in rows if row["study"] == store.id]
    model = sealed | {run: name for ids, names in own for run, name in zip(ids, names, strict=False)}
    ever = {row["run_id"] for row in opened if row["study"] == store.id} | (sealed.keys() - noted)
    runs, there = (Counter(model[run] for run in ids if run in model) for ids in (ever, ever & {*shown}))
    return {name: (runs[name], there[name]) for name in sorted(runs)}


def _changed(asked: Sequence[Mapping[str, Any]], config: ReportConfig, reference: str) -> dict[str, tuple[str, str]]:
    noted = [row for row in asked if row["primary_metric"]]
    before = [row for row in noted if not row["after"]] or noted[:1]
    by_rule = config.reference is None and any(row["by_default"] for row in before)
    now = {"reference": reference, "primary_metric": config.primary_metric}
    then = {name: [row[name] for row in before] for name in now}
    return {
        name.replace("_", " "): (then[name][0], own)
        for name, own in now.items()
        if before and own not in then[name] and not (name == "reference" and by_rule)
    }


def in_words(record: Record, seed: int) -> list[str]:
    """Return a sentence for each reason why a report shows less than there was; none if it shows all as first asked."""
    told, count = [], len(record.scored)
    left = {model: runs - shown for model, (runs, shown) in record.scored.items() if shown < runs}
    if left:
        told.append(
            f"Of {record.runs:,} runs of {count:,} models that were scored in this study, {sum(left.values()):,} runs "
            f"of {len(left):,} models are not on this page: {few([*left])}. All of them make "
            f"{count * (count - 1) // 2:,} pairs, and the best of many is above others by luck alone."
        )
    if record.changed:
        parts = [f"{what} {then}, now {own}" for what, (then, own) in record.changed.items()]
        told.append(f"What was asked for first was changed after scores were seen: {'; '.join(parts)}.")
    if others := [own for own in record.others if own["seed"] != seed]:
        seeds, runs = sorted({own["seed"] for own in others}), sum(own["runs"] for own in others)
        told.append(f"The same corpus was scored with other seeds too: {few([*map(str, seeds)])} ({runs:,} runs).")
    return told
