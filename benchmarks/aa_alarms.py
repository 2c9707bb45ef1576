"""How often the A/A calibration warns: in sound studies of equal models, and where the primary test is broken.

Studies are those of `_group_designs.py`. Broken is the same study tested without the correction for overlap. Prints,
for every design, the pooled rate in the median study and in the highest of twenty, and the share of studies warned of.
"""

import argparse
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pyarrow as pa

from benchmarks import _group_designs as designs
from benchmarks._measure import tell
from fusion.splits import make_splits
from reports.evidence import Evidence, HeldOut, Model
from reports.findings.false_alarms import Calibration, calibrate
from reports.measures import Measures, measure
from stores.errors import ConfigError

NAMES = tuple(f"m{i}" for i in range(designs.EQUAL))
PAIRS = tuple((NAMES[0], name) for name in NAMES[1:])


def studies(shape: designs.Shape, protocol: str, corpora: int, seed: int = 1) -> Iterator[tuple[Evidence, Measures]]:
    """Yield `corpora` studies of equal models, each with splits of its own."""
    rng, config = np.random.default_rng(seed), designs.PROTOCOLS[protocol]
    for _ in range(corpora):
        labels, groups = designs._corpus(shape, rng)
        fixed = np.where(np.isin(groups, rng.permutation(len(shape.sizes))[::2]), "test", "train").tolist()
        splits = make_splits(labels, groups, 2, config, int(rng.integers(2**31)), fixed=fixed)
        right = designs._right(labels, groups, splits, config, rng)[0]
        ends = np.cumsum([len(split.test) for split in splits])[:-1]
        held_out = tuple(
            HeldOut(
                repeat=split.repeat,
                sample_ids=split.test.astype(str),
                labels=labels[split.test],
                groups=groups[split.test].astype(str),
                trained_on=np.bincount(labels[split.train], minlength=2),
            )
            for split in splits
        )
        posteriors = {
            name: tuple(
                np.eye(2)[np.where(hit, part.labels, 1 - part.labels)]
                for hit, part in zip(np.split(right[i], ends), held_out, strict=True)
            )
            for i, name in enumerate(NAMES)
        }
        evidence = Evidence(
            facts={"classes": ["a", "b"], "protocol": {"kind": config.kind}, "corpus": {"pairing": "recorded"}},
            models=tuple(Model(name=name, head=name, modalities=("x",)) for name in NAMES),
            held_out=held_out,
            posteriors=posteriors,
            weights={},
            runs=pa.table({}),
        )
        yield evidence, measure(evidence, alpha=0.05, draws=1000, seed=0)


def calibrations(
    shape: designs.Shape, protocol: str, corpora: int, repetitions: int, *, broken: bool = False
) -> Iterator[Calibration]:
    """Yield the calibration of each study, of the test as it is or without its correction for overlap."""
    for i, (evidence, measures) in enumerate(studies(shape, protocol, corpora)):
        if broken:
            measures = replace(measures, design=replace(measures.design, ratio=0.0))
        yield calibrate(evidence, measures, PAIRS, "accuracy", repetitions=repetitions, seed=i)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.aa_alarms", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--studies", type=int, default=60, help="studies of each design")
    options = parser.parse_args()
    if options.studies < 2:
        raise ConfigError("--studies should be 2 or more")
    rows = []
    for shape, protocol in designs.designs():
        for broken in (False, True) if protocol.startswith("20 repeats") else (False,):
            made = calibrations(shape, protocol, options.studies, 200, broken=broken)
            found = [own for own in made if not own.reason]  # where groups differ, some are worth too few
            if not found:
                continue
            rates = np.array([own.rate for own in found])
            rows.append(
                {
                    "design": f"{shape.name}, {protocol}{', without correction' * broken}",
                    "studies": len(found),
                    "median": float(np.median(rates)),
                    "highest of 20": float(np.quantile(rates, 0.95)),
                    "warned": float(np.mean([own.alarming for own in found])),
                }
            )
            if not options.json:
                print(rows[-1], flush=True)
    if options.json:
        tell("aa_alarms", {"designs": rows}, options.json)


if __name__ == "__main__":
    main()
