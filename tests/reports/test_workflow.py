"""How a study was made: counts and durations as stored, diagrams that hold them, the paper beside it."""

import re
from dataclasses import replace
from importlib.metadata import version
from typing import Any

import numpy as np
import pytest
import scipy

from reports.chapters.paper import Paper, read_paper
from reports.chapters.provenance import Provenance
from reports.chapters.training import Training, _missing
from reports.chapters.workflow import Box, Workflow, stack
from reports.config import ReportConfig
from reports.findings.making import Making, _of_heads, _settings, _text
from reports.heads import FUSES
from reports.report import read_case
from stores.plugins import plugin_names
from stores.root import Root


def _making(report_of: Any) -> Making:
    found = report_of().content.value(Workflow)
    assert found is not None
    return found


def test_data_are_counted_from_samples_and_splits(report_of: Any) -> None:
    corpus = _making(report_of).corpus
    splits = report_of().store.splits().to_pandas()
    sizes = splits.groupby(["part", "repeat"]).size().groupby("part").mean()
    assert (corpus.samples, corpus.used, corpus.repeats) == (252, 240, 6)
    assert (corpus.train, corpus.val, corpus.test) == pytest.approx((sizes["train"], sizes["val"], sizes["test"]))
    assert corpus.groups == ("speaker",)


def test_training_time_and_epochs_are_those_of_the_runs(report_of: Any) -> None:
    runs = report_of().store.runs().to_pandas()
    built = {row.model: row for row in _making(report_of).models}
    assert len(built) == 15
    for model, own in runs.groupby("model"):
        assert built[model].runs == 6
        if not model.startswith("vote"):
            assert built[model].total_s == pytest.approx(own["seconds"].sum())
            assert built[model].training_s == pytest.approx(own["seconds"].mean())
    vote = built["vote[image+speech+text]"]
    assert (vote.epochs, vote.training_s, vote.total_s) == (None, None, None)  # it trains nothing
    assert 9 <= (built["weighted[image+speech+text]"].epochs or 0) < 16


def test_predictions_count_every_model_repeat_and_test_sample_and_not_the_majority_class(report_of: Any) -> None:
    written = report_of()
    assert _making(report_of).predictions == len(written.store.predictions(written.runs))


def test_an_encoder_that_was_trained_here_brings_its_seconds_and_its_size(
    root: Root, write_study: Any, encoder: str
) -> None:
    store, runs = write_study(root, modalities=("speech", "text"))
    facts = store.facts()
    facts["features"]["speech"] |= {"encoders": [encoder], "identity": {"version": 2, "spec": {"dim": 256}}}
    facts["features"]["text"]["encoders"] = ["gone-000000000000"]
    facts["extraction"] = {"speech": {"rows": 240, "seconds": 4.5, "stages": {}}}
    facts = {name: value for name, value in facts.items() if name not in ("id", "format_version")}
    type(store).create(root, store.id, facts, store.samples(), store.splits())
    case = read_case(store, runs, ReportConfig())
    making, origins = case.value(Workflow), case.value(Provenance)
    assert making is not None
    assert origins is not None
    speech, text = making.encoders
    assert (speech.width, speech.version, speech.trained, speech.fitted_on, speech.best_epoch) == (256, 2, 1, 1, 6)
    assert speech.training_s == pytest.approx(sum(0.5 + e for e in range(8)))
    assert speech.weights_mb == len(root.read("encoders", encoder, "weights.safetensors")) / 1e6
    assert (text.trained, text.training_s, text.weights_mb) == (1, None, None)
    took = {row.work: row for row in origins.took}
    assert (took["extraction of speech"].wall_s, took["extraction of speech"].on) == (4.5, "cpu, bfloat16")
    assert took["training of speech encoders"].wall_s == speech.training_s
    assert took["training of text encoders"].wall_s is None
    assert took["training of heads"].wall_s == pytest.approx(sum(row.total_s or 0 for row in making.models))
    assert took["training of heads"].count == sum(row.runs for row in making.models if row.head != "vote")
    assert (speech.missing, text.missing) == (0, 1)
    training = case.value(Training)
    assert training is not None
    assert _missing(training, facts["features"]) == ["1 of 1 text"]


def test_every_head_there_is_has_its_words_in_the_table_of_strategies(report_of: Any) -> None:
    assert set(plugin_names("fusion.heads")) <= set(FUSES)
    results = report_of().content
    rows = {row["head"]: row for row in Workflow().tables(_making(report_of), results)["strategies"]}
    assert rows["unimodal"]["subsets"] == 3
    assert rows["unimodal"]["accuracy"] == "–"
    accuracy = results.score("vote[image+speech+text]", "accuracy").estimate
    assert rows["vote"]["accuracy"].startswith(f"{100 * accuracy:.1f} (")


def test_settings_of_ways_of_training_are_told_once_each() -> None:
    spec = {"training": {"optimiser": "adam", "learning_rate": 1e-3, "batch_size": 32}, "variant": ""}
    other = {"training": {**spec["training"], "optimiser": "sgd", "momentum": 0.9}, "variant": "sgd"}  # type: ignore[dict-item]
    found = list(_of_heads([spec, spec, other, {"training": {}, "variant": ""}]))
    assert [(row.what, row.optimiser, row.momentum) for row in found] == [
        ("heads", "adam", None),
        ("heads, sgd", "sgd", 0.9),
    ]


def test_settings_are_words_and_not_json() -> None:
    reads = {"extractor": "acoustic", "config": {}, "spec": {"hop_length": 160, "mel": True}, "of": [1, [2, 3], None]}
    assert _text(reads) == "config none, extractor acoustic, of (1, (2, 3), none), spec (hop length 160, mel yes)"
    specs = [{"head": "gated", "version": 1, "config": {"temperature": 1.5, "with_bias": False}}]
    facts = {"scheme": "emotion", "groups": [], "missing": "mask", "seed": 3, "protocol": {"encoder_share": 0.5}}
    told = {(own.part, own.name): own.value for own in _settings({**facts, "features": {}}, specs)}
    assert told["study", "groups"] == "none"
    assert told["protocol", "encoder share"] == "0.5"
    assert told["head gated", "with bias"] == "no"


def test_encoders_that_are_not_in_the_root_are_said_to_be_missing(report_of: Any, section_of: Any) -> None:
    making = _making(report_of)
    assert "not in this root" not in section_of("workflow", making)
    gone = replace(making, encoders=(replace(making.encoders[0], trained=20, missing=3),))
    assert "3 of 20 image encoders are not in this root: curves and times are missing" in section_of("workflow", gone)
    facts = report_of().content.facts
    features = {**facts["features"], "image": {**facts["features"]["image"], "encoders": ["resnet-0123456789ab"]}}
    said = section_of("training", report_of().content.chapters["training"], facts={**facts, "features": features})
    assert "Encoders that are not in this root: 1 of 1 image. Their curves and times are missing." in said


def test_provenance_names_the_study_and_what_computed_it_and_explains_its_rows(report_of: Any, section_of: Any) -> None:
    content = report_of().content
    facts = content.facts
    speech = {**facts["features"]["speech"], "identity": {"upstream": "acoustic-0123456789ab"}}
    said = section_of(
        "provenance",
        content.chapters["provenance"],
        name="<b>mine</b>",
        facts={**facts, "features": {**facts["features"], "speech": speech}},
    )
    assert '<th>study</th><td class="words">&lt;b&gt;mine&lt;/b&gt;</td>' in said
    assert f"affuse {version('affuse')}, numpy {np.__version__}, scipy {scipy.__version__}" in said
    assert "<code>acoustic</code> rows are what the speech rows are made from" in said
    assert "Samples with the same file or text share a row." in said


def test_diagrams_hold_their_texts_and_are_narrow_enough_for_a_phone(report_of: Any) -> None:
    results = report_of().content
    workflow, architecture = Workflow().figures(_making(report_of), results)
    for text in ("Corpus planted", "240 take part", "6 repeats", "4 heads, 15 models", "corrected resampled t"):
        assert text in workflow.svg
    for text in ("lstm_cnn", "weighted (the reference)", "5 classes"):
        assert text in architecture.svg
    for figure in (workflow, architecture):
        view = re.search(r'viewBox="0 0 ([\d.]+) ', figure.svg)
        assert view is not None
        smallest = min(float(size) for size in re.findall(r"font(?:-size)?: ?(?:[a-z0-9]+ )?([\d.]+)px", figure.svg))
        assert smallest * 352 / float(view[1]) > 9  # pixels, at the width a figure has on a phone


def test_an_arrow_leaves_every_box_for_what_lies_below_it() -> None:
    levels = [
        [Box(title="one")],
        [Box(title=name) for name in ("a", "b", "c")],
        [Box(title="last", lines=("word " * 40,))],
    ]
    svg = stack("boxes", "g", "Boxes from top to bottom", levels).svg
    boxes, arrows = svg.count('id="boxes-patch_'), 6
    assert boxes - 1 >= 5 + arrows  # the background, five boxes, and two patches an arrow at most
    assert svg.count(">word word") > 1  # wrapped


def test_hostile_names_do_not_break_the_diagrams(report_of: Any) -> None:
    making = _making(report_of)
    hostile = replace(making, corpus=replace(making.corpus, groups=("<b>$\\frac{</b>",)))
    workflow, _ = Workflow().figures(hostile, report_of().content)
    assert "<b>" not in workflow.svg
    assert "&lt;b&gt;" in workflow.svg


def test_the_papers_figures_agree_with_its_own_text_only_where_the_audit_says_so() -> None:
    paper = read_paper()
    matrix = np.array(paper.confusion)
    assert (int(np.trace(matrix)), int(matrix.sum())) == (1535, 1876)
    for row in paper.scores:
        _, precision, recall, f1 = row.values
        assert round(2 * precision * recall / (precision + recall) + 1e-9, 1) == f1
    assert paper.predicted == {"text": ("neutral",), "speech": ("anger", "fear"), "image": ("joy", "sadness")}
    assert len(paper.contradictions) == 14


def test_our_models_stand_beside_the_papers_only_where_the_study_has_them(report_of: Any) -> None:
    written = report_of()
    value = written.content.value(Paper)
    assert {row.model: row.ours for row in value.scores} == {
        "BERT (text)": "unimodal[text]",
        "LSTM-CNN (speech)": "unimodal[speech]",
        "ResNet (image)": "unimodal[image]",
        "early fusion": "concat[image+speech+text]",
        "late fusion": "vote[image+speech+text]",
        "weighted fusion": "weighted[image+speech+text]",
    }
    assert [row.ours for row in value.others] == [None, None, None, "weighted[image+speech+text]"]
    section = written.section("paper")
    assert "Display only" in section
    ours = 100 * written.content.score("unimodal[text]", "accuracy").estimate
    assert f"<th>BERT (text)</th><td>91.2</td><td>{ours:.1f}</td>" in section


def test_the_same_runs_say_the_same_again(report_of: Any) -> None:
    written = report_of()
    assert written.case.value(Workflow) == written.content.value(Workflow)
