import math

import pytest
import torch
from torch import Tensor

from fusion.heads._head import Frame, HeadConfig
from fusion.heads._layers import weighted_sum
from fusion.heads.fixed import Fixed, FixedConfig
from fusion.heads.unimodal import Unimodal
from stores.errors import ConfigError
from stores.settings import build

X = {"image": torch.tensor([[[0.0, 4.0]]]), "text": torch.tensor([[[3.0, 1.0]]])}  # LayerNorm: (-1, 1) and (1, -1)


def _frame(*modalities: str) -> Frame:
    return Frame(widths=dict.fromkeys(modalities, 2), n_classes=2, hidden=2, dropout=[0.0], seeds=[1])


def _logits(present: list[bool], **weights: float) -> list[float]:
    """Logits of X where projections and classifier pass on what they get, so that they are h."""
    head = Fixed(FixedConfig(weights=weights), _frame(*X))
    with torch.no_grad():
        for layer in (*head.project.maps.values(), head.classify.out):
            layer.weight.copy_(torch.eye(2))
            layer.bias.zero_()
    there = torch.tensor([[present]])
    x = {m: X[m] * there[..., i, None] for i, m in enumerate(sorted(X))}
    found: Tensor = head(x, there)
    return found[0, 0].tolist()


def test_given_weights_make_the_sum_worked_out_by_hand() -> None:
    logits = {"a": 0.5, "b": -0.2, "c": 0.1}  # audit, part 4, example 6 (static)
    config = FixedConfig(weights={m: math.exp(own) for m, own in logits.items()})
    weights = Fixed(config, _frame("a", "b", "c")).modality_weights()
    assert weights[0].tolist() == pytest.approx([0.4614876234, 0.2291679717, 0.3093444050], abs=1e-6)
    z = torch.tensor([[1.0, -2.0], [3.0, 0.0], [-1.0, 4.0]])[None, None]
    fused = weighted_sum(weights[:, None], z)
    assert fused[0, 0].tolist() == pytest.approx([0.8396471334, 0.3144023730], abs=1e-6)


def test_only_the_ratio_of_weights_counts() -> None:
    assert _logits([True, True], text=3, image=1) == pytest.approx([0.5, -0.5], abs=1e-4)
    assert _logits([True, True], text=0.6, image=0.2) == pytest.approx([0.5, -0.5], abs=1e-4)


def test_without_weights_it_is_the_plain_mean() -> None:
    assert _logits([True, True]) == pytest.approx([0, 0], abs=1e-4)
    assert Fixed(FixedConfig(), _frame("a", "b", "c")).modality_weights().tolist() == [[pytest.approx(1 / 3)] * 3]


def test_the_weights_of_what_a_sample_has_total_one() -> None:
    assert _logits([True, False], text=3, image=1) == pytest.approx([-1, 1], abs=1e-4)
    assert _logits([False, True], text=3, image=1) == pytest.approx([1, -1], abs=1e-4)


def test_a_sample_that_has_only_what_weighs_nothing_is_zero() -> None:
    assert _logits([True, False], text=1, image=0) == [0, 0]


def test_the_weights_of_a_subset_total_one() -> None:
    config = FixedConfig(weights={"text": 3, "speech": 5, "image": 1})
    assert Fixed(config, _frame("text", "image")).modality_weights().tolist() == [[0.25, 0.75]]


def test_given_one_modality_it_is_the_unimodal_head() -> None:
    fixed, unimodal = Fixed(FixedConfig(weights={"text": 0.2}), _frame("text")), Unimodal(HeadConfig(), _frame("text"))
    fixed.load_state_dict(unimodal.state_dict())
    x, here = {"text": torch.randn(1, 5, 2)}, torch.ones(1, 5, 1, dtype=torch.bool)
    torch.testing.assert_close(fixed(x, here), unimodal(x, here))


def test_weights_come_from_a_table_and_can_be_stacked_by() -> None:
    config = build(FixedConfig, {"weights": {"text": 2, "image": 0.5}}, where="heads.fixed")
    assert config == FixedConfig(weights={"image": 0.5, "text": 2.0})
    assert len({config: 1, FixedConfig(weights={"image": 0.5, "text": 2.0}): 2}) == 1


@pytest.mark.parametrize("weight", [-0.1, math.inf, math.nan])
def test_a_weight_below_zero_or_without_bound_is_refused(weight: float) -> None:
    with pytest.raises(ConfigError, match="the weight of text should be a finite number of 0 or more"):
        FixedConfig(weights={"text": weight, "image": 1})


def test_weights_of_zero_only_are_refused() -> None:
    with pytest.raises(ConfigError, match="weights are all 0"):
        FixedConfig(weights={"text": 0, "image": 0})
    with pytest.raises(ConfigError, match=r"fixed on image\+text has weights of 0 only"):
        Fixed(FixedConfig(weights={"text": 0, "image": 0, "speech": 1}), _frame("text", "image"))


def test_a_modality_without_a_weight_is_named() -> None:
    with pytest.raises(ConfigError, match=r"no weight for speech: .* names text, image"):
        Fixed(FixedConfig(weights={"text": 1, "image": 1}), _frame("text", "speech", "image"))
