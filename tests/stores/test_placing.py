import pytest

from stores.errors import ConfigError
from stores.local_files import placed


def write(path, text, kind):
    if kind == "file":
        path.write_text(text, encoding="utf-8")
    else:
        path.mkdir()
        (path / "zarr.json").write_text(text, encoding="utf-8")


def read(path):
    return (path / "zarr.json" if path.is_dir() else path).read_text(encoding="utf-8")


@pytest.mark.parametrize("new", ["file", "folder"])
@pytest.mark.parametrize("old", ["file", "folder", None])
def test_it_has_its_name_only_when_it_is_whole(tmp_path, old, new):
    target = tmp_path / "out"
    if old:
        write(target, "old", old)
    with placed(target, overwrite=True) as unfinished:
        write(unfinished, "new", new)
        assert unfinished.parent == tmp_path
        assert not target.exists() if old is None else read(target) == "old"
    assert read(target) == "new"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_an_error_leaves_what_was_there_and_nothing_else(tmp_path, kind):
    target = tmp_path / "out"
    write(target, "old", kind)
    with pytest.raises(KeyboardInterrupt), placed(target, overwrite=True) as unfinished:  # noqa: PT012
        write(unfinished, "new", kind)
        raise KeyboardInterrupt
    assert read(target) == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_what_somebody_else_wrote_meanwhile_is_kept(tmp_path):
    target = tmp_path / "out"
    with pytest.raises(ConfigError, match="exists"), placed(target, overwrite=False) as unfinished:  # noqa: PT012
        write(unfinished, "mine", "file")
        write(target, "theirs", "file")
    assert read(target) == "theirs"
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_of_other_things_is_refused_before_anything_is_written(tmp_path):
    (tmp_path / "out" / "photos").mkdir(parents=True)
    with pytest.raises(ConfigError, match="a folder of other things"), placed(tmp_path / "out", overwrite=True):
        pytest.fail("the body should not run")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
