"""The lines that say why a feature is a hit or a miss; nothing is made for them."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from flows.explain import explain_study
from flows.jobs import Options, extract_job
from stores.differences import differences, in_words
from stores.errors import NotFound

HEX = re.compile(r"[0-9a-f]{12}\b|\b[0-9a-f]{4}\.\.|\b[0-9a-f]{32}\b")


def told(talkers: Any, sample: str | None = None) -> list[str]:
    """The lines, digests replaced by `#`: their values are pinned elsewhere."""
    found = explain_study(str(talkers.save()), str(talkers.root), sample)
    lines = [found["modalities"][m]["line"] for m in ("text", "speech", "image")]
    return [HEX.sub("#", line) for line in [*lines, found["summary"]]]


TEXT = "text: hit, bert-# holds 16 of 16 samples"
SPEECH = "speech: hit, lstm_cnn-# holds 16 of 16 samples"
IMAGE = "image: hit, resnet-# holds 16 of 16 samples"
AGAIN = "speech: encoder to be trained again:"
DO = "; 16 of 16 samples to do"


def test_what_is_held_is_a_hit(talkers: Any) -> None:
    assert told(talkers) == [TEXT, SPEECH, IMAGE, "image, speech and text reused"]


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("size = 32", "size = 64", f"image: recomputed, size 32 -> 64 against resnet-#{DO}"),
        (
            "size = 32",
            "size = 64\ngrayscale = false",
            f"image: recomputed, grayscale true -> false and size 32 -> 64 against resnet-#{DO}",
        ),
        (
            'extractor = "bert"',
            'extractor = "bert"\nnumerics = "exact"\nlayers = 1\nmax_tokens = 64\npooling = "cls"',
            "text: recomputed, layers 4 -> 1, max_tokens 512 -> 64, pooling mean -> cls and numerics standard -> exact"
            f" against bert-#{DO}",
        ),
        ("filters = 4", "filters = 8", f"{AGAIN} filters 4 -> 8 against encoder lstm_cnn-#{DO}"),
        ("epochs = 1", "epochs = 2, seed = 3", f"{AGAIN} epochs 1 -> 2"),
        (
            "n_mels = 64",
            "n_mels = 80",
            f"{AGAIN} upstream acoustic-# -> acoustic-# and upstream n_mels 64 -> 80 against encoder lstm_cnn-#{DO}",
        ),
        (
            "hidden = 4",
            'hidden = 4\nnumerics = "exact"',
            f"speech: recomputed, numerics standard -> exact against lstm_cnn-#{DO}",
        ),
    ],
)
def test_changed_settings_are_named_against_the_nearest(talkers: Any, old: str, new: str, line: str) -> None:
    talkers.replace(old, new)
    lines = told(talkers)
    assert any(found.startswith(line) for found in lines), lines
    modality = line.partition(":")[0]
    assert lines[-1].split("; ")[-1 if modality != "image" else 0] == f"{modality} recomputed"


def test_other_weights_are_told_by_their_digest(talkers: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("extractors.text._weights.weights_digest", lambda folder: "b7c8" + "0" * 60)
    found = explain_study(str(talkers.save()), str(talkers.root))["modalities"]["text"]
    assert re.fullmatch(
        r"text: recomputed, weights digest \w{4}\.\. -> b7c8\.\. against bert-\w{4}\.\.; 16 of 16 samples to do",
        found["line"],
    )
    assert found["differences"]["weights"][1] == "b7c8" + "0" * 60


def test_a_relabelled_trainee_is_counted(talkers: Any) -> None:
    talkers.rows[0]["emotion"] = "anger"
    assert re.match(rf"{AGAIN} 1 trainee relabelled.* against encoder lstm_cnn-#{DO}", told(talkers)[1])


def test_new_and_changed_media_are_told_apart(talkers: Any) -> None:
    told(talkers)
    for number, tail in ((15, b""), (14, b"\0"), (13, b"\0")):
        picture = talkers.folder / talkers.rows[number]["image"]
        picture.write_bytes(picture.read_bytes() + tail)
    (talkers.folder / "new.png").write_bytes(picture.read_bytes() + b"\0")
    talkers.rows.append({**talkers.rows[15], "id": "new", "image": "new.png", "text": ""})
    text, speech, image, _ = told(talkers)
    assert image == "image: hit, resnet-# holds 14 of 17 samples; 3 to do: 1 new picture, 2 changed pictures"
    assert speech == "speech: hit, lstm_cnn-# holds 17 of 17 samples"
    assert text == TEXT


def test_nothing_stored_is_a_first_extraction(talkers: Any, tmp_path: Path) -> None:
    talkers.root = tmp_path / "empty"
    assert told(talkers) == [
        f"text: first extraction{DO}",
        f"speech: first training{DO}",
        f"image: first extraction{DO}",
        "image, speech and text extracted for the first time",
    ]
    assert not talkers.root.exists()


@pytest.fixture
def own_root(talkers: Any, tmp_path: Path) -> Any:
    talkers.root = Path(shutil.copytree(talkers.root, tmp_path / "runs"))
    return talkers


def run(talkers: Any) -> None:
    extract_job(str(talkers.save()), Options(root=str(talkers.root), device="cpu", quiet=True))


def test_encoders_per_repeat_are_counted(own_root: Any) -> None:
    for row in own_root.rows:
        row["split"] = ""
    own_root.replace("epochs = 1", 'epochs = 1, samples = "per-repeat"')
    line = told(own_root)[1]
    assert re.match(r"speech: 0 of 2 encoders reused, 2 to be trained: \d trainees added.* against", line), line
    run(own_root)
    assert re.fullmatch(r"speech: hit, 2 of 2 encoders reused, their features hold (\d+) of \1 rows", told(own_root)[1])
    own_root.replace("repeats = 2", "repeats = 6")
    more = re.match(
        r"speech: (\d) of 6 encoders reused, (\d) to be trained: .*; \d+ of \d+ rows to do", told(own_root)[1]
    )
    assert more is not None
    assert int(more[1]) >= 2
    assert int(more[1]) + int(more[2]) == 6


def test_a_sample_is_told_where_its_rows_lie_or_why_not(own_root: Any) -> None:
    own_root.rows[15]["image"] = ""
    (own_root.folder / "7_joy.png").write_bytes(b"no picture")
    run(own_root)
    text, speech, image, _ = told(own_root, "talkers/7_anger")
    assert re.fullmatch(r"text: key #, row \d+ of part # of bert-#", text)
    assert re.fullmatch(r"speech: key #, row \d+ of part # of lstm_cnn-#", speech)
    assert image == "image: absent, talkers/7_anger has no image"
    assert re.match(
        r"image: key #, quarantined: undecodable at stage decode \(1 attempt\): talkers/7_joy: cannot decode 7_joy.png",
        told(own_root, "7_joy")[2],
    )
    assert told(own_root)[2] == "image: hit, resnet-# holds 14 of 15 samples; 1 quarantined"
    (own_root.folder / "7_joy.wav").unlink()
    assert told(own_root, "7_joy")[1] == (
        "speech: no key, missing_file at stage read: talkers/7_joy: no file 7_joy.wav"
    )


def test_a_sample_whose_file_changed_says_so(talkers: Any) -> None:
    told(talkers)
    picture = talkers.folder / "7_joy.png"
    picture.write_bytes(picture.read_bytes() + b"\0")
    line = "no row under this key in resnet-#; its file changed since it was last seen, digest # -> #"
    _, _, image, summary = told(talkers, "7_joy")
    assert image == f"image: key #, {line}"
    assert summary == "image to be extracted; speech and text reused"
    talkers.replace("size = 32", "size = 40")
    assert told(talkers, "7_joy")[2].endswith(f"recomputed, size 32 -> 40 against resnet-#{DO}")


def test_an_unknown_sample_names_the_nearest(talkers: Any) -> None:
    with pytest.raises(NotFound, match="no sample 'talkers/7_jy' in talkers; did you mean 'talkers/7_joy'"):
        told(talkers, "talkers/7_jy")


@pytest.mark.parametrize("sample", [None, "7_joy"])
@pytest.mark.parametrize("change", [("size = 32", "size = 40"), ("filters = 4", "filters = 5"), ("hop", "hop")])
def test_nothing_is_written(talkers: Any, sample: str | None, change: tuple[str, str]) -> None:
    if change[0] in talkers.study:
        talkers.replace(*change)
    study = talkers.save()
    before = state(talkers.root), state(talkers.folder)
    explain_study(str(study), str(talkers.root), sample)
    assert (state(talkers.root), state(talkers.folder)) == before


def state(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_settings_of_another_extractor_are_not_compared() -> None:
    old, new = {"extractor": "a", "config": {"x": 1}}, {"extractor": "b", "config": {"y": 1}}
    assert in_words(differences(old, new)) == "extractor a -> b"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ({"config": {"x": 1}}, {"config": {"x": 1.0}}, "x 1 -> 1.0"),
        ({"config": {"x": 1}}, {"config": {"x": True}}, "x 1 -> true"),
        ({"config": {}}, {"config": {"x": False}}, "x none -> false"),
        ({"spec": {"dim": 1}, "version": 1}, {"spec": {"dim": 2}, "version": 2}, "version 1 -> 2"),
        ({"spec": {"dim": 1}}, {"spec": {"dim": 2}}, "spec.dim 1 -> 2"),
        ({"weights": "ab" * 32}, {"weights": "abac" * 16}, "weights digest abab.. -> abac.."),
        ({"tokenizer": None}, {"tokenizer": "0" * 64}, "tokenizer digest none -> 0000.."),
        ({"encoder": "a-0123456789ab"}, {"encoder": "a-0123ffffffff"}, "encoder a-012345.. -> a-0123ff.."),
        (dict.fromkeys("abcdef", 1), dict.fromkeys("abcdef", 2), "a 1 -> 2, b 1 -> 2, c 1 -> 2, d 1 -> 2 and 2 more"),
    ],
)
def test_words(old: dict[str, Any], new: dict[str, Any], words: str) -> None:
    assert in_words(differences(old, new)) == words
