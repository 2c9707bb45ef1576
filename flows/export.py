"""Export a study: find the features it means without making any, align them with the manifest, say what they are."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from extractors.extractor import Extractor
from extractors.plan import read_keys
from flows.candidates import Cast
from flows.encoder_plans import upstream_store
from flows.feature_plan import FeaturePlan
from flows.features import feature_plans, find_features, read_by
from flows.pipeline import cast_study
from flows.progress import console
from flows.study_config import StudyConfig, load_study
from reports.banners import PAIRING
from stores.digests import load_digests
from stores.errors import ConfigError, MediaError, NotFound, StoreError
from stores.export import FORMATS, Column, Export, sample_table, write_export
from stores.features import FeatureStore
from stores.local_files import check_target
from stores.manifest import Manifest
from stores.plugins import nearest
from stores.root import Root
from stores.samples import Sample

FORMAT = 1
_SHOWN = 3  # samples named in an error


class NotExtracted(NotFound):
    """A study means rows that are not in the store yet."""


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """What is written and how. `format` is told from the suffix if None; `features` are the modalities if empty.

    `repeat` chooses among the stores of a feature that has one a repeat.
    """

    format: str | None = None
    features: tuple[str, ...] = ()
    repeat: int = 0
    overwrite: bool = False


def export_study(study: str, out: Path, options: ExportOptions, address: str | None) -> dict[str, Any]:
    """Write the aligned features of a study; return {path, format, samples, features}.

    Reads the corpus and the store only. Raises NotExtracted, naming the modality, for what has not been extracted yet.
    """
    out = out.absolute()
    told = out.suffix[1:]
    if told not in (*FORMATS, "") or (told and options.format not in (None, told)):
        wanted = f".{options.format}" if options.format else ", ".join(f".{form}" for form in FORMATS)
        raise ConfigError(f"expected the name of the export to end in {wanted}, got {out.name!r}")
    form = options.format or told or FORMATS[0]
    check_target(out, overwrite=options.overwrite)  # told before recordings are read, and again when writing
    root = _ReadOnlyRoot(address)
    config = load_study(study)
    try:
        export = collect(config, root, options)
    except NotExtracted as error:
        raise NotExtracted(f"{error}: run `affuse extract {study}` first") from None
    write_export(export, out, form, overwrite=options.overwrite)
    told = export.metadata["features"]
    features = {c.name: {"id": c.store.id, "rows": told[c.name]["rows"], "dim": c.spec.dim} for c in export.columns}
    return {"path": str(out), "format": form, "samples": export.samples.num_rows, "features": features}


def show_export(said: Mapping[str, Any]) -> None:
    """Print one line a feature, and the path."""
    for name, feature in said["features"].items():
        rows = f"{feature['rows']:,} of {said['samples']:,} samples"
        console.print(f"{name}: {feature['id']}, {rows}, {feature['dim']:,} numbers wide", highlight=False)
    console.print(f"Export: {said['path']}", highlight=False, style="bold")


def collect(config: StudyConfig, root: Root, options: ExportOptions) -> Export:
    """Return what a study exports: every sample of its manifest, and the features with what is known of them."""
    plans = _chosen(config, options.features)
    manifest = config.corpus.build(root, base=config.base)
    load_digests(root, manifest.name)
    needed = {
        m: plan for m, plan in config.features.items() if plans.keys() & {m, plan.upstream and plan.upstream.name}
    }
    part = replace(config, features=needed)  # what is not asked for need not be there; who takes part stays the same
    cast = cast_study(config, manifest) if part.per_repeat else None
    found = _found(part, manifest, cast, root)
    most = max(len(found[name]) for name in plans)
    if not 0 <= options.repeat < most:
        raise ConfigError(f"--repeat should be from 0 to {most - 1} for {', '.join(plans)}, got {options.repeat}")
    columns, told = [], {}
    for name, plan in plans.items():
        repeat = options.repeat if len(found[name]) > 1 else None
        extractor = found[name][repeat or 0]
        store = FeatureStore(root, extractor.identity)
        readers = read_by(plan, manifest, cast)[repeat or 0]
        column, books = _aligned(name, store, manifest.samples, {sample.id for sample in readers})
        told[name] = {
            "id": store.id,
            **books,
            "repeat": repeat,
            "numerics": store.identity.numerics,
            "weights": extractor.weights_note(),
            "random": extractor.is_random,
            "identity": store.identity.as_dict(),
        }
        columns.append(column)
    metadata = _metadata(config, manifest) | {"features": told}
    return Export(samples=sample_table(manifest), columns=tuple(columns), metadata=metadata)


def _chosen(config: StudyConfig, names: Sequence[str]) -> dict[str, FeaturePlan]:
    """Return the plans to export by name: those asked for, upstream ones (`acoustic`) included, or the modalities."""
    plans = feature_plans(config)
    for name in names:
        if name not in plans:
            hint, listed = nearest(name, list(plans)), ", ".join(sorted(plans))
            raise ConfigError(f"--feature {name!r}: not in study {config.name}{hint}; it has: {listed}")
    return {name: plans[name] for name in names or config.modalities}


def _found(
    config: StudyConfig, manifest: Manifest, cast: Cast | None, root: Root
) -> Mapping[str, tuple[Extractor[Any], ...]]:
    for modality, plan in config.features.items():
        upstream = upstream_store(plan, root)
        if upstream is not None:  # without its rows the encoder that reads them could not even be named
            _check_there(f"{modality} reads {upstream.identity.extractor}:", upstream)
    return find_features(config, manifest, cast, root)


def _check_there(name: str, store: FeatureStore) -> None:
    if not store.root.exists(store.folder, "feature.json"):
        raise NotExtracted(f"{name} {store.id} is not in the store under {store.root.address} yet")


def _aligned(
    name: str, store: FeatureStore, samples: Sequence[Sample], readers: Iterable[str]
) -> tuple[Column, dict[str, int]]:
    """Return a feature aligned with the samples, and how many have a row, lack the modality, failed, or stay outside
    the repeat. `readers` are the ids of those who should have been extracted; raises NotExtracted if some were not."""
    _check_there(f"{name}:", store)
    index = store.index()
    failed = {row.sample_id if row.key is None else row.key for row in store.quarantined()}
    expected = set(readers)
    found = dict.fromkeys(("rows", "absent", "quarantined", "outside_repeat"), 0)
    keys: list[str | None] = []
    pending = []
    for sample, key in zip(samples, _keys(samples, store.identity.modality), strict=True):
        row = key if isinstance(key, str) and key in index else None
        keys.append(row)
        if row is not None:
            found["rows"] += 1
        elif key is None:
            found["absent"] += 1
        elif sample.id not in expected:
            found["outside_repeat"] += 1
        elif isinstance(key, MediaError) or key in failed or sample.id in failed:
            found["quarantined"] += 1
        else:
            pending.append(sample.id)
    if pending:
        shown = ", ".join(pending[:_SHOWN]) + (", ..." if len(pending) > _SHOWN else "")
        raise NotExtracted(f"{name}: {store.id} has no row of {len(pending)} of {len(samples)} samples yet ({shown})")
    return Column(name=name, store=store, keys=tuple(keys)), found


def _keys(samples: Sequence[Sample], modality: str) -> list[str | MediaError | None]:
    """Return each sample's content key, the error of one that cannot be read, or None if it lacks the modality."""
    present = [sample for sample in samples if sample.medium(modality) is not None]
    read = iter(read_keys(present, modality))
    return [None if sample.medium(modality) is None else next(read) for sample in samples]


def _metadata(config: StudyConfig, manifest: Manifest) -> dict[str, Any]:
    banner = PAIRING.get(manifest.pairing)
    return {
        "format_version": FORMAT,
        "affuse": version("affuse"),
        "study": config.name,
        "corpus": manifest.name,
        "pairing": manifest.pairing,
        "banner": f"{banner.title}. {banner.text}" if banner else None,
        "source": manifest.source,
        "licence": manifest.licence,
        "labels": {scheme: list(classes) for scheme, classes in manifest.labels.items()},
    }


class _ReadOnlyRoot(Root):
    """A root nothing is written under, not even media of a synthetic corpus, but that a row has been found damaged."""

    def local(self, *parts: str) -> Path:
        path = super().local(*parts)
        if not path.exists():
            raise NotExtracted(f"{path} is not there yet")
        return path

    def put(self, data: bytes, *parts: str) -> None:
        if "withdrawn" in parts:  # or no run would ever make a damaged row again
            return super().put(data, *parts)
        raise StoreError(f"an export writes nothing under {self.address}, least of all {self.path(*parts)}")
