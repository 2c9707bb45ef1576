from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from extractors.extractor import Extractor, Inputs, Runtime
from extractors.run import extract
from extractors.speech._network import LstmCnnNetwork
from extractors.speech.acoustic import Acoustic, AcousticConfig
from extractors.speech.lstm_cnn import LstmCnn, LstmCnnConfig
from stores.compaction import compact
from stores.errors import ConfigError, MediaError
from stores.features import FeatureStore
from stores.progress import Silent
from stores.root import Root
from stores.samples import Sample

LENGTHS = (1, 2, 3, 8, 9, 17, 40, 77, 200)


def built(*, attention: bool = False, kernel: int = 5, dropout: float = 0.0) -> LstmCnnNetwork:
    """Return a network whose every parameter and statistic is drawn at random."""
    network = LstmCnnNetwork(6, filters=8, kernel=kernel, hidden=5, dropout=dropout, attention=attention)
    generator = torch.Generator().manual_seed(3)
    for value in (*network.parameters(), *network.buffers()):
        if value.is_floating_point():
            value.data.uniform_(0.3, 1.2, generator=generator)
            value.data *= torch.rand(value.shape, generator=generator).round() * 2 - 1 if value.ndim > 1 else 1
    return network


def clips(seed: int, lengths: tuple[int, ...] = LENGTHS) -> list[np.ndarray]:
    generator = np.random.default_rng(seed)
    return [generator.standard_normal((n, 6)).astype(np.float32) for n in lengths]


def padded(items: list[np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
    tensors = [torch.from_numpy(item) for item in items]
    filled = nn.utils.rnn.pad_sequence(tensors, batch_first=True, padding_value=1e3)
    return filled, torch.tensor([len(item) for item in items])


def states_of(network: LstmCnnNetwork, clip: np.ndarray) -> torch.Tensor:
    """Return the LSTM's states for one clip by plain layers, one after the other, without padding or mask."""

    def conv(layer: nn.Module, x: torch.Tensor) -> torch.Tensor:
        return layer.norm(layer.convolution(x))

    x = ((torch.from_numpy(clip) - network.mean) / network.deviation).T[None]
    x = conv(network.stem, x).relu()
    for block in network.blocks:
        x = (conv(block.second, conv(block.first, x).relu()) + conv(block.shortcut, x)).relu()
    return network.lstm(x.transpose(1, 2))[0][0]


@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_rows_are_mean_and_last_state_of_each_clip_on_its_own(kernel: int) -> None:
    network = built(kernel=kernel).eval()
    with torch.inference_mode():
        found = network(*padded(clips(0)))
        for row, clip in zip(found, clips(0), strict=True):
            states = states_of(network, clip)
            assert len(states) == -(-len(clip) // 8)
            assert torch.allclose(row, torch.cat([states.mean(dim=0), states[-1]]), atol=1e-5)


def test_attention_weighs_states_by_their_product_with_the_query() -> None:
    network = built(attention=True).eval()
    with torch.inference_mode():
        found = network(*padded(clips(0)))
        for row, clip in zip(found, clips(0), strict=True):
            states = states_of(network, clip)
            weights = torch.exp(states @ network.pooling.query / 5**0.5)
            assert torch.allclose(row, (weights[:, None] * states).sum(dim=0) / weights.sum(), atol=1e-5)
        network.pooling.query.zero_()
        assert torch.allclose(network(*padded(clips(0)))[-1], states_of(network, clips(0)[-1]).mean(dim=0), atol=1e-5)


def test_an_untrained_query_is_zero_and_can_be_learned() -> None:
    network = LstmCnnNetwork(6, filters=8, kernel=3, hidden=5, dropout=0.0, attention=True)
    assert not network.pooling.query.any()
    network(*padded(clips(0))).square().sum().backward()
    assert network.pooling.query.grad is not None
    assert network.pooling.query.grad.abs().min() > 0


def test_batch_norm_learns_from_valid_frames_only() -> None:
    network = built().train()
    before = network.stem.norm.running_mean.clone(), network.stem.norm.running_var.clone()
    normalised = [(torch.from_numpy(c) - network.mean) / network.deviation for c in clips(1)]
    frames = torch.cat([network.stem.convolution(x.T[None])[0] for x in normalised], dim=1).detach()
    network(*padded(clips(1)))
    assert torch.allclose(network.stem.norm.running_mean, 0.9 * before[0] + 0.1 * frames.mean(dim=1), atol=1e-5)
    assert torch.allclose(network.stem.norm.running_var, 0.9 * before[1] + 0.1 * frames.var(dim=1), rtol=1e-5)


@pytest.mark.parametrize("attention", [False, True])
def test_padding_changes_neither_loss_nor_gradient(attention: bool) -> None:
    gradients = []
    for longest in (60, 200):
        network = built(attention=attention).train()
        frames, lengths = padded(clips(2, (5, 60, 33)))
        frames = nn.functional.pad(frames, (0, 0, 0, longest - 60), value=7.0)
        network(frames, lengths).square().sum().backward()
        gradients.append({name: value.grad for name, value in network.named_parameters()})
    for name, gradient in gradients[0].items():
        assert torch.allclose(gradient, gradients[1][name], rtol=1e-3, atol=1e-4 * gradient.abs().max()), name


def test_dropout_is_of_training_only() -> None:
    inputs = padded(clips(0))
    network = built(dropout=0.5)
    assert torch.equal(network.eval()(*inputs), built().eval()(*inputs))
    torch.manual_seed(0)
    assert not torch.equal(network.train()(*inputs), built().train()(*inputs))


@pytest.mark.parametrize("pooling", ["mean+last", "attention"])
@pytest.mark.parametrize("numerics", ["standard", "exact"])
def test_a_row_is_the_same_alone_in_any_batch_and_after_any_neighbour(
    make: Callable[..., Extractor], pooling: str, numerics: str
) -> None:
    extractor = make("speech", "lstm_cnn", numerics=numerics, pooling=pooling, filters=16, hidden=16)
    extractor.open(Runtime(device="cpu"))
    generator = np.random.default_rng(0)
    items = [20 * generator.standard_normal((n, 168)).astype(np.float32) for n in (*LENGTHS, 400, 3, 64)]
    alone = np.stack([row for item in items for row in extractor.embed([item])])
    assert alone.shape == (12, 32 if pooling == "mean+last" else 16)
    for seed in range(6):
        order = np.random.default_rng(seed).permutation(len(items))
        size = (2, 3, 5, 7, 12, 12)[seed]
        batches = [order[i : i + size] for i in range(0, len(order), size)]
        rows = np.concatenate([np.stack(list(extractor.embed([items[i] for i in batch]))) for batch in batches])
        assert np.abs(rows - alone[order]).max() <= 1e-5


@pytest.mark.parametrize(("deltas", "width"), [(0, 168), (2, 248)])
def test_inputs_choose_the_columns_and_deltas_go_with_the_mfcc(
    root: Root, people: list[Sample], deltas: int, width: int
) -> None:
    acoustic = Acoustic(AcousticConfig(deltas=deltas), Inputs(root=root))
    for some in (people[:2], people[2:]):  # two parts
        extract(acoustic, some, root, Runtime(device="cpu"), report=Silent())
    upstream = FeatureStore(root, acoustic.identity)
    frames = upstream.read([sample.key("speech") for sample in people])
    columns = {"both": slice(0, width), "mfcc": slice(0, width - 128), "mel": slice(width - 128, width)}
    for inputs, chosen in columns.items():
        extractor = LstmCnn(LstmCnnConfig(inputs=inputs), Inputs(root=root, upstream=upstream))
        assert extractor.network(0).mean.shape == (chosen.stop - chosen.start,)
        for _ in range(2):
            for sample, row in zip(people, frames, strict=True):
                assert np.array_equal(extractor.decode(sample, sample.key("speech")), row[:, chosen])


def test_rows_sealed_after_the_first_reading_are_found(root: Root, people: list[Sample]) -> None:
    acoustic = Acoustic(AcousticConfig(), Inputs(root=root))
    extract(acoustic, people[:3], root, Runtime(device="cpu"), report=Silent())
    extractor = LstmCnn(LstmCnnConfig(), Inputs(root=root, upstream=FeatureStore(root, acoustic.identity)))
    first = extractor.decode(people[0], people[0].key("speech"))
    extract(acoustic, people, root, Runtime(device="cpu"), report=Silent())
    [later] = FeatureStore(root, acoustic.identity).read([people[5].key("speech")])
    assert np.array_equal(extractor.decode(people[5], people[5].key("speech")), later)
    assert np.array_equal(extractor.decode(people[0], people[0].key("speech")), first)


def test_rows_compacted_after_the_first_reading_are_found(root: Root, people: list[Sample]) -> None:
    acoustic = Acoustic(AcousticConfig(), Inputs(root=root))
    for few in (people[:3], people):
        extract(acoustic, few, root, Runtime(device="cpu"), report=Silent())
    store = FeatureStore(root, acoustic.identity)
    expected = store.read([people[1].key("speech")])[0]
    extractor = LstmCnn(LstmCnnConfig(), Inputs(root=root, upstream=store))
    extractor.decode(people[0], people[0].key("speech"))
    parts = [seal.part for seal in store.seals()]
    assert compact(store) == (2, 1)
    for part in parts:  # as `affuse store gc` deletes them
        root.delete(store.folder, "parts", f"{part}.zarr")
        root.delete(store.folder, "parts", f"{part}.parquet")
    assert np.array_equal(extractor.decode(people[1], people[1].key("speech")), expected)


def test_a_piece_lost_after_the_first_reading_is_told(root: Root, people: list[Sample]) -> None:
    acoustic = Acoustic(AcousticConfig(), Inputs(root=root))
    extract(acoustic, people, root, Runtime(device="cpu"), report=Silent())
    extractor = LstmCnn(LstmCnnConfig(), Inputs(root=root, upstream=FeatureStore(root, acoustic.identity)))
    extractor.decode(people[0], people[0].key("speech"))
    for piece in Path(root.address).glob("features/speech/*/parts/*.zarr/values/c/*/*"):
        piece.unlink()
    with pytest.raises(MediaError, match="no acoustic row to read") as caught:
        extractor.decode(people[1], people[1].key("speech"))
    assert "rows have changed since they were sealed: 1 of acoustic-" in str(caught.value.__context__)
    assert people[1].key("speech") not in FeatureStore(root, acoustic.identity).index()


def test_the_pooling_is_part_of_what_a_row_is(root: Root) -> None:
    upstream = FeatureStore(root, Acoustic(AcousticConfig(), Inputs(root=root)).identity)
    inputs = Inputs(root=root, upstream=upstream)
    features = [LstmCnn(LstmCnnConfig(pooling=name), inputs).identity for name in ("mean+last", "attention")]
    assert [feature.spec.dim for feature in features] == [256, 128]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"dropout": 1.0}, r"dropout should be in \[0, 1\)"),
        ({"pooling": "max"}, r"pooling should be one of mean\+last, attention"),
        ({"inputs": "text"}, "inputs should be one of both, mel, mfcc"),
        ({"kernel": 4}, "an odd kernel"),
    ],
)
def test_settings_are_checked(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        LstmCnnConfig(**wrong)
