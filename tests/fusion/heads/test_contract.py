"""What every trained head must keep; a new module in fusion/heads is picked up by its name."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from fusion.heads._head import Combiner, Frame, FusionHead, Head
from fusion.inputs import Inputs, to_device
from fusion.splits import Split
from fusion.stack import Member
from fusion.training import train_stacked
from fusion.training_config import TrainingConfig
from stores.block import ABSENT, FeatureBlock
from stores.plugins import find_plugin, plugin_names

WIDTHS = {"text": 6, "speech": 4, "image": 5}
TYPES = {name: find_plugin("fusion.heads", name, Head) for name in plugin_names("fusion.heads")}
TRAINED = [name for name, kind in TYPES.items() if not issubclass(kind, Combiner)]

pytestmark = pytest.mark.parametrize("name", TRAINED)


def _build(name: str, seeds: Sequence[int], *, backwards: bool = False) -> FusionHead:
    kind = TYPES[name]
    items = [(m, WIDTHS[m]) for m in _modalities(name)]
    widths = dict(reversed(items) if backwards else items)
    head = kind(
        kind.config_type(), Frame(widths=widths, n_classes=3, hidden=8, dropout=[0.4] * len(seeds), seeds=seeds)
    )
    assert isinstance(head, FusionHead)
    return head


def _features(name: str, members: int, batch: int = 7) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = {m: torch.randn(1, batch, width, generator=generator).expand(members, -1, -1) for m, width in WIDTHS.items()}
    return {m: x[m] for m in _modalities(name)}


def _modalities(name: str) -> list[str]:
    return list(WIDTHS)[: TYPES[name].most or len(WIDTHS)]


def _all_present(x: dict[str, Tensor]) -> Tensor:
    return torch.ones(*next(iter(x.values())).shape[:2], len(x), dtype=torch.bool)


def _some_absent(name: str, x: dict[str, Tensor]) -> tuple[dict[str, Tensor], Tensor]:
    """Take each modality a head can do without from a third of the samples, or all of them from the last."""
    present = _all_present(x)
    for i, m in enumerate(sorted(x)):
        if m not in TYPES[name].needs:
            present[:, i::3, i] = False
    present[:, -1] = False
    return {m: own * present[..., i, None] for i, (m, own) in enumerate(sorted(x.items()))}, present


def _logits(head: FusionHead, x: dict[str, Tensor]) -> Tensor:
    logits: Tensor = head(x, _all_present(x))
    return logits


def _auxiliary(head: FusionHead) -> Tensor:
    """Return what the head adds to each member's loss, 0 for one that adds nothing."""
    extra = head.auxiliary_loss()
    return torch.zeros(len(head.generators)) if extra is None else extra


def test_logits_have_one_row_a_member_and_sample(name: str) -> None:
    assert _logits(_build(name, [1, 2]), _features(name, 2)).shape == (2, 7, 3)


def test_equal_seeds_start_equal_and_others_differ(name: str) -> None:
    logits = _logits(_build(name, [5, 5, 6]).eval(), _features(name, 3))
    assert torch.equal(logits[0], logits[1])
    assert not torch.allclose(logits[0], logits[2])


@pytest.mark.parametrize("training", [True, False])
def test_a_member_does_not_depend_on_its_stack(name: str, training: bool) -> None:
    alone = _logits(_build(name, [6]).train(training), _features(name, 1))
    stacked = _logits(_build(name, [5, 6, 7]).train(training), _features(name, 3))
    torch.testing.assert_close(stacked[1:2], alone, atol=1e-6, rtol=0)


def test_members_that_stay_go_on_as_before_when_others_leave(name: str) -> None:
    whole, cut = _build(name, [5, 6, 7]), _build(name, [5, 6, 7])
    cut.keep([0, 2])
    torch.testing.assert_close(
        _logits(cut, _features(name, 2)), _logits(whole, _features(name, 3))[[0, 2]], atol=1e-6, rtol=0
    )


def test_the_order_of_modalities_decides_nothing(name: str) -> None:
    x = _features(name, 2)
    forwards = _logits(_build(name, [1, 2]), x)
    backwards = _logits(_build(name, [1, 2], backwards=True), dict(reversed(x.items())))
    assert torch.equal(forwards, backwards)


def test_a_gradient_reaches_every_parameter_of_every_member(name: str) -> None:
    head = _build(name, [1, 2])
    x, present = _some_absent(name, _features(name, 2, batch=64))
    logits = head(x, present)
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), torch.arange(128) % 3)
    (loss + _auxiliary(head).sum()).backward()
    for label, parameter in head.named_parameters():
        assert parameter.grad is not None, label
        assert torch.isfinite(parameter.grad).all(), label
        assert (parameter.grad.flatten(1).abs().sum(dim=1) > 0).all(), label


def test_a_member_learns_from_its_own_samples_only(name: str) -> None:
    head = _build(name, [1, 2])
    logits = _logits(head, _features(name, 2))
    (logits[0].square().sum() + _auxiliary(head)[0]).backward()
    for parameter in head.parameters():
        assert parameter.grad is not None
        assert not parameter.grad[1].any()


def test_what_is_added_to_the_loss_is_each_members_own_and_counts_what_is_present_only(name: str) -> None:
    head, alone = _build(name, [5, 6]), _build(name, [6])
    x, present = _some_absent(name, _features(name, 2))
    head(x, present)
    extra = _auxiliary(head)
    assert extra.shape == (2,)
    assert torch.isfinite(extra).all()
    padded = {m: torch.cat([own, own[:, :2] * 0 + 9], dim=1)[1:] for m, own in x.items()}
    alone(padded, torch.cat([present, torch.zeros_like(present[:, :2])], dim=1)[1:])
    torch.testing.assert_close(_auxiliary(alone), extra[1:], atol=1e-5, rtol=0)
    head(x, torch.zeros_like(present))
    assert torch.isfinite(_auxiliary(head)).all()


def test_a_row_does_not_depend_on_its_batch(name: str) -> None:
    head, x = _build(name, [1, 2]).eval(), _features(name, 2)
    one = _logits(head, {m: v[:, 3:4] for m, v in x.items()})
    torch.testing.assert_close(one, _logits(head, x)[:, 3:4], atol=1e-6, rtol=0)


def test_what_a_sample_lacks_changes_nothing_and_every_row_stays_finite(name: str) -> None:
    head = _build(name, [1, 2]).eval()
    x, present = _some_absent(name, _features(name, 2))
    logits = head(x, present)
    assert torch.isfinite(logits).all()
    whole = present.all(dim=2)
    torch.testing.assert_close(logits[whole], _logits(head, _features(name, 2))[whole], atol=1e-6, rtol=0)
    assert not torch.equal(logits[~whole], _logits(head, _features(name, 2))[~whole])


def test_bfloat16_features_give_nearly_the_same_posteriors(name: str) -> None:
    head, x = _build(name, [1, 2]).eval(), _features(name, 2)
    low = _logits(head, {m: v.bfloat16() for m, v in x.items()})
    assert low.dtype == torch.float32
    torch.testing.assert_close(low.softmax(2), _logits(head, x).softmax(2), atol=2e-2, rtol=0)


def test_weights_are_none_or_a_share_of_each_modality(name: str) -> None:
    head, (x, present) = _build(name, [1, 2]).eval(), _some_absent(name, _features(name, 2))
    fitted, own = head.modality_weights(), head.sample_weights(x, present)
    if fitted is not None:
        assert fitted.shape[:2] == (2, len(x))
        torch.testing.assert_close(fitted.sum(dim=1), torch.ones_like(fitted.sum(dim=1)), atol=1e-6, rtol=0)
        assert (fitted >= 0).all()
    if own is not None:
        assert own.shape == present.shape
        assert (own >= 0).all()
        assert (own[~present] == 0).all()
        torch.testing.assert_close(own.sum(dim=2), present.any(dim=2).float(), atol=1e-6, rtol=0)


def test_a_member_trained_alone_ends_as_it_does_in_a_stack_and_has_learned(
    name: str, block: FeatureBlock, splits: list[Split]
) -> None:
    rows = {m: np.where(np.arange(120) % 7 == i, ABSENT, own) for i, (m, own) in enumerate(block.rows.items())}
    block = replace(block, rows=rows)
    short = replace(splits[1], train=splits[1].train[:-19])
    stacked = _tested(name, block, [splits[0], short, splits[2]])
    (alone,) = _tested(name, block, [short])
    np.testing.assert_allclose(stacked[1], alone, atol=1e-5)
    for posteriors, split in zip(stacked, (splits[0], short, splits[2]), strict=True):
        assert (posteriors.argmax(axis=1) == block.labels[split.test]).mean() > 0.6  # chance is 1/3


def _tested(name: str, block: FeatureBlock, splits: Sequence[Split]) -> list[np.ndarray]:
    """Return each member's test posteriors after eight epochs."""
    kind: Any = TYPES[name]
    training = TrainingConfig(learning_rate=5e-3, epochs=8, epoch_steps=1, width=8, batch_size=16)
    inputs = Inputs(block, to_device(block, torch.device("cpu")), _modalities(name), splits, training.input_norm)
    members = [Member(split=split, seed=split.repeat, training=training) for split in splits]
    stack = train_stacked(partial(kind, kind.config_type()), block, inputs, members)
    return [scored.posteriors for scored in stack.predict("test")]
