from typing import Any

import pytest
import torch
from torch import Tensor

from fusion.heads._head import Frame
from fusion.heads.misa import Misa, MisaConfig, correlation, moment_discrepancy
from stores.errors import ConfigError

WIDTHS = {"image": 5, "speech": 4, "text": 6}


def _head(**settings: Any) -> tuple[Misa, dict[str, Tensor]]:
    frame = Frame(widths=WIDTHS, n_classes=3, hidden=8, dropout=[0.0, 0.0], seeds=[1, 2])
    generator = torch.Generator().manual_seed(0)
    x = {m: torch.randn(2, 7, width, generator=generator) for m, width in WIDTHS.items()}
    return Misa(MisaConfig(**settings), frame), x


def _loss(head: Misa, x: dict[str, Tensor], present: Tensor) -> Tensor:
    head(x, present)
    loss = head.auxiliary_loss()
    assert loss is not None
    return loss


def _column(*values: float) -> Tensor:
    """One member, one pair, one dimension: (1, B, 1, 1)."""
    return torch.tensor(values).view(1, -1, 1, 1)


def test_the_moment_discrepancy_is_the_one_worked_out_by_hand() -> None:
    here = torch.ones(1, 4, 1, dtype=torch.bool)
    coin, middle = _column(0, 1, 0, 1), _column(0.5, 0.5, 0.5, 0.5)
    # means agree; central moments 2 to 5 are 1/4, 0, 1/16, 0 against zeros
    assert moment_discrepancy(coin, middle, here).item() == pytest.approx(5 / 16)
    assert moment_discrepancy(coin, coin.flip(1), here).item() == 0
    assert moment_discrepancy(middle, middle + 0.25, here).item() == pytest.approx(0.25)


def test_the_correlation_is_the_one_worked_out_by_hand() -> None:
    here = torch.ones(1, 4, 1, dtype=torch.bool)
    a, b = _column(3, -3, 5, -5), _column(1, 3, -1, -3)
    assert correlation(a, a, here).item() == pytest.approx(16, abs=1e-3)  # (1 + 1 + 1 + 1)^2
    assert correlation(a, b, here).item() == pytest.approx(0)  # 1 - 1 - 1 + 1


def test_rows_that_do_not_count_change_nothing() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = torch.rand(2, 2, 6, 3, 4, generator=generator)
    rows = torch.ones(2, 6, 3, dtype=torch.bool)
    rows[:, 4:] = False
    for own in (moment_discrepancy, correlation):
        torch.testing.assert_close(own(a, b, rows), own(a[:, :4], b[:, :4], rows[:, :4]))


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_rows_add_nothing_and_their_gradient_is_finite(count: int) -> None:
    head, x = _head(reconstruction=0.0)
    present = torch.arange(7).lt(count).view(1, 7, 1).expand(2, 7, 3)
    loss = _loss(head, x, present)
    assert loss.tolist() == [0, 0]
    loss.sum().backward()
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in head.parameters())


def test_a_pair_that_never_meets_is_not_compared() -> None:
    only = {"similarity": 1.0, "difference": 0.0, "reconstruction": 0.0}
    head, x = _head(**only)
    present = torch.ones(2, 7, 3, dtype=torch.bool)
    present[:, ::2, 0] = False
    present[:, 1::2, 1:] = False
    pair, _ = _head(**only)
    alone = torch.ones(2, 7, 3, dtype=torch.bool)
    alone[..., 0] = alone[:, 1::2] = False
    torch.testing.assert_close(_loss(head, x, present), _loss(pair, x, alone))


def test_each_loss_counts_as_much_as_its_weight() -> None:
    present = torch.ones(2, 7, 3, dtype=torch.bool)
    weights = {"similarity": 0.5, "difference": 3.0, "reconstruction": 2.0}
    expected = torch.zeros(2)
    for name, weight in weights.items():
        head, x = _head(**{other: float(other == name) for other in weights})
        own = _loss(head, x, present)
        assert (own > 0).all()
        expected = expected + weight * own
    head, x = _head(**weights)
    torch.testing.assert_close(_loss(head, x, present), expected)


def test_nothing_is_added_outside_training() -> None:
    head, x = _head()
    head.eval()(x, torch.ones(2, 7, 3, dtype=torch.bool))
    assert head.auxiliary_loss() is None


@pytest.mark.parametrize("setting", ["similarity", "difference", "reconstruction"])
def test_a_negative_weight_is_refused(setting: str) -> None:
    with pytest.raises(ConfigError, match=setting):
        MisaConfig(**{setting: -0.1})


@pytest.mark.parametrize("heads", [0, 3])
def test_attention_heads_have_to_share_the_width(heads: int) -> None:
    with pytest.raises(ConfigError, match="heads"):
        _head(heads=heads)
