"""The answer in three sentences and a forest plot: what is reached, what fusing gains, and what cannot be told."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from reports.chapters.emotions import ByEmotion, Emotions
from reports.comparisons import ABOVE, BELOW, BY_LABEL, UNTOLD, VARIANTS, Comparison, cannot_tell
from reports.drawing import BLUE, INK, MUTED, ORANGE, ROW, Drawing, Figure, finish, whisker
from reports.evidence import CHANCE
from reports.findings.gains import MISSED, NOT_LOOKED_FOR, RECOVERED
from reports.results import Results
from reports.selection import LESS, SINGLE, gains
from reports.words import (
    NAMES,
    counted,
    exact,
    isolated,
    labels_of,
    listed,
    percent,
    plain,
    points,
    rival_of,
    sentence,
    span,
    verdict_of,
    with_article,
)

HEADINGS = {LESS: "one modality less"}
FEW, CLOSER = 14, 0.235  # lines of a short plot; inches a line of a longer one
LOOK = {ABOVE: (BLUE, "o"), BELOW: (ORANGE, "s")}  # what cannot be told is grey and hollow
Groups = Mapping[str, Sequence[Comparison]]
NAMED = 3  # as many models are named, more are counted
PHRASES = {ABOVE: "is above", BELOW: "is below", UNTOLD: "cannot be told from"}


def summary(results: Results) -> list[str]:
    """Return the answer, at most three sentences from the comparisons the study file fixes, after what warns of it."""
    return [text for text in (*_before(results), _reached(results), _gained(results), _untold(results)) if text]


def _before(results: Results) -> list[str]:
    """Return what is to be known before any score: what training has seen, and what this page leaves out."""
    leaks = [f"{banner.title}." for banner in results.banners if banner.kind == "leaks"]
    return [*leaks, *(banner.text for banner in results.banners if banner.kind == "selective")]


def _reached(results: Results) -> str:
    metric = results.method.primary_metric
    best, chance = results.score(results.reference, metric), results.score(CHANCE, metric)
    used = sum(count.used for count in results.classes)
    return (
        f"{sentence(labels_of(results)[results.reference])} reaches {with_article(NAMES[metric])} of "
        f"{percent(best.estimate)} % ({span(best.low, best.high)}) on {len(results.classes)} emotions and "
        f"{used:,} samples, against {percent(chance.estimate)} % "
        f"for guessing the most frequent class{_outdone(results)}."
    )


def _outdone(results: Results) -> str:
    """Return a clause on the model that scores highest, if it is not the reference."""
    best, names = results.ranking()[0], labels_of(results)
    if best.model == results.reference:
        return ""
    against = (c for own in gains(results).values() for c in own if c.b == best.model)
    verdict = next((c.verdict for c in against if c.primary), None)
    own = names[results.reference]
    told = {
        BELOW: f"and is above {own}",
        UNTOLD: f"but cannot be told from {own}",
        None: f"but was not compared with {own}",
    }.get(verdict, "")
    return f"; {names[best.model]} scores highest, {percent(best.estimate)} %, {told}"


def _gained(results: Results) -> str:
    groups = gains(results)
    compared = [c for own in groups.values() for c in own]
    if not compared:
        return ""
    if any(c.reason == BY_LABEL for c in compared):
        found = [c.primary.difference for c in groups.get(SINGLE, compared) if c.primary]
        seen = f", so the {_between(found)} seen over single modalities may come of the pairing alone" if found else ""
        return f"Whether fusing helps cannot be told: {BY_LABEL}{seen}."
    if blind := cannot_tell(compared, results.method.alpha):
        return (
            f"This design cannot find any difference, of whatever size: the smallest p of its test, {exact(blind)}, is "
            f"not below {results.method.alpha:g} after Holm's correction."
        )
    phrases = [text for verdict in PHRASES for text in _came_out(results, groups, verdict)]
    said = f"{sentence(labels_of(results)[results.reference])} {'; it '.join([*phrases, *_refused(results, groups)])}."
    return said.replace(", interval", ", uncorrected interval", 1)  # once: what follows is of the same kind


def _came_out(results: Results, groups: Groups, verdict: str) -> list[str]:
    """Return one phrase on all that a verdict was reached for; nothing if there is none."""
    parts = []
    for kind, own in groups.items():
        chosen = [c for c in own if c.verdict == verdict and c.primary]
        if chosen:
            parts.append(f"{_rivals(results, kind, chosen, own)} ({_sizes(chosen)})")
    return [f"{PHRASES[verdict]} {listed(parts)}"] if parts else []


def _refused(results: Results, groups: Groups) -> list[str]:
    """Return one phrase on what no test could compare, with the reason where there is one for all."""
    refused = [c for own in groups.values() for c in own if not c.primary]
    if not refused:
        return []
    reasons = {c.reason for c in refused}
    why = f": {plain(reasons.pop())}" if len(reasons) == 1 else ""
    named = f"{len(refused)} models" if len(refused) > NAMED else listed(rival_of(results, c) for c in refused)
    return [f"cannot be compared with {named}{why}"]


def _rivals(results: Results, kind: str, chosen: Sequence[Comparison], own: Sequence[Comparison]) -> str:
    if len(chosen) == len(own) > 1:
        return f"{'both' if len(own) == 2 else f'all {len(own)}'} {kind}"
    if len(chosen) > NAMED:
        return f"{len(chosen)} of {len(own)} {kind}"
    return listed(rival_of(results, c) for c in chosen)


def _sizes(chosen: Sequence[Comparison]) -> str:
    """Return the gains, and the interval or what all intervals lie within."""
    tested = [c.primary for c in chosen if c.primary]
    lows, highs = ([v for v in (getattr(t, side) for t in tested) if v is not None] for side in ("low", "high"))
    sizes = _between([t.difference for t in tested])
    if not lows or not highs:
        return sizes
    return (
        f"{sizes}, {'interval' if len(tested) == 1 else 'intervals within'} {span(min(lows), max(highs), signed=True)}"
    )


def _between(found: Sequence[float]) -> str:
    low, high = points(min(found)), points(max(found))
    return f"{low} pp" if low == high else f"{low} to {high} pp"


def _untold(results: Results) -> str:
    found = results.value(Emotions)
    parts = [*_warned(results), *_variants(results), *(_emotions(found) if found else [])]
    return f"{sentence('; '.join(parts))}." if parts else ""


def _warned(results: Results) -> list[str]:
    """Return the gravest warning; that a corpus is composed has been said by then."""
    found = results.value(Emotions)
    if found and found.planted:
        count = Counter(effect.verdict for effect in found.planted)
        was = "was" if count[RECOVERED] == 1 else "were"
        planted = f"{counted(len(found.planted), 'effect')} planted in this synthetic corpus"
        said = f"of {planted} {count[RECOVERED]} {was} recovered"
        unseen = f", {count[NOT_LOOKED_FOR]} not looked for" if count[NOT_LOOKED_FOR] else ""
        false = sum(null.verdict == MISSED for null in found.nulls)
        return [said + unseen + (f", and {false} found that were not planted" if false else "")]
    grave = [banner for banner in results.banners if banner.kind not in ("leaks", "composed", "note")]
    return [f"to be read with care: {sentence(grave[0].title)}"] if grave else []


def _variants(results: Results) -> list[str]:
    compared, names = results.compared(VARIANTS), labels_of(results)
    told = [c for c in compared if c.verdict != UNTOLD and c.primary]
    if not told:
        return ["no model trained otherwise can be told from the study's own training"] if compared else []
    if len(told) > NAMED:
        return [f"of {len(compared)} models trained otherwise {len(told)} differ from the study's own training"]
    named = listed(f"{names[c.a]} ({points(c.primary.difference)} pp)" for c in told if c.primary)
    return [f"of {len(compared)} models trained otherwise, {named} differ from the study's own training"]


def _emotions(found: ByEmotion) -> list[str]:
    if not found.winners:
        return []
    best: dict[str, list[str]] = {}
    for winner in found.winners:
        if winner.told:
            best.setdefault(winner.modality, []).append(isolated(winner.label))
    untold = [isolated(winner.label) for winner in found.winners if not winner.told]
    if not best:
        return ["which modality alone reads which emotion best cannot be told"]
    told = "alone, " + listed(f"{modality} reads {listed(labels)} best" for modality, labels in best.items())
    return [told + (f", and for {listed(untold)} it cannot be told" if untold else "")]


def gains_figure(results: Results) -> Figure | None:
    """Return the gains of the reference with their intervals; None where no comparison could be tested."""
    groups = gains(results)
    if not any(c.primary for own in groups.values() for c in own):
        return None
    metric = NAMES[results.method.primary_metric]
    title = f"{labels_of(results)[results.reference]} minus each other model, {metric}, in points"
    lines: list[str | Comparison] = []
    for name, own in groups.items():
        lines += [name, *own]
    with Drawing("gains", width=4.5, height=0.75 + (ROW if len(lines) <= FEW else CLOSER) * len(lines)) as drawing:
        ax = drawing.axes
        ax.axvline(0, color=MUTED, linewidth=1)
        ticks = dict(enumerate(reversed(lines)))
        for y, line in ticks.items():
            if isinstance(line, str):
                heading = HEADINGS.get(line, line)
                ax.text(-0.02, y, heading, transform=ax.get_yaxis_transform(), ha="right", va="center", color=MUTED)
            else:
                _gain(drawing, line, y)
        rows = {
            y: f"− {rival_of(results, line)}".removeprefix("− itself ")
            for y, line in ticks.items()
            if not isinstance(line, str)
        }
        ax.set_yticks(list(rows), list(rows.values()))
        ax.set_ylim(-0.6, len(lines) - 0.4)
        ax.set_xlabel(f"gain in {metric}, percentage points; intervals uncorrected")
        told = _told(results, [c for own in groups.values() for c in own])
        return finish(drawing, "gains", title, told=told)


def _gain(drawing: Drawing, c: Comparison, y: float) -> None:
    ax = drawing.axes
    colour, marker = LOOK.get(c.verdict, (MUTED, "o"))
    said = "no test"
    if c.primary:
        low, high = c.primary.low, c.primary.high
        whisker(drawing, c.primary.difference, low, high, y, colour, marker=marker, hollow=c.verdict not in LOOK)
        said = f"{points(c.primary.difference)}  ({span(low, high, signed=True)})"
    weight = "bold" if c.verdict in LOOK else "normal"
    ax.text(1.01, y, said, transform=ax.get_yaxis_transform(), va="center", fontsize=8, color=INK, fontweight=weight)


def _told(results: Results, compared: Iterable[Comparison]) -> str:
    parts = [
        f"minus {rival_of(results, c)}: "
        + (
            f"{points(c.primary.difference)} ({span(c.primary.low, c.primary.high, signed=True)}), "
            if c.primary
            else ""
        )
        + verdict_of(c)
        for c in compared
    ]
    return f"In percentage points, intervals uncorrected: {listed(parts)}."
