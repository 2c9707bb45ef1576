"""Four published heads against plain models of one member, in torch's own layers, sample by sample.

What is absent is left out in the references, where the heads mask it: a token that is not there, a term of a sum.
"""

import itertools
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from fusion.heads._head import Frame, FusionHead
from fusion.heads.low_rank import LowRank, LowRankConfig
from fusion.heads.mag import Mag, MagConfig
from fusion.heads.misa import Misa, MisaConfig
from fusion.heads.tensor import TensorConfig, TensorFusion

WIDTHS = {"text": 6, "speech": 4, "image": 5}
HIDDEN, CLASSES, BATCH, MEMBERS = 8, 3, 9, 2


class Plain:
    """One member's weights in layers of torch; `twins` pairs every copied tensor with the head's own."""

    def __init__(self, head: Any, member: int) -> None:
        self.member = member
        self.config = head.config
        self.twins: list[tuple[Tensor, nn.Parameter, bool]] = []
        self.project = {m: self.linear(layer) for m, layer in head.project.maps.items()}
        self.out = self.linear(head.classify.out)

    def linear(self, stacked: Any) -> nn.Linear:
        inputs, outputs = stacked.weight.shape[1:]
        plain = nn.Linear(inputs, outputs)
        self.twin(plain.weight, stacked.weight, turned=True)
        self.twin(plain.bias, stacked.bias)
        return plain

    def twin(self, own: Tensor, stacked: nn.Parameter, turned: bool = False) -> Tensor:
        with torch.no_grad():
            own.copy_(stacked[self.member].T if turned else stacked[self.member].view(own.shape))
        self.twins.append((own, stacked, turned))
        return own

    def z(self, x: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {m: functional.layer_norm(project(x[m]), (HIDDEN,)) for m, project in self.project.items()}

    def losses(self, x: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
        return torch.zeros(())

    def logits(self, x: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
        z = self.z(x)
        rows = [
            self.hidden({m: z[m][i] for m in sorted(z)}, [m for m in sorted(z) if present[m][i]]) for i in range(BATCH)
        ]
        return self.out(torch.stack(rows))

    def hidden(self, z: Mapping[str, Tensor], here: list[str]) -> Tensor:
        raise NotImplementedError


class PlainTensor(Plain):
    def __init__(self, head: Any, member: int) -> None:
        super().__init__(head, member)
        self.narrow = {m: self.linear(layer) for m, layer in head.narrow.items()}
        self.fuse = self.linear(head.fuse)

    def hidden(self, z: Mapping[str, Tensor], here: list[str]) -> Tensor:
        product = torch.ones(1)
        for m in z:
            u = self.narrow[m](z[m]).relu() if m in here else torch.zeros(self.config.width)
            product = torch.outer(product, torch.cat([u, torch.ones(1)])).flatten()
        return self.fuse(product).relu()


class PlainLowRank(Plain):
    def __init__(self, head: Any, member: int) -> None:
        super().__init__(head, member)
        self.factors = {m: self.linear(layer) for m, layer in head.factors.items()}
        self.ranks = self.twin(torch.zeros(self.config.rank, requires_grad=True), head.rank_weights)
        self.bias = self.twin(torch.zeros(HIDDEN, requires_grad=True), head.bias)

    def hidden(self, z: Mapping[str, Tensor], here: list[str]) -> Tensor:
        total = self.bias
        for r in range(self.config.rank):
            term = self.ranks[r]
            for m in z:
                own = slice(r * HIDDEN, (r + 1) * HIDDEN)
                factor = torch.cat([self.factors[m].weight[own], self.factors[m].bias[own, None]], dim=1)
                vector = z[m] if m in here else torch.zeros(HIDDEN)
                term = term * (factor @ torch.cat([vector, torch.ones(1)]))
            total = total + term
        return total


class PlainMag(Plain):
    def __init__(self, head: Any, member: int) -> None:
        super().__init__(head, member)
        self.gates = {m: self.linear(layer) for m, layer in head.gates.items()}
        self.shifts = {m: self.linear(layer) for m, layer in head.shifts.items()}

    def hidden(self, z: Mapping[str, Tensor], here: list[str]) -> Tensor:
        text = z["text"] if "text" in here else torch.zeros(HIDDEN)
        shift = torch.zeros(HIDDEN)
        for m in set(here) - {"text"}:
            shift = shift + self.gates[m](torch.cat([z[m], text])).relu() * self.shifts[m](z[m])
        if "text" in here and shift.any():
            shift = shift * torch.clamp(self.config.beta * text.norm() / shift.norm(), max=1)
        return functional.layer_norm(text + shift, (HIDDEN,))


class PlainMisa(Plain):
    def __init__(self, head: Any, member: int) -> None:
        super().__init__(head, member)
        self.shared = self.linear(head.shared)
        self.private = {m: self.linear(layer) for m, layer in head.private.items()}
        self.decode = {m: self.linear(layer) for m, layer in head.decode.items()}
        self.fuse = self.linear(head.fuse)
        self.encoder = nn.TransformerEncoderLayer(HIDDEN, self.config.heads, 4 * HIDDEN, dropout=0.0, batch_first=True)
        self.query = self.linear(head.query)
        self.key_value = self.twin(torch.zeros(2 * HIDDEN, HIDDEN, requires_grad=True), head.key_value.weight, True)
        for name, stacked in (("self_attn.out_proj", head.mix), ("linear1", head.widen), ("linear2", head.narrow)):
            layer = self.encoder.get_submodule(name)
            self.twin(layer.weight, stacked.weight, turned=True)
            self.twin(layer.bias, stacked.bias)

    def parts(self, z: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        private = {m: self.private[m](z[m]).sigmoid() for m in z}
        return private, {m: self.shared(z[m]).sigmoid() for m in z}

    def hidden(self, z: Mapping[str, Tensor], here: list[str]) -> Tensor:
        private, shared = self.parts(z)
        packed = {
            "self_attn.in_proj_weight": torch.cat([self.query.weight, self.key_value]),
            "self_attn.in_proj_bias": torch.cat([self.query.bias, torch.zeros(2 * HIDDEN)]),
        }
        tokens = torch.stack([part[m] for part in (private, shared) for m in here])[None]
        seen = iter(torch.func.functional_call(self.encoder, packed, (tokens,))[0])
        every = [next(seen) if m in here else torch.zeros(HIDDEN) for _ in (private, shared) for m in z]
        return self.fuse(torch.cat(every)).relu()

    def losses(self, x: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
        z = self.z(x)
        private, shared = self.parts(z)
        pairs = [(m, n, present[m] & present[n]) for m, n in itertools.combinations(sorted(z), 2)]
        similarity = [_moments(shared[m][both], shared[n][both]) for m, n, both in pairs]
        difference = [_difference(private[m][both], private[n][both]) for m, n, both in pairs]
        difference += [_difference(private[m][present[m]], shared[m][present[m]]) for m in z]
        rebuilt = [functional.mse_loss(self.decode[m](private[m] + shared[m])[present[m]], z[m][present[m]]) for m in z]
        weights = self.config
        return (
            weights.similarity * sum(similarity) / len(pairs)
            + weights.difference * sum(difference)
            + weights.reconstruction * sum(rebuilt) / len(z)
        )


def _moments(a: Tensor, b: Tensor) -> Tensor:
    total = (a.mean(0) - b.mean(0)).norm()
    for k in (2, 3, 4, 5):
        total = total + (((a - a.mean(0)) ** k).mean(0) - ((b - b.mean(0)) ** k).mean(0)).norm()
    return total


def _difference(a: Tensor, b: Tensor) -> Tensor:
    a, b = (own - own.mean(0) for own in (a, b))
    a, b = (own / (own.norm(dim=1, keepdim=True).detach() + 1e-6) for own in (a, b))
    return (a.T @ b).pow(2).mean()


KINDS = {
    "tensor": (TensorFusion, TensorConfig(width=5), PlainTensor),
    "low_rank": (LowRank, LowRankConfig(rank=3), PlainLowRank),
    "mag, all cut": (Mag, MagConfig(beta=0.02), PlainMag),
    "mag, some cut": (Mag, MagConfig(beta=0.25), PlainMag),
    "mag, none cut": (Mag, MagConfig(), PlainMag),
    "misa": (Misa, MisaConfig(), PlainMisa),
    "misa, other weights": (Misa, MisaConfig(similarity=0.2, difference=2.0, reconstruction=0.7, heads=4), PlainMisa),
}


@pytest.mark.parametrize("absent", [False, True])
@pytest.mark.parametrize("modalities", [("speech", "text"), ("image", "speech", "text")])
@pytest.mark.parametrize("kind", KINDS)
def test_logits_losses_and_gradients_are_those_of_the_published_model(
    kind: str, modalities: tuple[str, ...], absent: bool
) -> None:
    head_type, config, reference = KINDS[kind]
    frame = Frame(
        widths={m: WIDTHS[m] for m in modalities},
        n_classes=CLASSES,
        hidden=HIDDEN,
        dropout=[0.0] * MEMBERS,
        seeds=[3, 4],
    )
    head = head_type(config, frame)
    x, present = _batch(modalities, absent)
    pull = torch.randn(MEMBERS, BATCH, CLASSES, generator=torch.Generator().manual_seed(9))
    logits, extra = _spoken(head, x, present)
    ((logits * pull).sum() + extra.sum()).backward()
    for member in range(MEMBERS):
        plain = reference(head, member)
        own = {m: x[m][member] for m in modalities}
        here = {m: present[member, :, i] for i, m in enumerate(modalities)}
        expected, loss = plain.logits(own, here), plain.losses(own, here)
        torch.testing.assert_close(logits[member], expected, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(extra[member], loss, atol=1e-5, rtol=1e-5)
        ((expected * pull[member]).sum() + loss).backward()
        assert {id(stacked) for _, stacked, _ in plain.twins} == {id(parameter) for parameter in head.parameters()}
        for copied, stacked, turned in plain.twins:
            gradient = stacked.grad[member].T if turned else stacked.grad[member].view(copied.shape)
            torch.testing.assert_close(gradient, copied.grad, atol=1e-5, rtol=1e-4)


def _batch(modalities: tuple[str, ...], absent: bool) -> tuple[dict[str, Tensor], Tensor]:
    generator = torch.Generator().manual_seed(0)
    present = torch.ones(MEMBERS, BATCH, len(modalities), dtype=torch.bool)
    if absent:
        for i in range(len(modalities)):
            present[:, i::4, i] = False  # every fourth sample has everything
    x = {m: torch.randn(MEMBERS, BATCH, WIDTHS[m], generator=generator) for m in modalities}
    return {m: x[m] * present[..., i, None] for i, m in enumerate(modalities)}, present


def _spoken(head: FusionHead, x: dict[str, Tensor], present: Tensor) -> tuple[Tensor, Tensor]:
    logits = head(x, present)
    extra = head.auxiliary_loss()
    return logits, torch.zeros(MEMBERS) if extra is None else extra
