"""Train an encoder: who it is fitted on, who it stops on, and its weights under the id of its recipe."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from extractors._crowd import Crowd, Reader, stop_share
from extractors.extractor import Extractor, Inputs, Runtime, View, extractor_name, settings
from extractors.plan import read_keys
from extractors.trainable import Trainable
from stores.derivations import strays
from stores.encoders import EncoderRecipe, EncoderStore, Trainee
from stores.errors import ConfigError, MediaError, RowsDamaged, StoreError
from stores.features import FeatureStore
from stores.litter import named_litter, sweep
from stores.progress import Progress
from stores.quarantine import PASSING
from stores.root import Root
from stores.samples import Sample
from stores.settings import check_choices
from stores.spec import NUMERICS

FIT, STOP = "fit", "stop"
OPTIMISERS = ("adam", "sgd", "rmsprop")
BALANCES = ("weights", "resample", "none")


class Diverged(ConfigError):
    """A training whose loss was never a number: no weights are worth keeping."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """How an encoder is trained: on cross-entropy under a linear classifier, the learning rate lowered and the
    training ended by the loss on `stop_share` of its own samples, whose groups it is not fitted on.

    `optimiser` is adam (decoupled `weight_decay`), sgd or rmsprop (L2; both with `momentum`). The rate is multiplied
    by `decay` after `decay_patience` epochs without a better loss; training ends after `patience` such epochs, and the
    best epoch's weights are kept. `balance` is `weights` (rare classes weigh more), `resample` (every class is drawn
    equally often: stratified resampling) or `none`. `augment` flips faces and shifts them by up to 1/32 of their width
    anew each time; what else varies media is a feature's views. In class `exact` everything is float32; in `standard`
    a transformer, or a network over faces, is trained in bfloat16 where the device has it.
    """

    epochs: int = 30
    batch_size: int = 32
    learning_rate: float = 1e-3
    optimiser: str = "adam"
    momentum: float = 0.9
    decay: float = 0.5
    decay_patience: int = 3
    patience: int = 8
    weight_decay: float = 1e-4
    dropout: float = 0.3
    stop_share: float = 0.15
    balance: str = "weights"
    augment: bool = True
    numerics: str = "standard"
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("epochs", 1), ("batch_size", 2), ("decay_patience", 1), ("patience", 1)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name} should be at least {least}, got {getattr(self, name)}")
        if not (0 < self.decay <= 1 and 0 <= self.dropout < 1 and 0 < self.stop_share < 1):
            raise ConfigError(f"expected decay in (0, 1], dropout in [0, 1) and stop_share in (0, 1), got {self}")
        if self.learning_rate <= 0 or self.weight_decay < 0 or not 0 <= self.momentum < 1:
            raise ConfigError(f"expected learning_rate > 0, weight_decay >= 0 and momentum in [0, 1), got {self}")
        check_choices(self, optimiser=OPTIMISERS, balance=BALANCES, numerics=NUMERICS)


def usable(
    extractor: Extractor[Any], samples: Sequence[Sample], *, scheme: str
) -> tuple[list[tuple[Sample, str]], Mapping[str, int]]:
    """Return the (sample, key) an encoder can be trained on, and how many are left out, by reason.

    Left out are samples without the modality (`absent`), without a label (`no_label`), without a readable key, and
    without an upstream row (`upstream`).
    """
    index = extractor.inputs.upstream.index() if extractor.inputs.upstream else None
    skipped: Counter[str] = Counter()
    present = [sample for sample in samples if sample.medium(extractor.modality) is not None]
    skipped["absent"] = len(samples) - len(present)
    found = []
    for sample, key in zip(present, read_keys(present, extractor.modality), strict=True):
        if isinstance(key, MediaError):
            skipped[key.reason] += 1
        elif sample.labels.get(scheme) is None:
            skipped["no_label"] += 1
        elif index is not None and key not in index:
            skipped["upstream"] += 1
        else:
            found.append((sample, key))
    return found, {reason: count for reason, count in sorted(skipped.items()) if count}


def plan_recipe(
    extractor_type: type[Extractor[Any]],
    config: Any,
    train: TrainConfig,
    samples: Sequence[Sample],
    *,
    scheme: str,
    classes: Sequence[str],
    groups: Sequence[str],
    upstream: FeatureStore | None,
    views: Sequence[View] = (),
) -> EncoderRecipe:
    """Return the recipe, and so the encoder id, of a training on all usable samples; nothing is trained.

    It is fitted on the samples and on `views` of them, each time on one of these at random. `groups` are the kinds that
    may not straddle fit and stop; samples with equal media never do. Raises ConfigError if no group-disjoint stop share
    leaves every class something to be fitted on.
    """
    root = upstream.root if upstream else Root()
    extractor = _trainable(extractor_type, config, Inputs(root=root, upstream=upstream))
    found, _ = usable(extractor, sorted(samples, key=lambda sample: sample.id), scheme=scheme)  # whatever their order
    labels = [sample.labels[scheme] for sample, _ in found]
    together = [[sample.groups.get(kind) for sample, _ in found] for kind in groups] + [[key for _, key in found]]
    stopping = stop_share(labels, together, train.stop_share, train.seed)
    return EncoderRecipe(
        extractor=extractor.name,
        version=extractor.version,
        config=recipe_config(extractor, train, views),
        seed=train.seed,
        classes=tuple(classes),
        trainees=tuple(
            Trainee(sample_id=sample.id, key=key, label=label, use=STOP if held else FIT, groups=dict(sample.groups))
            for (sample, key), label, held in zip(found, labels, stopping, strict=True)
        ),
        upstream=upstream.id if upstream else None,
        initial=extractor.given_digest(),
    )


def recipe_config(extractor: Extractor[Any], train: TrainConfig, views: Sequence[View]) -> dict[str, Any]:
    """Return what a recipe says of the settings of network, training, preprocessing and views."""
    return {
        "network": extractor.own_settings(),
        "training": settings(train, frozenset({"seed"})),
        "preprocessing": extractor.preprocessing,
        "views": [view.as_dict() for view in views],
    }


def train(
    extractor_type: type[Extractor[Any]],
    recipe: EncoderRecipe,
    samples: Sequence[Sample],
    root: Root,
    runtime: Runtime,
    *,
    config: Any,
    report: Progress,
    views: Sequence[View] = (),
    view_upstreams: Sequence[FeatureStore] = (),
) -> str:
    """Train what the recipe says and return the encoder id; an encoder that exists is left as it is.

    A training that was killed goes on from its last checkpoint. `config` and `views` are those of `plan_recipe`: the
    recipe holds digests where the config holds paths; an extractor with an upstream reads its views from
    `view_upstreams`, one a view. Trainees whose media cannot be decoded after all are left out and counted in
    `encoder.json` as `skipped`. Raises Diverged, ConfigError if a class, or nobody, is left to be fitted or stopped on,
    StoreError if a trainee or a view of one could not be read, or not in time: the same recipe with all of them
    would be another encoder; and RowsDamaged if upstream rows turned out to be: extract those again, then train.
    """
    encoders = EncoderStore(root)
    if recipe.id in encoders and (lost := strays(root, recipe.id)):
        report.note(f"{recipe.id} was trained on rows no longer held for right: {lost}; it is trained again")
        sweep(root, named_litter(root, [recipe.id], even_if_used=True))  # with the rows it has made
    if recipe.id in encoders:
        return recipe.id
    upstream = FeatureStore.open(root, extractor_type.modality, recipe.upstream) if recipe.upstream else None
    plan = TrainConfig(**recipe.config["training"], seed=recipe.seed)
    extractor = _trainable(extractor_type, config, Inputs(root=root, upstream=upstream))
    planned = (extractor.given_digest(), recipe_config(extractor, plan, views))
    if planned != (recipe.initial, recipe.config):
        raise ConfigError(f"the config of {extractor.name} is not the one {recipe.id} was planned with: plan again")
    from extractors._fitting import fit

    read: dict[str, list[str]] = defaultdict(list)
    crowds, skipped = _gather([extractor, *_readers_of(views, extractor, view_upstreams)], recipe, samples, runtime)
    for (sample_id, _), digest in sorted(crowds[FIT].reader.digests.items()):
        read[sample_id].append(digest)
    seen = [*crowds[FIT].names, *crowds[STOP].names, *(digest for own in read.values() for digest in own)]
    name = f"train {recipe.id}"
    if skipped:
        report.note(f"{name}: left out " + ", ".join(f"{count} {reason}" for reason, count in skipped.items()))
    report.start(name, plan.epochs, "epochs")
    fitted = fit(
        extractor,
        crowds[FIT],
        crowds[STOP],
        plan,
        classes=len(recipe.classes),
        device=runtime.device,
        advance=lambda epochs: report.advance(name, epochs),
        checkpoints=encoders.checkpoints(recipe.id, seen),
        checkpoint_every=runtime.checkpoint_every,
    )
    report.finish(name)
    if not fitted.best_epoch:
        raise Diverged(f"{name}: the loss was never a number: lower learning_rate (it is {plan.learning_rate:g})")
    return encoders.seal(recipe, fitted.weights, fitted.curves, fitted.best_epoch, skipped=skipped, read=read)


def _trainable(extractor_type: type[Extractor[Any]], config: Any, inputs: Inputs) -> Trainable[Any]:
    if not issubclass(extractor_type, Trainable) or not extractor_type.needs_encoder(config):
        name = extractor_name(extractor_type)
        raise ConfigError(f'{name} with these settings reads given weights: nothing to train (weights = "trained"?)')
    return extractor_type(config, inputs)


def _readers_of(
    views: Sequence[View], extractor: Trainable[Any], upstreams: Sequence[FeatureStore]
) -> list[Trainable[Any]]:
    """Return what reads each view: its own store of upstream rows, or the media, varied."""
    inputs = extractor.inputs
    if inputs.upstream is None:
        return [type(extractor)(extractor.config, replace(inputs, view=view)) for view in views]
    if len(upstreams) != len(views):
        raise ConfigError(f"{extractor.name} reads {len(views)} views, but got {len(upstreams)} stores of them")
    return [type(extractor)(extractor.config, replace(inputs, upstream=store)) for store in upstreams]


def _may_pass(error: MediaError, sample: Sample, key: str, modality: str) -> bool:
    """Return whether the machine, not the recording, may be at fault.

    A file whose bytes can be read, and that no decoder takes even the second time, is at fault itself.
    """
    if error.reason in (*PASSING, "upstream"):
        return True
    try:
        return error.stage == "read" and sample.key(modality) != key
    except MediaError:
        return error.reason != "empty_text"


def _gather(
    readers: Sequence[Extractor[Any]], recipe: EncoderRecipe, samples: Sequence[Sample], runtime: Runtime
) -> tuple[Mapping[str, Crowd], Mapping[str, int]]:
    """Return whom to fit and to stop on, and how many trainees and views could not be decoded, by reason."""
    by_id = {sample.id: sample for sample in samples}
    keys = {trainee.sample_id: trainee.key for trainee in recipe.trainees}
    reader = Reader(readers, {name: by_id[name] for name in keys}, keys, runtime)
    lengths, faults = _lengths(reader, list(keys))
    modality = readers[0].modality
    _check_upstream(recipe.id, faults.values())
    if late := next((e for name, e in faults.items() if _may_pass(e, by_id[name], keys[name], modality)), None):
        raise StoreError(
            f"{recipe.id} cannot be trained now: {late}; run again, or an encoder without it would be kept"
        )
    skipped = Counter(fault.reason for fault in faults.values())
    crowds = {}
    for use in (FIT, STOP):
        members = [t for t in recipe.trainees if t.use == use and t.sample_id not in faults]
        names = [trainee.sample_id for trainee in members]
        if not members:
            planned = sum(t.use == use for t in recipe.trainees)
            reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(skipped.items())) or "none skipped"
            raise ConfigError(f"{recipe.id}: none of {planned} samples to {use} on could be decoded ({reasons})")
        of_views = [_view_lengths(reader, names, version) for version in range(1, len(readers)) if use == FIT]
        labels = np.array([recipe.classes.index(t.label) for t in members], np.int64)
        crowds[use] = Crowd(reader, names, labels, np.stack([[lengths[name] for name in names], *of_views], axis=1))
    if lost := {t.label for t in recipe.trainees if t.use == FIT} - {recipe.classes[i] for i in crowds[FIT].labels}:
        raise ConfigError(f"{recipe.id}: no sample of {', '.join(sorted(lost))} to be fitted on could be decoded")
    return crowds, dict(sorted(skipped.items()))


def _lengths(reader: Reader, names: Sequence[str]) -> tuple[Mapping[str, int], Mapping[str, MediaError]]:
    """Decode everyone once: return the length of each item, and the error of each that could not be decoded."""
    lengths, faults = {}, {}
    for name, item in zip(names, reader.stream([(name, 0) for name in names]), strict=True):
        if isinstance(item, MediaError) and item.stage == "read" and item.reason != "empty_text":
            item = reader.decode((name, 0))  # a moment later the disk may be there
        if isinstance(item, MediaError):
            faults[name] = item
        else:
            lengths[name] = reader.extractors[0].length(item)
    return lengths, faults


def _view_lengths(reader: Reader, names: Sequence[str], version: int) -> list[int]:
    """Return the length of this view of everyone. Raises StoreError if one cannot be made."""
    lengths, faults = [], {}
    for name, item in zip(names, reader.stream([(name, version) for name in names]), strict=True):
        if isinstance(item, MediaError):
            faults[name] = item
        else:
            lengths.append(reader.extractors[version].length(item))
    _check_upstream(f"view {version}", faults.values())
    for name, error in faults.items():
        raise StoreError(f"view {version} of {name} cannot be made, so nothing is trained on it: {error}") from error
    return lengths


def _check_upstream(what: str, faults: Iterable[MediaError]) -> None:
    """Raise RowsDamaged if upstream rows, there when the training was planned, cannot be read: they are made again."""
    if lost := [error for error in faults if error.reason == "upstream"]:
        raise RowsDamaged(f"{what}: rows it is trained on turned out to be damaged: {len(lost)} ({lost[0]})")
