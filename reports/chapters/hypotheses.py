"""What was asked of the study, with a verdict on each question in words."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from reports.case import Case
from reports.chapters._chapter import Chapter, Rows
from reports.chapters.paper import read_paper
from reports.chapters.weights import Weights
from reports.comparisons import UNTOLD
from reports.drawing import HEAT, WARM, Figure, grid
from reports.findings.answers import SUPPORTED, Finding, Judge, Line
from reports.findings.gains import MISSED, NOT_LOOKED_FOR, RECOVERED, planted_in
from reports.findings.interaction import Cell, Interaction, find_interaction
from reports.findings.weights import FittedWeight, SampleWeight
from reports.results import Results
from reports.words import NONE, labels_of, points

REPEATS, GROUPS = "repeats", "groups"  # what an interval of a weight is over
SEEDS = "on one split, so that it shows the noise of training alone"
RATIO = "with 1/J + n2/n1 for the samples that repeats share"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A question, the rule that is fixed for it, and the verdict.

    `asks` is the research question it goes with. `planted` is recovered or missed, or not looked for, where the
    corpus says what was planted in it and that bears on the question, else "".
    """

    id: str
    asks: str
    claim: str
    rule: str
    verdict: str
    why: str
    planted: str
    lines: tuple[Line, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Answers:
    """Answers to all questions, and the interaction of modality and emotion behind the third."""

    answers: tuple[Answer, ...]
    interaction: Interaction


class Hypotheses(Chapter[Answers]):
    """Hypotheses and research questions of the reference paper, answered by this study."""

    title = "What was asked"

    def compute(self, case: Case) -> Answers:
        stated: Any = json.loads(files("reports.chapters").joinpath("hypotheses.json").read_text(encoding="utf-8"))
        interaction = find_interaction(case, read_paper().predicted)
        found = Judge(case).answers(interaction)
        expected = expected_of(case, interaction)
        answers = tuple(_answer(q, found[q["id"]], expected) for q in stated["questions"])
        return Answers(answers=answers, interaction=interaction)

    def figures(self, value: Answers, results: Results) -> Iterable[Figure]:
        return [_cells(value.interaction)] if value.interaction.cells else []

    def tables(self, value: Answers, results: Results) -> Mapping[str, Rows]:
        return {"answers": [{"question": a.id, **vars(line)} for a in value.answers for line in a.lines]}

    def context(self, value: Answers, results: Results) -> Mapping[str, Any]:
        return {
            "deciding": {a.id: [line for line in a.lines if line.decides] for a in value.answers},
            "beside": {a.id: [line for line in a.lines if not line.decides] for a in value.answers},
            "weighting": _weightings(results),
            "spread": SEEDS if results.method.protocol == "fixed" else RATIO,
            "corpus": results.facts["corpus"]["pairing"],
        }


def _answer(question: Mapping[str, Any], found: Finding, expected: Mapping[str, bool | None]) -> Answer:
    planted, wanted = "", expected.get(question["id"])
    if question["id"] in expected:
        unseen = wanted is None or not found.complete
        planted = NOT_LOOKED_FOR if unseen else RECOVERED if (found.verdict == SUPPORTED) == wanted else MISSED
    return Answer(**question, **vars(found), planted=planted)


def expected_of(case: Case, interaction: Interaction) -> dict[str, bool | None]:
    """Return which questions a corpus that says what was planted in it should support; others are not in it.

    Fusing gains where two modalities tell something. The emotions speak for H3 if each is told by just the modality
    that was predicted; where none tells anything at all they speak against it. None if the study sees only a part.
    """
    said = planted_in(case.evidence.facts)
    if not said:
        return {}
    telling = {m: set(labels) for m, labels in said.items() if labels and m in case.reference.modalities}
    expected: dict[str, bool | None] = {"H1": len(telling) > 1} if case.reference.fused else {}
    pairs = {(m, label) for m, labels in telling.items() for label in labels if label in interaction.labels}
    if interaction.cells and pairs in (set(interaction.predicted), set()):
        expected["H3"] = None if interaction.absent else bool(pairs)
    return expected


def _cells(interaction: Interaction) -> Figure:
    found = {(cell.modality, cell.label): cell for cell in interaction.cells}
    largest = max((abs(c.result.difference) for c in found.values() if c.result), default=0.0) or 1.0
    cells = [[_cell(found[m, label], largest) for label in interaction.labels] for m in interaction.modalities]
    title = "Recall of each modality alone beyond what modality and emotion have on their own, in percentage points"
    return grid("interaction", "interaction", title, interaction.modalities, interaction.labels, cells)


def _cell(cell: Cell, largest: float) -> tuple[str, float, str, bool]:
    gain = cell.result.difference if cell.result else 0.0
    text = points(gain) + ("" if cell.verdict == UNTOLD else " •")
    return (HEAT if gain > 0 else WARM), abs(gain) / largest, text, cell.predicted


def _weightings(results: Results) -> list[tuple[str, list[tuple[str, str, str, str]]]]:
    """Return, for every model that weighs and its modalities, the mean weight, its interval, and what that is over."""
    found, names = results.value(Weights), labels_of(results)
    weights: tuple[FittedWeight | SampleWeight, ...] = (*found.fitted, *found.by_sample) if found else ()
    own = [w for w in weights if w.label is None]
    full = max((len(results.model(w.model).modalities) for w in own), default=0)
    rows: dict[str, list[tuple[str, str, str, str]]] = {}
    for w in own:
        model = results.model(w.model)
        if len(model.modalities) == full and model.variant == results.model(results.reference).variant:
            interval, over = NONE, NONE
            if w.low is not None and w.high is not None:
                interval, over = f"{w.low:.2f} to {w.high:.2f}", GROUPS if isinstance(w, SampleWeight) else REPEATS
            rows.setdefault(names[w.model], []).append((w.modality, f"{w.mean:.2f}", interval, over))
    return list(rows.items())
