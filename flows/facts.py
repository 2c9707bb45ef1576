"""What a study writes down beside its runs: the facts the report repeats, who took part, who was in which part."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa

from flows.candidates import Candidates
from flows.features import Feature
from flows.study_config import StudyConfig
from fusion.splits import Split
from stores.block import FeatureBlock
from stores.manifest import Manifest

PARTS = ("train", "val", "test", "encoder")


def study_facts(
    config: StudyConfig, manifest: Manifest, candidates: Candidates, features: Mapping[str, Feature]
) -> dict[str, Any]:
    """Return what `study.json` says of corpus, protocol and features."""
    return {
        "name": config.name,
        "seed": config.seed,
        "corpus": {
            "name": manifest.name,
            "pairing": manifest.pairing,
            "source": manifest.source,
            "licence": manifest.licence,
            "notes": dict(manifest.notes),
            "dropped": dict(manifest.dropped),
            "samples": len(manifest.samples),
        },
        "scheme": config.study.scheme,
        "classes": list(candidates.classes),
        "modalities": list(config.modalities),
        "groups": list(config.study.groups),
        "protocol": asdict(config.protocol),
        "missing": config.study.missing,
        "features": {m: _feature_facts(features[m]) for m in config.modalities},
    }


def _feature_facts(feature: Feature) -> dict[str, Any]:
    summaries = [store.summary() for store in feature.stores]
    return {
        "ids": [store.id for store in feature.stores],
        "extractor": feature.plan.name,
        "weights": feature.weights_note,
        "random": feature.is_random,
        "encoders": list(feature.encoders),
        "encoder_samples": feature.plan.train_on,
        "identity": feature.stores[0].identity.as_dict(),
        "rows": sum(summary["rows"] for summary in summaries),
        "computed_on": summaries[0]["computed_on"],
        "versions": sorted({version for summary in summaries for version in summary["versions"]}),
    }


def warnings(
    config: StudyConfig, splits: Sequence[Split], groups: np.ndarray, keys: Mapping[str, Sequence[str | None]]
) -> list[str]:
    """Return what a reader must know before the scores: rows seen in training, groups shared, utterances that recur."""
    found = []
    if shared := max(len(set(groups[split.test]) & set(groups[split.train])) for split in splits):
        found.append(
            f"shared_groups: {shared} groups ({', '.join(config.study.groups)}) are in training and test alike"
        )
    if config.protocol.encoder_share == 1 and config.per_repeat:
        found.append(
            "in_sample_rows: heads are trained on rows their encoder was fitted on; "
            "they may trust that modality more than it deserves"
        )
    if "text" in keys:
        recurring = [_recurring(keys["text"], split) for split in splits]
        if (share := float(np.mean(recurring))) > 0:
            found.append(
                f"identical_text: {share:.1%} of test utterances also occur, word for word, in the training part"
            )
    return found


def _recurring(text: Sequence[str | None], split: Split) -> float:
    known = {text[i] for i in split.train}
    return float(np.mean([text[i] in known for i in split.test]))


def samples_table(
    manifest: Manifest, candidates: Candidates, config: StudyConfig, excluded: Mapping[str, str]
) -> pa.Table:
    """Return `samples.parquet`: one row a sample of the corpus; `excluded` is why it takes no part, or null."""
    group = dict(zip((s.id for s in candidates.samples), map(str, candidates.groups), strict=True))
    rows = [
        {
            "sample_id": sample.id,
            "label": sample.labels.get(config.study.scheme),
            "group": group.get(sample.id),
            "excluded": excluded.get(sample.id),
            "gender": sample.gender,
            "age": sample.age,
            "culture": sample.culture,
        }
        for sample in manifest.samples
    ]
    names = ("sample_id", "label", "group", "excluded", "gender", "age", "culture")
    return pa.Table.from_pylist(rows, pa.schema([(name, pa.string()) for name in names]))


def splits_table(splits: Sequence[Split], block: FeatureBlock) -> pa.Table:
    """Return `splits.parquet`: one row a (repeat, sample)."""
    rows = [
        {"repeat": split.repeat, "sample_id": block.sample_ids[i], "part": part}
        for split in splits
        for part in PARTS
        for i in getattr(split, part)
    ]
    return pa.Table.from_pylist(
        rows, pa.schema([("repeat", pa.int32()), ("sample_id", pa.string()), ("part", pa.string())])
    )
