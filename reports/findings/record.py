"""What was run and asked in a study and in others of its corpus, beside what a report shows of it."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from reports.config import ReportConfig
from stores.openings import Openings, count_openings
from stores.plans import Row, asked_of_corpus
from stores.spelling import few
from stores.studies import StudyStore


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One thing that was asked, in order of time: of which study, by which file, and of how many models and runs.

    `file` is the digest of the study file's text, `reference` what it names or, `by_default`, what that was;
    `after` counts the test parts of this corpus that had been opened by then. Of what ran before this was noted no more
    than the runs are known.
    """

    study: str
    seed: int
    protocol: str
    name: str
    file: str
    kind: str
    reference: str
    by_default: bool
    primary_metric: str
    models: int
    runs: int
    after: int


@dataclass(frozen=True, kw_only=True)
class Scored:
    """A model that was ever scored in the study: in how many runs, and how many of them the report shows."""

    model: str
    runs: int
    shown: int


@dataclass(frozen=True, kw_only=True)
class Other:
    """Another study of the corpus, and how many of its runs were ever scored."""

    study: str
    seed: int
    protocol: str
    runs: int


@dataclass(frozen=True, kw_only=True)
class Record:
    """All that was asked of this corpus under this root when the report was made, the first `as_of` entries.

    `scored` are the models whose test parts were ever opened in this study, with whatever settings. `changed` is what
    the report asks otherwise than whatever was asked before any test part was opened: what -> (then, now).
    """

    as_of: int
    asked: tuple[Asked, ...]
    scored: tuple[Scored, ...]
    changed: Mapping[str, tuple[str, str]]
    others: tuple[Other, ...]
    seed: int

    @property
    def runs(self) -> int:
        return sum(own.runs for own in self.scored)

    @property
    def left_out(self) -> list[Scored]:
        """Models of which the report does not show every run."""
        return [own for own in self.scored if own.shown < own.runs]


def read_record(
    store: StudyStore, shown: Collection[str], config: ReportConfig, reference: str, as_of: int | None = None
) -> tuple[Record, Openings]:
    """Return the record of a study, whose report shows the runs `shown`, and its openings of test parts.

    `reference` is the model that others are set against. With `as_of` both are as they were after so many entries.
    """
    rows, opened = asked_of_corpus(store)
    until = None if as_of is None or as_of >= len(rows) else rows[as_of]["time"]
    rows = rows[:as_of]
    if until is not None:
        opened = [row for row in opened if _time(row) < until]
    times = [_time(row) for row in opened]
    asked = tuple(_entry(row, bisect_left(times, _time(row))) for row in rows)
    elsewhere = {(row["study"], row["seed"], row["protocol"], row["run_id"]) for row in opened}
    others = Counter(own[:3] for own in elsewhere if own[0] != store.id)
    record = Record(
        as_of=len(rows),
        asked=asked,
        scored=tuple(_scored(store, rows, opened, shown)),
        changed=_changed(asked, config, reference),
        others=tuple(
            Other(study=study, seed=seed, protocol=protocol, runs=runs)
            for (study, seed, protocol), runs in sorted(others.items())
        ),
        seed=store.facts()["seed"],
    )
    return record, count_openings(store, until)


def _time(row: Row) -> str:
    return row["time"] or ""


def _entry(row: Row, after: int) -> Asked:
    own = {name: value for name, value in row.items() if name != "time"}
    return Asked(**{**own, "models": len({*row["models"]}), "runs": len(row["runs"]), "after": after})


def _scored(store: StudyStore, rows: Iterable[Row], opened: Iterable[Row], shown: Collection[str]) -> list[Scored]:
    """Return the models whose test parts were opened, those sealed by versions that noted no opening too, by name."""
    own = [(row["runs"], row["models"]) for row in rows if row["study"] == store.id]
    model = {run: name for runs, models in own for run, name in zip(runs, models, strict=False)}
    noted, table = {*store.log("openings")["run_id"].to_pylist()}, store.runs()
    sealed = [] if table is None else table.select(["run_id", "model"]).to_pylist()
    model |= {row["run_id"]: row["model"] for row in sealed}
    ever = {row["run_id"] for row in opened if row["study"] == store.id}
    ever |= {row["run_id"] for row in sealed if row["run_id"] not in noted}
    runs = Counter(model[run] for run in ever if run in model)
    on_page = Counter(model[run] for run in ever if run in model and run in shown)
    return [Scored(model=name, runs=runs[name], shown=on_page[name]) for name in sorted(runs)]


def _changed(asked: Sequence[Asked], config: ReportConfig, reference: str) -> dict[str, tuple[str, str]]:
    noted = [entry for entry in asked if entry.primary_metric]
    declared = [entry for entry in noted if not entry.after] or noted[:1]
    references = [entry.reference for entry in declared]
    metrics = [entry.primary_metric for entry in declared]
    by_rule = config.reference is None and any(entry.by_default for entry in declared)
    changed = {}
    if declared and reference not in references and not by_rule:
        changed["reference"] = (references[0], reference)
    if declared and config.primary_metric not in metrics:
        changed["primary metric"] = (metrics[0], config.primary_metric)
    return changed


def in_words(record: Record) -> list[str]:
    """Return a sentence for each reason why a report shows less than there was; none if it shows all as first asked."""
    told, left, count = [], record.left_out, len(record.scored)
    if left:
        missing = sum(own.runs - own.shown for own in left)
        told.append(
            f"Of {record.runs:,} runs of {count:,} models that were scored in this study, {missing:,} runs of "
            f"{len(left):,} models are not on this page: {few([own.model for own in left])}. All of them make "
            f"{count * (count - 1) // 2:,} pairs, and the best of many is above others by luck alone."
        )
    if record.changed:
        parts = [f"{what} {then}, now {own}" for what, (then, own) in record.changed.items()]
        told.append(f"Before any score of this corpus was seen, other things were asked: {'; '.join(parts)}.")
    if seeds := sorted({own.seed for own in record.others} - {record.seed}):
        runs = sum(own.runs for own in record.others if own.seed in seeds)
        named = few([str(seed) for seed in seeds])
        told.append(f"The same corpus was scored with other seeds too: {named} ({runs:,} runs).")
    return told
