"""What a reader must know before any number: what these scores cannot show."""

from collections.abc import Mapping
from dataclasses import dataclass

from reports.evidence import Evidence
from reports.findings.searches import read_searches, seen_by_choice


@dataclass(frozen=True, kw_only=True)
class Banner:
    """A warning at the top of the page; `kind` is composed, synthetic, random, in_sample, searched, lacking or note."""

    kind: str
    title: str
    text: str


def find_banners(evidence: Evidence, lacking: Mapping[str, tuple[int, ...]]) -> tuple[Banner, ...]:
    """Return the warnings this study deserves, the gravest first."""
    facts = evidence.facts
    features = facts.get("features", {})
    random = sorted(name for name, feature in features.items() if feature.get("random"))
    protocol = facts["protocol"]
    own_rows = protocol.get("encoder_share") == 1 and any(
        feature.get("encoder_samples") == "per-repeat" for feature in features.values()
    )
    banners = [PAIRING[evidence.pairing]] if evidence.pairing in PAIRING else []
    if random:
        text = (
            f"The weights behind {', '.join(random)} were drawn at random, not trained. Scores of this modality, and "
            "what it adds to a fusion, say nothing about what a trained encoder would do."
        )
        banners.append(Banner(kind="random", title="Random weights", text=text))
    if own_rows:
        text = (
            "The heads were trained on rows their encoder had memorised, so they trust that modality too much. "
            "Test scores stay honest, learned weights and training curves do not."
        )
        banners.append(Banner(kind="in_sample", title="Encoder and heads share their training rows", text=text))
    if seen_by_choice(read_searches(evidence.runs), evidence.protocol):
        text = (
            "Settings were searched once, on the training and validation samples of the first repeat. Other repeats "
            "test on some of these, so the choice has seen labels of their test samples, and scores may flatter what "
            'was searched. A search within each repeat (scope = "repeat") does not.'
        )
        banners.append(Banner(kind="searched", title="The choice of settings has seen test samples", text=text))
    if lacking:
        text = "; ".join(f"{label} in repeat {', '.join(map(str, where))}" for label, where in lacking.items())
        text = f"Absent: {text}. Macro averages there run over the classes that are present."
        banners.append(Banner(kind="lacking", title="Some test parts lack a class", text=text))
    notes = (Banner(kind="note", title="Note", text=str(text)) for text in facts.get("warnings", ()))
    return (*banners, *notes)


PAIRING = {
    "composed": Banner(
        kind="composed",
        title="Composed corpus: fusion gains here are not evidence",
        text="Text, sound and picture of one sample come from different people and were paired by label. Given the "
        "label the modalities are then independent of each other, which lets any fusion look good. Single modalities "
        "can be judged; whether fusing helps cannot.",
    ),
    "synthetic": Banner(
        kind="synthetic",
        title="Synthetic corpus",
        text="Voices, faces and sentences were made by a program that planted which modality tells which emotion. The "
        "scores show whether the method finds what was planted. They say nothing about people.",
    ),
}
