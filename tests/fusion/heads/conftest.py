"""A trained head beside a plain PyTorch module for one model, written in the test from the formula."""

from collections.abc import Callable, Mapping

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from fusion.heads._head import FusionHead

MEMBER = 1  # of a stack of 2: the one compared
BATCH = 9

Names = Mapping[str, str | tuple[str, ...]]
Agree = Callable[..., None]


@pytest.fixture
def agree() -> Agree:
    """Return `agree(head, plain, names, absent=...)`: both give the same logits and gradients of all parameters.

    `head` is a stack of 2 without dropout. `plain(x, present)` takes one model's `x[modality]` (B, d) and `present`
    (B, modalities) and returns logits (B, K). `names` says under which name of the head a parameter or a submodule of
    `plain` is found, where they differ; several names are side by side in it. A name that ends in `weight` is a
    `torch.nn.Linear` weight.
    """
    return _agree


def _agree(head: FusionHead, plain: nn.Module, names: Names, *, absent: bool) -> None:
    _draw(head)
    pieces = {own: _pieces(own, names) for own, _ in plain.named_parameters()}
    theirs = dict(head.named_parameters())
    assert sorted(name for found in pieces.values() for name in found) == sorted(theirs), "a parameter is not compared"
    with torch.no_grad():
        for own, parameter in plain.named_parameters():
            values = [theirs[name][MEMBER] for name in pieces[own]]
            parameter.copy_(_laid_out(own, values, parameter.shape))
    x, present = _samples(head, absent=absent)
    logits = head(x, present)
    expected = plain({m: rows[MEMBER] for m, rows in x.items()}, present[MEMBER])
    torch.testing.assert_close(logits[MEMBER], expected, atol=1e-5, rtol=1e-5)
    labels = torch.arange(BATCH) % head.frame.n_classes
    sum(cross_entropy(own, labels) for own in logits).backward()
    cross_entropy(expected, labels).backward()
    for own, parameter in plain.named_parameters():
        assert parameter.grad is not None, own
        found = [theirs[name].grad for name in pieces[own]]
        values = [gradient[MEMBER] for gradient in found if gradient is not None]
        gradient = _laid_out(own, values, parameter.shape)
        torch.testing.assert_close(gradient, parameter.grad, atol=1e-5, rtol=1e-5, msg=lambda m, own=own: f"{own}: {m}")


def _draw(head: FusionHead) -> None:
    """Draw every parameter, so that none is compared at 0, where it would do nothing."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.4)


def _samples(head: FusionHead, *, absent: bool) -> tuple[dict[str, Tensor], Tensor]:
    """Draw features of 2 members; with `absent`, every pattern but the empty one of what a sample has or lacks."""
    generator = torch.Generator().manual_seed(4)
    modalities = head.frame.modalities
    x = {m: torch.randn(2, BATCH, head.frame.widths[m], generator=generator) for m in modalities}
    present = torch.ones(2, BATCH, len(modalities), dtype=torch.bool)
    if absent:
        patterns = torch.arange(BATCH) % (2 ** len(modalities) - 1) + 1
        present[:] = torch.stack([patterns >> i & 1 for i in range(len(modalities))], dim=1).bool()
    return {m: x[m] * present[..., i, None] for i, m in enumerate(modalities)}, present


def _pieces(own: str, names: Names) -> list[str]:
    module, _, leaf = own.rpartition(".")
    if own in names or module not in names:
        found, leaf = names.get(own, own), ""
    else:
        found, leaf = names[module], f".{leaf}"
    return [f"{name}{leaf}" for name in ([found] if isinstance(found, str) else found)]


def _laid_out(own: str, pieces: list[Tensor], shape: torch.Size) -> Tensor:
    """Lay a member's parameters out as plain PyTorch does: a Linear weight is (outputs, inputs), ours the reverse."""
    whole = torch.cat(pieces)
    return (whole.mT if own.endswith("weight") else whole).reshape(shape)
