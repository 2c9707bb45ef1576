"""What is deleted or exchanged among the files of a study is found, whichever it is: two studies, file by file."""

import shutil

import numpy as np
import pyarrow as pa
import pytest

from stores.errors import DamagedError
from stores.inventory import INVENTORY, latest_path, missing_files, put_latest, take_stock
from stores.litter import find_litter, sweep
from stores.logs import LOGS
from stores.root import Root
from stores.studies import RADAR, Predicted, Run, RunSpec, StudyStore
from stores.verifying import verify, verify_study

SAMPLES = pa.table({"sample_id": ["c/1", "c/2"], "label": ["joy", "anger"]})
SPLITS = pa.table({"repeat": [0, 0], "sample_id": ["c/1", "c/2"], "part": ["val", "test"]})
STUDIES = {"film": "study-000000000001", "calls": "study-000000000002"}
WHOLE = ("study.json", "samples.parquet", "splits.parquet", "radar.parquet")
KINDS = ("predictions", "weights", "runs", *LOGS)
FILES = [
    *(f"studies/{STUDIES['film']}/{name}" for name in (*WHOLE, INVENTORY, *KINDS)),
    "studies/film.latest.json",
    "studies/film.splits.parquet",
]


def run(study: str) -> Run:
    said = Predicted(
        sample_ids=("c/1",),
        labels=np.zeros(1, int),
        groups=np.array(["A"]),
        posteriors=np.array([[0.75, 0.25]], np.float32),
    )
    spec = RunSpec(study=study, head="weighted", version=1, config={}, modalities=("text",), repeat=0, training={})
    return Run(spec=spec, seed=3, val=said, test=said, weights=(("text", None, 1.0),))


def made(root: Root, name: str) -> StudyStore:
    """Write a study as a run does: everything it may hold, its inventory last."""
    facts = {"name": name, "classes": ["joy", "anger"], "features": {}}
    store, one = StudyStore.create(root, STUDIES[name], facts, SAMPLES, SPLITS), run(STUDIES[name])
    store.write_radar(RADAR.empty_table())
    root.put_table(SPLITS, "studies", f"{name}.splits.parquet")
    noted = store.append("trials", [dict.fromkeys(LOGS["trials"].names)])
    store.write_runs([one], [*noted, *store.open_test([one.spec.id], "score")])
    put_latest(root, name, store, {"runs": [one.spec.id], "file": f"/{name}.toml", "corpus": "1"})
    store.append("plans", [dict.fromkeys(LOGS["plans"].names) | {"models": [], "runs": []}])
    for log in ("latency", "robustness"):
        store.append(log, [{**dict.fromkeys(LOGS[log].names), "run_id": one.spec.id}])
    take_stock(store, name)
    return store


@pytest.fixture
def two(root):
    """Two studies that are sound."""
    for name in STUDIES:
        made(root, name)
    assert (verify(root).damages, verify(root).litter) == ([], [])
    return root


def told(damages) -> str:
    return "\n".join(f"{damage.path}: {damage.problem}" for damage in damages)


def parts(root: Root, path: str) -> list[str]:
    """The files of a path: itself, or those in a folder."""
    return [file.path for file in root.files() if file.path == path or file.path.startswith(f"{path}/")]


@pytest.mark.parametrize("path", FILES)
def test_a_deleted_file_is_named_by_verify_and_by_the_check_of_a_report(two, path):
    files = parts(two, path)
    assert files
    two.delete(path)
    damages = verify(two).damages
    assert any(file in told(damages) for file in files) or (path.endswith("/runs") and path in told(damages))
    if path != latest_path("film"):  # without it no report is found by the study's name
        assert verify_study(two, STUDIES["film"], "film")
    assert verify_study(two, STUDIES["calls"], "calls") == []


@pytest.mark.parametrize("path", FILES)
def test_a_file_exchanged_with_that_of_another_study_is_named(two, path):
    other = path.replace(STUDIES["film"], STUDIES["calls"]).replace("film", "calls")
    for one, two_ in zip(parts(two, path), parts(two, other), strict=True):
        first, second = two.read(one), two.read(two_)
        two.put(second, one)
        two.put(first, two_)
    damages = verify(Root(two.address)).damages
    for name in (*parts(two, path), *parts(two, other)):
        assert f"{name} is another's: it was written as" in told(damages)
    for name, study in STUDIES.items():
        if path != "studies/film.splits.parquet":  # which only a run reads, and refuses
            assert verify_study(two, study, name)


@pytest.mark.parametrize("kind", [*KINDS, ""])
def test_whole_folders_exchanged_are_named(two, kind):
    one, other = (two.local("studies", study, kind) for study in STUDIES.values())
    one.rename(two.local("aside"))
    other.rename(one)
    two.local("aside").rename(other)
    for name, study in STUDIES.items():
        assert study in told(verify(Root(two.address)).damages)
        assert verify_study(two, study, name)


@pytest.mark.parametrize("kind", ["predictions", "weights", "openings", "trials"])
def test_a_run_one_of_whose_files_is_gone_counts_for_nothing_until_it_is_made_again(two, kind):
    store, one = StudyStore(two, STUDIES["film"]), run(STUDIES["film"])
    two.delete(store.folder, kind)
    assert store.run_ids() == set()
    assert store.runs() is None
    noted = store.append("trials", [dict.fromkeys(LOGS["trials"].names)])
    store.write_runs([one], [*noted, *store.open_test([one.spec.id], "score")])
    take_stock(store, "film")
    assert store.run_ids() == {one.spec.id}
    verdict = verify(two)
    assert (verdict.damages, len(verdict.litter)) == ([], 1)
    sweep(two, find_litter(two, grace=-1.0))
    sweep(two, find_litter(two, grace=-1.0))  # what the seal was of goes once the seal has gone
    assert (verify(two).damages, verify(two).litter) == ([], [])
    assert [len(two.names(store.folder, name)) for name in ("runs", "predictions", "weights")] == [1, 1, 1]


def test_runs_that_nobody_makes_again_stay_missed_and_their_rest_goes_when_asked(two):
    store = StudyStore(two, STUDIES["film"])
    two.delete(store.folder, "predictions")
    take_stock(store, "film")
    assert find_litter(two) == []
    sweep(two, find_litter(two, damaged=True))
    assert two.names(store.folder, "runs") == []
    assert "1 runs are not there" in told(verify(two).damages)


def test_a_log_that_was_made_again_is_no_longer_missed(two):
    store = StudyStore(two, STUDIES["film"])
    [lost] = parts(two, f"{store.folder}/latency")
    two.delete(lost)
    assert missing_files(store) == [lost]
    store.append("latency", [dict.fromkeys(LOGS["latency"].names)])
    take_stock(store, "film")
    assert verify(two).damages == []


def test_an_inventory_that_says_the_same_is_not_written_again(two):
    store = StudyStore(two, STUDIES["film"])
    path = two.local(store.folder, INVENTORY)
    before = path.stat().st_mtime_ns
    take_stock(store, "film")
    assert path.stat().st_mtime_ns == before
    path.write_bytes(b"{")
    take_stock(store, "film")
    assert verify(two).damages == []


def test_a_study_that_lacks_study_json_but_has_run_is_no_litter(two):
    two.delete("studies", STUDIES["film"], "study.json")
    assert find_litter(two, grace=-1.0) == []
    made(two, "film")
    assert StudyStore.open(two, STUDIES["film"]).facts()["name"] == "film"


def test_what_lies_in_a_folder_of_a_former_name_is_never_collected(two):
    """Names were paths once: `a/b` put its pointer into a folder of that name."""
    shutil.copytree(two.local("studies", STUDIES["film"], "runs"), two.local("studies", "unfinished", "runs"))
    two.put_json({"study": STUDIES["film"], "runs": []}, "studies", "a", "b.latest.json")
    assert [item.paths for item in find_litter(two, grace=-1.0)] == [("studies/unfinished",)]


def test_damaged_samples_or_splits_are_written_again(two):
    for name in ("samples", "splits"):
        two.put(b"x", "studies", STUDIES["film"], f"{name}.parquet")
        with pytest.raises(DamagedError):
            getattr(StudyStore(two, STUDIES["film"]), name)()
        made(two, "film")
        assert verify(two).damages == []
