import numpy as np
import pytest
import torch

from fusion.heads._head import Frame
from fusion.heads.tensor import TensorConfig, TensorFusion, outer_product, with_one
from fusion.plans import HeadPlan, subsets
from stores.errors import ConfigError

WIDTHS = {"text": 6, "speech": 4, "image": 5}


def test_the_product_is_the_kronecker_product_of_each_samples_vectors() -> None:
    generator = torch.Generator().manual_seed(0)
    vectors = [torch.randn(2, 3, width, generator=generator) for width in (4, 2, 3)]
    product = outer_product(vectors)
    assert product.shape == (2, 3, 24)
    for member in range(2):
        for sample in range(3):
            first, second, third = (own[member, sample].numpy() for own in vectors)
            expected = np.kron(np.kron(first, second), third)
            np.testing.assert_allclose(product[member, sample].numpy(), expected, rtol=1e-6)


def test_what_is_absent_leaves_the_tensor_of_the_others() -> None:
    a, b = torch.tensor([[[2.0, 3.0]]]), torch.tensor([[[5.0, 7.0]]])
    alone = outer_product([with_one(torch.zeros(1, 1, 2)), with_one(b)])[0, 0]
    assert alone.tolist() == [0, 0, 0, 0, 0, 0, 5, 7, 1]
    both = outer_product([with_one(a), with_one(b)])[0, 0]
    assert both.tolist() == [10, 14, 2, 15, 21, 3, 5, 7, 1]


@pytest.mark.parametrize(("modalities", "entries"), [(("text", "image"), 36), (("text", "speech", "image"), 216)])
def test_the_width_decides_the_size_of_the_tensor(modalities: tuple[str, ...], entries: int) -> None:
    frame = Frame(widths={m: WIDTHS[m] for m in modalities}, n_classes=3, hidden=8, dropout=[0.0], seeds=[1])
    assert TensorFusion(TensorConfig(width=5), frame).fuse.weight.shape == (1, entries, 8)


def test_it_takes_two_or_three_modalities() -> None:
    assert max(len(own) for own in subsets(("a", "b", "c", "d"), "tensor")) == 3
    with pytest.raises(ConfigError, match="2 to 3"):
        HeadPlan(head="tensor", subsets=(("a", "b", "c", "d"),))


def test_a_width_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="width"):
        TensorConfig(width=0)
