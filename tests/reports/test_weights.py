"""Modality weights in a report: which are learned, which are given, and what each emotion's samples say."""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from reports.chapters.weights import UNIDENTIFIED
from reports.config import ReportConfig
from reports.drawing import Figure
from reports.evidence import Evidence, HeldOut, Model
from reports.findings.epochs import weight_paths
from reports.findings.weights import FittedWeight, SampleWeight, by_group, fitted_weights, sample_weights
from reports.metrics import METRICS
from reports.page.render import render_page
from reports.report import compute_results
from reports.selection import MOST, RIVALS, shown_first, worth_a_matrix
from reports.statistics._statistic import Design
from reports.statistics.clustered_bootstrap import group_weights
from stores.identity import canonical
from stores.root import Root
from stores.studies import Predicted, Run, RunSpec, StudyStore
from tests.reports.conftest import Written

STORED = Path(__file__).resolve().parents[1] / "data" / "store-v1"
PAIR = ("speech", "text")
LATER = {"runs": ["variant", "hyper", "counts"], "predictions": ["weights"], "weights": ["label"]}


def part(repeat: int, labels: list[int]) -> HeldOut:
    ids = np.array([f"c/{i}" for i in range(len(labels))])
    return HeldOut(repeat=repeat, sample_ids=ids, labels=np.array(labels), groups=ids, trained_on=np.array([1, 1]))


def evidence(store: StudyStore, weights: Mapping[str, tuple[np.ndarray, ...]], *parts: HeldOut) -> Evidence:
    return Evidence(
        facts={"classes": ["joy", "anger"]},
        models=(Model(name="gated[speech+text]", head="gated", modalities=PAIR),),
        held_out=parts,
        posteriors={},
        weights=weights,
        runs=store.runs(),
    )


@pytest.fixture
def old() -> StudyStore:
    return StudyStore.open(Root(STORED), "study-1")


SETTINGS = {"alpha": 0.05, "draws": 1000, "seed": 0}
RESAMPLED = Design(overlap=True, ratio=0.2)


def test_weights_of_samples_are_averaged_over_all_test_predictions_and_by_emotion(old: StudyStore) -> None:
    first = np.array([[0.25, 0.75], [0.75, 0.25], [1.0, 0.0]], dtype=np.float32)
    second = np.array([[0.125, 0.875]], dtype=np.float32)
    found = sample_weights(
        evidence(old, {"gated[speech+text]": (first, second)}, part(0, [0, 0, 1]), part(1, [0])), **SETTINGS
    )
    own = {"model": "gated[speech+text]", "low": None, "high": None}  # three groups are too few to draw from
    sd = pytest.approx(np.std([0.25, 0.75, 0.125], ddof=1))
    total = pytest.approx(np.std([0.25, 0.75, 1.0, 0.125], ddof=1))
    assert found == (
        SampleWeight(**own, modality="speech", label=None, mean=0.53125, sd=total, n=4),
        SampleWeight(**own, modality="speech", label="joy", mean=0.375, sd=sd, n=3),
        SampleWeight(**own, modality="speech", label="anger", mean=1.0, sd=None, n=1),
        SampleWeight(**own, modality="text", label=None, mean=0.46875, sd=total, n=4),
        SampleWeight(**own, modality="text", label="joy", mean=0.625, sd=sd, n=3),
        SampleWeight(**own, modality="text", label="anger", mean=0.0, sd=None, n=1),
    )


def test_samples_a_model_sees_nothing_of_weigh_in_no_mean(old: StudyStore) -> None:
    rows = np.array([[0.5, 0.5], [0.0, 0.0], [0.0, 0.0]], dtype=np.float32)
    found = sample_weights(evidence(old, {"gated[speech+text]": (rows,)}, part(0, [0, 0, 1])), **SETTINGS)
    assert [(w.modality, w.label, w.mean, w.n) for w in found if w.label] == [
        ("speech", "joy", 0.5, 1),
        ("text", "joy", 0.5, 1),
    ]


def test_the_interval_of_a_mean_weight_draws_whole_groups_the_same_in_all_repeats(old: StudyStore) -> None:
    rng, repeats = np.random.default_rng(4), 3
    groups = np.array([f"g{i}" for i in rng.integers(0, 8, 30)])
    parts = [replace(part(j, list(rng.integers(0, 2, 30))), groups=groups) for j in range(repeats)]
    speech = [rng.random(30) for _ in range(repeats)]
    rows = tuple(np.stack([own, 1 - own], axis=1).astype(np.float32) for own in speech)
    found = sample_weights(evidence(old, {"gated[speech+text]": rows}, *parts), **SETTINGS)
    drawn = []
    for times in group_weights(8, 1000, 0):  # the slow way: every draw written out, sample by sample
        counts = dict(zip(sorted(set(groups)), times, strict=True))
        weigh = np.array([counts[g] for g in groups])
        joy = [weigh * (p.labels == 0) for p in parts]
        drawn.append(sum((w * s).sum() for w, s in zip(joy, speech, strict=True)) / sum(w.sum() for w in joy))
    [own] = [w for w in found if (w.modality, w.label) == ("speech", "joy")]
    share = stats.norm.sf(stats.t.ppf(0.975, 7) * np.sqrt(8 / 7))  # eight groups: expanded, as for a difference
    assert (own.low, own.high) == pytest.approx(tuple(np.quantile(drawn, [share, 1 - share])), abs=1e-6)
    assert by_group(evidence(old, {"gated[speech+text]": rows}, *parts), "gated[speech+text]").counts.sum() == 90


def test_the_weights_of_a_store_of_version_1_are_read(old: StudyStore) -> None:
    assert fitted_weights(evidence(old, {}), old, RESAMPLED) == (
        FittedWeight(
            model="weighted[text]",
            modality="text",
            label=None,
            given=False,
            mean=1.0,
            low=None,
            high=None,
            sd=None,
            n=1,
        ),
    )


def test_weights_over_training_are_told_by_epoch_over_the_repeats_that_reached_it(old: StudyStore) -> None:
    def curve(*speech: float) -> str:
        return json.dumps([{"epoch": e, "weight of speech": w, "weight of text": 1 - w} for e, w in enumerate(speech)])

    runs = pa.table(
        {
            "model": ["weighted[speech+text]"] * 3 + ["fixed[speech+text]", "concat[speech+text]"],
            "head": ["weighted"] * 3 + ["fixed", "concat"],
            "curves": [curve(0.5, 0.6, 0.9), curve(0.5, 0.4), curve(0.5, 0.8), curve(0.5), "[]"],
        }
    )
    speech, text = weight_paths(replace(evidence(old, {}), runs=runs), given=("fixed",))
    assert (speech.model, speech.modality, speech.n) == ("weighted[speech+text]", "speech", 3)
    assert speech.median == pytest.approx((0.5, 0.6, 0.9))
    assert (speech.low[1], speech.high[1]) == pytest.approx((0.5, 0.7))
    assert text.median == pytest.approx((0.5, 0.4, 0.1))


def run_like(
    run: Mapping[str, Any], predicted: Predicted, head: str, weights: tuple[tuple[str, str | None, float], ...] = ()
) -> Run:
    spec = RunSpec(
        study="study-test", head=head, version=1, config={}, modalities=PAIR, repeat=run["repeat"], training={}
    )
    return Run(spec=spec, seed=0, val=predicted, test=predicted, weights=weights)


def add_weighing_heads(store: StudyStore) -> list[str]:
    """Add, on every test part, `fixed`, a head with weights by emotion, and one with weights by sample."""
    table = store.runs()
    assert table is not None
    runs = []
    for run in (row for row in table.to_pylist() if row["model"] == "concat[speech+text]"):
        rows = store.predictions([run["run_id"]]).to_pydict()
        labels = np.array(rows["label"])
        said = Predicted(
            sample_ids=tuple(rows["sample_id"]),
            labels=labels,
            groups=np.array(rows["group"]),
            posteriors=np.array(rows["posterior"], dtype=np.float32),
        )
        text = np.where(labels == 4, 0.75, 0.25)  # the fifth emotion is neutral
        leans = 0.5 + 0.125 * run["repeat"] / 5
        by_emotion = tuple(
            (modality, label, leans if (modality == "text") == (label == "neutral") else 1 - leans)
            for modality in PAIR
            for label in ("joy", "sadness", "anger", "fear", "neutral")
        )
        own = np.stack([1 - text, text], axis=1).astype(np.float32)
        runs += [
            run_like(run, said, "fixed", (("speech", None, 0.3), ("text", None, 0.7))),
            run_like(run, said, "class_weighted", by_emotion),
            run_like(run, replace(said, weights=own), "gated"),
        ]
    store.write_runs(runs)
    return [run.spec.id for run in runs]


@pytest.fixture(scope="module")
def weighing(write_study: Any, tmp_path_factory: pytest.TempPathFactory) -> Written:
    root = Root(tmp_path_factory.mktemp("root"))
    store, runs = write_study(root, modalities=PAIR)
    return Written(root=root, store=store, runs=runs + add_weighing_heads(store))


def test_weights_by_emotion_stay_apart_and_given_ones_are_told_from_learned_ones(weighing: Written) -> None:
    weights = [w for w in weighing.content.chapters["weights"].fitted if w.modality == "text"]
    by_head = {head: [w for w in weights if w.model.startswith(head + "[")] for head in ("fixed", "class_weighted")}
    [fixed] = by_head["fixed"]
    assert (fixed.given, fixed.label, fixed.mean, fixed.sd, fixed.n) == (True, None, pytest.approx(0.7), 0.0, 6)
    assert [w.label for w in by_head["class_weighted"]] == ["joy", "sadness", "anger", "fear", "neutral"]
    assert not any(w.given for w in weights if w is not fixed)
    leans = [0.5 + 0.125 * repeat / 5 for repeat in range(6)]
    neutral = by_head["class_weighted"][-1]
    assert (neutral.mean, neutral.sd) == pytest.approx((np.mean(leans), np.std(leans, ddof=1)))
    ratio = weighing.content.method.ratio  # the repeats share samples
    reach = stats.t.ppf(0.975, 5) * np.std(leans, ddof=1) * np.sqrt(1 / 6 + ratio)
    assert (neutral.low, neutral.high) == pytest.approx((np.mean(leans) - reach, np.mean(leans) + reach))
    assert (fixed.low, fixed.high) == (None, None)


def test_the_page_shows_weights_by_emotion_with_their_intervals_and_n(weighing: Written) -> None:
    page = weighing.section("weights")
    assert 'id="figure-weights-by-emotion"' in page
    assert "fixed (given):  speech" in page
    assert "Outlined: given as a setting" in page
    table = page[page.index('id="weights-by-emotion"') :].partition("</table>")[0]
    rows = [re.sub(r"<[^>]*>", "|", row).split("||") for row in re.findall(r"<tr>(.*?)</tr>", table)]
    told = [[cell.strip("|") for cell in row] for row in rows]
    n = next(row for row in told if row[1] == "n, test predictions")
    high, low = "0.75 (0.75 to 0.75)", "0.25 (0.25 to 0.25)"  # every sample of an emotion weighs alike
    assert ["gated", "speech", *[high] * 4, low] in told
    assert ["", "text", *[low] * 4, high] in told
    assert UNIDENTIFIED in page
    assert ["", "n, repeats", *["6"] * 5] in told
    support = {
        s.label: s.support
        for s in weighing.content.chapters["emotions"].class_scores
        if s.model == "concat[speech+text]"
    }
    assert n[2:] == [str(support[label]) for label in ("joy", "sadness", "anger", "fear", "neutral")]


def test_what_was_asked_says_of_every_interval_of_a_weight_what_it_is_over(weighing: Written) -> None:
    rows = re.findall(
        r"<tr><th>(.*?)</th><td class=\"words\">(?:speech|text)</td>(.*?)</tr>", weighing.section("hypotheses")
    )
    over = {name: re.sub(r".*<td class=\"words\">", "", cells) for name, cells in rows if name}
    assert over == {"fixed": "–</td>", "weighted": "repeats</td>", "gated": "groups</td>"}


def test_a_study_without_weighing_heads_says_so(report_of: Any) -> None:
    section = report_of(modalities=("text",)).section("weights")
    assert "No model of this study weighs its modalities." in section
    assert 'id="weights-by-emotion"' not in section


def test_a_study_of_before_the_later_columns_gives_the_same_results(write_study: Any, tmp_path: Path) -> None:
    found = []
    for name in ("new", "old"):
        root = Root(tmp_path / name)
        store, runs = write_study(root, modalities=PAIR)
        for kind, columns in LATER.items() if name == "old" else ():
            for part_name in root.names(store.folder, kind):
                table = root.read_table(store.folder, kind, part_name)
                root.put_table(table.drop_columns(columns), store.folder, kind, part_name)
        found.append(canonical(compute_results(store, runs, ReportConfig(), report_id="report-1")))
    assert found[0] == found[1]


def test_many_models_are_shown_by_those_on_one_or_all_modalities(report_of: Any) -> None:
    results = report_of().content
    assert shown_first(results) == {model.name for model in results.models}
    everything = results.model(results.reference).modalities
    more = [Model(name=f"h{i}", head=f"h{i}", modalities=everything[: 2 + i % 2]) for i in range(MOST)]
    crowded = replace(results, models=(*results.models, *more))
    full = {m.name for m in results.models if len(m.modalities) != 2} | {f"h{i}" for i in range(1, MOST, 2)}
    assert shown_first(crowded) == full


def test_scores_of_models_that_are_not_shown_first_are_folded_away_and_none_is_left_out(report_of: Any) -> None:
    results = report_of().content
    everything = results.model(results.reference).modalities
    more = [Model(name=f"h{i}[x]", head=f"h{i}", modalities=everything[: 2 + i % 2]) for i in range(MOST)]
    scores = [replace(results.score(results.reference, metric), model=m.name) for m in more for metric in METRICS]
    own = {"scores": results.chapters["scores"]}
    crowded = replace(results, models=(*results.models, *more), scores=(*results.scores, *scores), chapters=own)
    drawn: dict[str, Any] = {
        "summary": (),
        "scores": (Figure(name="scores", group="scores", title="scores", svg="<svg></svg>"),),
    }
    page = render_page(crowded, drawn)
    section = page[page.index('id="scores"') :].partition("</section>")[0]
    shown, fold, folded = section.partition("<details>")
    away = len(crowded.models) - len(shown_first(crowded))
    assert f"Scores of {away} models on other modalities, or trained otherwise" in fold + folded
    assert f"{away} models on other modalities, or trained otherwise, are in the tables." in shown
    rows = [re.findall(r"<tr[^>]*><th>(.*?)</th><td>", text) for text in (shown, folded)]
    assert (len(rows[0]), len(rows[1])) == (len(shown_first(crowded)), away)
    assert "h1" in rows[0]
    assert "h0 · image + speech" in rows[1]


def test_confusions_are_shown_of_the_reference_its_best_rivals_and_the_best_modality(report_of: Any) -> None:
    results = report_of().content
    everything = results.model(results.reference).modalities
    more = tuple(Model(name=f"h{i}", head=f"h{i}", modalities=everything) for i in range(6))
    best = results.ranking()[0]
    scores = tuple(replace(best, model=m.name, estimate=1 - i / 100) for i, m in enumerate(more))
    shown = worth_a_matrix(replace(results, models=(*results.models, *more), scores=(*results.scores, *scores)))
    assert shown[: 1 + RIVALS] == [results.reference, "h0", "h1", "h2", "h3"]
    [last] = shown[1 + RIVALS :]
    assert len(results.model(last).modalities) == 1
