import pytest

from flows.leakage import LeakageError, refuse_leakage
from stores.encoders import Trainee
from stores.samples import Sample

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
