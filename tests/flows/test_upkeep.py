"""`affuse store verify|gc|compact|ls` and what `extract` says of its books, on a real store."""

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from stores import digests
from stores.features import FeatureStore
from stores.root import Root


@pytest.fixture
def store(talkers: Any, tmp_path: Path) -> Path:
    """A copy of the talkers' root, to be changed."""
    talkers.save()
    return Path(shutil.copytree(talkers.root, tmp_path / "runs"))


def age(root: Path, hours: float) -> None:
    then = time.time() - 3600 * hours
    for path in root.rglob("*"):
        os.utime(path, (then, then))


def test_a_sound_store_verifies_and_a_flipped_bit_is_named_with_exit_code_1(affuse, store: Path) -> None:
    done = affuse("store", "verify", "--root", str(store))
    assert done.returncode == 0
    assert "rows checked: sound" in done.stderr
    shard = next(store.glob("features/text/*/parts/*.zarr/values/c/0/0"))
    content = bytearray(shard.read_bytes())
    content[40] ^= 1
    shard.write_bytes(content)
    done = affuse("store", "verify", "--root", str(store), "--json")
    assert done.returncode == 1
    found = json.loads(done.stdout)
    assert found["ok"] is False
    [damage] = found["damages"]
    assert damage["path"].startswith("features/text/bert-")
    assert "has changed" in damage["problem"]
    assert damage["path"] in done.stderr


def test_recomputed_rows_keep_their_promise(result: Callable[..., Any], talkers: Any) -> None:
    found = result("store", "verify", str(talkers.save()), "--recompute", "50%", root=talkers.root)
    kinds = {row["feature"].rsplit("-", 1)[0]: row for row in found["recomputed"]}
    assert set(kinds) == {"bert", "resnet", "acoustic", "lstm_cnn"}
    assert all(row["rows"] == 8 and row["holds"] and not row["failed"] for row in kinds.values())
    assert kinds["bert"]["worst"] >= 0.9999
    assert kinds["acoustic"]["worst"] <= 5e-3
    other = result("store", "verify", str(talkers.path), "--recompute", "1%", "--seed", "1", root=talkers.root)
    assert [row["rows"] for row in other["recomputed"]] == [1, 1, 1, 1]


def test_a_row_that_is_not_what_its_recording_gives_is_told(affuse, talkers: Any, store: Path) -> None:
    text = FeatureStore.open(Root(store), "text", "bert")
    [seal] = text.seals()
    keys = sorted(text.index())
    rows = dict(zip(keys, reversed(text.read(keys)), strict=True))  # every row under another key
    text.write_part(rows, seal.receipt, replaces=[seal.part])
    assert affuse("store", "verify", "--root", str(store)).returncode == 0  # the disk is sound ...
    done = affuse("store", "verify", str(talkers.path), "--recompute", "100%", "--root", str(store))
    assert done.returncode == 1  # ... the rows are not
    assert "BEYOND 0.9999" in done.stderr


@pytest.mark.parametrize("arguments", [("--recompute", "1%"), ("study.toml",), ("study.toml", "--recompute", "2")])
def test_a_recomputation_that_cannot_be_is_wrong_usage(affuse, store: Path, arguments: tuple[str, ...]) -> None:
    assert affuse("store", "verify", *arguments, "--root", str(store)).returncode == 2


def test_gc_says_first_and_deletes_when_told(affuse, result: Callable[..., Any], store: Path) -> None:
    [folder] = store.glob("features/text/bert-*")
    litter = folder / "parts" / f"{'0' * 32}.zarr"
    litter.mkdir()
    (litter / "zarr.json").write_text("{}")
    assert result("store", "gc", root=store)["litter"] == []
    age(store, hours=25)
    done = affuse("store", "gc", "--root", str(store))
    assert "values that were never sealed" in done.stderr
    assert "nothing was deleted yet; --delete does it" in done.stderr
    assert litter.exists()
    assert result("store", "gc", "--grace-hours", "30", root=store)["litter"] == []
    found = result("store", "gc", "--delete", root=store)
    assert [item["bytes"] for item in found["litter"]] == [2]
    assert not litter.exists()
    assert affuse("store", "verify", "--root", str(store)).returncode == 0


def test_gc_takes_whole_features_by_name_or_when_unused(affuse, result: Callable[..., Any], store: Path) -> None:
    feature = FeatureStore.open(Root(store), "text", "bert").id
    assert affuse("store", "gc", "bert-000000000000", "--root", str(store)).returncode == 1
    age(store, hours=25)
    unused = result("store", "gc", "--unused", root=store)["litter"]
    assert f"features/text/{feature}" in {path for item in unused for path in item["paths"]}  # no study ran here
    result("store", "gc", feature, "--delete", root=store)
    assert Root(store).names("features", "text") == []


def test_compact_merges_parts(affuse, result: Callable[..., Any], talkers: Any, store: Path) -> None:
    speech = FeatureStore.open(Root(store), "speech", "acoustic")
    [seal] = speech.seals()
    keys = sorted(speech.index())
    for key in keys:
        speech.write_part({key: speech.read([key])[0]}, seal.receipt)
    assert result("store", "compact", speech.id, root=store)["features"] == {speech.id: {"merged": 17, "written": 1}}
    assert "Nothing to merge." in affuse("store", "compact", "--root", str(store)).stderr
    assert affuse("store", "compact", "acoustic-000000000000", "--root", str(store)).returncode == 2
    books = result("extract", str(talkers.path), "--device", "cpu", root=store)["features"]
    assert {book["extracted"] for book in books.values()} == {0}


def test_failures_are_listed_retried_by_reason_and_leave_the_list(affuse, result, talkers: Any, store: Path) -> None:
    broken, missing = talkers.rows[0], talkers.rows[1]
    (talkers.folder / broken["image"]).write_bytes(b"no picture")
    (talkers.folder / missing["image"]).unlink()
    study = str(talkers.save())
    books = result("extract", study, "--device", "cpu", root=store)["features"]["image"]
    assert (books["cached"], books["quarantined"]) == (14, 2)
    listed = result("store", "ls", "--quarantine", root=store)["quarantine"]
    assert {(row["sample_id"], row["reason"], row["attempts"]) for row in listed} == {
        (f"talkers/{broken['id']}", "undecodable", 1),
        (f"talkers/{missing['id']}", "missing_file", 1),
    }
    shown = affuse("store", "ls", "--quarantine", "--root", str(store)).stdout  # so `| wc -l` counts them
    assert len(shown.splitlines()) == 3
    assert "--retry-quarantined [--reason CODE]" in shown
    retry = ("extract", study, "--device", "cpu", "--retry-quarantined")
    result(*retry, "--reason", "not_finite", root=store)
    assert {row["attempts"] for row in result("store", "ls", "--quarantine", root=store)["quarantine"]} == {1}
    result(*retry, "--reason", "undecodable", root=store)
    assert {row["attempts"] for row in result("store", "ls", "--quarantine", root=store)["quarantine"]} == {1, 2}
    assert affuse(*retry, "--reason", "bad luck", "--root", str(store)).returncode == 2
    assert affuse("extract", study, "--reason", "undecodable", "--root", str(store)).returncode == 2
    for row in (broken, missing):
        shutil.copy(talkers.folder / talkers.rows[2]["image"], talkers.folder / row["image"])
    assert result("extract", study, "--device", "cpu", root=store)["features"]["image"]["quarantined"] == 0
    assert result("store", "ls", "--quarantine", root=store)["quarantine"] == []


def test_what_is_planned_is_said_before_the_work_starts(affuse, talkers: Any, store: Path) -> None:
    talkers.rows.append({**talkers.rows[0], "id": "new", "text": "something nobody has said before"})
    done = affuse("extract", str(talkers.save()), "--device", "cpu", "--root", str(store))
    assert done.returncode == 0
    assert "94 % cached; 1 of 17 samples to do; about 1 s, 0.8 kB" in done.stderr


def test_a_file_that_changed_is_read_again_and_rehash_reads_all(
    affuse, result: Callable[..., Any], talkers: Any, store: Path
) -> None:
    picture = talkers.folder / talkers.rows[0]["image"]
    past = time.time_ns() - 3600 * 10**9
    os.utime(picture, ns=(past, past))
    study = str(talkers.save())
    extract = ("extract", study, "--device", "cpu")
    assert result(*extract, root=store)["features"]["image"]["cached"] == 16
    content = bytearray(picture.read_bytes())
    content[-5] ^= 1  # in the checksum of the end of the file: still a picture
    picture.write_bytes(content)
    os.utime(picture, ns=(past, past))
    assert result(*extract, root=store)["features"]["image"]["extracted"] == 1
    told = picture.stat()
    wrong = {"path": str(picture), "size": told.st_size, "mtime_ns": past, "inode": told.st_ino}
    memory = pa.Table.from_pylist([{**wrong, "ctime_ns": told.st_ctime_ns, "digest": "0" * 64}], digests._SCHEMA)
    Root(store).put_table(memory, "digests", "talkers.parquet")
    assert result(*extract, "--rehash", root=store)["features"]["image"]["cached"] == 16
    Root(store).put_table(memory, "digests", "talkers.parquet")
    digests.forget()  # what this process has read itself counts for more
    assert result(*extract, root=store)["features"]["image"]["cached"] == 15  # so it would have been believed


@pytest.mark.parametrize("command", [("ls",), ("verify",), ("gc",), ("compact",), ("ls", "--quarantine")])
def test_a_root_that_is_not_there_is_told(affuse, tmp_path: Path, command: tuple[str, ...]) -> None:
    done = affuse("store", *command, "--root", str(tmp_path / "nowhere"))
    assert done.returncode == 1
    assert "there is no store at" in done.stderr
    assert "check --root" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--device", "banana"), "expected a device such as auto, cpu, cuda or cuda:1, got 'banana'"),
        (("--dask", "foo"), "--dask 'foo'"),
        (("--time-limit", "0"), "time_limit"),
    ],
)
def test_an_option_that_cannot_be_is_wrong_usage(affuse, talkers: Any, arguments: tuple[str, ...], said: str) -> None:
    done = affuse("extract", str(talkers.save()), *arguments, "--root", str(talkers.root))
    assert done.returncode == 2
    assert said in done.stderr


def test_damaged_parts_are_passed_over_told_and_collected(affuse, result, talkers: Any, store: Path) -> None:
    seal = next(store.glob("features/text/*/parts/*.parquet"))
    seal.write_bytes(seal.read_bytes()[:100])
    for command in (("ls",), ("gc",)):
        assert affuse("store", *command, "--root", str(store)).returncode == 0
    done = affuse("extract", str(talkers.path), "--device", "cpu", "--root", str(store))
    assert done.returncode == 0
    assert "1 damaged parts are passed over" in done.stderr
    assert affuse("store", "verify", "--root", str(store)).returncode == 1
    assert len(result("store", "gc", "--damaged", "--delete", root=store)["litter"]) == 1
    assert affuse("store", "verify", "--root", str(store)).returncode == 0
    assert result("extract", str(talkers.path), "--device", "cpu", root=store)["features"]["text"]["cached"] == 16


def test_an_export_under_a_name_of_another_format_is_refused(affuse, talkers: Any, tmp_path: Path) -> None:
    study = str(talkers.save())
    for arguments in ((str(tmp_path / "x.csv"),), (str(tmp_path / "x.zarr"), "--format", "npz")):
        done = affuse("store", "export", study, *arguments, "--root", str(talkers.root))
        assert done.returncode == 2
        assert "expected the name of the export to end in" in done.stderr


def test_a_folder_that_is_gone_ends_the_command_after_the_rest_is_kept(affuse, result, talkers: Any, tmp_path) -> None:
    for row in talkers.rows:
        (talkers.folder / row["image"]).unlink()
    study, root = str(talkers.save()), tmp_path / "new"
    for command in ("extract", "train", "study", "run"):
        done = affuse(command, study, "--device", "cpu", "--root", str(root), "--quiet")
        assert done.returncode == 1
        [said] = done.stderr.splitlines()
        assert said.startswith(
            "MostFailed: image: 16 of 16 samples failed for one reason, missing_file (talkers/0_joy: no"
        )
    listed = result("store", "ls", root=root)
    assert {feature["modality"]: (feature["rows"], feature["quarantined"]) for feature in listed["features"]} == {
        "text": (16, 0),
        "speech": (16, 0),  # of acoustic: encoders are not trained for what nobody can use
        "image": (0, 16),
    }
