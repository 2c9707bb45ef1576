"""Studies end to end on drawn faces: who may train an encoder, who is scored, and who is left out by name."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows.features import find_features
from flows.jobs import Options, extract_job, run_job
from flows.leakage import LeakageError
from flows.pipeline import cast_study
from flows.study_config import load_study
from stores.encoders import EncoderStore
from stores.errors import ConfigError, ManifestError
from stores.root import Root
from stores.studies import StudyStore

CLASSES = ("joy", "anger", "fear")
STUDY = """
name = "people"
seed = 1

[corpus]
kind = "table"
path = "people.csv"
columns = { id = "id", image = "image", split = "split" }
labels = { emotion = "emotion" }
classes = { emotion = ["joy", "anger", "fear"] }
groups = { speaker = "speaker" }

[study]
groups = ["speaker"]

[protocol]
repeats = 3

[features.image]
extractor = "resnet"
depth = 18
size = 32
weights = "trained"
train = { samples = "reserved", epochs = 1 }

[heads.unimodal]

[training]
epochs = 2
"""
TRAINED = 'weights = "trained"\ntrain = { samples = "reserved", epochs = 1 }'
CLASSES_LINE = 'classes = { emotion = ["joy", "anger", "fear"] }'
Row = dict[str, str]


@pytest.fixture
def people(tmp_path: Path, draw_face: Callable[[Path, str, int], None]) -> list[Row]:
    """16 speakers with one face of each class; the first 5 speakers are reserved for encoders."""
    rows = []
    for speaker in range(16):
        for label in CLASSES:
            name = f"{speaker}_{label}"
            draw_face(tmp_path / f"{name}.png", label, seed=speaker * 10 + len(label))
            split = "encoder" if speaker < 5 else ""
            rows.append(
                {"id": name, "image": f"{name}.png", "split": split, "emotion": label, "speaker": f"s{speaker}"}
            )
    return rows


@pytest.fixture
def run(tmp_path: Path, people: list[Row]) -> Callable[..., dict[str, Any]]:
    """Write the table and the study, with replacements, and run it."""

    def run(job: Callable[..., dict[str, Any]] = run_job, **replace: str) -> dict[str, Any]:
        lines = [",".join(people[0]), *(",".join(row.values()) for row in people)]
        (tmp_path / "people.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
        text = STUDY
        for old, new in replace.items():
            assert old in text
            text = text.replace(old, new)
        (tmp_path / "study.toml").write_text(text, encoding="utf-8")
        return job(str(tmp_path / "study.toml"), Options(root=str(tmp_path / "runs"), device="cpu", quiet=True))

    return run


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return Root(tmp_path / "runs")


def facts(said: dict[str, Any]) -> dict[str, Any]:
    return json.loads(Path(said["results"]).read_text(encoding="utf-8"))["facts"]


def test_reserved_speakers_train_the_encoder_and_are_never_scored(
    run: Callable[..., dict[str, Any]], root: Root
) -> None:
    said = run()
    assert set(facts(said)["fitted_by_encoders"].values()) == {0}  # trained once, outside the repeats
    assert facts(said)["excluded"] == {"reserved for encoders": 15}
    splits = StudyStore.open(root, said["study"]).splits()
    encoder = root.names("encoders")[0]
    trained_on = {trainee.sample_id for trainee in EncoderStore(root).trained_on(encoder)}
    assert len(trained_on) == 15
    assert not trained_on & set(splits["sample_id"].to_pylist())


def test_a_speaker_shared_with_the_encoder_is_refused_by_name(
    run: Callable[..., dict[str, Any]], people: list[Row]
) -> None:
    people[0]["split"] = ""
    with pytest.raises(LeakageError, match=r"has seen 1 of .*0_joy \(speaker s0\)"):
        run()


def test_encoders_per_repeat_never_see_those_they_are_scored_on(
    run: Callable[..., dict[str, Any]], root: Root, people: list[Row]
) -> None:
    for row in people:
        row["split"] = ""
    said = run(**{'samples = "reserved"': 'samples = "per-repeat"'})
    assert len(said["features"]["image"]["ids"]) == 3
    speaker = {f"people/{row['id']}": row["speaker"] for row in people}
    study = StudyStore.open(root, said["study"])
    parts, fitted = study.splits().to_pandas(), study.facts()["fitted_by_encoders"]
    for encoder, (number, repeat) in zip(
        facts(said)["features"]["image"]["encoders"], parts.groupby("repeat"), strict=True
    ):
        own = Counter(trainee.use for trainee in EncoderStore(root).trained_on(encoder))
        assert own["fit"] + own["stop"] == (repeat["part"] == "encoder").sum()
        assert fitted[str(number)] == own["fit"] > own["stop"] > 0
        spoken = {part: {speaker[i] for i in own["sample_id"]} for part, own in repeat.groupby("part")}
        assert set(spoken) == {"train", "val", "test", "encoder"}
        assert not (spoken["encoder"] & (spoken["val"] | spoken["test"] | spoken["train"]))
    method = json.loads(Path(said["results"]).read_text(encoding="utf-8"))["method"]
    heads, tests = ((parts["part"] == part).sum() for part in ("train", "test"))
    assert method["ratio"] == pytest.approx(tests / (heads + sum(fitted.values())))
    assert f"{method['train_size']:.0f} training (heads; encoders: {method['encoder_size']:.0f} others)" in (
        Path(said["results"]).with_name("methods.md").read_text(encoding="utf-8")
    )


@pytest.mark.parametrize("samples", ["reserved", "per-repeat"])
def test_the_stores_of_a_study_are_found_without_writing_anything(
    run: Callable[..., dict[str, Any]], root: Root, people: list[Row], tmp_path: Path, samples: str
) -> None:
    if samples == "per-repeat":
        for row in people:
            row["split"] = ""
    said = run(extract_job, **{'samples = "reserved"': f'samples = "{samples}"'})
    config = load_study(tmp_path / "study.toml")
    manifest = config.corpus.build(root, base=config.base)
    before = sorted((tmp_path / "runs").rglob("*"))
    found = find_features(config, manifest, cast_study(config, manifest), root)
    books = said["features"]["image"]
    assert [extractor.identity.id for extractor in found["image"]] == books.get("ids", [books.get("id")])
    assert find_features(config, manifest, cast_study(config, manifest), Root(tmp_path / "empty")).keys() == {"image"}
    assert sorted((tmp_path / "runs").rglob("*")) == before
    assert not (tmp_path / "empty").exists()


def test_rows_that_heads_cannot_read_are_refused_before_any_work(
    run: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"\[features.speech\] acoustic rows are ragged"):
        run(**{"[heads.unimodal]": '[features.speech]\nextractor = "acoustic"\n\n[heads.unimodal]'})
    assert not (tmp_path / "runs").exists()


def test_an_unreadable_face_is_left_out_of_every_part_and_named(
    run: Callable[..., dict[str, Any]], root: Root, tmp_path: Path
) -> None:
    (tmp_path / "9_joy.png").write_bytes(b"not a picture")
    (tmp_path / "10_joy.png").unlink()
    said = run()
    books = said["features"]["image"]
    assert (books["extracted"], books["quarantined"]) == (46, 2)
    assert facts(said)["excluded"] == {"quarantined: image": 2, "reserved for encoders": 15}
    scored = set(StudyStore.open(root, said["study"]).splits()["sample_id"].to_pylist())
    assert len(scored) == 31
    assert not {"people/9_joy", "people/10_joy"} & scored


def test_relabelling_a_scored_sample_trains_heads_again_and_extracts_nothing(
    run: Callable[..., dict[str, Any]], people: list[Row]
) -> None:
    first = run()
    people[-1]["emotion"] = "joy"
    second = run()
    assert second["study"] != first["study"]
    assert second["runs"] == {"cached": 0, "trained": 3}
    assert second["features"]["image"]["extracted"] == 0


def test_relabelling_someone_the_encoder_was_fitted_on_trains_it_again(
    run: Callable[..., dict[str, Any]], people: list[Row], root: Root
) -> None:
    run(extract_job)
    people[0]["emotion"] = "fear"
    run(extract_job)
    assert len(root.names("encoders")) == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"emotion": "bored"}, r"people/0_joy \('bored'\).*classes of emotion are joy, anger, fear"),
        ({"id": "1_joy"}, "duplicate id: people/1_joy"),
        ({"image": "../../etc/passwd"}, "leaves the corpus folder"),
    ],
)
def test_a_broken_table_is_refused_with_the_row_and_the_remedy(
    run: Callable[..., dict[str, Any]], people: list[Row], change: Row, message: str
) -> None:
    people[0].update(change)
    with pytest.raises(ManifestError, match=message):
        run(extract_job)


def test_a_scheme_or_group_that_is_not_there_names_the_nearest(run: Callable[..., dict[str, Any]]) -> None:
    with pytest.raises(ConfigError, match=r"no sample of people has a 'speakers'; did you mean 'speaker'"):
        run(**{'groups = ["speaker"]': 'groups = ["speakers"]'})
    with pytest.raises(ConfigError, match=r"scheme 'emotions' is not in corpus people; did you mean 'emotion'"):
        run(**{'groups = ["speaker"]': 'scheme = "emotions"'})


def test_a_split_that_cannot_be_made_says_so_with_numbers_and_names(
    run: Callable[..., dict[str, Any]], people: list[Row]
) -> None:
    for row in people:
        row["speaker"] = "s0" if row["split"] else f"t{int(row['speaker'][1:]) % 2}"
    with pytest.raises(ConfigError, match=r"every class needs 3 groups or more.*class 0 is joy, 1 is anger, 2 is fear"):
        run()


def test_groups_that_straddle_the_corpus_own_split_are_flagged(
    run: Callable[..., dict[str, Any]], people: list[Row]
) -> None:
    for number, row in enumerate(people[15:]):
        row["split"] = ("train", "train", "val", "test")[number % 4]
    said = run(**{"repeats = 3": 'repeats = 3\nkind = "fixed"'})
    told = json.loads(Path(said["results"]).read_text(encoding="utf-8"))
    assert told["banners"][0]["kind"] == "leaks"
    assert "a speaker that training has too" in told["banners"][0]["text"]
    assert told["facts"]["in_two_parts"] > 0


def test_correcting_the_corpus_own_split_scores_everything_anew(
    run: Callable[..., dict[str, Any]], people: list[Row]
) -> None:
    fixed = {"repeats = 3": 'repeats = 3\nkind = "fixed"', TRAINED: 'weights = "random"'}
    for row in people:
        row["split"] = "test" if int(row["speaker"][1:]) % 3 == 0 else "train"
    first = run(**fixed)
    for row in people:
        row["split"] = "test" if int(row["speaker"][1:]) % 3 == 1 else "train"
    second = run(**fixed)
    assert second["study"] != first["study"]
    assert second["runs"] == {"cached": 0, "trained": 3}
    assert second["features"]["image"]["extracted"] == 0


def test_facts_outside_the_id_are_corrected_without_running_anything_again(run: Callable[..., dict[str, Any]]) -> None:
    first = run()
    second = run(**{'path = "people.csv"': 'path = "people.csv"\npairing = "composed"\nlicence = "CC0"'})
    assert second["study"] == first["study"]
    assert second["runs"] == {"cached": 3, "trained": 0}
    assert facts(second)["corpus"]["pairing"] == "composed"
    assert "Composed corpus" in Path(second["report"]).read_text(encoding="utf-8")


def test_a_corpus_without_labels_is_extracted_all_the_same(
    run: Callable[..., dict[str, Any]], people: list[Row]
) -> None:
    for row in people:
        row["emotion"] = ""
    said = run(
        extract_job, **{'weights = "trained"\ntrain = { samples = "reserved", epochs = 1 }': 'weights = "random"'}
    )
    assert said["features"]["image"]["extracted"] == 48


def test_a_part_left_without_samples_is_dropped_and_said(
    run: Callable[..., dict[str, Any]], people: list[Row], tmp_path: Path
) -> None:
    for row in people:
        if row["speaker"] == "s9":
            (tmp_path / row["image"]).write_bytes(b"not a picture")
    said = run(**{"repeats = 3": 'kind = "leave-one-group-out"'})
    assert said["runs"]["trained"] == 10
    assert any(warning.startswith("dropped_repeats: 1 of 11") for warning in facts(said)["warnings"])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[heads.unimodal]", "[heads.unimodal]\nsubsets = 3", r"\[heads.unimodal\] subsets"),
        ("[heads.unimodal]", "[heads.unimodal]\nsubsets = []", r"\[heads.unimodal\] subsets names none"),
        ("[heads.unimodal]", '[heads.unimodal]\nwidth = "a"', "unknown key 'width'"),
        ("seed = 1\n", "seed = -1\n", "seed an integer from 0"),
        (
            'classes = { emotion = ["joy", "anger", "fear"] }',
            'label_map = { emotion = { anger = "", fear = "" } }',
            "one class",
        ),
    ],
)
def test_a_plausible_slip_is_told_in_one_line(
    run: Callable[..., dict[str, Any]], old: str, new: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        run(**{old: new})
