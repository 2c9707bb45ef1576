import pytest
import torch
from torch import Tensor

from fusion.heads._head import Frame, HeadConfig
from fusion.heads.class_weighted import ClassWeighted
from fusion.heads.unimodal import Unimodal

MODALITIES = ("image", "speech", "text")
LOGITS = torch.tensor([0.5, -0.2, 0.1])  # audit, part 4, example 6 (static)
WEIGHTS = [0.4614876234, 0.2291679717, 0.3093444050]


def _head(*modalities: str) -> ClassWeighted:
    widths = dict.fromkeys(modalities, 4)
    return ClassWeighted(HeadConfig(), Frame(widths=widths, n_classes=2, hidden=4, dropout=[0.0], seeds=[1]))


def _says(head: ClassWeighted, said: dict[str, list[float]]) -> None:
    """Let each modality's classifier say the same of everything."""
    with torch.no_grad():
        for m, logits in said.items():
            head.classify[m].out.weight.zero_()
            head.classify[m].out.bias.copy_(torch.tensor(logits))


def _answer(head: ClassWeighted, *there: bool) -> list[float]:
    x = {m: torch.ones(1, 1, 4) for m in MODALITIES}
    found: Tensor = head(x, torch.tensor([[there]]))
    return found[0, 0].tolist()


def _opinionated() -> ClassWeighted:
    head = _head(*MODALITIES)
    _says(head, {"image": [1.0, -2.0], "speech": [3.0, 0.0], "text": [-1.0, 4.0]})
    with torch.no_grad():
        head.logits[0, :, 0] = LOGITS  # the second emotion keeps its zeros
    return head


def test_each_emotion_has_its_own_weights() -> None:
    head = _opinionated()
    assert _answer(head, True, True, True) == pytest.approx([0.8396471334, 2 / 3], abs=1e-6)
    assert head.modality_weights()[0].T.tolist() == [pytest.approx(WEIGHTS), pytest.approx([1 / 3] * 3)]


def test_of_what_a_sample_has_the_weights_of_each_emotion_total_one() -> None:
    first, _, third = WEIGHTS
    expected = [(first - third) / (first + third), (-2 + 4) / 2]
    assert _answer(_opinionated(), True, False, True) == pytest.approx(expected, abs=1e-6)
    assert _answer(_opinionated(), False, True, False) == pytest.approx([3, 0], abs=1e-6)


def test_zero_logits_are_the_plain_mean() -> None:
    head = _head(*MODALITIES)
    x = {m: torch.randn(1, 5, 4, generator=torch.Generator().manual_seed(i)) for i, m in enumerate(MODALITIES)}
    for m in MODALITIES[1:]:
        head.classify[m].load_state_dict(head.classify["image"].state_dict())
    mean = head.project(x).mean(dim=2)  # of equal linear classifiers the mean of logits is that of the mean
    torch.testing.assert_close(head(x, torch.ones(1, 5, 3, dtype=torch.bool)), head.classify["image"](mean))


def test_permuting_modalities_permutes_their_weights_and_leaves_the_logits() -> None:
    head, order = _opinionated(), (2, 0, 1)
    before, weights = _answer(head, True, True, True), head.modality_weights()
    said = [head.classify[MODALITIES[i]].out.bias[0, 0].tolist() for i in order]
    _says(head, dict(zip(MODALITIES, said, strict=True)))
    with torch.no_grad():
        head.logits.copy_(head.logits[:, order])
    assert _answer(head, True, True, True) == pytest.approx(before)
    torch.testing.assert_close(head.modality_weights(), weights[:, order])


def test_given_one_modality_it_is_the_unimodal_head() -> None:
    head, unimodal = _head("text"), Unimodal(HeadConfig(), _head("text").frame)
    head.project.load_state_dict(unimodal.project.state_dict())
    head.classify["text"].load_state_dict(unimodal.classify.state_dict())
    x, here = {"text": torch.randn(1, 5, 4)}, torch.ones(1, 5, 1, dtype=torch.bool)
    torch.testing.assert_close(head(x, here), unimodal(x, here))
    assert head.modality_weights().tolist() == [[[1, 1]]]


def test_the_modality_that_tells_an_emotion_from_the_rest_comes_to_weigh_most_for_it() -> None:
    """Of three modalities each knows one emotion only: image the first, speech the second, text the third.

    One member may err, since classifiers take over part of a weight; the mean over members, as over repeats, does not.
    """
    frame = Frame(widths=dict.fromkeys(MODALITIES, 4), n_classes=3, hidden=16, dropout=[0.0] * 6, seeds=range(6))
    head, labels = ClassWeighted(HeadConfig(), frame), torch.arange(120) % 3
    generator = torch.Generator().manual_seed(0)
    x = {m: torch.randn(1, 120, 4, generator=generator).expand(6, -1, -1) for m in MODALITIES}
    x = {m: own + (labels == k)[:, None] for k, (m, own) in enumerate(x.items())}
    optimiser = torch.optim.Adam(head.parameters(), lr=0.01)
    for _ in range(40):
        optimiser.zero_grad()
        logits: Tensor = head(x, torch.ones(6, 120, 3, dtype=torch.bool))
        torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.repeat(6)).backward()
        optimiser.step()
    mean = head.modality_weights().mean(dim=0)
    assert (mean.diagonal() > 0.36).all()  # plain mean: 1 / 3
    assert mean.argmax(dim=0).tolist() == [0, 1, 2]
