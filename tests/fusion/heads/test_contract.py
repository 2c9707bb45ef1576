"""What every trained head must keep; a new module in fusion/heads is picked up by its name."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from fusion.heads._head import Combiner, Frame, FusionHead, Head
from stores.plugins import find_plugin, plugin_names

WIDTHS = {"text": 6, "speech": 4, "image": 5}
TYPES = {name: find_plugin("fusion.heads", name, Head) for name in plugin_names("fusion.heads")}
TRAINED = [name for name, kind in TYPES.items() if not issubclass(kind, Combiner)]

pytestmark = pytest.mark.parametrize("name", TRAINED)


def _build(name: str, seeds: Sequence[int], *, backwards: bool = False) -> FusionHead:
    kind = TYPES[name]
    items = list(WIDTHS.items())[: kind.most or len(WIDTHS)]
    widths = dict(reversed(items) if backwards else items)
    head = kind(kind.config_type(), Frame(widths=widths, n_classes=3, hidden=8, dropout=0.4, seeds=seeds))
    assert isinstance(head, FusionHead)
    return head


def _features(name: str, members: int, batch: int = 7) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = {m: torch.randn(1, batch, width, generator=generator).expand(members, -1, -1) for m, width in WIDTHS.items()}
    return {m: x[m] for m in list(WIDTHS)[: TYPES[name].most or len(WIDTHS)]}


def test_logits_have_one_row_a_member_and_sample(name: str) -> None:
    assert _build(name, [1, 2])(_features(name, 2)).shape == (2, 7, 3)


def test_equal_seeds_start_equal_and_others_differ(name: str) -> None:
    logits = _build(name, [5, 5, 6]).eval()(_features(name, 3))
    assert torch.equal(logits[0], logits[1])
    assert not torch.allclose(logits[0], logits[2])


@pytest.mark.parametrize("training", [True, False])
def test_a_member_does_not_depend_on_its_stack(name: str, training: bool) -> None:
    alone = _build(name, [6]).train(training)(_features(name, 1))
    stacked = _build(name, [5, 6, 7]).train(training)(_features(name, 3))
    torch.testing.assert_close(stacked[1:2], alone, atol=1e-6, rtol=0)


def test_members_that_stay_go_on_as_before_when_others_leave(name: str) -> None:
    whole, cut = _build(name, [5, 6, 7]), _build(name, [5, 6, 7])
    cut.keep([0, 2])
    torch.testing.assert_close(cut(_features(name, 2)), whole(_features(name, 3))[[0, 2]], atol=1e-6, rtol=0)


def test_the_order_of_modalities_decides_nothing(name: str) -> None:
    x = _features(name, 2)
    forwards = _build(name, [1, 2])(x)
    backwards = _build(name, [1, 2], backwards=True)(dict(reversed(x.items())))
    assert torch.equal(forwards, backwards)


def test_a_gradient_reaches_every_parameter_of_every_member(name: str) -> None:
    head = _build(name, [1, 2])
    logits = head(_features(name, 2, batch=64))
    torch.nn.functional.cross_entropy(logits.flatten(0, 1), torch.arange(128) % 3).backward()
    for label, parameter in head.named_parameters():
        assert parameter.grad is not None, label
        assert (parameter.grad.flatten(1).abs().sum(dim=1) > 0).all(), label


def test_a_member_learns_from_its_own_samples_only(name: str) -> None:
    head = _build(name, [1, 2])
    head(_features(name, 2))[0].square().sum().backward()
    for parameter in head.parameters():
        assert parameter.grad is not None
        assert not parameter.grad[1].any()


def test_a_row_does_not_depend_on_its_batch(name: str) -> None:
    head, x = _build(name, [1, 2]).eval(), _features(name, 2)
    torch.testing.assert_close(head({m: v[:, 3:4] for m, v in x.items()}), head(x)[:, 3:4], atol=1e-6, rtol=0)


def test_fitted_weights_are_none_or_a_share_of_each_modality(name: str) -> None:
    x = _features(name, 2)
    for weights in _build(name, [1, 2]).modality_weights():
        assert not weights or (set(weights) == set(x) and sum(weights.values()) == pytest.approx(1, abs=1e-6))
        assert all(weight >= 0 for weight in weights.values())
