"""One call of every fusion head at the paper's widths, from features to posteriors, on features already extracted.

`ratio` is concat / weighted for one sample, `ratio_64` for 64; the paper claims its weighted sum takes 35 % less than
concatenation (a ratio of 1.54). All heads take their turns in one process, after a warm-up, the device synchronised;
a head's median and 95th percentile are over the calls of all its turns.
"""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch

from benchmarks._measure import ROUNDS, say
from fusion.heads._head import Combiner, FusionHead
from fusion.latency import BATCHES, Subject, combination, device_words, one_member, time_calls
from fusion.plans import HeadPlan
from fusion.study import device_of
from fusion.training_config import TrainingConfig
from stores.plugins import plugin_names

WIDTHS = {"text": 768, "speech": 256, "image": 2048}
CLASSES = 5
TRAINING = TrainingConfig(width=128)
CALLS, SECONDS = 200, 1.0  # of every turn; a slow head is called less often


def main() -> None:
    device = device_of("auto")
    subjects = _subjects(device)
    names = ["concat", "weighted", *sorted(subjects.keys() - {"concat", "weighted"})]  # these two side by side
    times: dict[tuple[str, int], list[np.ndarray]] = {(name, batch): [] for batch in BATCHES for name in names}
    for _ in range(ROUNDS):
        for (name, batch), own in times.items():
            own.append(time_calls(subjects[name], batch, calls=CALLS, seconds=SECONDS))
    medians = {key: float(np.median(np.concatenate(own))) for key, own in times.items()}
    heads = [
        {
            "head": name,
            "batch": batch,
            "median_us": round(medians[name, batch], 1),
            "p95_us": round(float(np.percentile(np.concatenate(own), 95)), 1),
            "parameters": subjects[name].parameters,
            "input_width": subjects[name].input_width,
            "flops": subjects[name].flops(batch),
        }
        for (name, batch), own in times.items()
    ]
    one, many = (_ratio(times["concat", batch], times["weighted", batch]) for batch in BATCHES)
    made_of = f"{ROUNDS} turns of {CALLS} calls, {sum(WIDTHS.values())} features, width {TRAINING.width}"
    paper = {"paper": "35 % less than concatenation", "weighted_saves": f"{100 * (1 - 1 / one):.0f} %"}
    say(
        "fusion_latency",
        {"ratio": one, "ratio_64": many, **paper, "device": device_words(device), "of": made_of, "heads": heads},
    )


def _ratio(peer: Sequence[np.ndarray], ours: Sequence[np.ndarray]) -> float:
    """Return the median over turns of peer time / our time, medians of their calls."""
    turns = [np.median(theirs) / np.median(own) for theirs, own in zip(peer, ours, strict=True)]
    return round(float(np.median(turns)), 3)


def _subjects(device: torch.device) -> dict[str, Subject]:
    """Return every head on all modalities it can take at once; `unimodal` takes them one at a time."""
    alone = {m: _one("unimodal", {m: width}, device) for m, width in WIDTHS.items()}
    found = {f"unimodal[{m}]": subject for m, subject in alone.items()}
    for name in plugin_names("fusion.heads"):
        if name == "unimodal":
            continue
        plan = HeadPlan(head=name, subsets=(tuple(sorted(WIDTHS)),))
        if plan.combines:
            found[name] = combination(cast(type[Combiner], plan.type)(plan.settings), alone)
        else:
            found[name] = _one(name, WIDTHS, device)
    return found


def _one(name: str, widths: Mapping[str, int], device: torch.device) -> Subject:
    plan: Any = HeadPlan(head=name, subsets=(tuple(sorted(widths)),))
    return one_member(cast(type[FusionHead], plan.type), plan.settings, TRAINING, widths, CLASSES, device)


if __name__ == "__main__":
    main()
