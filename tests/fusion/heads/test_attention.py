import math

import pytest
import torch
from torch import Tensor

from fusion.heads._head import Frame
from fusion.heads.attention import Attention, AttentionConfig
from stores.errors import ConfigError

UP, DOWN = [3.0, 1.0], [0.0, 4.0]  # LayerNorm: (1, -1) and (-1, 1)


def _frame(hidden: int) -> Frame:
    return Frame(widths={"image": 2, "speech": 2, "text": 2}, n_classes=2, hidden=hidden, dropout=[0.0], seeds=[1])


def _by_hand(query: tuple[float, float], value: float) -> Attention:
    """Every token asks the same, keys are the tokens, values `value` times the tokens; logits are h."""
    head = Attention(AttentionConfig(heads=1), _frame(2))
    nothing, same = torch.zeros(2, 2), torch.eye(2)
    with torch.no_grad():
        for layer in (*head.project.maps.values(), head.outwards, head.classify.out):
            layer.weight.copy_(same)
            layer.bias.zero_()
        head.embedding.zero_()
        head.inwards.weight.copy_(torch.cat([nothing, same, value * same], dim=1))
        head.inwards.bias.copy_(torch.tensor([*query, 0, 0, 0, 0]))
    return head


def _answer(head: Attention, image: list[float], speech: list[float], text: list[float]) -> list[float]:
    """Logits of one sample; a modality that is all zeros is absent."""
    x = {"image": image, "speech": speech, "text": text}
    present = torch.tensor([[[any(row) for row in x.values()]]])
    found: Tensor = head({m: torch.tensor([[row]]) for m, row in x.items()}, present)
    return found[0, 0].tolist()


def test_a_modality_says_what_the_one_it_looks_at_says() -> None:
    head = _by_hand(query=(50, 0), value=3)  # all look at who is up
    assert _answer(head, DOWN, DOWN, UP) == pytest.approx([1, -1], abs=1e-4)
    assert _answer(head, DOWN, DOWN, [0, 0]) == pytest.approx([-1, 1], abs=1e-4)
    head = _by_hand(query=(-50, 0), value=3)  # all look at who is down
    assert _answer(head, DOWN, DOWN, UP) == pytest.approx([-1, 1], abs=1e-4)


def test_without_attention_it_is_the_mean_of_what_is_present() -> None:
    head = _by_hand(query=(0, 0), value=0)
    assert _answer(head, DOWN, UP, UP) == pytest.approx([1 / 3, -1 / 3], abs=1e-4)
    assert _answer(head, DOWN, [0, 0], UP) == pytest.approx([0, 0], abs=1e-4)
    assert _answer(head, [0, 0], UP, [0, 0]) == pytest.approx([1, -1], abs=1e-4)


def test_a_modality_is_known_by_its_embedding() -> None:
    head = _by_hand(query=(0, 0), value=0)
    with torch.no_grad():
        head.embedding[0, 0, 2] = torch.tensor([-5.0, 5.0])
    assert _answer(head, UP, UP, UP) == pytest.approx([1 / 3, -1 / 3], abs=1e-4)  # text is down whatever it says


@pytest.mark.parametrize(("share", "first"), [(0.9, 0.0), (1.1, 1.0)])
def test_scores_are_divided_by_the_root_of_the_width_of_a_head(share: float, first: float) -> None:
    up = 1 / (1 + math.exp(-math.sqrt(2)))  # scores of up and down: +-1 / sqrt(2)
    head = _by_hand(query=(1, 0), value=share / (2 * up - 1))  # each token is given `share` of up
    assert _answer(head, DOWN, [0, 0], UP)[0] == pytest.approx(first, abs=1e-3)  # enough turns image round


def test_a_sample_without_anything_leaves_gradients_finite() -> None:
    head = Attention(AttentionConfig(), _frame(8))
    x = {m: torch.randn(1, 2, 2) for m in ("image", "speech", "text")}
    x = {m: own * torch.tensor([[[1.0], [0.0]]]) for m, own in x.items()}
    logits: Tensor = head(x, torch.tensor([[[True] * 3, [False] * 3]]))
    logits.square().sum().backward()
    assert torch.isfinite(logits).all()
    assert all(torch.isfinite(parameter.grad).all() for parameter in head.parameters() if parameter.grad is not None)


def test_heads_that_do_not_divide_the_width_are_refused() -> None:
    with pytest.raises(ConfigError, match="multiple of the heads of attention, got 6 and 4"):
        Attention(AttentionConfig(), _frame(6))
    with pytest.raises(ConfigError, match="heads should be 1 or more, got 0"):
        AttentionConfig(heads=0)
