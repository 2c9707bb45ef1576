"""What a study writes down beside its runs: the facts the report repeats, who took part, who was in which part."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from extractors.extractor import settings
from extractors.training import FIT
from flows.candidates import Candidates, Cast
from flows.encoder_plans import points_of
from flows.feature_plan import PER_REPEAT
from flows.features import Feature
from flows.study_config import StudyConfig
from fusion.splits import Split, tested
from reports.statistics.clustered_bootstrap import FEW_GROUPS
from stores.block import ABSENT, FeatureBlock
from stores.encoders import Trainee
from stores.errors import StoreError
from stores.inventory import promised_path
from stores.manifest import Manifest
from stores.receipt import NOTABLE_SHARE
from stores.root import Root
from stores.samples import Sample
from stores.spelling import twins

_LARGE = 0.4  # share of the samples in one group
_NAMED = 20  # groups nobody tests that are named
_NO_FLAWS = ("rows", "bytes", "windowed")  # among the counts of a receipt
PARTS = ("train", "val", "test", "encoder")


def study_facts(
    config: StudyConfig,
    manifest: Manifest,
    candidates: Candidates,
    features: Mapping[str, Feature],
    keys: Mapping[str, Sequence[str | None]],
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
        "protocol": config.protocol.settings,
        "missing": config.study.missing,
        "features": {
            m: {
                **_feature_facts(features[m], keys[m]),
                **_view_facts(features, m),
                **({"grids": points_of(features[m].grids)} if features[m].grids else {}),
            }
            for m in config.modalities
        },
        "extraction": {name: _cost(feature, keys[feature.plan.modality]) for name, feature in features.items()},
    }


def _cost(feature: Feature, keys: Sequence[str | None]) -> dict[str, Any]:
    """Return rows, seconds of the loop and seconds by stage of what the study reads, as the sealed parts tell."""
    costs = [store.cost(keys) for store in feature.stores]
    stages: Counter[str] = Counter()
    for cost in costs:
        stages.update(cost["stages"])
    return {
        "rows": sum(cost["rows"] for cost in costs),
        "seconds": round(sum(cost["seconds"] for cost in costs), 3),
        "stages": {name: round(value, 3) for name, value in sorted(stages.items())},
    }


def _feature_facts(feature: Feature, keys: Sequence[str | None]) -> dict[str, Any]:
    summaries = [store.summary(keys) for store in feature.stores]
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


def _view_facts(features: Mapping[str, Feature], modality: str) -> dict[str, Any]:
    """Return what was varied for training, and the ids of its rows: those heads read, and those behind them."""
    plan = features[modality].plan
    if plan.views is None:
        return {}
    behind = features[plan.upstream.name].views if plan.upstream else ()
    made = (*features[modality].views, *behind)
    return {
        "views": {
            "count": plan.views.count,
            "used_by": plan.views.used_by,
            "settings": dict(settings(plan.views.settings)),
            "ids": [store.id for view in made for store in view.stores],
        }
    }


def warnings(
    config: StudyConfig,
    cast: Cast,
    splits: Sequence[Split],
    keys: Mapping[str, Sequence[str | None]],
    trainees: Mapping[str, Sequence[Sequence[Trainee]]],
) -> list[str]:
    """Return what a reader must know before the scores; `splits` hold the repeats that are scored.

    `trainees` are those of each encoder of a modality.
    """
    found = [*design_warnings(config, cast)]
    if config.protocol.kind == "fixed" and not any(sample.split == "test" for sample in cast.candidates.samples):
        found.append("dev_is_test: the corpus has no test part: val is tested on, and validation is cut from train")
    if len(splits) < len(cast.splits):
        lost = len(cast.splits) - len(splits)
        who = "sample" if config.study.masks else "complete sample"
        found.append(f"dropped_repeats: {lost} of {len(cast.splits)} had no {who} to score")
    memorised = config.protocol.encoder_share == 1 and config.per_repeat
    if memorised:
        found.append(
            "in_sample_rows: heads are trained on rows their encoder was fitted on; "
            "they may trust that modality more than it deserves"
        )
    for modality, own in keys.items():
        if not (memorised and config.features[modality].train_on == PER_REPEAT):
            found += _in_sample(modality, own, splits, trainees.get(modality, ()))
    return found


def fitted_facts(
    config: StudyConfig, cast: Cast, splits: Sequence[Split], trainees: Mapping[str, Sequence[Sequence[Trainee]]]
) -> dict[str, int]:
    """Return how many samples the encoders of each repeat were fitted on, not only stopped on, and its heads were not.

    Encoders that are trained once for all repeats belong to none.
    """
    own = [seen for modality, seen in trainees.items() if config.features[modality].train_on == PER_REPEAT]
    found = {}
    for split in splits:
        fitted = {trainee.sample_id for seen in own for trainee in seen[split.repeat] if trainee.use == FIT}
        found[str(split.repeat)] = len(fitted - {cast.candidates.samples[i].id for i in split.train})
    return found


def tested_facts(cast: Cast, splits: Sequence[Split]) -> dict[str, Any]:
    """Return how many groups are tested how often, the first who never are, and how far class shares are off."""
    found = tested(splits, cast.candidates.labels, cast.candidates.groups)
    times = Counter(found["times"].values())
    never = [name for name, count in found["times"].items() if not count]
    return {"by_times": {str(k): times[k] for k in sorted(times)}, "never": never[:_NAMED], "off": found["off"]}


def design_warnings(config: StudyConfig, cast: Cast) -> Iterator[str]:
    """Tell of a design that can be carried out and says less than one may think."""
    names, counts = np.unique(cast.candidates.groups, return_counts=True)
    if (largest := counts.max() / counts.sum()) >= _LARGE:
        yield (
            f"large_group: {names[counts.argmax()]} has {largest:.0%} of the samples: where it is tested, what is left "
            "trains the models, and scores are its own; a study by a finer group says more"
        )
    if config.protocol.kind in ("leave-one-group-out", "fixed"):
        held = np.unique(cast.candidates.groups[np.concatenate([split.test for split in cast.splits])])
        if len(held) < FEW_GROUPS:
            yield (
                f"few_groups: {len(held)} groups are tested, and no difference is told with fewer than {FEW_GROUPS}: "
                'repeated splits (kind = "repeated") tell some, with 5 groups or more'
            )
    if config.protocol.kind == "k-fold" and config.protocol.rounds == 1:
        yield (
            "one_round: with one round of folds the test is too cautious; ten (rounds = 10) find about twice as many "
            "true differences"
        )


def group_facts(manifest: Manifest, groups: np.ndarray, splits: Sequence[Split]) -> dict[str, Any]:
    """Return the groups of each kind, samples without one, probable twins; and how many that split are in two parts."""
    counts = {}
    for kind in sorted({kind for sample in manifest.samples for kind in sample.groups}):
        values = [sample.groups[kind] for sample in manifest.samples if kind in sample.groups]
        alike = [" and ".join(map(repr, own)) for own in twins(values)]
        counts[kind] = {"groups": len(set(values)), "blank": len(manifest.samples) - len(values), "twins": alike}
    shared: set[str] = set()
    for split in splits:
        fitted = np.concatenate([split.train, split.encoder])
        train, val, test = (set(groups[own].tolist()) for own in (fitted, split.val, split.test))
        shared |= (train & val) | (train & test) | (val & test)
    return {"group_counts": counts, "in_two_parts": len(shared)}


def remarked(features: Mapping[str, Feature], keys: Mapping[str, Sequence[str | None]]) -> Iterator[str]:
    """Tell of remarks about more than a few samples, such as tokens that the tokenizer does not know."""
    for name, feature in features.items():
        costs = [store.cost(keys[feature.plan.modality]) for store in feature.stores]
        rows = sum(cost["rows"] for cost in costs)
        counts = sum((Counter(cost["counts"]) for cost in costs), Counter[str]())
        for remark, count in counts.items():
            if remark not in _NO_FLAWS and count > NOTABLE_SHARE * rows:
                yield f"{remark}: {count / rows:.1%} of the {rows:,} samples with {name} rows have this remark"


def gaps(splits: Sequence[Split], block: FeatureBlock) -> Iterator[str]:
    """Tell of test parts, and of classes in training, that have nobody with a modality, and in which repeats."""
    for m in block.modalities:
        there = [block.repeat_rows(m, split.repeat) != ABSENT for split in splits]
        if unheard := [split.repeat for split, own in zip(splits, there, strict=True) if not own[split.test].any()]:
            yield f"untested_{m}: no test sample has {m} in {_named(unheard)}; heads on it alone predict the prior"
        for k, label in enumerate(block.classes):
            trained = [own[s.train[block.labels[s.train] == k]].any() for s, own in zip(splits, there, strict=True)]
            if missed := [split.repeat for split, any_there in zip(splits, trained, strict=True) if not any_there]:
                yield f"untrained_{m}: no training sample of {label} has {m} in {_named(missed)}"


def _named(repeats: Sequence[int]) -> str:
    return f"repeat{'' if len(repeats) == 1 else 's'} {', '.join(map(str, repeats))}"


def _in_sample(
    modality: str, keys: Sequence[str | None], splits: Sequence[Split], trainees: Sequence[Sequence[Trainee]]
) -> Iterator[str]:
    """Tell of media heads train on that their encoder was trained on too, as a mean over repeats."""
    seen, shares = [{trainee.key for trainee in own} for own in trainees], []
    for split in splits if seen else ():
        own = seen[split.repeat if len(seen) > 1 else 0]
        there = [keys[i] for i in split.train if keys[i] is not None]
        shares.append(sum(key in own for key in there) / max(len(there), 1))
    if any(shares):
        what = "utterances, word for word," if modality == "text" else f"recordings of {modality}"
        yield (
            f"in_sample_{modality}: {np.mean(shares):.1%} of the heads' training {what} are also among those of the "
            "encoder's; heads may trust that modality more than it deserves"
        )


def samples_table(
    manifest: Manifest,
    candidates: Candidates,
    config: StudyConfig,
    excluded: Mapping[str, str],
    lost: Mapping[str, np.ndarray],
) -> pa.Table:
    """Return `samples.parquet`: one row a sample of the corpus; `excluded` is why it takes no part, or null.

    `lost[modality]` is (n,) bool: which candidates have no row of it; others lack what the corpus has not.
    """
    group = dict(zip((s.id for s in candidates.samples), map(str, candidates.groups), strict=True))
    place = {sample.id: i for i, sample in enumerate(candidates.samples)}
    rows = [
        {
            "sample_id": sample.id,
            "label": sample.labels.get(config.study.scheme),
            "group": group.get(sample.id),
            "excluded": excluded.get(sample.id),
            "gender": sample.gender,
            "age": sample.age,
            "culture": sample.culture,
            "lacks": "+".join(m for m in sorted(lost) if _lacks(sample, m, lost[m], place.get(sample.id))) or None,
        }
        for sample in manifest.samples
    ]
    names = ("sample_id", "label", "group", "excluded", "gender", "age", "culture", "lacks")
    return pa.Table.from_pylist(rows, pa.schema([(name, pa.string()) for name in names]))


def _lacks(sample: Sample, modality: str, lost: np.ndarray, place: int | None) -> bool:
    return sample.medium(modality) is None if place is None else bool(lost[place])


def splits_table(splits: Sequence[Split], sample_ids: Sequence[str]) -> pa.Table:
    """Return `splits.parquet`: one row a (repeat, sample)."""
    parts = [(split.repeat, part, getattr(split, part)) for split in splits for part in PARTS]
    sizes = [len(positions) for *_, positions in parts]
    everybody = pa.array(np.concatenate([positions for *_, positions in parts]), pa.int64())
    return pa.table(
        {
            "repeat": pa.array(np.repeat([repeat for repeat, *_ in parts], sizes), pa.int32()),
            "sample_id": pa.array(sample_ids, pa.string()).take(everybody),
            "part": pa.array(np.repeat([part for _, part, _ in parts], sizes), pa.string()),
        }
    )


def promise_splits(name: str, cast: Cast, root: Root) -> None:
    """Write down the splits as they are drawn, before anything is trained or extracted by them.

    A study's own `splits.parquet` is named after rows that encoders trained per repeat have yet to make.
    """
    root.put_table(splits_table(cast.splits, cast.candidates.ids), promised_path(name))


def check_promise(name: str, cast: Cast, root: Root) -> None:
    """Raise StoreError unless these are the splits that were written down before anything was trained."""
    if not root.exists(path := promised_path(name)):
        raise StoreError(f"{path} is not there, which is written before anything is trained: run again")
    if not root.read_table(path).equals(splits_table(cast.splits, cast.candidates.ids)):
        raise StoreError(
            f"{path} holds other splits than those encoders were trained on: another command of a "
            f"study named {name!r} has run meanwhile; give them different names, or run this one again"
        )
