"""Measure two ways of doing the same in turn, both warmed up, so that a noisy machine is noisy to both."""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

ROUNDS = 5


def ratio(peer: Callable[[], object], ours: Callable[[], object], *, rounds: int = ROUNDS) -> dict[str, Any]:
    """Return {ratio, peer_s, ours_s}: the medians in seconds over `rounds` turns, and peer time / our time."""
    peer()
    ours()
    times: dict[str, list[float]] = {"peer": [], "ours": []}
    for _ in range(rounds):
        for name, work in (("peer", peer), ("ours", ours)):
            started = time.perf_counter()
            work()
            times[name].append(time.perf_counter() - started)
    medians = {name: statistics.median(own) for name, own in times.items()}
    return {
        "ratio": round(medians["peer"] / medians["ours"], 2),
        "peer_s": round(medians["peer"], 3),
        "ours_s": round(medians["ours"], 3),
    }


def say(name: str, result: dict[str, Any]) -> None:
    """Print one result: JSON with --json, a line for people without."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    tell(name, result, parser.parse_args().json)


def tell(name: str, result: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps({"benchmark": name, **result}))
    else:
        print(f"{name}: " + ", ".join(f"{key} {value}" for key, value in result.items()))
