import math

import pytest
import torch
from torch import Tensor

from fusion.heads._head import Frame, HeadConfig
from fusion.heads.gated import Gated
from fusion.heads.unimodal import Unimodal

X = {"image": torch.tensor([[[0.0, 4.0]]]), "text": torch.tensor([[[3.0, 1.0]]])}  # LayerNorm: (-1, 1) and (1, -1)
HERE = torch.ones(1, 1, 2, dtype=torch.bool)


def _head(widths: dict[str, int], hidden: int, n_classes: int = 2) -> Gated:
    return Gated(HeadConfig(), Frame(widths=widths, n_classes=n_classes, hidden=hidden, dropout=[0.0], seeds=[1]))


def _by_hand(image: float = 0.0, text: float = 0.0) -> Gated:
    """A gate that scores by tanh of z's first entry, with given offsets; logits are h."""
    head = _head({"image": 2, "text": 2}, 2)
    with torch.no_grad():
        for layer in (*head.project.maps.values(), head.classify.out):
            layer.weight.copy_(torch.eye(2))
            layer.bias.zero_()
        head.inner.weight.copy_(torch.eye(2))
        head.outer.weight.copy_(torch.tensor([[1.0], [0.0]]))
        head.offset.copy_(torch.tensor([[image, text]]))
    return head


@pytest.mark.parametrize("image", [0.0, 0.7])
def test_weights_are_the_softmax_of_scores_worked_out_by_hand(image: float) -> None:
    head = _by_hand(image=image)
    text = 1 / (1 + math.exp(image - 2 * math.tanh(1)))  # scores: -tanh(1) + offset, and tanh(1)
    assert head.sample_weights(X, HERE)[0, 0].tolist() == pytest.approx([1 - text, text], abs=1e-4)
    assert head(X, HERE)[0, 0].tolist() == pytest.approx([2 * text - 1, 1 - 2 * text], abs=1e-4)


def test_weights_differ_from_sample_to_sample_so_there_are_none_for_all() -> None:
    head = _head({"image": 4, "text": 3}, 8)
    generator = torch.Generator().manual_seed(0)
    x = {"image": torch.randn(1, 6, 4, generator=generator), "text": torch.randn(1, 6, 3, generator=generator)}
    weights = head.sample_weights(x, torch.ones(1, 6, 2, dtype=torch.bool))
    assert weights[0, :, 0].std() > 0.01
    assert head.modality_weights() is None


def test_what_is_absent_weighs_exactly_nothing() -> None:
    x = {"image": X["image"], "text": torch.zeros(1, 1, 2)}
    present = torch.tensor([[[True, False]]])
    assert _by_hand().sample_weights(x, present).tolist() == [[[1, 0]]]
    assert _by_hand()(x, present)[0, 0].tolist() == pytest.approx([-1, 1], abs=1e-4)


def test_equal_scores_are_the_plain_mean() -> None:
    head = _by_hand()
    with torch.no_grad():
        head.outer.weight.zero_()
    assert head.sample_weights(X, HERE).tolist() == [[[0.5, 0.5]]]
    assert head(X, HERE)[0, 0].tolist() == pytest.approx([0, 0], abs=1e-4)


def test_permuting_modalities_permutes_their_weights_and_leaves_the_logits() -> None:
    there, swapped = _by_hand(image=0.3, text=-0.2), _by_hand(image=-0.2, text=0.3)
    x = {"image": X["text"], "text": X["image"]}
    torch.testing.assert_close(swapped.sample_weights(x, HERE), there.sample_weights(X, HERE).flip(2))
    torch.testing.assert_close(swapped(x, HERE), there(X, HERE))


def test_a_gradient_reaches_the_gate_and_every_projection() -> None:
    head = _head({"image": 2, "text": 2}, 4)
    logits: Tensor = head(X, HERE)
    logits[..., 0].sum().backward()
    for layer in (head.inner, head.outer, *head.project.maps.values()):
        assert layer.weight.grad.abs().sum() > 0
    assert head.offset.grad is not None
    assert head.offset.grad.abs().sum() > 0


def test_given_one_modality_it_is_the_unimodal_head() -> None:
    head = _head({"text": 4}, 8, 3)
    unimodal = Unimodal(HeadConfig(), head.frame)
    head.project.load_state_dict(unimodal.project.state_dict())
    head.classify.load_state_dict(unimodal.classify.state_dict())
    x, here = {"text": torch.randn(1, 5, 4)}, torch.ones(1, 5, 1, dtype=torch.bool)
    torch.testing.assert_close(head(x, here), unimodal(x, here))
