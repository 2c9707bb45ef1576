"""The splits are written down before anything is trained by them, and what is scored is what was written."""

from collections import Counter
from typing import Any

import pytest

from flows.facts import check_promise
from flows.jobs import Options, study_job
from flows.pipeline import cast_study
from flows.study_config import load_study
from stores.errors import StoreError
from stores.root import Root
from stores.studies import StudyStore

WRITTEN = ("studies", "talkers.splits.parquet")


class Killed(Exception):
    pass


@pytest.fixture
def per_repeat(talkers: Any, tmp_path: Any) -> Any:
    """The talkers, none reserved, the speech encoder trained in each repeat; in a root of their own."""
    for row in talkers.rows:
        row["split"] = ""
    talkers.replace("train = { epochs = 1 }", 'train = { epochs = 1, samples = "per-repeat" }')
    talkers.root = tmp_path / "runs"
    talkers.save()
    return talkers


def _options(talkers: Any) -> Options:
    return Options(root=str(talkers.root), device="cpu", quiet=True)


@pytest.mark.parametrize("killed", ["train_encoders", "extract_frozen"])
def test_splits_are_there_when_extraction_or_training_begins(
    per_repeat: Any, monkeypatch: pytest.MonkeyPatch, killed: str
) -> None:
    def kill(*_: object) -> None:
        raise Killed

    monkeypatch.setattr(f"flows.pipeline.{killed}", kill)
    with pytest.raises(Killed):
        study_job(str(per_repeat.path), _options(per_repeat))
    rows = Root(per_repeat.root).read_table(*WRITTEN).to_pylist()
    assert Counter((row["repeat"], row["sample_id"]) for row in rows) == {
        (repeat, f"talkers/{row['id']}"): 1 for repeat in (0, 1) for row in per_repeat.rows
    }
    assert {row["part"] for row in rows} == {"train", "val", "test", "encoder"}


def test_what_a_study_scores_is_what_was_written_less_who_lacks_a_row(per_repeat: Any) -> None:
    (per_repeat.folder / "3_joy.png").write_bytes(b"not a picture")
    said = study_job(str(per_repeat.path), _options(per_repeat))
    root = Root(per_repeat.root)
    promised, scored = (
        {tuple(row.values()) for row in table.to_pylist()}
        for table in (root.read_table(*WRITTEN), StudyStore.open(root, said["study"]).splits())
    )
    assert scored <= promised
    assert {(name, part == "encoder") for _, name, part in promised - scored} == {("talkers/3_joy", False)}


def test_other_splits_than_were_written_and_none_at_all_are_refused(per_repeat: Any) -> None:
    root, config = Root(per_repeat.root), load_study(per_repeat.path)
    cast = cast_study(config, config.corpus.build(root, base=config.base))
    with pytest.raises(StoreError, match=r"talkers.splits.parquet is not there"):
        check_promise(config.name, cast, root)
    study_job(str(per_repeat.path), _options(per_repeat))
    check_promise(config.name, cast, root)
    root.put_table(root.read_table(*WRITTEN).slice(1), *WRITTEN)
    with pytest.raises(StoreError, match=r"holds other splits .* study named 'talkers' has run meanwhile"):
        check_promise(config.name, cast, root)
