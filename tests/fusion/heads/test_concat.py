import torch
from torch import nn

from fusion.heads._head import Frame, HeadConfig
from fusion.heads.concat import Concat


def test_it_is_one_plain_network_over_the_features_side_by_side() -> None:
    head = Concat(HeadConfig(), Frame(widths={"text": 4, "image": 3}, n_classes=3, hidden=8, dropout=0.0, seeds=[1, 2]))
    generator = torch.Generator().manual_seed(0)
    x = {"text": torch.randn(2, 5, 4, generator=generator), "image": torch.randn(2, 5, 3, generator=generator)}
    logits = head(x)
    for m in range(2):
        plain = nn.Sequential(nn.Linear(7, 8), nn.ReLU(), nn.Linear(8, 3))
        with torch.no_grad():
            for own, stacked in ((plain[0], head.hidden), (plain[2], head.classify)):
                own.weight.copy_(stacked.weight[m].T)
                own.bias.copy_(stacked.bias[m, 0])
        torch.testing.assert_close(logits[m], plain(torch.cat([x["image"][m], x["text"][m]], dim=1)))
