import torch
from torch import nn

from fusion.heads._head import Frame, HeadConfig
from fusion.heads.unimodal import Unimodal


def test_it_is_a_plain_network_of_projection_norm_and_classifier() -> None:
    head = Unimodal(HeadConfig(), Frame(widths={"text": 4}, n_classes=3, hidden=8, dropout=[0.0], seeds=[1]))
    x = torch.randn(1, 5, 4, generator=torch.Generator().manual_seed(0))
    plain = nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8, elementwise_affine=False), nn.Linear(8, 3))
    with torch.no_grad():
        for own, stacked in ((plain[0], head.project.maps["text"]), (plain[2], head.classify.out)):
            own.weight.copy_(stacked.weight[0].T)
            own.bias.copy_(stacked.bias[0, 0])
    torch.testing.assert_close(head({"text": x}, torch.ones(1, 5, 1, dtype=torch.bool))[0], plain(x[0]))


def test_dropout_zeroes_its_share_and_keeps_the_mean() -> None:
    frame = Frame(widths={"text": 4}, n_classes=3, hidden=20_000, dropout=[0.3], seeds=[1])
    dropped = Unimodal(HeadConfig(), frame).dropout()(torch.ones(1, 1, 20_000))
    assert set(dropped.unique().tolist()) == {0.0, torch.tensor(1 / 0.7).item()}
    assert abs((dropped == 0).float().mean().item() - 0.3) < 0.02
