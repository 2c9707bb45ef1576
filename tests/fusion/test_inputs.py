from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from fusion.inputs import Inputs, Reading, to_device
from fusion.splits import Split
from stores.block import ABSENT, FeatureBlock

CPU = torch.device("cpu")
MEMBERS = torch.arange(4)


def _read(inputs: Inputs, samples: Tensor, members: Tensor, versions: Tensor | None = None) -> dict[str, Tensor]:
    real = torch.ones(samples.shape, dtype=torch.bool)
    return inputs.batch(Reading(samples=samples, real=real, versions=versions), members)[0]


def _inputs(block: FeatureBlock, splits: list[Split], norm: str) -> Inputs:
    return Inputs(block, to_device(block, CPU), ("image", "text"), splits, norm)


def test_batch_norm_is_fitted_on_each_members_own_training_rows(block: FeatureBlock, splits: list[Split]) -> None:
    inputs = _inputs(block, splits, "batch")
    for m, split in enumerate(splits):
        train = _read(inputs, torch.from_numpy(split.train)[None], torch.tensor([m]))["text"][0].numpy()
        assert np.allclose(train.mean(axis=0), 0, atol=1e-4)
        assert np.allclose(train.std(axis=0), 1, atol=1e-4)
        raw = block.values["text"].astype(np.float64)
        expected = (raw[split.test] - raw[split.train].mean(axis=0)) / raw[split.train].std(axis=0)
        test = _read(inputs, torch.from_numpy(split.test)[None], torch.tensor([m]))["text"][0].numpy()
        assert np.allclose(test, expected, atol=1e-3)


def test_a_dimension_that_is_constant_in_training_is_centred_and_stays_finite(
    block: FeatureBlock, splits: list[Split]
) -> None:
    block.values["text"][:, 2] = 4.0
    x = _read(_inputs(block, splits, "batch"), torch.arange(120).expand(4, -1), MEMBERS)["text"]
    assert torch.isfinite(x).all()
    assert (x[:, :, 2] == 0).all()


def test_layer_norm_is_over_the_row_and_none_leaves_it(block: FeatureBlock, splits: list[Split]) -> None:
    samples = torch.arange(120).expand(4, -1)
    layered = _read(_inputs(block, splits, "layer"), samples, MEMBERS)["text"]
    assert torch.allclose(layered.mean(dim=-1), torch.zeros(4, 120), atol=1e-5)
    plain = _read(_inputs(block, splits, "none"), samples, MEMBERS)["text"]
    assert np.array_equal(plain[3].numpy(), block.values["text"].astype(np.float32))


def test_members_of_different_repeats_may_read_different_rows(block: FeatureBlock, splits: list[Split]) -> None:
    rows = {"image": block.rows["image"], "text": np.stack([np.roll(np.arange(120), r) for r in range(4)])}
    values = {m: block.values[m] for m in rows}
    inputs = _inputs(replace(block, rows=rows, values=values), splits, "none")
    x = _read(inputs, torch.tensor([[0], [0]]), torch.tensor([1, 3]))["text"]
    assert np.array_equal(x[:, 0].numpy(), block.values["text"][[119, 117]].astype(np.float32))


def test_what_a_sample_lacks_is_marked_and_reads_zero_and_fits_no_norm(
    block: FeatureBlock, splits: list[Split]
) -> None:
    lacking = splits[0].train[:9]
    block.rows["text"][0, lacking] = ABSENT
    inputs = _inputs(block, splits[:1], "batch")
    samples = torch.from_numpy(splits[0].train)[None]
    real = torch.ones_like(samples, dtype=torch.bool)
    x, present = inputs.batch(Reading(samples=samples, real=real), torch.tensor([0]))
    assert not inputs.complete
    assert present[0, :9].tolist() == [[True, False]] * 9
    assert present[0, 9:].all()
    assert (x["text"][0, :9] == 0).all()
    assert np.allclose(x["text"][0, 9:].numpy().mean(axis=0), 0, atol=1e-4)
    hidden = torch.zeros(*samples.shape, 2, dtype=torch.bool)
    hidden[:, 20, 0] = True
    x, present = inputs.batch(Reading(samples=samples, real=real, hidden=hidden), torch.tensor([0]))
    assert present[0, 20].tolist() == [False, True]
    assert (x["image"][0, 20] == 0).all()


def test_a_version_is_the_sample_or_its_view_and_what_lacks_that_view_stays_as_it_is(
    varied: FeatureBlock, splits: list[Split]
) -> None:
    lost = splits[1].train[0]
    varied.views["image"][1, 0, lost] = ABSENT  # quarantined, say
    inputs = Inputs(varied, to_device(varied, CPU), ("image", "speech", "text"), splits, "none")
    assert inputs.versions == 3
    train = torch.from_numpy(splits[1].train)[None]
    for version, shifts in ((0, (0, 0, 0)), (1, (10, 0, 10)), (2, (20, 0, 0))):
        x = _read(inputs, train, torch.tensor([1]), torch.full_like(train, version))
        for modality, shift in zip(("image", "speech", "text"), shifts, strict=True):
            wanted = varied.values[modality][splits[1].train] + np.float16(shift)
            if modality == "image" and version == 1:
                wanted[0] -= np.float16(10)
            np.testing.assert_allclose(x[modality][0].numpy(), wanted, atol=0.02)


def test_without_versions_samples_are_read_as_they_are_and_norms_are_fitted_on_them(
    block: FeatureBlock, varied: FeatureBlock, splits: list[Split]
) -> None:
    samples = torch.arange(120).expand(4, -1)
    for norm in ("batch", "layer", "none"):
        plain, with_views = (_read(_inputs(b, splits, norm), samples, MEMBERS)["image"] for b in (block, varied))
        assert torch.equal(plain, with_views)


@pytest.mark.parametrize("part", ["val", "test", "encoder"])
def test_a_view_of_a_sample_the_repeat_does_not_train_on_is_refused_by_name(
    varied: FeatureBlock, splits: list[Split], part: str
) -> None:
    split = replace(splits[2], train=splits[2].train[:-1], encoder=splits[2].train[-1:])
    varied.views["image"][2, :, split.encoder] = ABSENT
    varied.views["text"][2, :, split.encoder] = ABSENT
    stray = getattr(split, part)[-1]
    varied.views["image"][2, 1, stray] = 240 + stray
    with pytest.raises(ValueError, match=rf"repeat 2 .* 1 samples .*\({block_id(stray)} of its {part} part"):
        _inputs(varied, [*splits[:2], split, splits[3]], "none")
    assert _inputs(varied, splits[:2], "none").versions == 3  # repeats that have none of it are not held up


def test_a_view_of_a_sample_that_was_dropped_from_its_repeat_is_refused(
    varied: FeatureBlock, splits: list[Split]
) -> None:
    shorter = replace(splits[0], train=splits[0].train[1:])
    with pytest.raises(ValueError, match=rf"\({block_id(splits[0].train[0])} of no part"):
        _inputs(varied, [shorter], "none")


def block_id(position: int) -> str:
    return f"toy/{position:03d}"


@pytest.mark.parametrize("constant", [0.1, 0.3, 1.7, -2.3e-4])
def test_a_constant_that_has_no_exact_mean_is_centred_to_zero_all_the_same(
    block: FeatureBlock, splits: list[Split], constant: float
) -> None:
    values = block.values["text"].astype(np.float32)
    values[:, 2] = constant
    values[splits[0].test[0], 2] = 1.5 * constant
    odd = replace(block, values={**block.values, "text": values})
    x = _read(_inputs(odd, splits[:1], "batch"), torch.arange(120)[None], torch.tensor([0]))["text"][0, :, 2]
    assert (x[splits[0].train] == 0).all()
    assert abs(x[splits[0].test[0]]) < 2


def test_a_row_that_many_samples_share_counts_as_many_times_in_the_norm(
    block: FeatureBlock, splits: list[Split]
) -> None:
    shared = block.rows["text"].copy()
    shared[0, splits[0].train[:50]] = shared[0, splits[0].train[0]]  # a sentence that recurs
    inputs = _inputs(replace(block, rows={**block.rows, "text": shared}), splits[:1], "batch")
    train = _read(inputs, torch.from_numpy(splits[0].train)[None], torch.tensor([0]))["text"][0].numpy()
    assert np.allclose(train.mean(axis=0), 0, atol=1e-4)
    assert np.allclose(train.std(axis=0), 1, atol=1e-4)


def test_memory_of_a_batch_is_used_again_for_fewer_members_and_may_be_written_to_after_scoring(
    block: FeatureBlock, splits: list[Split], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fusion.inputs._IN_CACHE", 1)
    inputs = _inputs(block, splits, "batch")
    samples = torch.arange(120).expand(4, -1)
    with torch.inference_mode():
        whole = _read(inputs, samples, MEMBERS)["text"].clone()
    kept = {name: memory.data_ptr() for name, memory in inputs._kept.items()}
    fewer = _read(inputs, samples[:2, :60], torch.tensor([1, 3]))["text"]
    assert torch.equal(fewer, whole[[1, 3], :60])
    assert {name: memory.data_ptr() for name, memory in inputs._kept.items()} == kept
