import pytest
import torch
from torch import Tensor
from torch.nn.functional import layer_norm

from fusion.heads._head import Frame
from fusion.heads.mag import Mag, MagConfig
from fusion.plans import subsets
from stores.errors import ConfigError

WIDTHS = {"image": 5, "speech": 4, "text": 6}


def _head(beta: float = 1.0) -> tuple[Mag, dict[str, Tensor]]:
    frame = Frame(widths=WIDTHS, n_classes=3, hidden=8, dropout=[0.0, 0.0], seeds=[1, 2])
    generator = torch.Generator().manual_seed(0)
    return Mag(MagConfig(beta=beta), frame), {
        m: torch.randn(2, 7, width, generator=generator) for m, width in WIDTHS.items()
    }


def _seen(*modalities: str) -> Tensor:
    return torch.tensor([m in modalities for m in WIDTHS]).expand(2, 7, 3)


def _without(x: dict[str, Tensor], present: Tensor) -> dict[str, Tensor]:
    return {m: own * present[..., i, None] for i, (m, own) in enumerate(x.items())}


def test_text_alone_is_moved_by_nothing() -> None:
    head, x = _head()
    present = _seen("text")
    text = head.project(x)[:, :, 2]
    torch.testing.assert_close(head(_without(x, present), present), head.classify(layer_norm(text, (8,))))


def test_a_long_shift_is_cut_to_beta_times_the_length_of_the_text() -> None:
    head, x = _head(beta=0.5)
    with torch.no_grad():
        for layer in head.shifts.values():
            layer.weight *= 1000
    moved: list[Tensor] = []
    head.classify.register_forward_pre_hook(lambda _, given: moved.append(given[0]))
    present = _seen("speech", "text")
    head(_without(x, present), present)
    _, speech, text = head.project(x).unbind(dim=2)
    gate = head.gates["speech"](torch.cat([speech, text], dim=2)).relu()
    direction = torch.nn.functional.normalize(gate * head.shifts["speech"](speech), dim=2)
    expected = text + 0.5 * text.norm(dim=2, keepdim=True) * direction
    torch.testing.assert_close(moved[0], layer_norm(expected, (8,)), atol=1e-5, rtol=1e-5)


def test_a_small_beta_leaves_the_text_where_it_is() -> None:
    head, x = _head(beta=1e-6)
    present = _seen("text")
    alone = head(_without(x, present), present)
    torch.testing.assert_close(head(x, _seen("image", "speech", "text")), alone, atol=1e-4, rtol=0)


@pytest.mark.parametrize("seen", [("image",), ("image", "speech"), ()])
def test_without_text_the_others_speak_and_every_gradient_stays_finite(seen: tuple[str, ...]) -> None:
    head, x = _head(beta=1e-6)
    present = _seen(*seen)
    logits = head(_without(x, present), present)
    logits.square().sum().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in head.parameters())
    spread = (logits - logits[:, :1]).abs().amax(dim=(1, 2))  # between samples
    assert (spread > 0.1).all() if seen else (spread == 0).all()


def test_it_cannot_do_without_text() -> None:
    assert subsets(("image", "speech", "text"), "mag") == (
        ("image", "text"),
        ("speech", "text"),
        ("image", "speech", "text"),
    )


def test_a_beta_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="beta"):
        MagConfig(beta=0.0)
