from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from extractors.image import _serving
from extractors.image._network import FaceNetwork
from extractors.image._serving import FoldedResNet, probes

NO_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU here")


@pytest.fixture(autouse=True)
def _no_gradients() -> object:
    with torch.inference_mode():
        yield


def pictures(count: int, size: int, *, colour: bool = False) -> torch.Tensor:
    shape = (count, size, size, 3)[: 4 if colour else 3]
    return torch.from_numpy(np.random.default_rng(1).integers(0, 256, shape, np.uint8))


def network(depth: int = 18, *, seen: torch.Tensor | None = None, layer: str = "avgpool") -> FaceNetwork:
    """A network from a seed, its running statistics those of `seen`: the weights that forgive the least."""
    made = FaceNetwork(depth, 0, layer)
    if seen is not None:
        for module in made.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 1.0
        made.train()
        made.rows(seen)
    return made.eval()


def cosine(found: torch.Tensor, wanted: torch.Tensor) -> float:
    return float(torch.cosine_similarity(found.double(), wanted.double()).min())


@pytest.fixture(params=[True, False], ids=["fused", "plain"])
def fused(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    if not request.param:
        monkeypatch.setattr(_serving, "fuses", lambda device: False)
    elif not _serving.fuses(torch.device("cpu")):
        pytest.skip("this torch carries no fused convolutions")
    return bool(request.param)


@pytest.mark.parametrize("colour", [False, True])
def test_the_first_convolution_is_exact_up_to_the_borders(fused: bool, colour: bool) -> None:
    net = network()
    faces = pictures(2, 40, colour=colour)
    channels = faces.permute(0, 3, 1, 2) if colour else faces[:, None]
    normal = (channels.double() / 255 - net.mean.double()) / net.deviation.double()
    resnet = net.resnet.double()
    wanted = resnet.maxpool(resnet.relu(resnet.bn1(resnet.conv1(normal))))
    for dtype, step in ((torch.float32, 2e-6), (torch.bfloat16, 2**-8)):  # half a step of 8 bits, rounded once
        found = _serving._Stem(resnet, dtype, grayscale=not colour)(faces)
        assert found.dtype == dtype
        assert (found.double() - wanted).abs().max() <= step * wanted.abs().max()
        assert ((found.double() - wanted).abs() <= step * wanted.abs() + 1e-4).all()


@pytest.mark.parametrize("depth", [18, 50])
@pytest.mark.parametrize("colour", [False, True])
def test_folded_rows_are_the_networks(fused: bool, depth: int, colour: bool) -> None:
    net, faces = network(depth), pictures(3, 64, colour=colour)
    wanted = net.rows(faces)
    exact = FoldedResNet(net, torch.float32, 64, grayscale=not colour)(faces)
    assert (exact - wanted).abs().max() <= 1e-5 * wanted.abs().max()
    mixed = FoldedResNet(net, torch.bfloat16, 64, grayscale=not colour)
    assert mixed.first_fast == 0
    assert mixed(faces).dtype == torch.float32
    assert cosine(mixed(faces), wanted) >= 0.9999


def test_the_fully_connected_layer_follows_in_float32(fused: bool) -> None:
    net, faces = network(layer="fc"), pictures(2, 64)
    wanted = net.rows(faces)
    assert wanted.shape == (2, 1000)
    assert cosine(FoldedResNet(net, torch.bfloat16, 64, grayscale=True)(faces), wanted) >= 0.9999


@pytest.mark.parametrize("depth", [18, 50])
def test_weights_that_magnify_errors_are_served_more_exactly(depth: int) -> None:
    smooth = torch.from_numpy(probes(96, grayscale=True)[5:]).repeat(4, 1, 1)
    smooth = (smooth + torch.randint(0, 30, (12, 1, 1), generator=torch.Generator().manual_seed(0))).to(torch.uint8)
    net = network(depth, seen=smooth)
    served = FoldedResNet(net, torch.bfloat16, 96, grayscale=True)
    assert 0 < served.first_fast <= 1 + sum(map(len, (net.resnet.layer1, net.resnet.layer2, net.resnet.layer3)))
    assert cosine(served(smooth), net.rows(smooth)) >= 0.9999
    blank = torch.full((1, 96, 96), 200, dtype=torch.uint8)
    assert cosine(served(blank), net.rows(blank)) >= 0.9999


def test_weights_that_are_too_hard_for_bfloat16_are_served_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_serving, "_MOST_LOSS", -1.0)
    net, faces = network(), pictures(2, 64)
    served = FoldedResNet(net, torch.bfloat16, 64, grayscale=True)
    assert served.first_fast == 1 + 8  # the first convolution and all blocks
    assert cosine(served(faces), net.rows(faces)) >= 1 - 1e-10


def test_probes_are_the_same_everywhere_and_differ() -> None:
    gray, colour = probes(48, grayscale=True), probes(48, grayscale=False)
    assert (gray.shape, colour.shape, gray.dtype) == ((8, 48, 48), (8, 48, 48, 3), np.uint8)
    np.testing.assert_array_equal(gray, probes(48, grayscale=True))
    np.testing.assert_array_equal(gray, colour[..., 0])
    assert len({picture.tobytes() for picture in gray}) == 8
    assert [np.unique(picture).tolist() for picture in gray[:3]] == [[0], [110], [255]]


def test_what_would_be_compiled_on_a_gpu_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_serving, "fuses", lambda device: False)  # as on a GPU
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager", fullgraph=True))
    monkeypatch.setattr(_serving, "_COMPILED_AFTER", 5)
    served = FoldedResNet(network(), torch.bfloat16, 32, grayscale=True)
    served._worth_compiling, served._steps = True, served._steps[:2]  # tracing all of it takes long
    eager: Callable[..., torch.Tensor] = served._computed
    first = served(pictures(4, 32))
    assert served._computed == eager
    second = served(pictures(4, 32))
    assert served._computed != eager
    assert cosine(second, first) >= 1 - 1e-6


def test_a_machine_that_cannot_compile_computes_on_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def broken(graph: object, examples: object) -> Callable[..., object]:
        tried.append(graph)
        raise FileNotFoundError("no compiler")

    monkeypatch.setattr(_serving, "fuses", lambda device: False)  # as on a GPU
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=broken))
    monkeypatch.setattr(_serving, "_COMPILED_AFTER", 5)
    served = FoldedResNet(network(), torch.bfloat16, 32, grayscale=True)
    served._worth_compiling, served._steps = True, served._steps[:2]
    rows = [served(pictures(4, 32)) for _ in range(4)]
    assert all(torch.equal(found, rows[0]) for found in rows)
    assert len(tried) == 1


@NO_GPU
def test_rows_on_a_gpu_are_those_of_the_cpu() -> None:
    net, faces = network(50), pictures(4, 224)
    wanted = net.rows(faces)
    served = FoldedResNet(net.to("cuda"), torch.bfloat16, 224, grayscale=True)
    assert cosine(served(faces.to("cuda")).cpu(), wanted) >= 0.9999
