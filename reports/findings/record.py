"""What was run and asked in a study and in others of its corpus, beside what a report shows of it."""

from collections.abc import Collection
from dataclasses import dataclass

from reports.config import ReportConfig
from stores.plans import Plan, plans_of_corpus
from stores.spelling import few
from stores.studies import StudyStore


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One thing that was asked, in order of time: of which study, by which file, and of how many models and runs.

    `file` is the digest of the study file's text, `reference` empty for the default; both, and the metric, are empty of
    what ran before that was noted.
    """

    study: str
    seed: int
    protocol: str
    name: str
    file: str
    kind: str
    reference: str
    primary_metric: str
    models: int
    runs: int


@dataclass(frozen=True, kw_only=True)
class Record:
    """All that was asked of this corpus under this root when the report was made, the first `as_of` entries.

    Of this study `models` and `runs` were ever scored; `left_out` are models among them that the report does not show.
    `before` is what the study was first asked by, (reference, primary metric), if that is another now. `other_seeds`
    are seeds of other studies of the corpus.
    """

    as_of: int
    asked: tuple[Asked, ...]
    models: int
    runs: int
    left_out: tuple[str, ...]
    before: tuple[str, str] | None
    other_seeds: tuple[int, ...]


def read_record(
    store: StudyStore, shown: Collection[str], config: ReportConfig, seed: int, as_of: int | None = None
) -> Record:
    """Return the record of a study whose report shows the models `shown`, as it was after `as_of` entries or is now."""
    plans = plans_of_corpus(store)[:as_of]
    own = [plan for plan in plans if plan.study == store.id]
    models = dict.fromkeys(model for plan in own for model in plan.models)
    first, now = next((plan.asked for plan in plans if plan.primary_metric), None), _asked_now(config)
    return Record(
        as_of=len(plans),
        asked=tuple(map(_entry, plans)),
        models=len(models),
        runs=len({run for plan in own for run in plan.runs}),
        left_out=tuple(model for model in models if model not in shown),
        before=first if first not in (None, now) else None,
        other_seeds=tuple(sorted({plan.seed for plan in plans} - {seed})),
    )


def _asked_now(config: ReportConfig) -> tuple[str, str]:
    return config.reference or "", config.primary_metric


def _entry(plan: Plan) -> Asked:
    return Asked(**{**vars(plan), "models": len(plan.models), "runs": len(plan.runs)})


def in_words(record: Record, config: ReportConfig) -> list[str]:
    """Return a sentence for each reason why a report shows less than there was; none if it shows all as first asked."""
    told = []
    if record.left_out:
        told.append(
            f"Of {record.models} models that were scored in this study, {len(record.left_out)} are not on this page: "
            f"{few(record.left_out)}."
        )
    if record.before:
        pairs = zip(("reference", "primary metric"), record.before, _asked_now(config), strict=True)
        parts = [
            f"{what} {then or 'by default'}, now {now or 'by default'}" for what, then, now in pairs if then != now
        ]
        told.append(f"When this corpus was first scored, other things were asked: {'; '.join(parts)}.")
    if record.other_seeds:
        runs = sum(entry.runs for entry in record.asked if entry.seed in record.other_seeds)
        seeds = few([str(seed) for seed in record.other_seeds])
        told.append(f"The same corpus was scored with other seeds too: {seeds} ({runs:,} runs asked for).")
    return told
