import os
import shutil
import time
from pathlib import Path

import pytest

from stores import digests
from stores.digests import content_digest, forget, load_digests, remembered, save_digests
from stores.identity import file_digest
from stores.root import Root


@pytest.fixture(autouse=True)
def nothing_known():
    forget()
    yield
    forget()


HOUR = 3600 * 10**9  # ns


@pytest.fixture
def settled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file last changed an hour ago."""
    path = tmp_path / "a.wav"
    path.write_bytes(b"abc")
    later = time.time_ns() + HOUR
    monkeypatch.setattr(time, "time_ns", lambda: later)
    return path


def test_a_file_that_has_not_changed_is_not_read_again(settled, monkeypatch):
    first = content_digest(settled)
    monkeypatch.setattr(digests, "file_digest", lambda _: pytest.fail("read again"))
    assert content_digest(settled) == first


@pytest.mark.parametrize("change", ["time", "size", "both"])
def test_a_changed_file_is_read_again(settled, change):
    before, time = content_digest(settled), settled.stat().st_mtime_ns
    settled.write_bytes(b"abcd" if change != "time" else b"abd")
    if change == "size":
        os.utime(settled, ns=(0, time))
    assert content_digest(settled) == file_digest(settled) != before


def test_a_file_copied_over_another_with_its_time_kept_is_read(settled, tmp_path):
    before, corrected = content_digest(settled), tmp_path / "corrected.wav"
    corrected.write_bytes(b"xyz")
    os.utime(corrected, ns=(0, settled.stat().st_mtime_ns))
    shutil.copy2(corrected, settled)
    assert content_digest(settled) == file_digest(corrected) != before


def test_after_a_swap_each_name_has_its_own_content(settled, tmp_path):
    other = tmp_path / "b.wav"
    other.write_bytes(b"xyz")
    os.utime(other, ns=(0, settled.stat().st_mtime_ns))
    first, second = content_digest(settled), content_digest(other)
    settled.rename(tmp_path / "c.wav")
    other.rename(settled)
    (tmp_path / "c.wav").rename(other)
    assert (content_digest(settled), content_digest(other)) == (second, first)


def test_a_memory_that_lacks_inodes_is_no_memory(settled, tmp_path):
    root, digest = Root(tmp_path / "root"), content_digest(settled)
    save_digests(root, "corpus", [settled])
    table = root.read_table("digests", "corpus.parquet")
    assert table.column_names == ["path", "size", "mtime_ns", "inode", "ctime_ns", "digest"]
    root.put_table(table.drop_columns(["inode", "ctime_ns"]), "digests", "corpus.parquet")
    forget()
    load_digests(root, "corpus")
    assert (remembered(settled), content_digest(settled)) == (None, digest)


def test_a_file_written_this_very_moment_is_not_trusted_yet(tmp_path):
    path = tmp_path / "b.wav"
    path.write_bytes(b"abc")
    time = path.stat().st_mtime_ns
    before = content_digest(path)
    path.write_bytes(b"xyz")
    os.utime(path, ns=(0, time))  # as if both writings fell into one tick of the clock
    assert content_digest(path) != before


def test_what_is_saved_is_known_to_the_next_process(settled, tmp_path, monkeypatch):
    root = Root(tmp_path / "root")
    digest = content_digest(settled)
    save_digests(root, "corpus", [settled, tmp_path / "never seen"])
    assert root.read_table("digests", "corpus.parquet").num_rows == 1
    forget()
    assert remembered(settled) is None
    load_digests(root, "corpus")
    monkeypatch.setattr(digests, "file_digest", lambda _: pytest.fail("read again"))
    assert content_digest(settled) == digest


def test_a_moment_old_file_is_not_saved(tmp_path):
    root, path = Root(tmp_path / "root"), tmp_path / "b.wav"
    path.write_bytes(b"abc")
    content_digest(path)
    save_digests(root, "corpus", [path])
    assert root.names("digests") == []


def test_a_damaged_memory_is_no_memory(settled, tmp_path):
    root = Root(tmp_path / "root")
    root.put(b"PAR1 no table", "digests", "corpus.parquet")
    load_digests(root, "corpus")
    assert remembered(settled) is None
    content_digest(settled)
    save_digests(root, "corpus", [settled])
    assert root.read_table("digests", "corpus.parquet").num_rows == 1


@pytest.mark.parametrize("part", range(4))
def test_a_wrong_memory_decides_only_where_all_of_the_status_agrees(settled, part):
    digest = content_digest(settled)
    status = list(digests._known[str(settled)].status)
    status[part] += 1
    digests._known[str(settled)] = digests.Remembered(tuple(status), "0" * 64)
    assert content_digest(settled) == digest


def test_what_is_not_a_regular_file_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="not a regular file"):
        content_digest(tmp_path / "pipe")
    with pytest.raises(OSError, match="not a regular file"):
        content_digest(tmp_path)
