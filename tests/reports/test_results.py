"""What a study's results say, and that they follow from its predictions alone."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import f1_score

from reports.chapters.emotions import ByEmotion, Emotions
from reports.chapters.provenance import Provenance
from reports.chapters.training import Training
from reports.comparisons import ABOVE, BY_LABEL, UNTOLD
from reports.config import ReportConfig
from reports.errors import EvidenceError
from reports.evidence import CHANCE
from reports.findings.gains import MISSED, RECOVERED
from reports.report import compute_results, read_case, report_id, write_report
from reports.results import SCHEMA_VERSION
from reports.summary import summary
from reports.words import shape_of
from stores.errors import ConfigError, NotFound
from stores.root import Root

FULL = "image+speech+text"
WEIGHTED, CONCAT = f"weighted[{FULL}]", f"concat[{FULL}]"


def _by_emotion(written: Any) -> ByEmotion:
    found = written.case.value(Emotions)
    assert found is not None
    return found


def test_a_score_is_the_mean_over_repeats_and_can_be_recomputed(report_of: Any) -> None:
    written = report_of()
    store, results = written.store, written.content
    table = store.runs()
    assert table is not None
    ids = [row["run_id"] for row in table.to_pylist() if row["model"] == CONCAT]
    rows = store.predictions(ids).to_pylist()
    own = [[row for row in rows if row["run_id"] == run] for run in ids]
    scores = [
        f1_score([row["label"] for row in run], [int(np.argmax(row["posterior"])) for row in run], average="macro")
        for run in own
    ]
    score = results.score(CONCAT, "macro_f1")
    assert score.repeats == pytest.approx(scores)
    assert score.estimate == pytest.approx(np.mean(scores))
    assert 0 < score.low < np.mean(scores) < score.high < 1


def test_results_are_the_same_bytes_whatever_order_and_time_the_runs_were_written_in(
    tmp_path: Any, write_study: Any
) -> None:
    written = []
    for name, direction in (("one", 1), ("two", -1)):
        root = Root(tmp_path / name)
        store, runs = write_study(root, modalities=("speech", "text"))
        latency = {"batch": 1, "median_us": 7.0, "p95_us": 8.0, "parameters": 1, "input_width": 2, "flops": 3}
        removed = {"condition": "removed", "modality": "text", "level": None, "metric": "macro_f1", "value": 0.5}
        logs = {
            "latency": [latency | {"run_id": runs[0], "model": "unimodal[speech]", "device": "cpu"}],
            "robustness": [removed | {"run_id": run} for run in runs],
        }
        for log in list(logs)[::direction]:
            store.append(log, logs[log])
        paths = write_report(root, store.id, runs[::direction], ReportConfig())
        files = sorted((tmp_path / name / "reports" / paths.id).rglob("*.*"))
        written.append({file.relative_to(tmp_path / name).as_posix(): file.read_bytes() for file in files})
    assert written[0] == written[1]
    names = {name.rpartition("/")[2] for name in written[0]}
    assert {"index.html", "results.json", "methods.md", "latency.csv", "robustness.tex", "gains.svg"} <= names
    text = b"".join(written[0].values())
    assert str(tmp_path).encode() not in text
    assert b'"seconds"' not in text


def test_repeated_splits_use_the_corrected_t_with_the_realised_ratio(report_of: Any) -> None:
    results = report_of().content
    assert results.method.primary_test == "corrected resampled t"
    assert results.method.ratio == pytest.approx(results.method.test_size / results.method.train_size)
    compared = {c.b: c for c in results.compared()}
    assert set(compared) == {CONCAT, f"vote[{FULL}]", "unimodal[image]", "unimodal[speech]", "unimodal[text]"}
    for c in compared.values():
        assert c.primary is not None
        assert c.naive is not None
        assert c.primary.low is not None and c.naive.low is not None  # noqa: PT018
        assert c.naive.independence_violated
        assert c.primary.low < c.naive.low
    assert compared["unimodal[text]"].verdict == ABOVE


def test_folds_are_repeats_of_the_corrected_t_with_the_realised_ratio(root: Root, write_study: Any) -> None:
    protocol = {"kind": "k-fold", "folds": 3, "rounds": 2, "val": 0.15, "encoder_share": 0.5}
    store, runs = write_study(root, protocol="k-fold", modalities=("speech", "text"), facts={"protocol": protocol})
    results = compute_results(store, runs, ReportConfig(), report_id="r")
    method = results.method
    assert (method.primary_test, method.draws) == ("corrected repeated k-fold t", None)
    for c in results.compared():
        assert c.primary is not None
        assert c.naive is not None
        assert (c.primary.n, c.primary.df, c.naive.independence_violated) == (6, 5, True)
        assert c.primary.statistic is not None
        assert c.naive.statistic is not None
        shrunk = np.sqrt((1 / 6) / (1 / 6 + method.test_size / method.train_size))
        assert c.primary.statistic == pytest.approx(c.naive.statistic * shrunk)
    said = "K-fold cross-validation, stratified and by group: 6 repeats of 2 x 3 folds, "
    assert shape_of(results).startswith(said)


@pytest.mark.parametrize(
    ("protocol", "study"), [("leave-one-group-out", {}), ("fixed", {"pairing": "composed"})], ids=["one out", "fixed"]
)
def test_one_group_out_and_fixed_splits_resample_groups(report_of: Any, protocol: str, study: dict[str, str]) -> None:
    results = report_of(protocol=protocol, **study).content
    groups = 40 if protocol == "leave-one-group-out" else 10
    assert results.method.primary_test == "paired bootstrap over groups"
    assert results.method.groups == groups
    for c in results.compared():
        assert c.primary is not None
        assert (c.primary.n, c.primary.unit) == (groups, "groups")
    score = results.score(WEIGHTED, "accuracy")
    matrix = next(np.array(c.rows) for c in results.chapters["confusions"].matrices if c.model == WEIGHTED)
    assert score.estimate == pytest.approx(np.trace(matrix) / matrix.sum())
    assert 0 < score.low < score.estimate < score.high < 1


def test_planted_effects_are_recovered(report_of: Any) -> None:
    found = _by_emotion(report_of(protocol="leave-one-group-out"))
    assert {w.label: w.modality for w in found.winners} == {
        "joy": "image", "sadness": "image", "anger": "speech", "fear": "speech", "neutral": "text",
    }  # fmt: skip
    assert {effect.effect: effect.verdict for effect in found.planted} == {
        "image alone reads joy best": RECOVERED,
        "image alone reads sadness best": RECOVERED,
        "speech alone reads anger best": RECOVERED,
        "speech alone reads fear best": RECOVERED,
        "text alone reads neutral best": RECOVERED,
        "weighted fusion is above every single modality": RECOVERED,
        "concat fusion is above every single modality": RECOVERED,
    }
    lost = {(d.modality, d.label): d.result for d in found.dropped}
    assert lost["text", "neutral"].low > 0
    assert lost["image", "joy"].low > 0


def test_an_effect_that_is_not_there_is_missed(report_of: Any) -> None:
    notes = {"planted": {"text": ["anger"]}}
    corpus = {"name": "c", "pairing": "synthetic", "source": "s", "licence": "l", "notes": notes, "dropped": {}}
    planted = _by_emotion(report_of(modalities=("speech", "text"), facts={"corpus": corpus})).planted[0]
    assert planted.verdict == MISSED
    assert planted.why.startswith("speech recalls it best")


def test_a_composed_corpus_tells_nothing_about_fusing(report_of: Any) -> None:
    results = report_of(pairing="composed", protocol="fixed").content
    assert {(c.verdict, c.reason) for c in results.compared()} == {(UNTOLD, BY_LABEL)}
    assert any(winner.told for winner in results.chapters["emotions"].winners)  # single against single
    assert results.banners[0].kind == "composed"
    alone = [c for c in results.compared("chance") if c.a.startswith("unimodal")]
    assert {c.verdict for c in alone} == {ABOVE}


def test_a_study_of_one_modality_is_held_against_the_most_frequent_class(report_of: Any) -> None:
    results = report_of(modalities=("text",)).content
    assert results.reference == "unimodal[text]"
    (c,) = results.compared("chance")
    assert (c.a, c.b, c.verdict) == ("unimodal[text]", CHANCE, ABOVE)
    assert results.score(CHANCE, "accuracy").estimate == pytest.approx(0.2, abs=0.02)
    assert results.score(CHANCE, "auc_macro_ovr").estimate == pytest.approx(0.5)
    assert (results.chapters["emotions"].winners, results.chapters["emotions"].dropped) == ((), ())
    assert not {"many_models", "as_in_the_paper"} & set(results.chapters)
    assert summary(results)[0].startswith("Text reaches a macro F1 of")


def test_two_repeats_are_reported_without_a_test(report_of: Any) -> None:
    results = report_of(repeats=2).content
    assert {c.verdict for c in results.compared()} == {UNTOLD}
    assert "at least 3 repeats, got 2" in results.compared()[0].reason
    assert results.score(WEIGHTED, "accuracy").low is None
    assert results.chapters["many_models"].analyses[0].reason.startswith("expected at least 3 repeats")
    gained = summary(results)[1]
    assert gained.startswith("Weighted cannot be compared with 8 models: ")
    assert "at least 3 repeats" in gained


def test_a_class_absent_from_a_test_part_is_flagged_and_its_auc_left_out(report_of: Any) -> None:
    seven = ("joy", "sadness", "anger", "fear", "neutral", "surprise", "disgust")
    results = report_of(classes=seven, protocol="leave-one-group-out", modalities=("text",)).content
    assert results.lacking["surprise"]
    assert "surprise in repeat" in next(b for b in results.banners if b.kind == "lacking").text
    score = results.score("unimodal[text]", "auc_macro_ovr")
    assert (score.estimate, score.low) == (None, None)
    assert score.reason.startswith("undefined: a test part lacks")
    assert results.score("unimodal[text]", "macro_f1").low is not None


def test_random_weights_and_shared_rows_put_banners_on_the_page(report_of: Any) -> None:
    features = {
        "text": {"ids": ["t"], "extractor": "bert", "weights": "random", "random": True, "encoders": [], "rows": 1,
                 "encoder_samples": "per-repeat"},
    }  # fmt: skip
    protocol = {"kind": "repeated", "repeats": 6, "encoder_share": 1.0}
    facts = {"features": features, "protocol": protocol, "warnings": ["3 texts recur in training"]}
    results = report_of(modalities=("text",), pairing="recorded", facts=facts).content
    assert [banner.kind for banner in results.banners] == ["random", "in_sample", "note"]


def test_fitted_weights_are_summed_up_over_repeats(report_of: Any) -> None:
    own = [weight for weight in report_of().content.chapters["weights"].fitted if weight.model == WEIGHTED]
    assert [weight.modality for weight in own] == ["image", "speech", "text"]
    assert {weight.n for weight in own} == {6}
    assert sum(weight.mean for weight in own) == pytest.approx(1.0)


def test_heads_and_encoders_that_train_have_curves(
    root: Root, write_study: Any, encoder: str, section_of: Callable[..., str]
) -> None:
    features = {"text": {"ids": ["s"], "extractor": "bert", "weights": "trained", "random": False,
                         "encoders": [encoder], "encoder_samples": "reserved", "rows": 1}}  # fmt: skip
    store, runs = write_study(root, modalities=("text",), facts={"features": features})
    case = read_case(store, runs, ReportConfig())
    training, origins = case.value(Training), case.value(Provenance)
    assert training is not None
    assert origins is not None
    assert {curve.name: (curve.kind, curve.n) for curve in training.curves} == {
        "unimodal[text]": ("head", 6),
        "text encoder": ("encoder", 1),
    }
    assert f"{encoder} (reserved)" in section_of("provenance", origins, facts=case.evidence.facts)


def test_a_run_that_is_missing_is_named(root: Root, write_study: Any) -> None:
    store, runs = write_study(root, skip=lambda model, repeat: model == CONCAT and repeat == 2)
    with pytest.raises(EvidenceError, match=r"concat\[.*do not share repeats \[2\]"):
        read_case(store, runs, ReportConfig())
    with pytest.raises(NotFound, match="has no run nowhere"):
        read_case(store, ["nowhere"], ReportConfig())
    with pytest.raises(EvidenceError, match="at least one run"):
        read_case(store, [], ReportConfig())


def test_a_study_whose_splits_name_no_training_sample_is_refused(root: Root, write_study: Any) -> None:
    store, runs = write_study(root, modalities=("text",))
    splits = store.splits()
    root.put_table(
        splits.filter([part != "train" for part in splits["part"].to_pylist()]), store.folder, "splits.parquet"
    )
    with pytest.raises(EvidenceError, match="train on no labelled sample"):
        read_case(store, runs, ReportConfig())


def test_models_scored_on_different_samples_are_refused_by_name(root: Root, write_study: Any) -> None:
    store, runs = write_study(root)
    table = store.runs()
    assert table is not None
    victim = next(row["run_id"] for row in table.to_pylist() if row["model"] == CONCAT and row["repeat"] == 1)
    (part,) = root.names(store.folder, "predictions")
    rows = root.read_table(store.folder, "predictions", part)
    last = max(row["sample_id"] for row in store.predictions([victim]).to_pylist())
    keep = [
        not (r == victim and s == last)
        for r, s in zip(rows["run_id"].to_pylist(), rows["sample_id"].to_pylist(), strict=True)
    ]
    root.put_table(rows.filter(keep), store.folder, "predictions", part)
    with pytest.raises(EvidenceError, match=f"repeat 1 was not scored on the samples of .*{last}"):
        read_case(store, runs, ReportConfig())


def test_a_reference_that_was_not_run_is_refused_with_the_nearest(report_of: Any) -> None:
    written = report_of()
    with pytest.raises(ConfigError, match=r"did you mean 'weighted\[image\+speech\+text\]'"):
        read_case(written.store, written.runs, ReportConfig(reference="weigthed[image+speech+text]"))


def test_the_reference_and_primary_metric_can_be_chosen(report_of: Any) -> None:
    written, config = report_of(), ReportConfig(reference=CONCAT, primary_metric="accuracy")
    results = compute_results(written.store, written.runs, config, report_id="r")
    assert {c.a for c in results.compared()} == {CONCAT}
    assert results.ranking()[0].metric == "accuracy"
    assert results.score_rows()[0]["model"] == results.ranking()[0].model


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"primary_metric": "macro_f"}, "did you mean 'macro_f1'"),
        ({"alpha": 0.0}, "alpha should lie between"),
        ({"draws": 10}, "at least 1000"),
    ],
)
def test_a_bad_setting_is_refused(bad: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ReportConfig(**bad)


def test_results_json_is_what_the_value_says(report_of: Any) -> None:
    written = report_of(modalities=("text",))
    content = json.loads((written.folder / "results.json").read_bytes())
    assert written.folder.name == content["id"] == report_id(written.store.id, written.runs, ReportConfig())
    assert content["schema_version"] == SCHEMA_VERSION
    assert content["reference"] == "unimodal[text]"
    assert len(content["scores"]) == len(written.content.scores)
    assert content["chapters"]["confusions"]["matrices"][0]["rows"] == [
        list(row) for row in written.content.chapters["confusions"].matrices[0].rows
    ]
