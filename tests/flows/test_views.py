"""Augmented views in a study: of whom they are made, who reads them, and what makes them anew."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from extractors.extractor import Runtime
from extractors.run import extract as make_rows
from flows.candidates import Cast
from flows.encoder_plans import extractor_of
from flows.explain import explain_study
from flows.features import Workbench, find_features
from flows.jobs import Options, extract_job, run_job
from flows.pipeline import cast_study, extract
from flows.snapshot import Snapshot, take_snapshot
from flows.study_config import load_study
from flows.upkeep import collect_litter, verify_store
from flows.verdicts import wanted, wanted_views
from stores.block import ABSENT
from stores.encoders import EncoderStore
from stores.features import FeatureStore
from stores.manifest import Manifest
from stores.progress import Silent
from stores.root import Root
from stores.samples import Sample

ALL, RESERVED, TRAINED = 16, 8, 4
FIXED = 'repeats = 2\nkind = "fixed"'
TEXT = '[features.text]\nextractor = "bert"\n\n'
VIEWS = """[features.speech.views]
count = 2
pitch = 1.0

[features.image.views]
count = 1

[heads.unimodal]

[training]
epochs = 2
"""
SPEECH, IMAGE = "[features.speech.views]", "[features.image.views]"
RUNTIME = Runtime(device="cpu")


@dataclass(frozen=True)
class World:
    """The study as it is now."""

    config: Any
    manifest: Manifest
    cast: Cast
    root: Root

    @classmethod
    def of(cls, talkers: Any) -> "World":
        config, root = load_study(talkers.save()), Root(talkers.root)
        manifest = config.corpus.build(root, base=config.base)
        return cls(config, manifest, cast_study(config, manifest), root)

    def trained(self, repeat: int | None = None) -> set[str]:
        """The ids of the samples that heads are trained on, in one repeat or in any."""
        splits = self.cast.splits if repeat is None else [self.cast.splits[repeat]]
        return {self.cast.candidates.samples[i].id for split in splits for i in split.train}

    def held(self, modality: str, feature: str) -> set[str]:
        """The ids of the samples a feature holds rows of."""
        index = FeatureStore.open(self.root, modality, feature).index()
        return {sample.id for sample in self.manifest.samples if sample.key(modality) in index}

    def snapshot(self) -> Snapshot:
        bench = Workbench(root=self.root, runtime=RUNTIME, report=Silent())
        features = extract(self.config, self.manifest, self.cast, bench).features
        return take_snapshot(self.config, self.manifest, self.cast, features, self.root)

    def trainees(self, encoder: str, use: str) -> set[str]:
        return {t.sample_id for t in EncoderStore(self.root).trained_on(encoder) if t.use == use}


def options(talkers: Any) -> Options:
    return Options(root=str(talkers.root), device="cpu", quiet=True)


def extracted(talkers: Any) -> Any:
    return extract_job(str(talkers.save()), options(talkers))["features"]


@pytest.fixture(scope="module")
def whole(extracted_talkers: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The talkers without their words, with two views of voices and one of faces, extracted; not to be changed."""
    folder = Path(shutil.copytree(extracted_talkers.folder, tmp_path_factory.mktemp("views") / "talkers"))
    rows = [dict(row) for row in extracted_talkers.rows]
    made = replace(extracted_talkers, folder=folder, root=folder.parent / "runs", rows=rows)
    for row in made.rows:
        row["split"] = {"s4": "train", "s5": "train", "s6": "val", "s7": "test"}.get(row["speaker"], row["split"])
    made.replace("repeats = 2", FIXED)
    made.replace(TEXT, "")
    made.replace("[heads.unimodal]\n", VIEWS)
    extracted(made)
    return made


@pytest.fixture
def talkers(whole: Any, tmp_path: Path) -> Any:
    """A copy of all of it, to be changed."""
    shutil.copytree(whole.folder.parent, tmp_path, dirs_exist_ok=True)
    return replace(whole, folder=tmp_path / "talkers", root=tmp_path / "runs", rows=[dict(r) for r in whole.rows])


def repeated(talkers: Any) -> None:
    for row in talkers.rows:
        row["split"] = row["split"] if row["split"] == "encoder" else ""
    talkers.replace(FIXED, "repeats = 2")


def per_repeat(talkers: Any) -> None:
    repeated(talkers)
    for row in talkers.rows:
        row["split"] = ""
    talkers.replace("epochs = 1 }", 'epochs = 1, samples = "per-repeat" }')


def test_views_are_made_of_what_is_trained_on_and_of_nobody_else(talkers: Any) -> None:
    said, world = extracted(talkers), World.of(talkers)
    trained = world.trained()
    assert len(trained) == TRAINED
    (encoder,) = world.root.names("encoders")
    fitted, stopped = world.trainees(encoder, "fit"), world.trainees(encoder, "stop")
    assert len(fitted | stopped) == RESERVED
    assert [len(said[name]["views"]) for name in ("acoustic", "speech", "image")] == [2, 2, 1]
    assert world.held("image", said["image"]["views"][0]["id"]) == trained
    for voice, frames in zip(said["speech"]["views"], said["acoustic"]["views"], strict=True):
        assert world.held("speech", voice["id"]) == trained
        assert world.held("speech", frames["id"]) == trained | fitted
        assert (voice["samples"], voice["cached"], voice["extracted"]) == (len(trained), len(trained), 0)
        identity = FeatureStore.open(world.root, "speech", voice["id"]).identity
        assert (identity.encoder, identity.upstream) == (encoder, frames["id"])
    assert EncoderStore(world.root).describe(encoder)["recipe"]["config"]["views"] == [
        {"number": number, "pitch": 1.0, "stretch": 0.1, "noise": 30.0} for number in (1, 2)
    ]


def test_views_through_the_encoder_of_a_repeat_are_of_what_that_repeat_trains_on(talkers: Any) -> None:
    per_repeat(talkers)
    said, world = extracted(talkers), World.of(talkers)
    fitted = set[str]()
    for view in said["speech"]["views"]:
        assert len(view["ids"]) == 2
        for repeat, feature in enumerate(view["ids"]):
            encoder = FeatureStore.open(world.root, "speech", feature).identity.encoder
            assert encoder == FeatureStore.open(world.root, "speech", said["speech"]["ids"][repeat]).identity.encoder
            assert world.held("speech", feature) == world.trained(repeat)
            seen = {world.cast.candidates.samples[i].id for i in world.cast.splits[repeat].encoder}
            assert world.trainees(encoder, "fit") | world.trainees(encoder, "stop") == seen
            fitted |= world.trainees(encoder, "fit")
    for frames in said["acoustic"]["views"]:
        assert {*world.trained(), *fitted} <= world.held("speech", frames["id"])


def test_of_a_grid_the_views_go_through_the_encoder_that_was_chosen(talkers: Any) -> None:
    talkers.replace("epochs = 1 }", "epochs = 1, grid = { hidden = [4, 5] } }")
    said, world = extracted(talkers), World.of(talkers)
    chosen = FeatureStore.open(world.root, "speech", said["speech"]["id"]).identity
    for voice, frames in zip(said["speech"]["views"], said["acoustic"]["views"], strict=True):
        identity = FeatureStore.open(world.root, "speech", voice["id"]).identity
        assert (identity.encoder, identity.config) == (chosen.encoder, chosen.config)
        assert identity.upstream == frames["id"]


@pytest.mark.parametrize(("row", "new_encoder"), [(0, True), (8, False), (15, False)])
def test_relabelling_outdates_only_what_has_seen_the_label(talkers: Any, row: int, new_encoder: bool) -> None:
    talkers.rows[row]["emotion"] = {"joy": "anger", "anger": "joy"}[talkers.rows[row]["emotion"]]
    speech = {"speech": ALL} if new_encoder else {}
    assert pending(talkers)[:2] == (speech, {"speech": 2 * TRAINED} if new_encoder else {})


@pytest.mark.parametrize("user", ["encoder", "heads"])
def test_only_what_uses_views_gets_them(talkers: Any, user: str, tmp_path: Path) -> None:
    talkers.root = tmp_path / "other"
    talkers.replace("count = 2", f'count = 2\nused_by = "{user}"')
    said, world = extracted(talkers), World.of(talkers)
    (encoder,) = world.root.names("encoders")
    wanted = world.trainees(encoder, "fit") if user == "encoder" else world.trained()
    assert [world.held("speech", view["id"]) for view in said["acoustic"]["views"]] == [wanted, wanted]
    assert len(said["speech"].get("views", [])) == (0 if user == "encoder" else 2)
    assert len(EncoderStore(world.root).describe(encoder)["recipe"]["config"]["views"]) == (
        2 if user == "encoder" else 0
    )


@pytest.mark.parametrize("protocol", [lambda _: None, repeated, per_repeat], ids=["fixed", "repeated", "per repeat"])
def test_a_run_is_given_the_views_of_its_own_training_part_and_no_others(
    talkers: Any, protocol: Callable[[Any], None]
) -> None:
    protocol(talkers)
    said, world = extracted(talkers), World.of(talkers)
    snapshot = world.snapshot()
    for modality, count in (("speech", 2), ("image", 1)):
        keys = [sample.key(modality) for sample in world.cast.candidates.samples]
        for split in snapshot.splits:
            views = snapshot.block.repeat_views(modality, split.repeat)
            assert len(views) == count
            for view, rows in zip(said[modality]["views"], views, strict=True):
                assert np.flatnonzero(rows != ABSENT).tolist() == split.train.tolist()
                feature = view["ids"][split.repeat] if "ids" in view else view["id"]
                stored = FeatureStore.open(world.root, modality, feature).read([keys[i] for i in split.train])
                assert np.array_equal(snapshot.block.values[modality][rows[split.train]], np.stack(stored))
                originals = snapshot.block.values[modality][snapshot.block.repeat_rows(modality, split.repeat)]
                assert not np.array_equal(originals[split.train], np.stack(stored))


@pytest.mark.parametrize("protocol", [lambda _: None, repeated], ids=["fixed", "repeated"])
def test_views_of_scored_samples_that_lie_in_the_store_are_neither_read_nor_known(
    talkers: Any, protocol: Callable[[Any], None]
) -> None:
    protocol(talkers)
    extracted(talkers)
    world = World.of(talkers)
    before = world.snapshot()
    for plan in world.config.features.values():
        for view in plan.head_views:
            encoder = world.root.names("encoders")[0] if plan.train is not None else None
            if (frames := plan.of_view(view).upstream) is not None:
                every(extractor_of(frames, world.root), world)
            every(extractor_of(plan.of_view(view), world.root, encoder=encoder), world)
    after = world.snapshot()
    assert after.store.id == before.store.id
    for modality, views in after.block.views.items():
        assert np.array_equal(views, before.block.views[modality])
        for split in after.splits:
            assert (views[split.repeat][:, np.concatenate([split.val, split.test])] == ABSENT).all()


def every(extractor: Any, world: World) -> None:
    """Extract a view of every sample, as no study does."""
    make_rows(extractor, world.manifest.samples, world.root, RUNTIME, report=Silent())
    assert len(FeatureStore(world.root, extractor.identity).index()) == ALL


def test_views_are_in_the_study_id_and_a_second_run_trains_nothing(talkers: Any) -> None:
    first, again = (run_job(str(talkers.save()), options(talkers)) for _ in range(2))
    assert (again["study"], again["runs"]) == (first["study"], {"cached": 4, "trained": 0})
    talkers.replace("[features.image.views]\ncount = 1", '[features.image.views]\ncount = 1\nused_by = "heads"')
    assert (
        run_job(str(talkers.save()), options(talkers))["runs"]["cached"] == 4
    )  # both means the heads: it has no encoder
    talkers.replace("[features.image.views]\ncount = 1", "[features.image.views]\ncount = 2")
    more = run_job(str(talkers.save()), options(talkers))
    assert more["study"] != first["study"]
    assert more["features"]["image"]["extracted"] == 0
    assert [view["extracted"] > 0 for view in more["features"]["image"]["views"]] == [False, True]


@dataclass(frozen=True)
class Case:
    """A change, the rows it outdates by feature, in samples that heads train on or in all, and the encoders."""

    name: str
    change: tuple[str, str]
    originals: dict[str, int]
    views: dict[str, int]  # how many views of each modality are to be made
    new_encoder: bool = False


CASES = [
    Case("nothing", ("count = 2", "count = 2"), {}, {}),
    Case("one view more of the faces", ("count = 1", "count = 2"), {}, {"image": 1}),
    Case("one view less of the faces", (f"{IMAGE}\ncount = 1\n", ""), {}, {}),
    Case("the pitch of the voices", ("pitch = 1.0", "pitch = 1.5"), {"speech": ALL}, {"speech": 2}, new_encoder=True),
    Case("a default written out", ("pitch = 1.0", "pitch = 1.0\nnoise = 30.0"), {}, {}),
    Case("a whole number for a float", ("pitch = 1.0", "pitch = 1"), {}, {}),
    Case("one view more of the voices", ("count = 2", "count = 3"), {"speech": ALL}, {"speech": 3}, new_encoder=True),
    Case(
        "views for heads only",
        ("count = 2", 'count = 2\nused_by = "heads"'),
        {"speech": ALL},
        {"speech": 2},
        new_encoder=True,
    ),
    Case("views for the encoder only", ("count = 2", 'count = 2\nused_by = "encoder"'), {}, {}),
    Case(
        "the filters of the encoder", ("filters = 4", "filters = 5"), {"speech": ALL}, {"speech": 2}, new_encoder=True
    ),
    Case("the size of the faces", ("size = 32", "size = 33"), {"image": ALL}, {"image": 1}),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.replace(" ", "-"))
def test_a_change_of(case: Case, whole: Any, talkers: Any) -> None:
    _, _, before = pending(replace(whole))
    talkers.replace(*case.change)
    originals, views, after = pending(talkers)
    trained = len(World.of(talkers).trained())
    assert originals == case.originals
    assert views == {modality: count * trained for modality, count in case.views.items()}
    assert (before != after) == case.new_encoder


def pending(talkers: Any) -> tuple[dict[str, int], dict[str, int], list[str]]:
    """Return the rows to be made of features and of views, by modality, and the ids of the encoders."""
    world = World.of(talkers)
    stores = {m: wanted(world.config, m, world.manifest, world.cast, world.root) for m in world.config.modalities}
    varied = {
        m: [own for view in wanted_views(world.config.features[m], found, world.manifest, world.cast) for own in view]
        for m, found in stores.items()
    }
    originals, views = (
        {m: count for m, found in each.items() if (count := sum(own.plan.pending for own in found))}
        for each in (stores, varied)
    )
    return originals, views, [own.recipe.id for found in stores.values() for own in found if own.recipe]


def test_other_view_settings_leave_the_frames_and_faces_that_are_stored(talkers: Any) -> None:
    talkers.replace("pitch = 1.0", "pitch = 2.5")
    said = extracted(talkers)
    trained = len(World.of(talkers).trained())
    assert {name: said[name]["extracted"] for name in said} == {"acoustic": 0, "image": 0, "speech": ALL}
    assert said["image"]["views"][0]["extracted"] == 0
    assert [view["extracted"] for view in said["speech"]["views"]] == [trained, trained]


def test_views_are_explained_verified_and_referred_to(talkers: Any) -> None:
    run_job(str(talkers.save()), options(talkers))
    address = str(talkers.root)
    found = explain_study(str(talkers.path), address)
    assert [view["state"] for view in found["modalities"]["speech"]["views"]] == ["hit", "hit"]
    assert found["modalities"]["image"]["views"][0]["line"].startswith("image view 1: hit, resnet-")
    verdict = verify_store(
        address, study=str(talkers.path), recompute_share="100%", seed=0, runtime=RUNTIME, quiet=True
    )
    assert verdict["ok"]
    features = [name for modality in ("image", "speech") for name in Root(address).names("features", modality)]
    assert len(features) == 3 + 5
    assert {row["feature"] for row in verdict["recomputed"]} == set(features)
    assert unused(address) == []
    talkers.replace(f"{IMAGE}\ncount = 1\n", "")
    found = explain_study(str(talkers.save()), address)
    assert "views" not in found["modalities"]["image"]


def unused(address: str) -> list[str]:
    found = collect_litter(address, [], delete=False, unused=True, damaged=False, even_if_used=False, grace_hours=0)
    return [path for item in found["litter"] for path in item["paths"]]


def test_views_no_study_refers_to_are_collected(talkers: Any) -> None:
    run_job(str(talkers.save()), options(talkers))
    talkers.replace("pitch = 1.0", "pitch = 2.5")
    said = extracted(talkers)
    views = [f"features/speech/{view['id']}" for name in ("acoustic", "speech") for view in said[name]["views"]]
    assert set(views) < set(unused(str(talkers.root)))


def test_views_that_are_not_there_yet_are_told_as_such(talkers: Any) -> None:
    talkers.replace("count = 1", "count = 2")
    found = explain_study(str(talkers.save()), str(talkers.root))
    assert [view["state"] for view in found["modalities"]["image"]["views"]] == ["hit", "first"]
    assert "image view 2 extracted for the first time" in found["summary"]


def test_the_features_a_study_exports_are_its_originals(talkers: Any) -> None:
    world = World.of(talkers)
    found = find_features(world.config, world.manifest, world.cast, world.root)
    assert {name: len(makers) for name, makers in found.items()} == {"acoustic": 1, "image": 1, "speech": 1}
    identities = [extractor.identity for makers in found.values() for extractor in makers]
    assert all(len(FeatureStore(world.root, identity).index()) == ALL for identity in identities)


def test_a_sample_whose_voice_is_gone_has_no_views_and_the_others_do(talkers: Any, tmp_path: Path) -> None:
    talkers.root = tmp_path / "other"
    world = World.of(talkers)
    lost: Sample = next(s for s in world.manifest.samples if s.id in world.trained())
    assert lost.audio is not None
    lost.audio.write_bytes(b"no sound")
    said = extracted(talkers)
    for name in ("acoustic", "speech"):
        for view in said[name]["views"]:
            assert (view["quarantined"], view["samples"]) == (1, view["extracted"] + 1)
    snapshot = World.of(talkers).snapshot()
    position = snapshot.block.sample_ids.index(lost.id)
    for modality in ("image", "speech"):
        assert (snapshot.block.views[modality][:, :, position] == ABSENT).all()
