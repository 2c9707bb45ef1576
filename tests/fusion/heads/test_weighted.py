import pytest
import torch

from fusion.heads._head import Frame, HeadConfig
from fusion.heads._layers import masked_softmax, weighted_sum
from fusion.heads.unimodal import Unimodal
from fusion.heads.weighted import Weighted, WeightedConfig
from stores.errors import ConfigError

# audit, part 4, example 6 (static)
LOGITS = torch.tensor([[0.5, -0.2, 0.1]], dtype=torch.float64)
FUSED = torch.tensor([0.8396471334, 0.3144023730], dtype=torch.float64)
Z = torch.tensor([[1.0, -2.0], [3.0, 0.0], [-1.0, 4.0]], dtype=torch.float64)[None, None]
HERE = torch.ones(2, 5, 3, dtype=torch.bool)


def _frame(**widths: int) -> Frame:
    return Frame(widths=widths, n_classes=3, hidden=8, dropout=[0.0, 0.0], seeds=[1, 2])


def test_the_weighted_sum_is_the_one_worked_out_by_hand() -> None:
    fused = weighted_sum(LOGITS.softmax(dim=1)[:, None], Z)
    torch.testing.assert_close(fused[0, 0], FUSED, atol=1e-9, rtol=0)


def test_zero_logits_are_the_plain_mean() -> None:
    weights = masked_softmax(torch.zeros(1, 1, 3).double(), torch.ones(1, 1, 3, dtype=torch.bool))
    torch.testing.assert_close(weighted_sum(weights, Z), Z.mean(dim=2))


def test_a_modality_that_is_absent_weighs_exactly_nothing_and_the_others_total_one() -> None:
    present = torch.tensor([[[True, False, True], [False, False, False]]])
    first, second = masked_softmax(LOGITS[:, None], present)[0]
    assert first[1] == 0
    assert first.sum().item() == pytest.approx(1)
    assert first[0].item() == pytest.approx(0.4614876234 / (0.4614876234 + 0.3093444050))
    assert second.tolist() == [0, 0, 0]


def test_permuting_modalities_permutes_their_weights_and_leaves_the_sum() -> None:
    order = [2, 0, 1]
    weights = LOGITS.softmax(dim=1)[:, None]
    torch.testing.assert_close(weighted_sum(weights[..., order], Z[:, :, order]), weighted_sum(weights, Z))


def test_weights_are_in_the_order_of_their_modalities_and_start_nearly_equal() -> None:
    head = Weighted(WeightedConfig(), _frame(text=4, speech=5, image=3))
    with torch.no_grad():
        head.logits[0] = LOGITS[0]
    first, second = head.modality_weights()
    assert first.tolist() == pytest.approx([0.4614876234, 0.2291679717, 0.3093444050], abs=1e-6)
    assert second.tolist() == pytest.approx([1 / 3] * 3, abs=0.02)


def test_a_positive_scale_of_a_projection_changes_nothing() -> None:
    head, x = (
        Weighted(WeightedConfig(), _frame(text=4, image=3)),
        {"text": torch.ones(2, 5, 4), "image": torch.ones(2, 5, 3)},
    )
    before = head(x, HERE[..., :2])
    with torch.no_grad():
        for parameter in head.project.maps["text"].parameters():
            parameter *= 50
    torch.testing.assert_close(head(x, HERE[..., :2]), before, atol=1e-3, rtol=1e-3)


def test_given_one_modality_it_is_the_unimodal_head() -> None:
    frame, x = _frame(text=4), {"text": torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(0))}
    weighted, unimodal = Weighted(WeightedConfig(), frame), Unimodal(HeadConfig(), frame)
    with torch.no_grad():
        for own, given in (
            (weighted.project, unimodal.project),
            (weighted.classify, unimodal.classify),
        ):
            own.load_state_dict(given.state_dict())
    torch.testing.assert_close(weighted(x, HERE[..., :1]), unimodal(x, HERE[..., :1]))


def test_a_negative_deviation_is_refused() -> None:
    with pytest.raises(ConfigError, match="logit_deviation"):
        WeightedConfig(logit_deviation=-1.0)
