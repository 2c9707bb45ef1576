"""How it was made: counterparts of the paper's Figs. 1 and 2, and of its tables that hold no result."""

from collections.abc import Iterable, Mapping
from typing import Any

from reports.case import Case
from reports.chapters._chapter import Chapter, Rows
from reports.diagrams import Box, stack
from reports.drawing import BLUE, INK, MODALITY, Figure
from reports.findings.making import Encoder, Making
from reports.findings.read_making import read_making
from reports.heads import FUSES, UNPROJECTED
from reports.results import Results
from reports.selection import shown_first
from reports.words import NONE, counted, listed, percent, span

_MEDIA = {"text": "words", "speech": "sound", "image": "picture or video"}


class Workflow(Chapter[Making]):
    """Workflow and architecture as drawn from the study itself."""

    title = "How it was made"

    def compute(self, case: Case) -> Making:
        return read_making(case)

    def figures(self, value: Making, results: Results) -> Iterable[Figure]:
        return [_workflow(value, results), _architecture(value, results)]

    def tables(self, value: Making, results: Results) -> Mapping[str, Rows]:
        return {
            "data": [vars(value.corpus)],
            "encoders": [vars(row) for row in value.encoders],
            "models": [vars(row) for row in value.models],
            "optimisers": [vars(row) for row in value.optimisers],
            "settings": [vars(row) for row in value.settings],
            "strategies": _strategy_rows(value, results),
            "notation": [vars(row) for row in value.notation],
        }

    def context(self, value: Making, results: Results) -> Mapping[str, Any]:
        shown = shown_first(results)
        return {
            "strategies": _strategy_rows(value, results),
            "built": [row for row in value.models if row.model in shown],
            "show": _show,
        }


def _show(value: float | int | str | None, digits: int = 0) -> str:
    """Return a cell: counts with commas, a dash where nothing is stored."""
    if value is None or value == "":
        return NONE
    if isinstance(value, float):
        return f"{value:,.{digits}f}" if digits else f"{value:g}"
    return f"{value:,}" if isinstance(value, int) else value


def _strategy_rows(value: Making, results: Results) -> list[dict[str, Any]]:
    """Return each head with its scores on all modalities, in percent as text."""
    rows = []
    for strategy in value.strategies:
        scores = {m: results.score(strategy.model, m) if strategy.model else None for m in ("accuracy", "macro_f1")}
        cells = {
            m: NONE if score is None else f"{percent(score.estimate)} ({span(score.low, score.high)})"
            for m, score in scores.items()
        }
        rows.append({"head": strategy.head, "fuses": strategy.fuses, "subsets": strategy.subsets, **cells})
    return rows


def _workflow(value: Making, results: Results) -> Figure:
    corpus, models = value.corpus, value.models
    heads = list(dict.fromkeys(model.head for model in models))
    by = f"kept apart: {listed(corpus.groups)}" if corpus.groups else "no groups are kept apart"
    sizes = f"{corpus.train:.0f} training, {corpus.val:.0f} validation, {corpus.test:.0f} test samples"
    who = f"{corpus.samples:,} samples, {corpus.used:,} take part"
    levels = [
        [Box(title=f"Corpus {corpus.name} ({corpus.pairing})", lines=(who,))],
        [_box(it, it.extractor, "extractor", _origin(it) if it.trained else it.weights) for it in value.encoders],
        [_box(it, f"{it.modality} features", it.feature_id, f"{it.rows:,} rows") for it in value.encoders],
        [
            Box(
                title=counted(corpus.repeats, "repeat"),
                lines=(f"{sizes}; {by}",),
            )
        ],
        [Box(title=f"{len(heads)} head{'s' * (len(heads) > 1)}, {len(models)} models", lines=(", ".join(heads),))],
        [Box(title=f"{value.predictions:,} predictions", lines=("one posterior a model, repeat and test sample",))],
        [Box(title="This report", lines=(f"{results.method.primary_test}, Holm", results.id), colour=BLUE)],
    ]  # fmt: skip
    return stack("workflow", "workflow", "Workflow of this study, from corpus to report", levels)


def _architecture(value: Making, results: Results) -> Figure:
    reference, corpus = results.model(results.reference), value.corpus
    used = [encoder for encoder in value.encoders if encoder.modality in reference.modalities]
    projected = reference.head not in UNPROJECTED and value.width
    inner = f"projected to {value.width}, normalised" if projected else ""
    levels = [
        [_box(it, it.modality, _MEDIA.get(it.modality, "")) for it in used],
        [_box(it, it.extractor, f"{it.width} numbers" if it.width else "", _origin(it)) for it in used],
        [_box(it, f"z_{it.modality}", inner) for it in used] if projected else [],
        [Box(title=f"{reference.head} (the reference)", lines=(FUSES.get(reference.head, "a head of this study"),))],
        [Box(title=f"{len(corpus.classes)} classes", lines=(", ".join(corpus.classes),), colour=BLUE)],
    ]
    return stack("architecture", "workflow", "Architecture of the reference model, from modalities to classes", levels)


def _origin(encoder: Encoder) -> str:
    if not encoder.trained:
        return "not trained here"
    return "trained here" if encoder.trained == 1 else f"trained here, {encoder.trained} times"


def _box(encoder: Encoder, title: str, *lines: str) -> Box:
    told = tuple(line for line in lines if line)
    return Box(title=title, lines=told, colour=MODALITY.get(encoder.modality, INK))
