from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flows.facts import _in_sample
from flows.jobs import Options, study_job
from flows.leakage import LeakageError, refuse_leakage
from fusion.splits import Split
from reports.evidence import read_evidence
from reports.findings.leaks import judged_on
from stores.encoders import Trainee
from stores.root import Root
from stores.samples import Sample
from stores.studies import StudyStore

SEEN = [Trainee(sample_id="c/a", key="k1", label="joy", use="stop", groups={"speaker": "anna", "dialogue": "d1"})]


def scored(name: str, **groups: str) -> list[Sample]:
    return [Sample(id=name, corpus="c", groups=groups)]


def check(sample: list[Sample], kinds: tuple[str, ...] = ("speaker",)) -> None:
    refuse_leakage("lstm_cnn-1", SEEN, sample, kinds=kinds)


@pytest.mark.parametrize(
    ("sample", "shared"),
    [(scored("c/a", speaker="ben"), "the sample itself"), (scored("c/b", speaker="anna"), "speaker anna")],
)
def test_a_shared_sample_or_declared_group_is_refused_by_name(sample: list[Sample], shared: str) -> None:
    with pytest.raises(LeakageError, match=rf"has seen 1 of .*: {sample[0].id} \({shared}\); reserve whole groups"):
        check(sample)


def test_of_many_the_first_are_named_with_what_they_share_and_the_rest_counted() -> None:
    strangers = scored("c/x", speaker="ben")
    sharing = [one for name in "abcd" for one in scored(f"c/{name}", speaker="anna")]
    named = r"4 .*: c/a \(the sample itself\), c/b \(speaker anna\), c/c \(speaker anna\) and 1 more;"
    with pytest.raises(LeakageError, match=named):
        check([*strangers, *sharing])


def test_strangers_pass() -> None:
    check(scored("c/b", speaker="ben"))


def test_a_kind_of_group_the_study_does_not_split_by_is_not_refused() -> None:
    check(scored("c/b", speaker="ben", dialogue="d1"))
    with pytest.raises(LeakageError, match="dialogue d1"):
        check(scored("c/b", speaker="ben", dialogue="d1"), kinds=("speaker", "dialogue"))


def run(talkers: Any, root: Path) -> dict[str, Any]:
    return study_job(str(talkers.save()), Options(root=str(root), device="cpu", quiet=True))


def test_groups_count_as_the_corpus_has_them_now(talkers: Any, tmp_path: Path) -> None:
    """An encoder is not trained again when the group of somebody it has seen is corrected."""
    run(talkers, tmp_path)
    corrected = [dict(row) for row in talkers.rows]
    for row in talkers.rows:  # two speakers change names
        row["speaker"] = {"s0": "s4", "s4": "s0"}.get(row["speaker"], row["speaker"])
    run(talkers, tmp_path)
    talkers.rows = corrected
    for row in talkers.rows:
        row["speaker"] = {"s0": "s7"}.get(row["speaker"], row["speaker"])
    with pytest.raises(LeakageError, match=r"talkers/7_anger \(speaker s7\)"):
        run(talkers, tmp_path)
    speech = [name for name in Root(tmp_path).names("encoders") if name.startswith("lstm_cnn")]
    assert len(speech) == 1


def test_a_group_the_study_does_not_name_that_an_encoder_has_seen_is_warned_of(talkers: Any) -> None:
    talkers.replace('groups = { speaker = "speaker" }', 'groups = { speaker = "speaker", session = "session" }')
    for row in talkers.rows:  # s4 was recorded with s0, whom the speech encoder was trained on; and so on
        row["session"] = str(int(row["speaker"][1:]) % 4)
    store = StudyStore.open(Root(talkers.root), run(talkers, talkers.root)["study"])
    rows = [row for row in store.radar().to_pylist() if row["kind"] == "session"]
    tested = {(row["repeat"], row["sample_id"]) for row in store.splits().to_pylist() if row["part"] == "test"}
    assert {(row["repeat"], row["sample_id"]) for row in rows} == tested
    assert {row["reason"] for row in rows} == {"group, encoder"}
    assert all(int(row["sample_id"][8]) == int(row["nearest"][8]) + 4 for row in rows)
    _, seen = judged_on(read_evidence(store, sorted(store.run_ids())), store.radar())
    assert seen is not None
    assert seen.share == 1
    assert seen.refused == "training has seen 100.0 % of the test samples"


def part(*positions: int) -> np.ndarray:
    return np.array(positions, dtype=np.int64)


def test_what_heads_train_on_and_their_encoder_did_is_told_as_a_mean_over_repeats() -> None:
    keys = ["a", "b", "a", "c", "d", "e"]
    splits = [
        Split(repeat=0, train=part(0, 1), val=part(4), test=part(2, 3), encoder=part(5)),
        Split(repeat=2, train=part(0, 1), val=part(2), test=part(3, 4), encoder=part(5)),
    ]
    stored = [[Trainee(sample_id="x", key=key, label="joy", use="fit", groups={})] for key in ("b", "z", "c")]
    assert list(_in_sample("text", keys, splits, ())) == []
    [told] = _in_sample("text", keys, splits, stored)  # b, of the first repeat's, is one of two there
    assert told.startswith("in_sample_text: 25.0% of the heads' training utterances, word for word, are also")


def test_utterances_an_encoder_has_read_from_others_are_told_in_the_study(talkers: Any, tmp_path: Path) -> None:
    trained = 'extractor = "bert"\nweights = "trained"\ntrain = { epochs = 1, stop_share = 0.3 }'
    talkers.replace('extractor = "bert"', trained)
    for row in talkers.rows:  # every other speaker of s4 to s7 says what those of the encoder say
        number = int(row["speaker"][1:])
        row["text"] = f"{row['emotion']} {number - 4 if number in (5, 7) else number}"
    store = StudyStore.open(Root(tmp_path), run(talkers, tmp_path)["study"])
    rows = store.splits().to_pylist()
    again = ("talkers/5", "talkers/7")
    repeats = [[row["sample_id"] for row in rows if (row["repeat"], row["part"]) == (n, "train")] for n in range(2)]
    share = np.mean([np.mean([name.startswith(again) for name in own]) for own in repeats])
    expected = {f"in_sample_text: {share:.1%}"} if share else set()
    assert {warning.partition(" of ")[0] for warning in store.facts()["warnings"]} == expected
    tested = {(row["repeat"], row["sample_id"]) for row in rows if row["part"] == "test"}
    radar = [row for row in store.radar().to_pylist() if row["reason"] == "identical, encoder"]
    assert {(row["repeat"], row["sample_id"]) for row in radar} == {one for one in tested if one[1].startswith(again)}
    assert {row["kind"] for row in radar} <= {"text"}
    assert expected or radar
