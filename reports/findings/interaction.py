"""Whether what a modality is worth depends on the emotion: contrasts of modality by emotion, with a test each.

In a table of modalities and emotions main effects are what a modality gains on all emotions, and an emotion on all
modalities; what is left without both is the interaction. A contrast is one number of it by repeat, or by draw of
groups, so that it is tested as a difference of two models is.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from reports.case import Case
from reports.comparisons import ABOVE, BELOW, judge
from reports.errors import StatisticsError
from reports.evidence import Model
from reports.findings.gains import models_without, single_models
from reports.findings.weights import by_group, by_repeat, weights_by_repeat
from reports.heads import BY_EMOTION
from reports.measures import measure, recall_of
from reports.statistics._statistic import Measured, PairResult
from reports.statistics.clustered_bootstrap import ClusteredBootstrap, group_weights
from reports.statistics.holm import Holm
from reports.words import listed

NO_WEIGHTS = "no head with weights by emotion was run: add [heads.gated] in the study file and run it again"
NO_SPREAD = "its weights are not of samples, so that there are no groups of them to draw"
Table = Sequence[Sequence[Measured]]  # of each modality, of each emotion


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """The mean of the predicted cells minus the mean of the others, main effects removed, of one table.

    `holm_p` is corrected over the contrasts that decide; `verdict` is above, below or cannot tell, by the uncorrected
    interval where it is above.
    """

    of: str
    decides: bool
    result: PairResult | None
    holm_p: float | None
    verdict: str
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """What one modality alone recalls of one emotion beyond both their main effects; Holm over all cells."""

    modality: str
    label: str
    predicted: bool
    result: PairResult | None
    holm_p: float | None
    verdict: str

    @property
    def against(self) -> bool:
        """Whether it is told to be the other way round than what was predicted."""
        return self.verdict == (BELOW if self.predicted else ABOVE)


@dataclass(frozen=True, kw_only=True)
class Interaction:
    """Contrasts with what was predicted, and any interaction at all: the least `holm_p` of the cells.

    `refused` says why there are none; `predicted` are the (modality, emotion) this study can look at, `absent` the
    modalities and emotions of the prediction it cannot. `samples` counts the test samples that have every modality,
    the only ones looked at where others lack one; None where none does.
    """

    modalities: tuple[str, ...]
    labels: tuple[str, ...]
    predicted: tuple[tuple[str, str], ...]
    contrasts: tuple[Contrast, ...]
    cells: tuple[Cell, ...]
    absent: tuple[str, ...] = ()
    samples: int | None = None
    refused: str = ""

    @property
    def least_p(self) -> float | None:
        return min((cell.holm_p for cell in self.cells if cell.holm_p is not None), default=None)


def centred(table: np.ndarray) -> np.ndarray:
    """Return a table (modalities, emotions) without the main effects of either."""
    out: np.ndarray = table - table.mean(axis=0) - table.mean(axis=1, keepdims=True) + table.mean()
    return out


def contrast_of(predicted: np.ndarray) -> np.ndarray:
    """Return the factors (modalities, emotions) float64 of the contrast with `predicted` (modalities, emotions) bool.

    Their sum with a table is the mean of its predicted cells minus the mean of the others, after centring it.
    """
    return centred(predicted / predicted.sum() - ~predicted / (~predicted).sum())


def combined(table: Table, factors: np.ndarray) -> Measured:
    """Return the sum of a table of scores times `factors`. Raises StatisticsError if a repeat lacks an emotion."""
    cells = [
        (score, float(factor))
        for row, own in zip(table, factors, strict=True)
        for score, factor in zip(row, own, strict=True)
    ]
    paired = len({len(score.repeats) for score, _ in cells}) == 1
    repeats = np.sum([factor * score.repeats for score, factor in cells], axis=0) if paired else np.empty(0)
    if all(score.draws is not None and score.pooled is not None for score, _ in cells):
        return Measured(
            repeats=repeats,
            pooled=sum(factor * (score.pooled or 0.0) for score, factor in cells),
            draws=np.sum([factor * np.asarray(score.draws) for score, factor in cells], axis=0),
        )
    if not paired or any(score.draws is not None for score, _ in cells):
        raise StatisticsError("an emotion is absent from some test part, so its recalls do not pair with the others")
    return Measured(repeats=repeats)


def find_interaction(case: Case, mapping: Mapping[str, Sequence[str]]) -> Interaction:
    """Contrast recalls, drop-one losses and weights by emotion with what `mapping` predicts for this study."""
    single = {model.modalities[0]: model for model in single_models(case.evidence)}
    modalities = tuple(m for m in case.reference.modalities if m in mapping)
    known = {label for m in modalities for label in mapping[m]}
    labels = tuple(label for label in case.evidence.classes if label in known)
    predicted = np.array([[label in mapping[m] for label in labels] for m in modalities], dtype=bool)
    pairs = tuple((m, label) for m in modalities for label in labels if label in mapping[m])
    absent = [m for m in mapping if m not in modalities]
    absent += [label for own in mapping.values() for label in own if label not in labels]
    study = Interaction(
        modalities=modalities, labels=labels, predicted=pairs, contrasts=(), cells=(), absent=tuple(absent)
    )
    if len(modalities) < 2 or len(labels) < 2 or predicted.all() or not contrast_of(predicted).any():
        return replace(study, refused="the study has fewer than two of the modalities, or of the emotions, it is about")
    if lacking := [m for m in modalities if m not in single]:
        return replace(study, refused=f"unimodal was not run on {' and '.join(lacking)}")
    without = models_without(case.evidence, case.reference)
    needed = {case.reference.name, *(model.name for own in (single, without) for model in own.values())}
    if needed & case.measures.unfinished:
        return replace(study, refused="a model it looks at was not trained to the end")
    try:
        case, samples = on_complete_samples(case, needed)
        _check_paired(case, labels)
    except StatisticsError as error:
        return replace(study, refused=str(error))
    recalls = _Recalls(case, labels)
    alone = [recalls.of(single[m]) for m in modalities]
    found = [("recall of each modality alone", True, *_tested(case, alone, contrast_of(predicted)))]
    if len(case.reference.modalities) > 2:  # of two, what is lost without one is what the other recalls alone
        found.append(("recall lost without it", True, *_lost(case, recalls, modalities, predicted)))
    found += _of_weights(case, modalities, labels, predicted)
    return replace(study, contrasts=_judged(case, found), cells=_cells(case, alone, study), samples=samples)


def _check_paired(case: Case, labels: Sequence[str]) -> None:
    """Refuse emotions that some repeat does not test: their recalls are then of other repeats than the rest."""
    lacking = {label: case.measures.lacking[label] for label in labels if label in case.measures.lacking}
    if lacking and not isinstance(case.measures.primary, ClusteredBootstrap):
        gone = [f"{label} from repeats {', '.join(map(str, own))}" for label, own in lacking.items()]
        raise StatisticsError(f"recalls do not pair: absent from the test part is {listed(gone)}")


Tested = tuple[PairResult | None, str]  # or None and why not


Found = tuple[str, bool, PairResult | None, str]


class _Recalls:
    """Recalls of models on chosen emotions."""

    def __init__(self, case: Case, labels: Sequence[str]) -> None:
        self.table = case.measures.table
        self.labels = labels

    def of(self, model: Model) -> list[Measured]:
        nothing = Measured(repeats=np.empty(0))
        return [self.table[model.name].get(recall_of(label), nothing) for label in self.labels]


def _tested(case: Case, table: Table, factors: np.ndarray) -> Tested:
    try:
        return case.measures.primary.interval(combined(table, factors), case.measures.design), ""
    except StatisticsError as error:
        return None, str(error)


def _lost(case: Case, recalls: _Recalls, modalities: Sequence[str], predicted: np.ndarray) -> Tested:
    """Contrast what the reference loses; its own recalls are a main effect of the emotions and drop out."""
    without = models_without(case.evidence, case.reference)
    if lacking := [m for m in modalities if m not in without]:
        return None, f"{case.reference.head} was not run without {' or without '.join(lacking)}"
    return _tested(case, [recalls.of(without[m]) for m in modalities], -contrast_of(predicted))


def _of_weights(case: Case, modalities: Sequence[str], labels: Sequence[str], predicted: np.ndarray) -> list[Found]:
    """Contrast the weights of every head that has some by emotion; the first of BY_EMOTION that was run decides."""
    reference = case.reference
    models = {
        m.head: m
        for m in case.evidence.models
        if m.head in BY_EMOTION and (m.modalities, m.variant) == (reference.modalities, reference.variant)
    }
    if not models:
        return [("weight by emotion", True, None, NO_WEIGHTS)]
    found: list[Found] = []
    for head in (head for head in BY_EMOTION if head in models):
        table = _weights(case, models[head], modalities, labels)
        tested = _tested(case, table, contrast_of(predicted)) if table else (None, _why_not(case))
        found.append((f"weight by emotion in {head}", not found, *tested))
    return found


def _weights(case: Case, model: Model, modalities: Sequence[str], labels: Sequence[str]) -> Table:
    """Return mean weights by repeat, and by draw of groups in a clustered design; () if it has none of these."""
    evidence, clustered = case.evidence, isinstance(case.measures.primary, ClusteredBootstrap)
    places = [
        (sorted(model.modalities).index(m), [evidence.classes.index(label) for label in labels]) for m in modalities
    ]
    if model.name in evidence.weights and clustered:
        groups = by_group(evidence, model.name)
        drawn = groups.drawn(group_weights(len(groups.counts), case.measures.draws, case.config.seed))
        mean, means = groups.pooled(), by_repeat(evidence, model.name).means()
        return [
            [Measured(repeats=means[:, m, k], pooled=float(mean[m, k]), draws=drawn[:, m, k]) for k in own]
            for m, own in places
        ]
    if model.name in evidence.weights:
        means = by_repeat(evidence, model.name).means()
        return [[Measured(repeats=means[:, m, k]) for k in own] for m, own in places]
    learned = {} if clustered else weights_by_repeat(evidence, case.store)
    cells = [[learned.get((model.name, m, label), {}) for label in labels] for m in modalities]
    repeats = [part.repeat for part in evidence.held_out]
    return (
        [[Measured(repeats=np.array([own.get(r, np.nan) for r in repeats])) for own in row] for row in cells]
        if any(cells[0])
        else ()
    )


def _why_not(case: Case) -> str:
    return (
        NO_SPREAD if isinstance(case.measures.primary, ClusteredBootstrap) else "no weights by emotion are stored of it"
    )


def _judged(case: Case, found: Sequence[Found]) -> tuple[Contrast, ...]:
    deciding = iter(Holm().adjust([result.p if result else None for _, decides, result, _ in found if decides]))
    contrasts = []
    for of, decides, result, refused in found:
        holm_p = next(deciding) if decides else None
        p = result.p if result and (not decides or result.difference > 0) else holm_p
        verdict, reason = judge(result, p, case.measures.design.alpha, by_label=case.evidence.by_label)
        contrasts.append(
            Contrast(of=of, decides=decides, result=result, holm_p=holm_p, verdict=verdict, reason=refused or reason)
        )
    return tuple(contrasts)


def _cells(case: Case, alone: Table, study: Interaction) -> tuple[Cell, ...]:
    shape = len(study.modalities), len(study.labels)
    where = [(m, k) for m in range(shape[0]) for k in range(shape[1])]
    units = np.eye(len(where)).reshape(-1, *shape)
    results = [_tested(case, alone, centred(unit))[0] for unit in units]
    adjusted = Holm().adjust([result.p if result else None for result in results])
    return tuple(
        Cell(
            modality=study.modalities[m],
            label=study.labels[k],
            predicted=(study.modalities[m], study.labels[k]) in study.predicted,
            result=result,
            holm_p=p,
            verdict=judge(result, p, case.measures.design.alpha, by_label=case.evidence.by_label)[0],
        )
        for (m, k), result, p in zip(where, results, adjusted, strict=True)
    )


def on_complete_samples(case: Case, models: Collection[str]) -> tuple[Case, int | None]:
    """Return the case with `models` measured on test samples that lack no modality of the reference, and their number.

    Comparisons stay those of all samples. The case itself and None where no sample lacks any. Raises StatisticsError
    if the study does not say who lacks what, or a repeat has no such sample.
    """
    if case.evidence.facts.get("missing") != "mask":
        return case, None
    samples, needed = case.store.samples(), set(case.reference.modalities)
    if "lacks" not in samples.column_names:
        raise StatisticsError("expected samples with what they lack, got an older study: run `affuse study` again")
    rows = samples.select(["sample_id", "lacks"]).to_pylist()
    lacking = {row["sample_id"] for row in rows if row["lacks"] and needed & set(row["lacks"].split("+"))}
    parts = case.evidence.held_out
    keep = [np.array([name not in lacking for name in part.sample_ids.tolist()], dtype=bool) for part in parts]
    if empty := [part.repeat for part, own in zip(parts, keep, strict=True) if not own.any()]:
        raise StatisticsError(f"expected test samples that have every modality in each repeat, got none in {empty}")
    evidence, before = case.evidence.only(keep, models), case.measures
    measures = measure(evidence, alpha=before.design.alpha, draws=before.draws, seed=case.config.seed)
    left = {name for part in evidence.held_out for name in part.sample_ids.tolist()}
    return replace(case, evidence=evidence, measures=measures, _found={}), len(left)
