"""Each trained head is, member by member, the plain network its formula says; more of them in files of their own."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm

from fusion.heads._head import Frame, FusionHead
from stores.plugins import find_plugin
from stores.settings import build

WIDTHS = {"image": 5, "speech": 4, "text": 6}
HIDDEN, K = 8, 3
GIVEN = {"text": 2.0, "speech": 1.0, "image": 0.5}
CLASSIFIERS = ("linear", "hidden", "residual")


class _Classifier(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        if kind != "linear":
            self.hidden = nn.Linear(HIDDEN, HIDDEN)
        self.out = nn.Linear(HIDDEN, K)

    def forward(self, h: Tensor) -> Tensor:
        if self.kind == "hidden":
            h = torch.relu(self.hidden(h))
        elif self.kind == "residual":
            h = h + torch.relu(self.hidden(h))
        logits: Tensor = self.out(h)
        return logits


class _Projected(nn.Module):
    """The z of one sample's modalities that are there, one after the other: no masks."""

    def __init__(self, kind: str, widths: Mapping[str, int] = WIDTHS) -> None:
        super().__init__()
        self.project = nn.ModuleDict({m: nn.Linear(width, HIDDEN) for m, width in widths.items()})
        self.classify: nn.Module = _Classifier(kind)

    def forward(self, x: Mapping[str, Tensor], present: Tensor) -> Tensor:
        rows = []
        for i, here in enumerate(present):
            own = [j for j, there in enumerate(here.tolist()) if there]
            names = [list(self.project)[j] for j in own]
            z = [layer_norm(self.project[m](x[m][i]), (HIDDEN,)) for m in names]
            rows.append(self.answer(torch.stack(z), own))
        return torch.stack(rows)

    def answer(self, z: Tensor, own: list[int]) -> Tensor:
        """Return logits (K,) of the z (n, HIDDEN) of the modalities in the places `own`."""
        logits: Tensor = self.classify((self.weights(z, own)[:, None] * z).sum(dim=0))
        return logits

    def weights(self, z: Tensor, own: list[int]) -> Tensor:
        return torch.ones(len(own)) / len(own)


class _Given(_Projected):
    def weights(self, z: Tensor, own: list[int]) -> Tensor:
        weights = torch.tensor([GIVEN[sorted(WIDTHS)[j]] for j in own])
        return weights / weights.sum()


class _Weighted(_Projected):
    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.logits = nn.Parameter(torch.empty(3))

    def weights(self, z: Tensor, own: list[int]) -> Tensor:
        return self.logits[own].softmax(dim=0)


class _Gated(_Projected):
    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.inner = nn.Linear(HIDDEN, HIDDEN, bias=False)
        self.outer = nn.Linear(HIDDEN, 1, bias=False)
        self.offset = nn.Parameter(torch.empty(3))

    def weights(self, z: Tensor, own: list[int]) -> Tensor:
        scores = self.outer(torch.tanh(self.inner(z))).squeeze(1) + self.offset[own]
        return scores.softmax(dim=0)


class _ClassWeighted(_Projected):
    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.logits = nn.Parameter(torch.empty(3, K))
        self.classify = nn.ModuleDict({m: _Classifier(kind) for m in WIDTHS})

    def answer(self, z: Tensor, own: list[int]) -> Tensor:
        classifiers = list(self.classify.children())
        said = torch.stack([classifiers[j](row) for j, row in zip(own, z, strict=True)])
        return (self.logits[own].softmax(dim=0) * said).sum(dim=0)


class _Attention(_Projected):
    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.embedding = nn.Parameter(torch.empty(3, HIDDEN))
        self.attend = nn.MultiheadAttention(HIDDEN, num_heads=4)

    def answer(self, z: Tensor, own: list[int]) -> Tensor:
        tokens = z + self.embedding[own]
        attended, _ = self.attend(tokens, tokens, tokens, need_weights=False)
        logits: Tensor = self.classify(layer_norm(tokens + attended, (HIDDEN,)).mean(dim=0))
        return logits


class _Concat(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.joint = nn.Linear(sum(WIDTHS.values()), HIDDEN)
        self.absent = nn.Parameter(torch.empty(3, HIDDEN))
        self.classify = _Classifier(kind)

    def forward(self, x: Mapping[str, Tensor], present: Tensor) -> Tensor:
        hidden = self.joint(torch.cat([x[m] for m in sorted(x)], dim=1))
        for j in range(3):
            hidden = hidden + (1 - present[:, j : j + 1].float()) * self.absent[j]
        logits: Tensor = self.classify(torch.relu(hidden))
        return logits


class _JointRelu(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.joint = nn.Linear(sum(WIDTHS.values()), HIDDEN, bias=False)
        self.classify = _Classifier(kind)

    def forward(self, x: Mapping[str, Tensor], present: Tensor) -> Tensor:
        logits: Tensor = self.classify(torch.relu(self.joint(torch.cat([x[m] for m in sorted(x)], dim=1))))
        return logits


def _side_by_side(where: str, leaf: str) -> tuple[str, ...]:
    return tuple(f"{where}.{m}.{leaf}" for m in sorted(WIDTHS))


PROJECT = {f"project.{m}": f"project.maps.{m}" for m in WIDTHS}
ATTEND = {f"attend.in_proj_{leaf}": f"inwards.{leaf}" for leaf in ("weight", "bias")}
# head, its settings, its formula in plain PyTorch, and what is named otherwise there
CASES: list[tuple[str, dict[str, Any], type[nn.Module], dict[str, Any]]] = [
    ("fixed", {}, _Projected, PROJECT),
    ("fixed", {"weights": GIVEN}, _Given, PROJECT),
    ("weighted", {}, _Weighted, PROJECT),
    ("gated", {}, _Gated, PROJECT),
    ("class_weighted", {}, _ClassWeighted, PROJECT),
    ("attention", {}, _Attention, PROJECT | ATTEND | {"attend.out_proj": "outwards"}),
    ("concat", {}, _Concat, {"joint.weight": _side_by_side("blocks", "weight"), "joint.bias": "bias"}),
    ("joint_relu", {}, _JointRelu, {"joint.weight": _side_by_side("maps", "weight")}),
]


def _head(name: str, config: dict[str, Any], kind: str, widths: Mapping[str, int] = WIDTHS) -> FusionHead:
    head = find_plugin("fusion.heads", name, FusionHead)
    frame = Frame(widths=widths, n_classes=K, hidden=HIDDEN, dropout=[0.0, 0.0], seeds=[1, 2], classifier=kind)
    return head(build(head.config_type, config, where=name), frame)


@pytest.mark.parametrize("absent", [False, True])
@pytest.mark.parametrize("kind", CLASSIFIERS)
@pytest.mark.parametrize(("name", "config", "plain", "names"), CASES, ids=[case[2].__name__ for case in CASES])
def test_a_fusion_is_the_plain_network_of_its_formula(
    agree: Callable[..., None],
    name: str,
    config: dict[str, Any],
    plain: type[nn.Module],
    names: dict[str, Any],
    kind: str,
    absent: bool,
) -> None:
    agree(_head(name, config, kind), plain(kind), names, absent=absent)


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_one_modality_alone_is_the_plain_network_of_its_formula(agree: Callable[..., None], kind: str) -> None:
    widths = {"text": WIDTHS["text"]}
    agree(_head("unimodal", {}, kind, widths), _Projected(kind, widths), PROJECT, absent=False)
