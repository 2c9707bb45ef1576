"""Which media paths leave the folder of their corpus, and what becomes of those that lead nowhere."""

from pathlib import Path

import pytest

from stores.errors import ManifestError
from stores.media_folder import MediaFolder


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "corpus"
    (folder / "a" / "b").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (folder / "out").symlink_to(tmp_path / "elsewhere")
    (folder / "a" / "up").symlink_to(tmp_path)
    (folder / "in").symlink_to(folder / "a")
    (folder / "out.wav").symlink_to(tmp_path / "elsewhere" / "x.wav")
    (folder / "in.wav").symlink_to(folder / "a" / "x.wav")
    (folder / "loop").symlink_to(folder / "loop")
    (tmp_path / "corpus-of-others").mkdir()
    return folder


@pytest.mark.parametrize(
    ("relative", "leads_to"),
    [
        ("x.wav", "x.wav"),
        ("a/b/../x.wav", "a/x.wav"),
        ("./a//b/x.wav", "a/b/x.wav"),
        ("in/x.wav", "a/x.wav"),
        ("in.wav", "a/x.wav"),
        ("in/b/..", "a"),
        ("loop", "loop"),
        ("loop/x.wav", "loop/x.wav"),
        ("no\0name", "no\0name"),
        ("no\0folder/x.wav", "no\0folder/x.wav"),
        ("x" * 5000, "x" * 5000),
        ("a/.../x.wav", "a/.../x.wav"),
    ],
)
def test_a_path_inside_is_made_absolute_and_links_are_resolved(corpus: Path, relative: str, leads_to: str) -> None:
    for _ in range(2):
        assert MediaFolder(corpus).inside(relative, what="row 2") == corpus / leads_to


@pytest.mark.parametrize(
    "relative",
    [
        "..",
        "../x.wav",
        "a/../../x.wav",
        "../corpus-of-others/x.wav",
        "/etc/passwd",
        "out",
        "out/x.wav",
        "out.wav",
        "a/up/x.wav",
        "in/up/elsewhere/x.wav",
        "in/../../x.wav",
        "loop/../../x.wav",
        "no\0folder/../../x.wav",
    ],
)
def test_a_path_that_leaves_is_refused_at_any_level(corpus: Path, relative: str) -> None:
    folder = MediaFolder(corpus)
    for _ in range(2):  # the second time its folder is known
        with pytest.raises(ManifestError, match=r"row 2: path .* leaves the corpus folder"):
            folder.inside(relative, what="row 2")


def test_an_absolute_path_and_a_linked_folder_are_fine_if_they_lead_inside(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "alias").symlink_to(corpus)
    folder = MediaFolder(tmp_path / "alias")
    assert folder.inside("x.wav", what="row 2") == corpus / "x.wav"
    assert folder.inside(str(corpus / "x.wav"), what="row 2") == corpus / "x.wav"


def test_outside_is_where_a_path_leads_if_nobody_minds(corpus: Path, tmp_path: Path) -> None:
    folder = MediaFolder(corpus)
    assert folder.path("../x.wav") == tmp_path / "x.wav"
    assert folder.path("out/x.wav") == tmp_path / "elsewhere" / "x.wav"
    assert folder.path("/data/x.wav") == Path("/data/x.wav")


COMPOSED, DECOMPOSED = "caf\u00e9", "cafe\u0301"


@pytest.mark.parametrize(
    ("on_disk", "in_table"),
    [
        (f"{DECOMPOSED}/{DECOMPOSED}.wav", f"{COMPOSED}/{COMPOSED}.wav"),
        (f"{COMPOSED}/{COMPOSED}.wav", f"{DECOMPOSED}/{DECOMPOSED}.wav"),
        (f"{DECOMPOSED}/{COMPOSED}.wav", f"{COMPOSED}/{DECOMPOSED}.wav"),
        ("s1/x.wav", "s1\\x.wav"),
        ("s1/s2/x.wav", ".\\s1\\s2\\x.wav"),
        (f"s1/{DECOMPOSED}.wav", f"s1\\{COMPOSED}.wav"),
        ("s1/x.wav", " s1/x.wav\u00a0"),
        ("s1\\x.wav", "s1\\x.wav"),
        (f"{COMPOSED}.wav ", f"{COMPOSED}.wav"),
    ],
)
def test_a_file_is_found_under_other_spellings_of_its_name(corpus: Path, on_disk: str, in_table: str) -> None:
    (corpus / on_disk).parent.mkdir(exist_ok=True, parents=True)
    (corpus / on_disk).write_bytes(b"")
    folder = MediaFolder(corpus)
    assert folder.inside(in_table, what="row 2") == corpus / on_disk
    assert folder.path(str(corpus / in_table.strip())) == corpus / on_disk


def test_a_file_that_has_the_very_name_comes_before_others(corpus: Path) -> None:
    for name in (COMPOSED, DECOMPOSED, "s1\\x"):
        (corpus / name).write_bytes(b"")
    folder = MediaFolder(corpus)
    assert [folder.path(name).name for name in (COMPOSED, DECOMPOSED, "s1\\x")] == [COMPOSED, DECOMPOSED, "s1\\x"]


def test_folders_are_listed_once_and_only_if_a_file_is_missing(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        (corpus / "a" / f"{number}.wav").write_bytes(b"")
    listed: list[str] = []
    monkeypatch.setattr("stores.media_folder.os.listdir", lambda place: listed.append(place) or [])
    folder = MediaFolder(corpus)
    for number in range(3):
        folder.path(f"a/{number}.wav")
    assert listed == []
    for number in range(3, 9):
        folder.path(f"a/{number}.wav")
    assert listed == [str(corpus / "a")]


def test_another_spelling_is_no_way_out(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere" / "x.wav").write_bytes(b"")
    for relative in ("..\\elsewhere\\x.wav", "out /x.wav", "../elsewhere/x.wav "):
        with pytest.raises(ManifestError, match="leaves the corpus folder"):
            MediaFolder(corpus).inside(relative, what="row 2")
