"""The expensive half of a study: extract features, training the encoders they need on the way."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from extractors.extractor import Extractor, Inputs, Runtime
from extractors.run import MapBlocks, extract
from extractors.training import plan_recipe, train
from flows.candidates import ENCODER, Candidates, Cast
from flows.study_config import PER_REPEAT, FeaturePlan, StudyConfig
from fusion.splits import Split
from stores.books import Books
from stores.errors import ConfigError
from stores.features import FeatureStore
from stores.manifest import Manifest
from stores.progress import Progress
from stores.root import Root
from stores.samples import Sample


@dataclass(frozen=True, kw_only=True)
class Workbench:
    """Where and how a run works: nothing in here is part of an identity."""

    root: Root
    runtime: Runtime
    report: Progress
    map_blocks: MapBlocks | None = None
    retry_quarantined: bool = False


@dataclass(frozen=True, kw_only=True)
class Feature:
    """A feature of a study: one store, or one a repeat; the encoders behind them; the books of this run."""

    plan: FeaturePlan
    stores: tuple[FeatureStore, ...]
    encoders: tuple[str, ...]
    books: Books
    weights_note: str
    is_random: bool

    def as_json(self) -> dict[str, Any]:
        ids = [store.id for store in self.stores]
        named: dict[str, Any] = {"id": ids[0]} if len(ids) == 1 else {"ids": ids}
        return {**named, **self.books.as_dict()}


def extract_frozen(config: StudyConfig, manifest: Manifest, bench: Workbench) -> dict[str, Feature]:
    """Extract every feature that needs no trained encoder, upstream features (`acoustic`) included, by name."""
    found: dict[str, Feature] = {}
    for modality, plan in config.features.items():
        if plan.upstream is not None:
            found[plan.upstream.name] = _extract(plan.upstream, [manifest.samples], [Inputs(root=bench.root)], bench)
        if plan.train is None:
            upstream = found[plan.upstream.name].stores[0] if plan.upstream else None
            inputs = Inputs(root=bench.root, numerics=plan.numerics, upstream=upstream)
            found[modality] = _extract(plan, [manifest.samples], [inputs], bench)
    return found


def train_encoders(
    config: StudyConfig,
    manifest: Manifest,
    cast: Cast,
    frozen: Mapping[str, Feature],
    bench: Workbench,
) -> dict[str, tuple[str, ...]]:
    """Train what is not trained yet; return the encoder ids by modality: one, or one a repeat."""
    found: dict[str, tuple[str, ...]] = {}
    for modality, plan in config.features.items():
        if plan.train is None:
            continue
        upstream = frozen[plan.upstream.name].stores[0] if plan.upstream else None
        crowds = _crowds(plan, manifest, cast)
        found[modality] = tuple(_train(plan, crowd, config, manifest, upstream, bench) for crowd in crowds)
    return found


def extract_trained(
    config: StudyConfig,
    manifest: Manifest,
    cast: Cast,
    frozen: Mapping[str, Feature],
    encoders: Mapping[str, Sequence[str]],
    bench: Workbench,
) -> dict[str, Feature]:
    """Extract the features of trained encoders. Per-repeat encoders read the samples of their repeat only."""
    found: dict[str, Feature] = {}
    for modality, ids in encoders.items():
        plan = config.features[modality]
        upstream = frozen[plan.upstream.name].stores[0] if plan.upstream else None
        inputs = [Inputs(root=bench.root, numerics=plan.numerics, upstream=upstream, encoder=i) for i in ids]
        crowds: list[Sequence[Sample]] = [manifest.samples]
        if plan.train_on == PER_REPEAT:
            crowds = [_members(cast.candidates, split) for split in cast.splits]
        found[modality] = _extract(plan, crowds, inputs, bench, encoders=tuple(ids))
    return found


def _crowds(plan: FeaturePlan, manifest: Manifest, cast: Cast) -> list[list[Sample]]:
    if plan.train_on == PER_REPEAT:
        return [[cast.candidates.samples[i] for i in split.encoder] for split in cast.splits]
    reserved = [sample for sample in manifest.samples if sample.split == ENCODER]
    if not reserved:
        raise ConfigError(
            f'[features.{plan.modality}.train] samples = "reserved", but no sample of {manifest.name} has the split '
            f"'encoder': reserve whole groups in the corpus, or set samples = \"per-repeat\""
        )
    return [reserved]


def _members(candidates: Candidates, split: Split) -> list[Sample]:
    positions = sorted({int(i) for part in (split.train, split.val, split.test) for i in part})
    return [candidates.samples[i] for i in positions]


def _train(
    plan: FeaturePlan,
    samples: Sequence[Sample],
    config: StudyConfig,
    manifest: Manifest,
    upstream: FeatureStore | None,
    bench: Workbench,
) -> str:
    assert plan.train is not None
    recipe = plan_recipe(
        plan.extractor,
        plan.config,
        plan.train,
        samples,
        scheme=config.study.scheme,
        classes=manifest.labels[config.study.scheme],
        groups=config.study.groups,
        upstream=upstream,
    )
    return train(plan.extractor, recipe, samples, bench.root, bench.runtime, config=plan.config, report=bench.report)


def _extract(
    plan: FeaturePlan,
    crowds: Sequence[Sequence[Sample]],
    inputs: Sequence[Inputs],
    bench: Workbench,
    encoders: tuple[str, ...] = (),
) -> Feature:
    """Extract one feature a crowd; the books of several are added up, row by row asked for."""
    extractors: list[Extractor[Any]] = [plan.extractor(plan.config, given) for given in inputs]
    books = [
        extract(
            extractor,
            samples,
            bench.root,
            bench.runtime,
            report=bench.report,
            map_blocks=bench.map_blocks,
            retry_quarantined=bench.retry_quarantined,
        )
        for extractor, samples in zip(extractors, crowds, strict=True)
    ]
    return Feature(
        plan=plan,
        stores=tuple(FeatureStore.create(bench.root, extractor.identity) for extractor in extractors),
        encoders=encoders,
        books=Books.total(books),
        weights_note=extractors[0].weights_note(),
        is_random=extractors[0].is_random,
    )
