import pytest
import torch
from torch import Tensor

from fusion.heads._head import Frame
from fusion.heads.low_rank import LowRank, LowRankConfig
from fusion.heads.tensor import outer_product, with_one
from stores.errors import ConfigError

WIDTHS = {"text": 6, "speech": 4, "image": 5}


def _head(*modalities: str) -> tuple[LowRank, dict[str, Tensor]]:
    frame = Frame(widths={m: WIDTHS[m] for m in modalities}, n_classes=3, hidden=4, dropout=[0.0, 0.0], seeds=[1, 2])
    generator = torch.Generator().manual_seed(0)
    head = LowRank(LowRankConfig(rank=3), frame)
    with torch.no_grad():
        head.bias.normal_(generator=generator)
    return head, {m: torch.randn(2, 7, WIDTHS[m], generator=generator) for m in modalities}


def _rebuilt(head: LowRank, member: int) -> Tensor:
    """Return the weight tensor (entries of the outer product, hidden) that the factors stand for."""
    total = torch.zeros(())
    for r, weight in enumerate(head.rank_weights[member]):
        own = slice(4 * r, 4 * r + 4)
        term = weight
        for factor in head.factors.values():
            rows = torch.cat([factor.weight[member, :, own], factor.bias[member, :, own]])  # (hidden + 1, hidden)
            term = torch.einsum("...h,ih->...ih", term, rows) if term.ndim else term * rows
        total = total + term
    return total.flatten(0, -2)


@pytest.mark.parametrize("modalities", [("image", "text"), ("image", "speech", "text")])
def test_it_is_the_tensor_of_products_contracted_with_the_weight_tensor_the_factors_stand_for(
    modalities: tuple[str, ...],
) -> None:
    head, x = _head(*modalities)
    present = torch.ones(2, 7, len(modalities), dtype=torch.bool)
    present[:, 2, 0] = present[:, 4, 1] = False
    z = head.project(x) * present[..., None]
    product = outer_product([with_one(z[:, :, i]) for i in range(len(modalities))])
    weight = torch.stack([_rebuilt(head, member) for member in range(2)])
    assert weight.shape == (2, 5 ** len(modalities), 4)
    expected = head.classify(torch.einsum("mbi,mih->mbh", product, weight) + head.bias)
    torch.testing.assert_close(head(x, present), expected, atol=1e-5, rtol=1e-5)


def test_a_rank_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="rank"):
        LowRankConfig(rank=0)
