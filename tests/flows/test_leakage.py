from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flows.facts import _identical
from flows.jobs import Options, study_job
from flows.leakage import LeakageError, refuse_leakage
from fusion.splits import Split
from stores.encoders import Trainee
from stores.root import Root
from stores.samples import Sample
from stores.studies import StudyStore

SEEN = [Trainee(sample_id="c/a", key="k1", label="joy", use="stop", groups={"speaker": "anna", "dialogue": "d1"})]


def scored(name: str, key: str | None, **groups: str) -> list[tuple[Sample, str | None]]:
    return [(Sample(id=name, corpus="c", groups=groups), key)]


def check(
    sample: list[tuple[Sample, str | None]], modality: str = "speech", kinds: tuple[str, ...] = ("speaker",)
) -> None:
    refuse_leakage("lstm_cnn-1", SEEN, sample, kinds=kinds, modality=modality)


@pytest.mark.parametrize(
    ("sample", "shared"),
    [
        (scored("c/a", "k2", speaker="ben"), "the sample itself"),
        (scored("c/b", "k1", speaker="ben"), "the same speech recording"),
        (scored("c/b", "k2", speaker="anna"), "speaker anna"),
    ],
)
def test_a_shared_sample_recording_or_group_is_refused_by_name(
    sample: list[tuple[Sample, str | None]], shared: str
) -> None:
    with pytest.raises(LeakageError, match=rf"has seen 1 of .*: {sample[0][0].id} \({shared}\); reserve whole groups"):
        check(sample)


def test_of_many_the_first_are_named_with_what_they_share_and_the_rest_counted() -> None:
    strangers = scored("c/x", "k9", speaker="ben")
    sharing = [*scored("c/a", "k1"), *scored("c/b", "k1"), *scored("c/c", "k3", speaker="anna"), *scored("c/d", "k1")]
    named = r"4 .*: c/a \(the sample itself\), c/b \(the same speech recording\), c/c \(speaker anna\) and 1 more;"
    with pytest.raises(LeakageError, match=named):
        check([*strangers, *sharing])


def test_strangers_pass() -> None:
    check(scored("c/b", "k2", speaker="ben"))


def test_a_kind_of_group_the_study_does_not_split_by_is_no_leak() -> None:
    check(scored("c/b", "k2", speaker="ben", dialogue="d1"))
    with pytest.raises(LeakageError, match="dialogue d1"):
        check(scored("c/b", "k2", speaker="ben", dialogue="d1"), kinds=("speaker", "dialogue"))


def test_identical_text_alone_is_not_refused() -> None:
    check(scored("c/b", "k1", speaker="ben"), modality="text")


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


def part(*positions: int) -> np.ndarray:
    return np.array(positions, dtype=np.int64)


def test_what_two_parts_say_word_for_word_is_counted_as_a_mean_over_repeats() -> None:
    keys = ["a", "b", "a", "c", "d", "e"]
    splits = [
        Split(repeat=0, train=part(0, 1), val=part(4), test=part(2, 3), encoder=part(5)),
        Split(repeat=2, train=part(0, 1), val=part(2), test=part(3, 4), encoder=part(5)),
    ]
    stored = [[Trainee(sample_id="x", key=key, label="joy", use="fit", groups={})] for key in ("b", "z", "c")]
    assert list(_identical("text", keys, splits, (), of_training=True)) == [
        "identical_text: 25.0% of test utterances, word for word, also occur in the training part"
    ]
    told = list(_identical("text", keys, splits, stored, of_training=True))
    assert [line.partition("%")[0] for line in told] == [
        "identical_text: 25.0",
        "identical_text_encoder: 25.0",  # c, of the third repeat's encoder, is one of two there
        "in_sample_text: 25.0",  # b, of the first repeat's
    ]
    assert len(list(_identical("text", keys, splits, stored, of_training=False))) == 2


def test_utterances_an_encoder_has_read_from_others_are_told_in_the_study(talkers: Any, tmp_path: Path) -> None:
    trained = 'extractor = "bert"\nweights = "trained"\ntrain = { epochs = 1, stop_share = 0.3 }'
    talkers.replace('extractor = "bert"', trained)
    for row in talkers.rows:  # every other speaker of s4 to s7 says what those of the encoder say
        number = int(row["speaker"][1:])
        row["text"] = f"{row['emotion']} {number - 4 if number in (5, 7) else number}"
    store = StudyStore.open(Root(tmp_path), run(talkers, tmp_path)["study"])
    rows = store.splits().to_pylist()
    expected = set()
    for code, part in (("identical_text_encoder", "test"), ("in_sample_text", "train")):
        repeats = [[row["sample_id"] for row in rows if (row["repeat"], row["part"]) == (n, part)] for n in range(2)]
        share = np.mean([np.mean([name.startswith(("talkers/5", "talkers/7")) for name in own]) for own in repeats])
        expected |= {f"{code}: {share:.1%}"} if share else set()
    assert expected
    assert {warning.partition(" of ")[0] for warning in store.facts()["warnings"]} == expected
