import torch
from torch import Tensor, nn

from fusion.heads._head import Frame, HeadConfig
from fusion.heads.concat import Concat
from fusion.heads.joint_relu import JointRelu

FRAME = Frame(widths={"text": 4, "image": 3, "speech": 2}, n_classes=3, hidden=8, dropout=[0.0, 0.0], seeds=[1, 2])
HERE = torch.ones(2, 5, 3, dtype=torch.bool)


def _features() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {m: torch.randn(2, 5, width, generator=generator) for m, width in FRAME.widths.items()}


def test_it_is_concatenation_then_a_linear_layer_without_bias_then_relu() -> None:
    head, x = JointRelu(HeadConfig(), FRAME), _features()
    logits = head(x, HERE)
    for m in range(2):
        plain = nn.Sequential(nn.Linear(9, 8, bias=False), nn.ReLU(), nn.Linear(8, 3))
        with torch.no_grad():
            plain[0].weight.copy_(torch.cat([head.maps[name].weight[m] for name in ("image", "speech", "text")]).T)
            plain[2].weight.copy_(head.classify.out.weight[m].T)
            plain[2].bias.copy_(head.classify.out.bias[m, 0])
        side_by_side = torch.cat([x["image"][m], x["speech"][m], x["text"][m]], dim=1)
        torch.testing.assert_close(logits[m], plain(side_by_side))


def test_it_is_the_concat_head_without_its_bias() -> None:
    joint, concat = JointRelu(HeadConfig(), FRAME), Concat(HeadConfig(), FRAME)
    with torch.no_grad():
        joint.maps.load_state_dict(concat.blocks.state_dict())
        joint.classify.load_state_dict(concat.classify.state_dict())
        concat.bias.zero_()
    torch.testing.assert_close(joint(_features(), HERE), concat(_features(), HERE))


def test_the_sum_is_cut_off_at_zero_and_what_is_absent_adds_nothing() -> None:
    frame = Frame(widths={"image": 1, "text": 1}, n_classes=2, hidden=2, dropout=[0.0], seeds=[1])
    head = JointRelu(HeadConfig(), frame)
    with torch.no_grad():
        head.maps["image"].weight.copy_(torch.tensor([[[1.0, -1.0]]]))
        head.maps["text"].weight.copy_(torch.tensor([[[-3.0, 2.0]]]))
        head.classify.out.weight.copy_(torch.eye(2))
        head.classify.out.bias.zero_()
    x = {"image": torch.tensor([[[2.0], [2.0], [0.0]]]), "text": torch.tensor([[[1.0], [0.0], [1.0]]])}
    present = torch.tensor([[[True, True], [True, False], [False, True]]])
    assert head(x, present)[0].tolist() == [[0, 0], [2, 0], [0, 2]]  # relu of (2 - 3, -2 + 2), (2, -2), (-3, 2)
