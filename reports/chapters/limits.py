"""What a study of this size can see, and how often its procedure sees what is not there."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from reports.case import Case
from reports.chapters._chapter import Chapter, Rows
from reports.comparisons import FURTHER, STRATEGIES, cannot_tell
from reports.drawing import BLUE, INK, MUTED, Drawing, Figure, finish
from reports.findings.false_alarms import Calibration, FalsePositives, calibrate
from reports.findings.limits import GAINS, POWER, Limit, Limits, PowerCurve, find_limits
from reports.results import Results
from reports.words import NAMES, NONE, exact, labels_of, number, percent


@dataclass(frozen=True, kw_only=True)
class Sight:
    """The limits of the reference's comparisons, and their false-positive rates."""

    limits: Limits
    calibration: Calibration


class DesignLimits(Chapter[Sight]):
    """Detectable gains, power, repeats needed, and the A/A calibration."""

    title = "What this study can see"

    def compute(self, case: Case) -> Sight | None:
        families = [family for family in case.families if family.name in (STRATEGIES, FURTHER)]
        pairs = [pair for family in families for pair in family.pairs]
        if not pairs:
            return None
        evidence, measures, metric, config = case.evidence, case.measures, case.primary_metric, case.config
        return Sight(
            limits=find_limits(evidence, measures, families, metric),
            calibration=calibrate(evidence, measures, pairs, metric, repetitions=config.swaps, seed=config.seed),
        )

    def figures(self, value: Sight, results: Results) -> Iterable[Figure]:
        return [_power_figure(value.limits, value.limits.curve)] if value.limits.curve else []

    def tables(self, value: Sight, results: Results) -> Mapping[str, Rows]:
        return {
            "limits": [_limit_row(limit) for limit in value.limits.pairs],
            "false_positives": [
                {"a": pair.a, "b": pair.b, **_rate_cells("primary", pair.primary), **_rate_cells("naive", pair.naive)}
                for pair in value.calibration.pairs
            ],
        }

    def context(self, value: Sight, results: Results) -> Mapping[str, Any]:
        names = labels_of(results)
        return {
            "in_words": in_words(value, results),
            "chance": f"{100 * POWER:.0f} %",
            "gains": [f"{100 * gain:g}" for gain in GAINS],
            "limit_rows": [(names[limit.b], _limit_cells(limit)) for limit in value.limits.pairs],
            "rate_rows": [(names[p.b], _rate(p.primary), _rate(p.naive)) for p in value.calibration.pairs],
            "untold": [names[b] for _, b in value.limits.without],
        }


def in_words(value: Sight, results: Results) -> str:
    """Return what the reader should take from the chapter, in two or three sentences."""
    limits, calibration, names = value.limits, value.calibration, labels_of(results)
    said = []
    if limits.pairs:
        least, most = (pick(limits.pairs, key=lambda limit: limit.detectable) for pick in (min, max))
        said.append(
            f"With {limits.n} {limits.unit}, a true gain in {NAMES[limits.metric]} is found with a chance of "
            f"{100 * POWER:.0f} % if it is {number(100 * least.detectable)} points against {names[least.b]}, "
            f"and {number(100 * most.detectable)} against {names[most.b]}, for one comparison alone."
        )
        if most.floor is not None:
            floor = number(100 * most.floor)
            beside = ": the noise of training stays" if limits.unit == "groups" else ""
            said.append(
                f"More {limits.unit} help little: no number of them makes that last figure less than {floor}{beside}."
            )
    if calibration.pairs:
        naive = [pair.naive.rate for pair in calibration.pairs if pair.naive]
        said.append(
            f"Between two models made equal by exchange, the primary procedure is wrong in "
            f"{percent(calibration.rate)} % of {calibration.repetitions:,} repetitions over all pairs (nominal: "
            f"{percent(calibration.nominal)} %)"
            + (f", the naive paired t in {percent(sum(naive) / len(naive))} %." if naive else ".")
        )
    groups = [c for name in (STRATEGIES, FURTHER) for c in results.compared(name)]
    if blind := cannot_tell(groups, results.method.alpha):
        said.append(
            f"This design cannot find any difference, of whatever size: its smallest p, {exact(blind)}, is not below "
            f"{results.method.alpha:g} after Holm's correction."
        )
    return " ".join(said)


def _limit_row(limit: Limit) -> dict[str, Any]:
    row = {name: value for name, value in vars(limit).items() if name != "powers"}
    return row | {f"power_at_{100 * gain:g}": power for gain, power in zip(GAINS, limit.powers, strict=True)}


def _limit_cells(limit: Limit) -> list[str]:
    needed = "no number" if limit.needed is None else f"{limit.needed:,}"
    floor = NONE if limit.floor is None else number(100 * limit.floor)
    gains = [
        "no gain" if gain is None or gain > 1 else number(100 * gain)
        for gain in (limit.detectable, limit.detectable_in_family)
    ]
    observed = f"{100 * limit.gain:+.2f}".replace("-", "−")
    return [observed, *gains, *(percent(power) for power in limit.powers), needed, floor]


def _rate(found: FalsePositives | None) -> tuple[str, str]:
    return (percent(found.rate), f"{percent(found.low)} to {percent(found.high)}") if found else (NONE, NONE)


def _rate_cells(name: str, found: FalsePositives | None) -> dict[str, Any]:
    return {f"{name}_{key.name}": getattr(found, key.name) if found else None for key in fields(FalsePositives)}


def _power_figure(limits: Limits, curve: PowerCurve) -> Figure:
    title = f"The chance of finding a true gain in {NAMES[limits.metric]}, by its size"
    with Drawing("power", height=2.6) as drawing:
        ax = drawing.axes
        gains = [100 * gain for gain in curve.gains]
        least, median, most = ([100 * power for power in own] for own in (curve.least, curve.median, curve.most))
        ax.fill_between(gains, least, most, color=BLUE, alpha=0.18, linewidth=0)
        ax.plot(gains, median, color=BLUE, linewidth=2.2)
        ax.axhline(100 * POWER, color=MUTED, linewidth=1, linestyle=":")
        shown = [100 * abs(limit.gain) for limit in limits.pairs if abs(limit.gain) <= curve.gains[-1]]
        ax.plot(shown, [4.0] * len(shown), "|", color=INK, markersize=9)
        ax.set(ylim=(0, 102), xlim=(0, gains[-1]), xlabel="true gain, percentage points", ylabel="power, %")
        return finish(drawing, "power", title, axis="y")
