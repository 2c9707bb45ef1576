"""What was asked: verdicts follow the rules that were stated, and say so where they cannot be given."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from reports.case import Case
from reports.chapters._chapter import chapters
from reports.chapters.hypotheses import Answer, Answers, Hypotheses
from reports.comparisons import (
    BY_LABEL,
    EARLY_LATE,
    FURTHER,
    OTHERS_DROPPED,
    STRATEGIES,
    WEIGHTINGS,
    choose_reference,
    plan_families,
    run_families,
)
from reports.config import ReportConfig
from reports.evidence import Evidence, HeldOut, Model
from reports.findings.answers import CANNOT, CONTRADICTED, SUPPORTED
from reports.findings.gains import MISSED, NOT_LOOKED_FOR, RECOVERED
from reports.heads import WEIGHING
from reports.measures import Measures, recall_of
from reports.metrics import PAPER_METRICS
from reports.statistics._statistic import Design, Measured
from reports.statistics.corrected_resampled_t import CorrectedResampledT
from stores.root import Root
from stores.studies import StudyStore

STORED = Path(__file__).resolve().parents[1] / "data" / "store-v1"
EMOTIONS = ("joy", "sadness", "anger", "fear", "neutral")
MODALITIES = ("image", "speech", "text")
TOLD = np.array([[1, 1, 0, 0, 0], [0, 0, 1, 1, 0], [0, 0, 0, 0, 1]], dtype=float)  # as H3 predicts
OTHERWISE = np.array([[0, 0, 1, 1, 0], [0, 0, 0, 0, 1], [1, 1, 0, 0, 0]], dtype=float)
PLANTED = {"image": ["joy", "sadness"], "speech": ["anger", "fear"], "text": ["neutral"]}
J = 12
SINGLE = {"unimodal[image]": 0.5, "unimodal[speech]": 0.5, "unimodal[text]": 0.5}
FUSED = {"weighted": 0.7, "concat": 0.6, "vote": 0.6}


def model(name: str) -> Model:
    head, _, rest = name.partition("[")
    return Model(name=name, head=head, modalities=tuple(rest.rstrip("]").split("+")))


def full(head: str) -> str:
    return f"{head}[image+speech+text]"


def without(head: str, modality: str) -> str:
    return f"{head}[{'+'.join(m for m in MODALITIES if m != modality)}]"


class Written:
    """Measures of models by hand: a score of each around its mean, recalls and weights around a table."""

    def __init__(self, scores: Mapping[str, float], *, seed: int = 0, pairing: str = "recorded") -> None:
        self.rng = np.random.default_rng(seed)
        self.pairing = pairing
        self.planted: Mapping[str, Sequence[str]] = {}
        self.weights: dict[str, tuple[np.ndarray, ...]] = {}
        self.lacking: dict[str, tuple[int, ...]] = {}
        self.table: dict[str, dict[str, Measured]] = {
            name: dict.fromkeys(PAPER_METRICS, self.around(mean)) for name, mean in scores.items()
        }

    def around(self, mean: float, sd: float = 0.01) -> Measured:
        return Measured(repeats=mean + sd * self.rng.normal(size=J))

    def recalls(self, alone: np.ndarray, lost: np.ndarray) -> "Written":
        """Give single modalities recalls, and `weighted` what it loses of 0.9 without each modality."""
        for m, modality in enumerate(MODALITIES):
            for k, label in enumerate(EMOTIONS):
                self._row(f"unimodal[{modality}]")[recall_of(label)] = self.around(alone[m, k], 0.03)
                self._row(without("weighted", modality))[recall_of(label)] = self.around(0.9 - lost[m, k], 0.03)
        return self

    def gates(self, weights: np.ndarray) -> "Written":
        """Let `gated` weigh one sample of every emotion in each repeat."""
        self._row(full("gated"))
        noise = 0.03 * self.rng.normal(size=(J, *weights.T.shape))
        self.weights[full("gated")] = tuple((weights.T + noise).astype(np.float32))
        return self

    def _row(self, name: str) -> dict[str, Measured]:
        return self.table.setdefault(name, dict.fromkeys(PAPER_METRICS, self.around(0.6)))

    def case(self, reference: str | None = None) -> Case:
        store = StudyStore.open(Root(STORED), "study-1")
        runs = store.runs()
        assert runs is not None
        corpus = {"pairing": self.pairing, "notes": {"planted": self.planted}}
        labels = np.arange(len(EMOTIONS))
        ids = np.array([f"c/{i}" for i in labels])
        parts = [
            HeldOut(repeat=j, sample_ids=ids, labels=labels, groups=ids, trained_on=np.ones(5, dtype=np.int64))
            for j in range(J)
        ]
        evidence = Evidence(
            facts={"classes": list(EMOTIONS), "corpus": corpus, "protocol": {"kind": "repeated"}},
            models=tuple(model(name) for name in self.table),
            held_out=tuple(parts),
            posteriors={},
            weights=self.weights,
            runs=runs,
        )
        measures = Measures(
            table=self.table,
            confusions={},
            design=Design(overlap=True, ratio=15 / 70, shared=0.15),
            primary=CorrectedResampledT(),
            lacking=self.lacking,
        )
        chosen = choose_reference(evidence.models, reference)
        families = tuple(f for f in plan_families(evidence.models, chosen) if f.name != "chance")
        return Case(
            store=store,
            config=ReportConfig(),
            evidence=evidence,
            measures=measures,
            reference=chosen,
            families=families,
            comparisons=run_families(evidence, measures, families, PAPER_METRICS),
        )

    def answers(self) -> dict[str, Answer]:
        found = self.case().value(Hypotheses)
        assert isinstance(found, Answers)
        return {answer.id: answer for answer in found.answers}


def study(**fused: float) -> Written:
    return Written({**SINGLE, **{full(head): mean for head, mean in {**FUSED, **fused}.items()}})


def test_h1_asks_that_the_reference_is_above_every_single_modality() -> None:
    answer = study().answers()["H1"]
    assert (answer.verdict, answer.planted) == (SUPPORTED, "")
    assert [line.about for line in answer.lines if line.decides] == [f"weighted − {m}" for m in MODALITIES]
    assert answer.notes[:2] == ("concat: above image, speech and text.", "vote: above image, speech and text.")
    assert all(line.n == J and line.holm_p is not None and line.holm_p >= (line.p or 0) for line in answer.lines)


def test_h1_is_contradicted_by_one_loss_and_untold_without_one() -> None:
    lost = study(weighted=0.4).answers()["H1"]
    assert lost.verdict == CONTRADICTED
    assert lost.why.startswith("weighted is below image (−")
    even = Written({**SINGLE, "unimodal[text]": 0.7, full("weighted"): 0.7}).answers()["H1"]
    assert (even.verdict, even.why) == (CANNOT, "weighted is not told to be above text: the interval includes 0")


def test_every_part_of_h1_is_tested_at_alpha_and_holm_hides_none() -> None:
    answer = close(p=0.03).answers()["H1"]
    parts = [line for line in answer.lines if line.decides]
    assert (answer.verdict, {line.verdict for line in parts}) == (SUPPORTED, {"above"})
    assert all(line.p == pytest.approx(0.03) and line.holm_p is not None and line.holm_p > 0.05 for line in parts)
    assert close(p=0.06).answers()["H1"].verdict == CANNOT


def test_h1_is_contradicted_only_by_a_loss_that_holm_leaves() -> None:
    answer = close(p=0.03, sign=-1).answers()["H1"]
    assert (answer.verdict, {line.verdict for line in answer.lines if line.decides}) == (CANNOT, {"cannot tell"})
    assert answer.why.endswith("not after Holm's correction")
    assert close(p=0.0001, sign=-1).answers()["H1"].verdict == CONTRADICTED


def close(*, p: float, sign: int = 1) -> Written:
    """A study whose reference differs from every other model with this p, before Holm."""
    written, off = study(), np.tile([0.01, -0.01], J)[:J]
    off = off - off.mean()
    gain = sign * stats.t.isf(p / 2, J - 1) * off.std(ddof=1) * np.sqrt(1 / J + 15 / 70)
    reference = written.table[full("weighted")]["macro_f1"].repeats
    for name in written.table:
        if name != full("weighted"):
            written.table[name] = dict.fromkeys(PAPER_METRICS, Measured(repeats=reference - gain - off))
    return written


def test_h1_tells_how_fusions_of_fewer_modalities_fare_without_letting_them_decide() -> None:
    written = study()
    for head in ("weighted", "concat"):
        for modality in MODALITIES:
            written.table[without(head, modality)] = dict.fromkeys(PAPER_METRICS, written.around(0.9))
    answer = written.answers()["H1"]
    assert answer.verdict == SUPPORTED
    assert "weighted: below itself without image, itself without speech and itself without text." in answer.notes
    assert any(note.startswith("concat: above image, speech and text; below itself without") for note in answer.notes)


def test_h2_is_decided_by_the_primary_metric_and_shows_all_four() -> None:
    answer = study().answers()["H2"]
    assert (answer.verdict, answer.asks) == (SUPPORTED, "RQ3")
    assert [line.metric for line in answer.lines if line.decides] == ["macro_f1"] * 2
    assert [line.metric for line in answer.lines if not line.decides] == [
        name for name in ("accuracy", "macro_precision", "macro_recall") for _ in range(2)
    ]
    assert study(concat=0.8).answers()["H2"].verdict == CONTRADICTED
    assert study(vote=0.7).answers()["H2"].verdict == CANNOT


def test_a_head_that_was_not_run_is_named_with_how_to_run_it() -> None:
    written = study()
    del written.table[full("vote")]
    found = written.answers()
    assert found["H2"].why == "vote was not run: add [heads.vote] in the study file and run it again"
    assert found["RQ2"].why.startswith(
        "fixed, class_weighted, gated, attention and confidence were not run: add [heads."
    )
    del written.table[full("weighted")]
    assert written.answers()["H2"].why.startswith("weighted was not run")
    alone = Written({"unimodal[text]": 0.5}).answers()
    assert {answer.verdict for answer in alone.values()} == {CANNOT}
    assert alone["H1"].why.startswith("a fusion of modalities was not run")


def test_rq2_names_the_weighting_that_is_above_all_others_or_says_which_it_is_not_told_from() -> None:
    best = study(gated=0.9, fixed=0.6).answers()["RQ2"]
    assert (best.verdict, best.why) == (SUPPORTED, "gated is above fixed and weighted")
    assert best.notes == ("Not run: class_weighted, attention and confidence.",)
    even = study(gated=0.7, fixed=0.6).answers()["RQ2"]
    assert even.verdict == CANNOT
    assert "is not told from" in even.why


def told(alone: np.ndarray, lost: np.ndarray, weights: np.ndarray, **kwargs: Any) -> Written:
    return Written({**SINGLE, full("weighted"): 0.7}, **kwargs).recalls(alone, lost).gates(weights)


def test_h3_is_supported_when_recalls_losses_and_weights_all_say_so() -> None:
    answer = told(0.2 + 0.6 * TOLD, 0.4 * TOLD, 0.2 + 0.4 * TOLD).answers()["H3"]
    assert (answer.verdict, answer.why) == (SUPPORTED, "all three contrasts are above 0")
    gains = [line.difference for line in answer.lines if line.decides]
    assert gains == pytest.approx([0.6 * 0.96, 0.4 * 0.96, 0.4 * 0.96], abs=0.03)
    assert all(line.low is not None and line.low > 0 for line in answer.lines)


def test_h3_is_not_supported_by_two_of_three_nor_by_another_mapping() -> None:
    flat = np.full((3, 5), 0.3)
    answer = told(0.2 + 0.6 * TOLD, 0.4 * TOLD, flat).answers()["H3"]
    assert answer.verdict == CANNOT
    assert "not told: weight by emotion in gated" in answer.why
    shuffled = told(0.2 + 0.6 * OTHERWISE, 0.4 * OTHERWISE, 0.2 + 0.4 * OTHERWISE).answers()["H3"]
    assert shuffled.verdict == CONTRADICTED
    apart = told(0.2 + 0.6 * TOLD, 0.4 * OTHERWISE, flat).answers()["H3"]
    assert apart.verdict == CANNOT


def test_h3_is_not_supported_where_a_cell_is_told_against_what_was_predicted() -> None:
    alone = 0.2 + 0.6 * TOLD
    alone[0, 3], alone[1, 3] = 0.8, 0.4  # image reads fear, and speech no longer does
    answer = told(alone, 0.4 * TOLD, 0.2 + 0.4 * TOLD).answers()["H3"]
    assert all(line.low is not None and line.low > 0 for line in answer.lines)
    assert answer.verdict == CANNOT
    assert answer.why.startswith("all three contrasts are above 0, but told against what was predicted: image for fear")
    assert answer.notes[0].startswith("Told against what was predicted: image for fear (above 0)")


def test_h3_is_not_told_of_a_part_of_what_was_predicted_and_one_number_is_counted_once() -> None:
    written = Written({"unimodal[speech]": 0.5, "unimodal[text]": 0.5, "weighted[speech+text]": 0.7})
    written.pairing, written.planted = "synthetic", PLANTED
    for m, modality in enumerate(MODALITIES[1:], 1):
        for k, label in enumerate(EMOTIONS):
            written._row(f"unimodal[{modality}]")[recall_of(label)] = written.around(0.2 + 0.6 * TOLD[m, k], 0.03)
    written._row("gated[speech+text]")
    weights = 0.3 + 0.4 * TOLD[1:]
    noise = 0.03 * written.rng.normal(size=(J, 5, 2))
    written.weights["gated[speech+text]"] = tuple((weights.T + noise).astype(np.float32))
    answer = written.answers()["H3"]
    assert (answer.verdict, answer.planted) == (CANNOT, NOT_LOOKED_FOR)
    assert answer.why == (
        "image, joy and sadness could not be looked at; of the rest, "
        "above 0: recall of each modality alone and weight by emotion in gated"
    )
    assert [line.about for line in answer.lines if line.decides] == [
        "recall of each modality alone", "weight by emotion in gated",
    ]  # fmt: skip


def test_emotions_that_other_repeats_lack_are_refused_by_name_and_never_paired() -> None:
    written = told(0.2 + 0.6 * TOLD, 0.4 * TOLD, 0.2 + 0.4 * TOLD)
    written.lacking = {"anger": (0,), "fear": (3,), "joy": (1,), "sadness": (2,), "neutral": (5,)}
    for row in written.table.values():
        for label, gone in written.lacking.items():
            if recall_of(label) in row:
                row[recall_of(label)] = Measured(repeats=np.delete(row[recall_of(label)].repeats, gone))
    answer = written.answers()["H3"]
    assert (answer.verdict, answer.lines) == (CANNOT, ())
    assert answer.why == (
        "recalls do not pair: absent from the test part is joy from repeats 1, sadness from repeats 2, "
        "anger from repeats 0, fear from repeats 3 and neutral from repeats 5"
    )


def test_equal_modalities_support_nothing() -> None:
    flat, found = np.full((3, 5), 0.4), []
    for seed in range(24):
        value = told(flat, flat, flat, seed=seed).case().value(Hypotheses)
        assert value is not None
        found.append((value.answers[2].verdict, value.interaction.least_p))
    assert {verdict for verdict, _ in found} == {CANNOT}
    assert sum(p < 0.05 for _, p in found) <= 0.05 * len(found)


def test_any_interaction_is_told_by_the_least_p_of_all_cells() -> None:
    flat = np.full((3, 5), 0.4)
    one = flat + np.eye(3, 5) * [[0.5], [0], [0]]
    value = told(one, flat, flat).case().value(Hypotheses)
    assert value is not None
    largest = max(value.interaction.cells, key=lambda cell: cell.result.difference if cell.result else 0)
    assert (largest.modality, largest.label, largest.verdict) == ("image", "joy", "above")
    assert largest.result is not None
    assert largest.result.difference == pytest.approx(0.5 * (1 - 1 / 3 - 1 / 5 + 1 / 15), abs=0.03)
    assert value.interaction.least_p is not None
    assert value.interaction.least_p < 0.001


def test_without_weights_by_emotion_or_a_modality_less_h3_cannot_be_told() -> None:
    written = told(0.2 + 0.6 * TOLD, 0.4 * TOLD, TOLD)
    del written.table[full("gated")], written.weights[full("gated")]
    answer = written.answers()["H3"]
    assert answer.verdict == CANNOT
    assert "no head with weights by emotion was run: add [heads.gated]" in answer.why
    del written.table[without("weighted", "text")]
    assert "weighted was not run without text" in written.answers()["H3"].why
    del written.table["unimodal[text]"]
    assert written.answers()["H3"].why == "unimodal was not run on text"


def test_a_synthetic_corpus_says_whether_what_was_planted_was_found() -> None:
    def planted(written: Written, **said: list[str]) -> dict[str, str]:
        written.planted = said
        return {name: answer.planted for name, answer in written.answers().items()}

    synthetic = {"pairing": "synthetic"}
    good = told(0.2 + 0.6 * TOLD, 0.4 * TOLD, 0.2 + 0.4 * TOLD, **synthetic)
    assert planted(good, **PLANTED) == {"H1": RECOVERED, "H2": "", "H3": RECOVERED, "RQ2": ""}
    assert (
        planted(good, image=[], speech=[], text=["joy"])["H1"] == MISSED
    )  # it fuses, and yet there is nothing to fuse
    assert planted(good, image=["fear"], text=["joy"])["H3"] == ""
    flat = np.full((3, 5), 0.4)
    assert planted(told(flat, flat, flat, **synthetic), **PLANTED)["H3"] == MISSED
    del good.table[full("gated")], good.weights[full("gated")]
    assert planted(good, **PLANTED)["H3"] == NOT_LOOKED_FOR


def test_a_composed_corpus_answers_nothing() -> None:
    written = told(0.2 + 0.6 * TOLD, 0.4 * TOLD, 0.2 + 0.4 * TOLD, pairing="composed")
    for head in FUSED:
        written.table[full(head)] = dict.fromkeys(PAPER_METRICS, written.around(0.9))
    found = written.answers()
    assert {(answer.verdict, answer.why) for answer in found.values()} == {(CANNOT, BY_LABEL)}
    alone = Written({"unimodal[text]": 0.5}, pairing="composed").answers()
    assert {(answer.verdict, answer.why) for answer in alone.values()} == {(CANNOT, BY_LABEL)}


def test_families_follow_from_the_models_and_further_heads_leave_the_first_as_it_is() -> None:
    heads = ("weighted", "concat", "vote", "average", "tensor", *(h for h in WEIGHING if h != "weighted"))
    models = [model(name) for name in (*SINGLE, *(full(h) for h in heads), *(without("concat", m) for m in MODALITIES))]
    few = [m for m in models if m.head in ("unimodal", *FUSED)]
    pairs = {f.name: f.pairs for f in plan_families(models, model(full("weighted")))}
    assert pairs[STRATEGIES] == plan_families(few, model(full("weighted")))[0].pairs
    assert [b for _, b in pairs[STRATEGIES]] == [*SINGLE, full("concat"), full("vote")]
    assert [b for _, b in pairs[FURTHER]] == [full(h) for h in heads[3:]]
    assert [b for _, b in pairs[OTHERS_DROPPED]] == [without("concat", m) for m in MODALITIES]
    assert len(pairs[WEIGHTINGS]) == 15
    assert EARLY_LATE not in pairs
    other = {f.name: f.pairs for f in plan_families(models, model(full("gated")))}
    assert other[EARLY_LATE] == ((full("weighted"), full("concat")), (full("weighted"), full("vote")))


def test_h2_is_answered_whatever_the_reference_is() -> None:
    written = study(gated=0.65)
    by_default, by_wish = (
        next(a for a in written.case(reference).value(Hypotheses).answers if a.id == "H2")  # type: ignore[union-attr]
        for reference in (None, full("gated"))
    )
    assert (by_default.verdict, by_wish.verdict) == (SUPPORTED, SUPPORTED)
    assert [line.about for line in by_wish.lines if line.decides] == ["weighted − concat", "weighted − vote"]


def test_the_page_gives_every_question_its_verdict_before_the_scores(report_of: Any) -> None:
    written = report_of()
    section = written.section("hypotheses")
    assert list(chapters()).index("hypotheses") < list(chapters()).index("scores")
    for answer in written.content.chapters["hypotheses"].answers:
        assert f'id="answer-{answer.id}"' in section
        assert answer.verdict in section
    assert "tests whether there is any interaction of modality and emotion" in section
    assert "are not corrected against each other" in section
    assert "<th>interval, uncorrected, pp</th>" in section
    composed = report_of(pairing="composed", protocol="fixed").case.value(Hypotheses)
    assert composed.answers[0].why == BY_LABEL
