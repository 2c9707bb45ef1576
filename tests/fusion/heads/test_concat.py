import torch
from torch import nn

from fusion.heads._head import Frame, HeadConfig
from fusion.heads.concat import Concat


def _head() -> tuple[Concat, dict[str, torch.Tensor]]:
    frame = Frame(widths={"text": 4, "image": 3}, n_classes=3, hidden=8, dropout=[0.0, 0.0], seeds=[1, 2])
    generator = torch.Generator().manual_seed(0)
    x = {"text": torch.randn(2, 5, 4, generator=generator), "image": torch.randn(2, 5, 3, generator=generator)}
    return Concat(HeadConfig(), frame), x


def test_it_is_one_plain_network_over_the_features_side_by_side() -> None:
    head, x = _head()
    logits = head(x, torch.ones(2, 5, 2, dtype=torch.bool))
    for m in range(2):
        plain = nn.Sequential(nn.Linear(7, 8), nn.ReLU(), nn.Linear(8, 3))
        with torch.no_grad():
            plain[0].weight.copy_(torch.cat([head.blocks[name].weight[m] for name in ("image", "text")]).T)
            plain[0].bias.copy_(head.bias[m, 0])
            plain[2].weight.copy_(head.classify.out.weight[m].T)
            plain[2].bias.copy_(head.classify.out.bias[m, 0])
        torch.testing.assert_close(logits[m], plain(torch.cat([x["image"][m], x["text"][m]], dim=1)))


def test_a_learned_vector_stands_for_what_is_absent() -> None:
    head, x = _head()
    with torch.no_grad():
        head.absent[0, 0, 1] = torch.arange(8.0)
    x["text"] = torch.zeros_like(x["text"])
    present = torch.tensor([True, False]).expand(2, 5, 2)
    hidden = x["image"][0] @ head.blocks["image"].weight[0] + torch.arange(8.0) + head.bias[0]
    expected = hidden.relu() @ head.classify.out.weight[0] + head.classify.out.bias[0]
    torch.testing.assert_close(head(x, present)[0], expected)
