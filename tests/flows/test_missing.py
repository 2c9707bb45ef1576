"""Studies in which samples lack a modality: who takes part, what heads see, and what is written down about it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from extractors.extractor import Runtime
from flows.facts import remarked
from flows.features import Workbench, extract_frozen
from flows.jobs import Options, run_job
from flows.pipeline import make_manifest
from flows.study_config import load_study
from stores.errors import ConfigError
from stores.progress import Silent
from stores.root import Root
from stores.studies import StudyStore

HEADS = "[heads.unimodal]\n[heads.weighted]\n[heads.concat]\n[heads.vote]\n\n[training]\nepochs = 2\n"
MASKED = '[study]\nmissing = "mask"'


@pytest.fixture
def gappy(talkers: Any) -> Any:
    """The talkers, of whom 4_joy has no picture, 6_joy no sound, and 5_anger nothing at all."""
    rows = {row["id"]: row for row in talkers.rows}
    rows["4_joy"]["image"] = rows["6_joy"]["audio"] = ""
    rows["5_anger"].update(text="", audio="", image="")
    talkers.replace("repeats = 2", 'kind = "leave-one-group-out"')
    talkers.replace("[heads.unimodal]\n", HEADS)
    return talkers


def run(talkers: Any) -> tuple[dict[str, Any], StudyStore]:
    said = run_job(str(talkers.save()), Options(root=str(talkers.root), device="cpu", quiet=True))
    return said, StudyStore.open(Root(talkers.root), said["study"])


def left_out(store: StudyStore) -> dict[str, str]:
    rows = store.samples().to_pylist()
    return {row["sample_id"].split("/")[1]: row["excluded"] for row in rows if row["label"] and row["excluded"]}


def told_of(store: StudyStore, model: str) -> pd.DataFrame:
    """The test predictions of a model, one row a sample, with the posterior of joy and of anger in columns 0 and 1."""
    runs = store.runs().to_pandas()
    own = runs[runs["model"] == model].set_index("run_id")["repeat"]
    table = store.predictions(list(own.index)).to_pandas()
    found = pd.DataFrame(table["posterior"].tolist(), index=table["sample_id"].str.split("/").str[1])
    return found.assign(repeat=own[table["run_id"]].to_numpy())


@pytest.fixture
def masked(gappy: Any) -> tuple[dict[str, Any], StudyStore]:
    """What a masked study of them says and stores, 7_anger's picture being broken."""
    (gappy.folder / "7_anger.png").write_bytes(b"not a picture")
    gappy.replace("[study]", MASKED)
    return run(gappy)


def test_a_masked_study_scores_who_has_something_and_a_complete_one_who_has_everything(gappy: Any) -> None:
    complete = run(gappy)[1]
    gappy.replace("[study]", MASKED)
    masked = run(gappy)[1]
    everybody = {f"{speaker}_{label}" for speaker in (4, 5, 6, 7) for label in ("joy", "anger")}
    assert set(told_of(complete, "concat[image+speech]").index) == everybody - {"4_joy", "5_anger", "6_joy"}
    for model in ("unimodal[image]", "vote[image+speech]", "concat[image+speech]", "weighted[image+speech+text]"):
        assert set(told_of(masked, model).index) == everybody - {"5_anger"}
    reserved = {f"{i}_{label}": "reserved for encoders" for i in range(4) for label in ("joy", "anger")}
    assert left_out(complete) == reserved | {
        "4_joy": "absent: image",
        "5_anger": "absent: image, speech, text",
        "6_joy": "absent: speech",
    }
    assert left_out(masked) == reserved | {"5_anger": "absent: image, speech, text"}


def test_samples_name_the_modalities_they_lack(masked: Any) -> None:
    rows = masked[1].samples().to_pylist()
    lacks = {row["sample_id"].split("/")[1]: row["lacks"] for row in rows if row["lacks"]}
    assert lacks == {"4_joy": "image", "5_anger": "image+speech+text", "6_joy": "speech", "7_anger": "image"}


def test_a_head_that_sees_nothing_predicts_the_class_shares_of_its_training_part(masked: Any) -> None:
    store = masked[1]
    label = {row["sample_id"]: row["label"] for row in store.samples().to_pylist()}
    splits = store.splits().to_pandas()
    for modality, blind in (("image", ["4_joy", "7_anger"]), ("speech", ["6_joy"])):
        found = told_of(store, f"unimodal[{modality}]")
        for name, row in found.iterrows():
            train = splits[(splits["repeat"] == row["repeat"]) & (splits["part"] == "train")]["sample_id"]
            prior = [np.mean([label[i] == c for i in train]) for c in ("joy", "anger")]
            assert np.allclose([row[0], row[1]], prior, atol=1e-6) == (name in blind)


def test_a_vote_is_made_by_the_modalities_that_are_there(masked: Any) -> None:
    store = masked[1]
    text, vote = (told_of(store, model)[[0, 1]] for model in ("unimodal[text]", "vote[image+text]"))
    for name in ("4_joy", "7_anger"):
        assert vote.loc[name].tolist() == np.eye(2)[text.loc[name].to_numpy().argmax()].tolist()


def test_the_books_balance_and_the_report_says_who_lacks_what(masked: Any) -> None:
    said = masked[0]
    for modality, absent, quarantined in (("image", 2, 1), ("speech", 2, 0), ("text", 1, 0)):
        books = said["features"][modality]
        assert (books["absent"], books["quarantined"], books["extracted"]) == (absent, quarantined, 0)
        assert books["samples"] == books["absent"] + books["cached"] + books["quarantined"] == 16
    facts = json.loads(Path(said["results"]).read_text(encoding="utf-8"))["facts"]
    assert facts["lacking"] == {"image": 2, "speech": 1, "text": 0}
    assert "identical" not in masked[1].radar()["reason"].to_pylist()  # what two samples lack is not the same recording
    methods = Path(said["report"]).with_name("methods.md").read_text(encoding="utf-8")
    assert "some lack a modality (2 lack image and 1 lack speech)" in methods


def test_encoders_trained_per_repeat_leave_out_who_lacks_their_modality_and_heads_mask_him(gappy: Any) -> None:
    for row in gappy.rows:
        row["split"] = ""
    gappy.replace("train = { epochs = 1 }", 'train = { epochs = 1, samples = "per-repeat" }')
    gappy.replace('kind = "leave-one-group-out"', "repeats = 2")
    gappy.replace("[study]", MASKED)
    store = run(gappy)[1]
    assert left_out(store) == {"5_anger": "absent: image, speech, text"}
    assert store.facts()["lacking"] == {"image": 1, "speech": 1, "text": 0}


def test_a_modality_nobody_in_a_training_part_has_is_refused(gappy: Any) -> None:
    gappy.replace("[study]", MASKED)
    for row in gappy.rows[8:]:
        row["image"] = ""
    with pytest.raises(ConfigError, match=r"repeat 0: no training sample has image: take \[features.image\] out"):
        run(gappy)


def _fixed(gappy: Any) -> None:
    """Speakers 4 and 5 train, 6 validates and 7 is tested on."""
    for row in gappy.rows[8:]:
        row["split"] = {"s6": "val", "s7": "test"}.get(row["speaker"], "train")
    gappy.replace('kind = "leave-one-group-out"', 'kind = "fixed"\nrepeats = 2')
    gappy.replace("[study]", MASKED)


def test_a_modality_nobody_in_a_validation_part_has_is_refused_with_the_numbers(gappy: Any) -> None:
    _fixed(gappy)
    for row in gappy.rows:
        if row["speaker"] == "s6":
            row["image"] = ""
    with pytest.raises(ConfigError, match=r"repeat 0: none of 2 validation samples has image, and 2 of 3 training"):
        run(gappy)


def test_a_test_part_or_a_class_in_training_without_a_modality_is_told(gappy: Any) -> None:
    _fixed(gappy)
    for row in gappy.rows:
        if row["speaker"] == "s7":
            row["audio"] = ""
    store = run(gappy)[1]
    # of those who train, 5_anger has nothing: anger is 4_anger; joy is 4_joy without a picture, and 5_joy
    told = [warning for warning in store.facts()["warnings"] if warning.startswith("un")]
    assert told == ["untested_speech: no test sample has speech in repeats 0, 1; heads on it alone predict the prior"]


def test_a_class_whose_training_samples_all_lack_a_modality_is_told(gappy: Any) -> None:
    _fixed(gappy)
    for row in gappy.rows:
        if row["id"] == "4_anger":
            row["image"] = ""
    store = run(gappy)[1]
    told = [warning for warning in store.facts()["warnings"] if warning.startswith("un")]
    assert told == ["untrained_image: no training sample of anger has image in repeats 0, 1"]


def test_remarks_above_two_per_cent_are_among_the_warnings_of_a_study(talkers: Any) -> None:
    for row in talkers.rows[:3]:
        row["text"] += " \U0001f62d"
    config = load_study(str(talkers.save()))
    bench = Workbench(root=Root(talkers.root), runtime=Runtime(device="cpu"), report=Silent())
    manifest = make_manifest(config, bench.root)
    features = extract_frozen(config, manifest, bench)
    keys = {m: [sample.key(m) for sample in manifest.samples] for m in config.modalities}
    told = "unknown_tokens: 18.8% of the 16 samples with text rows have this remark"
    assert list(remarked(features, keys)) == [told]
