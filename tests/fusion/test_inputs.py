from dataclasses import replace

import numpy as np
import pytest
import torch

from fusion.inputs import Inputs, to_device
from fusion.splits import Split
from stores.block import ABSENT, FeatureBlock

CPU = torch.device("cpu")
MEMBERS = torch.arange(4)


def _inputs(block: FeatureBlock, splits: list[Split], norm: str) -> Inputs:
    return Inputs(block, to_device(block, CPU), ("image", "text"), splits, norm)


def test_batch_norm_is_fitted_on_each_members_own_training_rows(block: FeatureBlock, splits: list[Split]) -> None:
    inputs = _inputs(block, splits, "batch")
    for m, split in enumerate(splits):
        train = inputs.batch(torch.from_numpy(split.train)[None], torch.tensor([m]))["text"][0].numpy()
        assert np.allclose(train.mean(axis=0), 0, atol=1e-4)
        assert np.allclose(train.std(axis=0), 1, atol=1e-4)
        raw = block.values["text"].astype(np.float64)
        expected = (raw[split.test] - raw[split.train].mean(axis=0)) / raw[split.train].std(axis=0)
        test = inputs.batch(torch.from_numpy(split.test)[None], torch.tensor([m]))["text"][0].numpy()
        assert np.allclose(test, expected, atol=1e-3)


def test_a_dimension_that_is_constant_in_training_is_centred_and_stays_finite(
    block: FeatureBlock, splits: list[Split]
) -> None:
    block.values["text"][:, 2] = 4.0
    x = _inputs(block, splits, "batch").batch(torch.arange(120).expand(4, -1), MEMBERS)["text"]
    assert torch.isfinite(x).all()
    assert (x[:, :, 2] == 0).all()


def test_layer_norm_is_over_the_row_and_none_leaves_it(block: FeatureBlock, splits: list[Split]) -> None:
    samples = torch.arange(120).expand(4, -1)
    layered = _inputs(block, splits, "layer").batch(samples, MEMBERS)["text"]
    assert torch.allclose(layered.mean(dim=-1), torch.zeros(4, 120), atol=1e-5)
    plain = _inputs(block, splits, "none").batch(samples, MEMBERS)["text"]
    assert np.array_equal(plain[3].numpy(), block.values["text"].astype(np.float32))


def test_members_of_different_repeats_may_read_different_rows(block: FeatureBlock, splits: list[Split]) -> None:
    rows = {"image": block.rows["image"], "text": np.stack([np.roll(np.arange(120), r) for r in range(4)])}
    values = {m: block.values[m] for m in rows}
    inputs = _inputs(replace(block, rows=rows, values=values), splits, "none")
    x = inputs.batch(torch.tensor([[0], [0]]), torch.tensor([1, 3]))["text"]
    assert np.array_equal(x[:, 0].numpy(), block.values["text"][[119, 117]].astype(np.float32))


def test_a_sample_without_a_modality_is_refused_by_name(block: FeatureBlock, splits: list[Split]) -> None:
    block.rows["text"][0, splits[0].test[0]] = ABSENT
    with pytest.raises(ValueError, match=f"1 samples without text \\({block.sample_ids[splits[0].test[0]]}"):
        _inputs(block, splits, "none")
