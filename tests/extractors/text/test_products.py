"""The packed products of bfloat16 rows, against plain ones and against float64."""

from typing import Any

import pytest
import torch
from torch import nn
from transformers.activations import GELUActivation

from extractors.text import _network
from extractors.trainable import pick_dtype

HAS_BFLOAT16 = pick_dtype(torch.device("cpu"), "standard") == torch.bfloat16


def layers(*widths: int) -> list[nn.Linear]:
    torch.manual_seed(0)
    return [nn.Linear(48, width) for width in widths]


@pytest.mark.skipif(not HAS_BFLOAT16, reason="this processor has no bfloat16")
@pytest.mark.parametrize("then", [None, GELUActivation(), nn.GELU(), nn.GELU(approximate="tanh"), nn.ReLU()])
def test_packed_and_plain_products_agree(then: Any) -> None:
    made, inputs = layers(32, 16), torch.randn(7, 48, generator=torch.Generator().manual_seed(1))
    wanted = torch.cat([layer.double()(inputs.double()) for layer in made], dim=1)
    wanted = (wanted if then is None else then(wanted)).detach()
    weight, bias = (torch.cat([getattr(layer, name) for layer in made]).bfloat16() for name in ("weight", "bias"))
    with torch.inference_mode():
        packed, plain = (form(weight, bias, then)(inputs) for form in (_network._packed, _network._plain))
    assert packed.dtype == plain.dtype == torch.bfloat16
    assert (packed.double() - wanted).abs().max() < 0.02
    assert (packed - plain).abs().max() <= 2**-7  # one step of bfloat16 near 1


@pytest.mark.parametrize("then", [None, GELUActivation()])
def test_without_onednn_products_are_plain(then: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(*_: object) -> None:
        raise AttributeError("'_OpNamespace' 'mkldnn' object has no attribute '_reorder_linear_weight'")

    made, inputs = layers(32), torch.randn(7, 48, generator=torch.Generator().manual_seed(1))
    wanted = made[0](inputs) if then is None else then(made[0](inputs))
    monkeypatch.setattr(_network, "_packed", absent)
    with torch.inference_mode():
        assert (_network.product(torch.bfloat16, *made, then=then)(inputs) - wanted).abs().max() < 0.02


def test_products_in_float32_are_exact() -> None:
    made, inputs = layers(32, 16), torch.randn(7, 48, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        wanted = torch.cat([layer(inputs) for layer in made], dim=1)
        assert (_network.product(torch.float32, *made)(inputs) - wanted).abs().max() < 1e-6
