"""Compare treatments of imbalance by what they are for: the recall of rare emotions, and what it costs.

Runs the study (by default examples/imbalance.toml), in which each [variants] table treats rare classes in its own way.
Then it runs the study again with augmented views of the pictures, which are read where a sample of a rare class is
drawn again. The views need a study of their own: in a study that has views, every training reads them.

Printed are means over the repeats, recomputed from the stored predictions of the test parts. A rare class is one with
fewer samples in training than classes have on average. Minority recall: the mean recall of these. False alarms: the
share of neutral samples that is taken for another emotion, which is what raising the rare classes costs.

  python examples/imbalance.py
  python examples/imbalance.py my-study.toml --neutral calm --json
"""

import argparse
import json
import tomllib
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from extractors.extractor import Runtime
from flows.features import Workbench
from flows.pipeline import StudyRun, cast_study, check_study, extract, make_manifest, run_study
from flows.study_config import parse_study
from stores.progress import Silent
from stores.root import Root
from stores.studies import StudyStore

VIEWS = {"count": 2, "used_by": "heads"}


def with_views(content: dict[str, Any]) -> dict[str, Any]:
    """Return the study whose rare classes are drawn again in augmented views of their pictures."""
    features, training = content["features"], content.get("training", {})
    return {
        **{key: table for key, table in content.items() if key != "variants"},
        "name": f"{content['name']}-views",
        "corpus": {"name": content["name"], **content["corpus"]},
        "features": {**features, "image": {**features["image"], "views": VIEWS}},
        "training": {**training, "balance": "views"},
    }


def run(content: dict[str, Any], base: Path, root: Root) -> StudyRun:
    """Do what `affuse study` does: manifest, features, encoders, splits, heads."""
    config = parse_study(content, base=base)
    check_study(config, root)
    bench = Workbench(root=root, runtime=Runtime(), report=Silent())
    manifest = make_manifest(config, root)
    cast = cast_study(config, manifest)
    return run_study(config, extract(config, manifest, cast, bench), cast, bench)


def scores(store: StudyStore, done: StudyRun, neutral: str) -> dict[str, dict[str, float]]:
    """Return minority recall and false alarms of each treatment, means over the repeats of the widest model."""
    classes, runs = store.facts()["classes"], store.runs()
    assert runs is not None
    rows, found = [row for row in runs.to_pylist() if row["run_id"] in done.runs.run_ids], defaultdict(list)
    widest = max(row["modalities"].count("+") for row in rows)
    for row in (row for row in rows if row["modalities"].count("+") == widest):
        table = store.predictions([row["run_id"]])
        actual = table["label"].to_numpy()
        recall = actual == np.array(table["posterior"].to_pylist()).argmax(axis=1)
        before = np.array(json.loads(row["counts"])["before"])
        rare = [recall[actual == k].mean() for k in np.flatnonzero(before < before.mean()) if (actual == k).any()]
        alarms = 1 - recall[actual == classes.index(neutral)].mean()
        found[json.loads(row["hyper"])["balance"]].append((np.mean(rare), alarms))
    means = {name: np.mean(own, axis=0).tolist() for name, own in found.items()}
    return {name: {"minority_recall": rare, "false_alarms": alarms} for name, (rare, alarms) in means.items()}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", nargs="?", type=Path, default=Path(__file__).with_suffix(".toml"))
    parser.add_argument("--root", help="where everything is written (default: $AFFUSE_ROOT, else ./runs)")
    parser.add_argument("--neutral", default="neutral", help="the emotion whose false alarms count (default: neutral)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    asked = parser.parse_args(arguments)
    content = {"name": asked.study.stem, **tomllib.loads(asked.study.read_text(encoding="utf-8"))}
    base, root = asked.study.resolve().parent, Root(asked.root)
    done = [run(own, base, root) for own in (content, with_views(content))]
    found: dict[str, dict[str, float]] = {}
    for own in done:
        found |= scores(StudyStore.open(root, own.study), own, asked.neutral)
    if asked.json:
        print(json.dumps({"studies": [own.study for own in done], "strategies": found}))
        return
    print(f"{'':16}minority recall   false alarms on {asked.neutral}")
    for name, score in found.items():
        print(f"{name:16}{score['minority_recall']:>14.1%}   {score['false_alarms']:>14.1%}")


if __name__ == "__main__":
    main()
