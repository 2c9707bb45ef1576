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
