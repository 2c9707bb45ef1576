"""What a reader must know before any number: what these scores cannot show."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reports.evidence import Evidence
from reports.findings.epochs import MANY, unfinished
from reports.findings.false_alarms import Calibration
from reports.findings.leaks import Seen
from reports.findings.searches import read_searches, seen_by_choice


@dataclass(frozen=True, kw_only=True)
class Banner:
    """A warning at the top of the page.

    `kind` is leaks, composed, synthetic, selective, random, in_sample, unfinished, searched, alarms, lacking or note;
    `see` is the chapter that has more, or nothing.
    """

    kind: str
    title: str
    text: str
    see: str = ""


def find_banners(
    evidence: Evidence,
    lacking: Mapping[str, tuple[int, ...]],
    calibration: Calibration | None,
    selective: Sequence[str] = (),
    seen: Seen | None = None,
) -> tuple[Banner, ...]:
    """Return the warnings this study deserves, the gravest first; `selective` says what more was run or asked."""
    facts = evidence.facts
    found = (
        _leaks(seen) if seen and seen.parts else None,
        PAIRING.get(evidence.pairing),
        _selective(selective),
        _random(facts),
        _in_sample(facts),
        _unfinished(unfinished(evidence), len(evidence.held_out)),
        _searched(evidence),
        _alarms(calibration) if calibration else None,
        _lacking(lacking),
    )
    by_design = [f"shared_by_design: test samples have {_shared(seen.by_design)}"] if seen and seen.by_design else []
    return (*filter(None, found), *(_note(str(text)) for text in (*by_design, *facts.get("warnings", ()))))


def _leaks(seen: Seen) -> Banner:
    """Return what training has seen; the title is a sentence, which the answer begins with."""
    but = "no verdict is given" if seen.refused else "scores and verdicts rest on the others"
    title = f"Training has seen {100 * seen.share:.1f} % of the test samples, in whole, nearly or by their group: {but}"
    why = f"Why no verdict: {seen.refused}. " if seen.refused else ""
    return Banner(kind="leaks", title=title, text=f"{why}Test samples have {_shared(seen.parts)}.", see="leakage")


def _shared(parts: Sequence[tuple[str, float]]) -> str:
    return "; ".join(f"{what} ({100 * share:.1f} % of the tests)" for what, share in parts)


def _selective(told: Sequence[str]) -> Banner | None:
    text = " ".join((*told, "What is chosen after scores were seen looks too good; no p here allows for that."))
    title = "More was run or asked for than this page shows"
    return Banner(kind="selective", title=title, text=text, see="provenance") if told else None


def _random(facts: Mapping[str, Any]) -> Banner | None:
    random = sorted(name for name, feature in facts.get("features", {}).items() if feature.get("random"))
    text = (
        f"The weights behind {', '.join(random)} were drawn at random, not trained. Scores of this modality, and "
        "what it adds to a fusion, say nothing about what a trained encoder would do."
    )
    return Banner(kind="random", title="Random weights", text=text) if random else None


def _in_sample(facts: Mapping[str, Any]) -> Banner | None:
    trained = any(feature.get("encoder_samples") == "per-repeat" for feature in facts.get("features", {}).values())
    if not trained or facts["protocol"].get("encoder_share") != 1:
        return None
    text = (
        "The heads were trained on rows their encoder had memorised, so they trust that modality too much. "
        "Test scores stay honest, learned weights and training curves do not."
    )
    return Banner(kind="in_sample", title="Encoder and heads share their training rows", text=text)


def _unfinished(found: Mapping[str, int], runs: int) -> Banner | None:
    named = ", ".join(f"{model} ({count} of {runs} runs)" for model, count in found.items())
    text = (
        f"The limit of epochs ended training while the validation loss still fell: {named}. Their scores are too low, "
        f"so of a model of which more than {100 * MANY:.0f} % of the runs ended so nothing is told to be above it. "
        "Raise `epochs` in [training]."
    )
    return Banner(kind="unfinished", title="Not trained to the end", text=text, see="training") if found else None


def _searched(evidence: Evidence) -> Banner | None:
    if not seen_by_choice(read_searches(evidence.runs), evidence.protocol):
        return None
    text = (
        "Settings were searched once, on the training and validation samples of the first repeat. Other repeats "
        "test on some of these, so the choice has seen labels of their test samples, and scores may flatter what "
        'was searched. A search within each repeat (scope = "repeat") does not.'
    )
    return Banner(kind="searched", title="The choice of settings has seen test samples", text=text)


def _lacking(lacking: Mapping[str, tuple[int, ...]]) -> Banner | None:
    where = "; ".join(f"{label} in repeat {', '.join(map(str, repeats))}" for label, repeats in lacking.items())
    text = f"Absent: {where}. Macro averages there run over the classes that are present."
    return Banner(kind="lacking", title="Some test parts lack a class", text=text) if lacking else None


def _note(warning: str) -> Banner:
    """Return a warning of the study, `key: text`, as a sentence under a title."""
    key, colon, text = warning.partition(": ")
    if not colon or not key.replace("_", "").isalpha():
        return Banner(kind="note", title="Note", text=warning)
    title, said = key.replace("_", " ").capitalize(), f"{text[:1].upper()}{text[1:].rstrip('.')}."
    return Banner(kind="note", title=title, text=said, see="leakage" if key.startswith("shared") else "")


def _alarms(calibration: Calibration) -> Banner | None:
    if not calibration.alarming or calibration.rate is None:
        return None
    text = (
        f"Between models made equal by exchange it finds a difference in {100 * calibration.rate:.1f} % of "
        f"{calibration.repetitions:,} repetitions, over all {len(calibration.pairs)} pairs, nominal "
        f"{100 * calibration.nominal:g} %; in sound studies it is rarely twice as often. The p values of this page "
        "are too small."
    )
    return Banner(kind="alarms", title="The primary test errs more often than it promises", text=text, see="limits")


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
