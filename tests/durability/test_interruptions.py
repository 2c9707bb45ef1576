"""Kills, a full disk, forbidden folders, two writers at once: never a wrong row, never a lost one."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from benchmarks.kill_resume import kill_and_resume
from extractors import plan as planning
from extractors.extractor import Inputs, Runtime
from extractors.run import extract
from extractors.speech.acoustic import Acoustic, AcousticConfig
from stores.compaction import compact
from stores.features import FeatureStore
from stores.progress import Silent
from stores.root import Root
from stores.samples import Sample
from stores.verifying import verify

ALL = {"samples": 24, "absent": 0, "cached": 0, "extracted": 23, "quarantined": 1, "distinct": 23}
NOBODY = "65534"


def again(cached: int) -> dict[str, int]:
    return {**ALL, "cached": cached, "extracted": 23 - cached}


@pytest.mark.slow
def test_killed_at_random_instants_and_resumed_it_ends_as_if_undisturbed(tmp_path: Path) -> None:
    found = kill_and_resume(tmp_path, kills=10)
    assert found["kills"] == 10
    assert (found["lost"], found["wrong"], found["sealed_twice"], found["damages"]) == (0, 0, 0, 0)
    assert found["rows"] + found["quarantined"] > 90
    assert 0 < found["repeated"] <= found["repeated_at_most"]


def test_two_processes_at_once_end_with_each_row_once_for_every_reader(tmp_path, clips, start, extract_clips, rows):
    assert extract_clips(tmp_path / "calm", clips) == ALL
    shared, go = tmp_path / "shared", tmp_path / "go"
    ready = [tmp_path / f"ready{n}" for n in range(2)]
    processes = [start(shared, clips, f"wait_for={go}", f"ready={path}") for path in ready]
    while not all(path.exists() for path in ready):
        assert all(process.poll() is None for process in processes)
    go.touch()
    books = [json.loads(process.communicate(timeout=120)[0]) for process in processes]
    assert all(book["samples"] == 24 and book["cached"] + book["extracted"] == 23 for book in books)
    assert rows(shared) == rows(tmp_path / "calm")
    assert verify(Root(shared)).damages == []
    assert extract_clips(shared, clips) == again(cached=23)
    [store] = [FeatureStore.open(Root(shared), "speech", "acoustic")]
    compact(store)
    assert rows(shared) == rows(tmp_path / "calm")


def full_disk(folder: Path) -> tuple[str, ...]:
    """Return the command under which `folder` is a file system of 150 kB; skips where none can be mounted."""
    folder.mkdir()
    mount = f"mount -t tmpfs -o size=150k tmpfs {folder}"
    prefix = (
        "unshare",
        "-Urm",
        "sh",
        "-c",
        f'{mount} && "$@"; code=$?; cp -r {folder} {folder}.kept; exit $code',
        "sh",
    )
    if shutil.which("unshare") is None or subprocess.run([*prefix, "true"], capture_output=True).returncode:
        pytest.skip("no small file system can be mounted here")
    shutil.rmtree(f"{folder}.kept")
    return prefix


def test_a_full_disk_is_told_and_what_was_sealed_is_kept(tmp_path, clips, extract_clips, rows):
    prefix = full_disk(tmp_path / "small")
    error = extract_clips(tmp_path / "small", clips, prefix=prefix)
    assert isinstance(error, str)
    assert "RootError: cannot write features/speech/acoustic-" in error
    assert "No space left on device: free some space or choose another --root; what was sealed is kept" in error
    kept = tmp_path / "small.kept"
    before = len(rows(kept))
    assert 0 < before < 23
    verdict = verify(Root(kept))
    assert (verdict.damages, verdict.litter) == ([], [])  # nothing half-written is left
    assert extract_clips(kept, clips) == again(cached=before)
    assert extract_clips(tmp_path / "calm", clips) == ALL
    assert rows(kept) == rows(tmp_path / "calm")


def test_a_limit_on_the_size_of_files_is_told(tmp_path, clips, extract_clips, rows):
    error = extract_clips(tmp_path / "root", clips, "file_size=20000")
    assert isinstance(error, str)
    assert "File too large: files may not grow that large here" in error
    assert rows(tmp_path / "root") == {}
    assert verify(Root(tmp_path / "root")).damages == []
    assert extract_clips(tmp_path / "root", clips) == ALL


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_folder_that_may_not_be_written_is_told(tmp_path, clips, extract_clips):
    for path in (tmp_path, *tmp_path.parents):
        if path.stat().st_mode & 0o5 != 0o5 and path != Path("/"):
            path.chmod(path.stat().st_mode | 0o055)  # temporary folders are closed to others
    root = tmp_path / "root"
    root.mkdir()
    error = extract_clips(root, clips, f"user={NOBODY}")
    assert isinstance(error, str)
    assert "Permission denied: change its permissions or choose another --root" in error
    assert list(root.iterdir()) == []


def test_a_file_in_the_place_of_the_root_is_told(tmp_path, clips, extract_clips):
    (tmp_path / "root").write_text("no folder")
    error = extract_clips(tmp_path / "root", clips)
    assert isinstance(error, str)
    assert "a file stands where a folder is needed" in error


@pytest.fixture
def acoustic(tmp_path: Path) -> Acoustic:
    return Acoustic(AcousticConfig(), Inputs(root=Root(tmp_path / "root")))


def samples_of(clips: Path) -> list[Sample]:
    return [Sample(id=f"c/{path.name}", corpus="c", audio=path) for path in sorted(clips.iterdir())]


def run(acoustic: Acoustic, samples: list[Sample], **more: object) -> dict[str, int]:
    runtime = Runtime(device="cpu", block_size=4)
    return extract(acoustic, samples, acoustic.inputs.root, runtime, report=Silent(), **more).as_dict()


def test_a_clock_that_goes_backwards_changes_nothing(acoustic, clips, monkeypatch):
    assert run(acoustic, samples_of(clips)) == ALL
    monkeypatch.setattr(planning, "now", lambda: "1999-01-01T00:00:00.000+00:00")
    monkeypatch.setattr("extractors._part.now", lambda: "1999-01-01T00:00:00.000+00:00")
    monkeypatch.setattr("extractors.run.now", lambda: "1999-01-01T00:00:00.000+00:00")
    retried = run(acoustic, samples_of(clips), retry=("undecodable",))
    assert retried == again(cached=23)
    [failure] = FeatureStore(acoustic.inputs.root, acoustic.identity).standing()
    assert (failure.attempts, failure.time[:4]) == (2, "1999")  # the later attempt, whatever the clock says
    assert run(acoustic, samples_of(clips)) == again(cached=23)


def test_a_manifest_that_changes_between_runs_touches_only_what_changed(acoustic, clips, rows):
    run(acoustic, samples_of(clips))
    before = rows(acoustic.inputs.root.address)
    (clips / "00.wav").unlink()
    shutil.copy(clips / "01.wav", clips / "copy.wav")
    (clips / "02.wav").write_bytes((clips / "03.wav").read_bytes() + b"\0\0")
    (clips / "99.wav").write_bytes((clips / "04.wav").read_bytes())  # the broken one is mended
    books = run(acoustic, samples_of(clips))
    assert books == {"samples": 24, "absent": 0, "cached": 23, "extracted": 1, "quarantined": 0, "distinct": 22}
    after = rows(acoustic.inputs.root.address)
    assert len(after) == len(before) + 1
    assert before.items() <= after.items()
    assert FeatureStore(acoustic.inputs.root, acoustic.identity).standing() == []


@pytest.mark.parametrize("gone", ["seal", "values", "both", "feature.json"])
def test_a_part_deleted_by_hand_is_extracted_again(acoustic, clips, rows, gone):
    run(acoustic, samples_of(clips))
    store = FeatureStore(acoustic.inputs.root, acoustic.identity)
    before, part = rows(acoustic.inputs.root.address), store.seals()[0]
    if gone == "feature.json":
        store.root.delete(store.folder, "feature.json")
        assert run(acoustic, samples_of(clips)) == again(cached=23)
        return
    for kind in {"seal": ["parquet"], "values": ["zarr"], "both": ["parquet", "zarr"]}[gone]:
        store.root.delete(store.folder, "parts", f"{part.part}.{kind}")
    assert run(acoustic, samples_of(clips)) == again(cached=23 - part.rows)
    assert rows(acoustic.inputs.root.address) == before


def test_the_books_of_every_run_are_kept(acoustic: Acoustic, clips: Path) -> None:
    for _ in range(2):
        run(acoustic, samples_of(clips))
    kept = FeatureStore(acoustic.inputs.root, acoustic.identity).books()
    assert [books.as_dict() for _, books in kept] == [ALL, again(cached=23)]
