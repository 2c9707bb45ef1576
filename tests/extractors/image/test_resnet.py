from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torchvision import models, transforms

from extractors.extractor import Inputs, Runtime
from extractors.image._faces import Faces, Framing
from extractors.image._images import load_still
from extractors.image._network import FaceNetwork
from extractors.image.resnet import ResNet, ResNetConfig
from extractors.run import extract
from stores.encoders import EncoderStore
from stores.errors import ConfigError
from stores.features import FeatureStore
from stores.progress import Silent
from stores.root import Root
from stores.samples import Sample


def opened(root: Root, *, numerics: str = "exact", **settings: object) -> ResNet:
    resnet = ResNet(ResNetConfig(**settings), Inputs(root=root, numerics=numerics))
    resnet.open(Runtime(device="cpu"))
    return resnet


def by_torchvision(network: torch.nn.Module, path: Path, size: int, *, grayscale: bool = True) -> np.ndarray:
    """The pooled features of torchvision's own network on torchvision's own preprocessing."""
    prepare = transforms.Compose(
        [
            *([transforms.Grayscale(3)] if grayscale else []),
            transforms.Resize((size, size), antialias=True),
            transforms.ToTensor(),
            transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    pooled = torch.nn.Sequential(*list(network.children())[:-1]).eval()
    with Image.open(path) as image, torch.inference_mode():
        row = pooled(prepare(image.convert("RGB"))[None])[0, :, 0, 0]
    return row.numpy()


def trained_looking(depth: int, seed: int = 0) -> torch.nn.Module:
    """A torchvision ResNet with weights and running statistics that are not those of a fresh one."""
    torch.manual_seed(seed)
    network = models.get_model(f"resnet{depth}", weights=None).train()
    with torch.no_grad():
        network(torch.randn(4, 3, 64, 64))
    return network.eval()


@pytest.fixture
def face(write_face: Callable[..., Path]) -> Sample:
    return Sample(id="c/1", corpus="c", image=write_face("face.png", size=(96, 80)))


def rows(resnet: ResNet, *samples: Sample) -> list[np.ndarray]:
    return list(resnet.embed([resnet.decode(sample, "") for sample in samples]))


@pytest.mark.parametrize(("depth", "size", "width"), [(18, 64, 512), (50, 224, 2048)])
def test_rows_equal_torchvisions_average_pool(
    depth: int, size: int, width: int, face: Sample, root: Root, tmp_path: Path
) -> None:
    network = trained_looking(depth)
    torch.save(network.state_dict(), tmp_path / "resnet.pth")  # as torchvision's IMAGENET1K_V2 files are
    wanted = by_torchvision(network, face.image, size)
    for numerics in ("exact", "standard"):
        resnet = opened(root, depth=depth, size=size, weights=str(tmp_path / "resnet.pth"), numerics=numerics)
        [found] = rows(resnet, face)
        assert found.shape == (width,)
        assert found @ wanted >= 0.9999 * np.linalg.norm(found) * np.linalg.norm(wanted)
        assert numerics == "standard" or np.abs(found - wanted).max() <= 1e-4


def test_colour_rows_equal_torchvisions_and_are_another_feature(face: Sample, root: Root, tmp_path: Path) -> None:
    network = trained_looking(18)
    torch.save(network.state_dict(), tmp_path / "resnet.pth")
    gray, colour = (
        opened(root, depth=18, size=64, weights=str(tmp_path / "resnet.pth"), grayscale=grayscale)
        for grayscale in (True, False)
    )
    assert colour.identity.id != gray.identity.id
    [found] = rows(colour, face)
    assert np.abs(found - by_torchvision(network, face.image, 64, grayscale=False)).max() <= 1e-4
    assert np.abs(found - rows(gray, face)[0]).max() > 1e-3


@pytest.mark.parametrize("grayscale", [True, False])
def test_augmented_faces_are_shifted_and_flipped_whole(root: Root, grayscale: bool) -> None:
    resnet = ResNet(ResNetConfig(depth=18, size=32, weights="random", grayscale=grayscale), Inputs(root=root))
    ramp = np.arange(32, dtype=np.uint8)  # brighter to the right
    face = np.broadcast_to(
        ramp[None, None, :] if grayscale else ramp[None, None, :, None], (1, 32, 32, 3)[: 4 - grayscale]
    )
    varied = [item.pixels for item in resnet.augmented([Faces(face)] * 20, np.random.default_rng(0))]
    assert {item.shape for item in varied} == {face.shape}
    assert {int(np.sign(np.diff(item.astype(int), axis=2).sum())) for item in varied} == {-1, 1}
    assert all(np.abs(np.diff(item.astype(int), axis=2)).max() == 1 for item in varied)
    assert all(
        min(np.abs(item - face.astype(int)).max(), np.abs(item[:, :, ::-1] - face.astype(int)).max()) <= 1
        for item in varied
    )


def test_the_same_weights_in_another_file_are_the_same_feature(root: Root, tmp_path: Path) -> None:
    state = trained_looking(18).state_dict()
    torch.save(state, tmp_path / "a.pth")
    save_file(state, tmp_path / "b.safetensors")
    first, second = (ResNetConfig(depth=18, weights=str(tmp_path / name)) for name in ("a.pth", "b.safetensors"))
    assert ResNet(first, Inputs(root=root)).identity == ResNet(second, Inputs(root=root)).identity


@pytest.mark.parametrize("name", ["a.pth", "a.safetensors"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_weights_in_halves_are_those_weights_in_float32(
    face: Sample, root: Root, tmp_path: Path, name: str, dtype: torch.dtype
) -> None:
    state = {k: v.to(dtype) if v.is_floating_point() else v for k, v in trained_looking(18).state_dict().items()}
    (save_file if name.endswith("safetensors") else torch.save)(state, tmp_path / name)
    torch.save({k: v.float() if v.is_floating_point() else v for k, v in state.items()}, tmp_path / "wide.pth")
    half, wide = (opened(root, depth=18, size=32, weights=str(tmp_path / own)) for own in (name, "wide.pth"))
    assert half.identity == wide.identity
    assert rows(half, face)[0].tobytes() == rows(wide, face)[0].tobytes()


def test_weights_without_batch_counters_load(face: Sample, root: Root, tmp_path: Path) -> None:
    state = trained_looking(18).state_dict()
    torch.save({k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}, tmp_path / "old.pth")
    torch.save(state, tmp_path / "new.pth")
    old, new = (opened(root, depth=18, size=32, weights=str(tmp_path / name)) for name in ("old.pth", "new.pth"))
    assert rows(old, face)[0].tobytes() == rows(new, face)[0].tobytes()


def test_weights_of_another_depth_are_refused(root: Root, tmp_path: Path) -> None:
    torch.save(trained_looking(18).state_dict(), tmp_path / "resnet18.pth")
    with pytest.raises(ConfigError, match="do not fit a ResNet-34"):
        opened(root, depth=34, weights=str(tmp_path / "resnet18.pth"))


def test_named_weights_are_read_from_torchs_cache(
    face: Sample, root: Root, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    network = trained_looking(50)
    torch.save(network.state_dict(), folder / "resnet50-11ad3fa6.pth")
    [found] = rows(opened(root, size=64, weights="IMAGENET1K_V2"), face)
    assert np.abs(found - by_torchvision(network, face.image, 64)).max() <= 1e-4


def test_named_weights_without_a_network_say_how_to_give_a_path(
    root: Root, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    with pytest.raises(ConfigError, match=r"resnet50-11ad3fa6\.pth is neither in torch's cache"):
        ResNet(ResNetConfig(), Inputs(root=root)).identity  # noqa: B018


def test_random_weights_are_seeded_and_say_so(face: Sample, root: Root) -> None:
    first, second = (opened(root, depth=18, size=32, weights="random") for _ in range(2))
    assert first.is_random
    assert rows(first, face)[0].tobytes() == rows(second, face)[0].tobytes()


def test_a_video_is_the_mean_of_its_frames(root: Root, write_video: Callable[..., Path], tmp_path: Path) -> None:
    resnet = opened(root, depth=18, size=32, weights="random", frames=2)
    video = write_video("two.mp4", [60] * 10 + [200] * 10, [i / 50 for i in range(20)])
    faces = resnet.decode(Sample(id="c/1", corpus="c", video=video), "")
    assert [round(float(face.mean()), -1) for face in faces.pixels] == [60, 200]
    colour = opened(root, depth=18, size=32, weights="random", frames=2, grayscale=False)
    assert colour.decode(Sample(id="c/1", corpus="c", video=video), "").pixels.shape == (2, 32, 32, 3)
    [alone, dark, bright] = resnet.embed([faces, Faces(faces.pixels[:1]), Faces(faces.pixels[1:])])
    assert np.abs(alone - (dark + bright) / 2).max() < 1e-5


@pytest.mark.parametrize("numerics", ["standard", "exact"])
def test_frames_may_be_kept_as_a_sequence(root: Root, numerics: str) -> None:
    mean, kept = (
        opened(root, depth=18, size=32, weights="random", pooling=pooling, numerics=numerics)
        for pooling in ("mean", "none")
    )
    items = [Faces(np.random.default_rng(n).integers(0, 256, (n, 32, 32), np.uint8)) for n in (3, 1, 2)]
    spec = kept.identity.spec
    assert (spec.layout, spec.dim, mean.identity.spec.layout) == ("ragged", 512, "vector")
    for item, row, rows in zip(items, mean.embed(items), kept.embed(items), strict=True):
        assert spec.checked(rows, sample_id="c/1").shape == (len(item), 512)
        assert np.abs(rows.mean(axis=0) - row).max() < 1e-5 * np.abs(row).max()


def test_sequences_of_frames_are_stored_and_read(root: Root, write_video: Callable[..., Path]) -> None:
    resnet = opened(root, depth=18, size=32, weights="random", pooling="none", frames=4)
    sample = Sample(id="c/1", corpus="c", video=write_video("four.mp4", [50, 100, 150, 200], [0.0, 0.1, 0.2, 0.3]))
    extract(resnet, [sample], root, Runtime(device="cpu"), report=Silent())
    [stored] = FeatureStore(root, resnet.identity).read([sample.key("image")])
    [made] = rows(resnet, sample)
    np.testing.assert_array_equal(stored, made)
    assert made.shape == (4, 512)


def test_the_layer_fc_is_torchvisions(face: Sample, root: Root, tmp_path: Path) -> None:
    network = trained_looking(18)
    torch.save(network.state_dict(), tmp_path / "resnet.pth")
    pooled = by_torchvision(network, face.image, 64)
    wanted = network.fc(torch.from_numpy(pooled)).detach().numpy()
    for numerics in ("exact", "standard"):
        settings = {"depth": 18, "size": 64, "weights": str(tmp_path / "resnet.pth"), "numerics": numerics}
        resnet = opened(root, layer="fc", **settings)
        [found] = rows(resnet, face)
        assert found.shape == (resnet.identity.spec.dim,) == (1000,)
        assert found @ wanted >= 0.9999 * np.linalg.norm(found) * np.linalg.norm(wanted)
        assert numerics == "standard" or np.abs(found - wanted).max() <= 1e-4
        assert resnet.identity.id != opened(root, **settings).identity.id


def test_the_layer_fc_needs_its_weights(root: Root, tmp_path: Path) -> None:
    state = {name: value for name, value in trained_looking(18).state_dict().items() if not name.startswith("fc.")}
    save_file(state, tmp_path / "bare.safetensors")
    opened(root, depth=18, size=32, weights=str(tmp_path / "bare.safetensors"))
    with pytest.raises(ConfigError, match=r"do not fit a ResNet-18 up to fc: 2 tensors, first fc\.bias"):
        opened(root, depth=18, size=32, layer="fc", weights=str(tmp_path / "bare.safetensors"))


def test_a_trained_encoder_keeps_its_layer_fc(make: Callable[..., ResNet], people: list[Sample]) -> None:
    resnet = make("image", "resnet", weights="trained", layer="fc")
    resnet.open(Runtime(device="cpu"))
    assert {row.shape for row in rows(resnet, *people)} == {(1000,)}
    assert "resnet.fc.weight" in EncoderStore(resnet.inputs.root).weights(resnet.inputs.encoder)


@pytest.mark.parametrize("numerics", ["standard", "exact"])
@pytest.mark.parametrize("pooling", ["mean", "none"])
def test_a_row_is_the_same_alone_in_any_batch_and_after_any_neighbour(root: Root, numerics: str, pooling: str) -> None:
    resnet = opened(root, depth=18, size=64, weights="random", numerics=numerics, pooling=pooling)
    random = np.random.default_rng(0)
    items = [
        Faces(random.integers(0, int(high), (int(n), 64, 64), np.uint8))
        for n, high in zip(random.integers(1, 6, 24), random.integers(2, 256, 24), strict=True)
    ]
    alone = [row for item in items for row in resnet.embed([item])]
    for _ in range(6):
        order = random.permutation(len(items))
        cuts = np.sort(random.choice(np.arange(1, 24), 3, replace=False))
        for batch in np.split(order, cuts):
            for i, row in zip(batch, resnet.embed([items[i] for i in batch]), strict=True):
                wanted, found = alone[i].ravel().astype(float), row.ravel().astype(float)
                assert found @ wanted >= 0.9999 * np.linalg.norm(found) * np.linalg.norm(wanted)
                assert numerics == "standard" or np.abs(found - wanted).max() <= 1e-4


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"depth": 101}, "depth"),
        ({"size": 16}, "size"),
        ({"frames": 0}, "frames"),
        ({"layer": "conv1"}, "layer"),
        ({"pooling": "max"}, "pooling"),
        ({"weights": "imagenet"}, "weights should be"),
        ({"depth": 18}, "IMAGENET1K_V1"),
        ({"weights": "trained", "initial": "trained"}, "weights should be"),
    ],
)
def test_settings_are_checked(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ResNetConfig(**settings)


@pytest.mark.real_data
def test_real_faces_equal_torchvision(real_data: Path, root: Root, tmp_path: Path) -> None:
    network = trained_looking(18)
    torch.save(network.state_dict(), tmp_path / "resnet.pth")
    paths = sorted((real_data / "faces/fer2013").rglob("*.jp*g"))[::70]
    assert paths
    resnet = opened(root, depth=18, size=64, weights=str(tmp_path / "resnet.pth"))
    found = rows(resnet, *(Sample(id=path.name, corpus="c", image=path) for path in paths))
    for path, row in zip(paths, found, strict=True):
        assert np.abs(row - by_torchvision(network, path, 64)).max() <= 1e-4


@pytest.mark.real_data
@pytest.mark.parametrize("statistics", ["fresh", "mixed", "faces"])
def test_real_faces_equal_torchvisions_resnet_50_as_stored(
    real_data: Path, root: Root, tmp_path: Path, statistics: str
) -> None:
    """The running statistics of a fresh network, of one that saw noise, of one that saw hundreds of these faces."""
    paths = sorted((real_data / "faces/fer2013").rglob("*.jp*g"))
    torch.manual_seed(0)
    network = trained_looking(50) if statistics == "mixed" else models.resnet50().eval()
    if statistics == "faces":
        normalised = FaceNetwork(50, 0)
        normalised.resnet = network.train()
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = None  # the mean over all batches
        seen = [load_still(path, Framing(size=112), "").pixels for path in paths[::2]]
        with torch.no_grad():
            for start in range(0, len(seen), 50):
                normalised.rows(torch.from_numpy(np.concatenate(seen[start : start + 50])))
        network.eval()
    torch.save(network.state_dict(), tmp_path / "resnet.pth")
    chosen = paths[3::88]
    assert len(chosen) >= 8
    wanted = np.stack([by_torchvision(network, path, 224) for path in chosen])
    samples = [Sample(id=path.name, corpus="c", image=path) for path in chosen]
    for numerics in ("standard", "exact"):
        resnet = opened(root, weights=str(tmp_path / "resnet.pth"), numerics=numerics)
        found = np.stack([resnet.identity.spec.checked(row, sample_id="") for row in rows(resnet, *samples)])
        if numerics == "exact":
            assert np.abs(found - wanted).max() <= 1e-4
        else:
            assert found.dtype == np.float16
            products = (found.astype(float) * wanted).sum(axis=1)
            norms = np.linalg.norm(found.astype(float), axis=1) * np.linalg.norm(wanted.astype(float), axis=1)
            assert (products / norms).min() >= 0.9999


def test_a_checkpoint_is_refused_with_what_is_expected(root: Root, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pth"
    torch.save({"epoch": 3, "state_dict": trained_looking(18).state_dict()}, path)
    with pytest.raises(ConfigError, match=r"expected a plain state dict .*epoch: int, state_dict: OrderedDict"):
        ResNet(ResNetConfig(depth=18, weights=str(path)), Inputs(root=root)).identity  # noqa: B018
    torch.save([1, 2], path)
    with pytest.raises(ConfigError, match=r"expected a plain state dict .*got list"):
        ResNet(ResNetConfig(depth=18, weights=str(path)), Inputs(root=root)).identity  # noqa: B018


@pytest.mark.parametrize("name", ["bad.pth", "bad.pt", "bad.safetensors"])
@pytest.mark.parametrize("content", [b"", b"no weights", b"PK\x03\x04 no archive"])
def test_corrupt_weights_are_refused(root: Root, tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match="expected a plain state dict of tensors" if content else f"{name} is empty"):
        ResNet(ResNetConfig(depth=18, weights=str(tmp_path / name)), Inputs(root=root)).identity  # noqa: B018


def test_a_pointer_of_git_lfs_is_refused_by_name(root: Root, tmp_path: Path) -> None:
    (tmp_path / "faces.pth").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 9\n")
    with pytest.raises(ConfigError, match=r"faces\.pth is a Git LFS pointer"):
        ResNet(ResNetConfig(depth=18, weights=str(tmp_path / "faces.pth")), Inputs(root=root)).check()


def test_half_a_file_in_torchs_cache_is_to_be_deleted(
    root: Root, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    path = tmp_path / "checkpoints" / "resnet18-f37072fd.pth"
    path.parent.mkdir()
    torch.save(trained_looking(18).state_dict(), path)
    path.write_bytes(path.read_bytes()[:100_000])
    with pytest.raises(ConfigError, match="delete it, and it is fetched again") as caught:
        ResNet(ResNetConfig(depth=18, weights="IMAGENET1K_V1"), Inputs(root=root)).check()
    assert str(path) in str(caught.value)


def test_unsafe_weights_are_refused(root: Root, tmp_path: Path) -> None:
    torch.save({"weights": Path("an object")}, tmp_path / "unsafe.pth")
    with pytest.raises(ConfigError, match=r"UnpicklingError.*expected a plain state dict of tensors"):
        ResNet(ResNetConfig(depth=18, weights=str(tmp_path / "unsafe.pth")), Inputs(root=root)).identity  # noqa: B018


def test_the_note_on_a_file_shows_no_path(root: Root, tmp_path: Path) -> None:
    torch.save(trained_looking(18).state_dict(), tmp_path / "faces.pth")
    resnet = ResNet(ResNetConfig(depth=18, weights=str(tmp_path / "faces.pth")), Inputs(root=root))
    assert resnet.weights_note() == f"faces.pth ({resnet.weights_digest()[:12]})"
