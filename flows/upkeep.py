"""Keep a store in order: verify it, compact its parts, collect what nobody needs."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from extractors.extractor import Extractor, Runtime
from extractors.recompute import Deviation, recompute
from flows.encoder_plans import GridNotTrained
from flows.features import feature_plans, find_features, read_by
from flows.pipeline import cast_study
from flows.progress import console, progress
from flows.study_config import load_study
from flows.terminal import printable
from flows.views import view_extractors
from stores.compaction import compact
from stores.digests import load_digests
from stores.errors import ConfigError
from stores.features import all_features
from stores.litter import find_litter, named_litter, sweep
from stores.root import Root
from stores.samples import Sample
from stores.verifying import verify

JSON = dict[str, Any]
_HOUR = 3600
_MB = 1 << 20


def verify_store(
    address: str | None, *, study: str | None, recompute_share: str | None, seed: int, runtime: Runtime, quiet: bool
) -> JSON:
    """Check every file under the root; with a share, extract that part of a study's rows again and compare.

    `ok` is False if anything is damaged, missing, foreign, or further from its recomputed row than promised.
    """
    if (study is None) != (recompute_share is None):
        raise ConfigError(
            "--recompute needs the STUDY whose recordings and settings are to be used, and a STUDY needs it"
        )
    root = Root(address).demand()
    share = _share(recompute_share) if recompute_share is not None else 0.0
    with progress(quiet=quiet) as report:
        verdict = verify(root, report)
    asked = study is not None and not verdict.damages  # rows of damaged parts cannot be compared
    deviations, skipped = _recompute(str(study), root, share, seed, runtime) if asked else ([], [])
    ok = not verdict.damages and all(deviation.holds for deviation in deviations)
    return {
        "root": root.address,
        "ok": ok,
        "files": verdict.files,
        "rows": verdict.rows,
        "damages": [asdict(damage) for damage in verdict.damages],
        "litter": verdict.litter,
        "recomputed": [{**asdict(deviation), "holds": deviation.holds} for deviation in deviations],
        "skipped": skipped,
    }


def show_verdict(found: JSON) -> None:
    """Print what `verify_store` found, the worst last."""
    told: list[tuple[str, str]] = []
    for row in found["recomputed"]:
        far = "nothing to compare" if row["worst"] is None else f"{row['metric']} {row['worst']:.6g} ({row['sample']})"
        word = f"{'within' if row['holds'] else 'BEYOND'} {row['bound']:g}"
        told.append((f"{row['feature']}: {row['rows']:,} rows extracted again, furthest {far}: {word}", ""))
        told += [(f"  {sample} has a row, but can no longer be decoded", "") for sample in row["failed"]]
    told += [(f"not recomputed: {reason}", "") for reason in found["skipped"]]
    told += [(f"{damage['path']}: {damage['problem']}", "red") for damage in found["damages"]]
    if found["litter"]:
        told.append((f"{len(found['litter'])} unfinished writings: `affuse store gc` collects them after a day", ""))
    judged = "sound" if found["ok"] else f"NOT sound ({len(found['damages'])} damaged, missing or foreign)"
    told.append((f"{found['files']:,} files and {found['rows']:,} rows checked: {judged}", "bold"))
    for line, style in told:
        console.print(printable(line), style=style, highlight=False, markup=False)


def collect_litter(
    address: str | None,
    names: Sequence[str],
    *,
    delete: bool,
    unused: bool,
    damaged: bool,
    even_if_used: bool,
    grace_hours: float,
) -> JSON:
    """Return what may go, and delete it if told to."""
    root = Root(address).demand()
    if names:
        litter = named_litter(root, names, even_if_used=even_if_used)
    else:
        litter = find_litter(root, grace=grace_hours * _HOUR, unused=unused, damaged=damaged)
    if delete:
        sweep(root, litter)
    return {
        "root": root.address,
        "deleted": delete,
        "bytes": sum(item.size for item in litter),
        "litter": [{"paths": list(item.paths), "why": item.why, "bytes": item.size} for item in litter],
    }


def show_litter(found: JSON) -> None:
    """Print what goes, or would go."""
    for item in found["litter"]:
        console.print(printable(f"{item['paths'][-1]}: {item['why']}, {item['bytes'] / _MB:,.1f} MB"), markup=False)
    total = f"{len(found['litter']):,} in all, {found['bytes'] / _MB:,.1f} MB"
    if found["deleted"]:
        total += ", deleted"
    elif found["litter"]:
        total += ": nothing was deleted yet; --delete does it"
    console.print(total, highlight=False, style="bold")


def compact_store(address: str | None, features: Sequence[str]) -> JSON:
    """Merge the small parts of the features named, or of all."""
    root = Root(address).demand()
    found = {}
    for store in all_features(root):
        if not features or store.id in features:
            merged, written = compact(store)
            found[store.id] = {"merged": merged, "written": written}
    if unknown := [name for name in features if name not in found]:
        raise ConfigError(f"no feature {unknown[0]!r} under {root.address}: `affuse store ls` lists them")
    return {"root": root.address, "features": found}


def show_compacted(found: JSON) -> None:
    """Print one line a feature that had parts to merge."""
    for name, counts in found["features"].items():
        if counts["merged"]:
            console.print(f"{name}: {counts['merged']:,} parts merged into {counts['written']:,}", highlight=False)
    if not any(counts["merged"] for counts in found["features"].values()):
        console.print("Nothing to merge.", highlight=False)


def _share(text: str) -> float:
    try:
        value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        value = 0.0
    if not 0 < value <= 1:
        raise ConfigError(f"--recompute takes a share such as 1% or 0.01, got {text!r}")
    return value


def _recompute(study: str, root: Root, share: float, seed: int, runtime: Runtime) -> tuple[list[Deviation], list[str]]:
    """Return how far rows are off, and why the features of a modality could not be asked for."""
    config = load_study(study)
    manifest = config.corpus.build(root, base=config.base)
    load_digests(root, manifest.name)
    cast = cast_study(config, manifest) if config.needs_cast else None
    asked: list[tuple[Extractor[Any], Sequence[Sample]]] = []
    skipped = []
    for modality, plan in config.features.items():
        part = replace(config, features={modality: plan})
        try:
            found = find_features(part, manifest, cast, root)
        except GridNotTrained as error:
            skipped.append(str(error))
            part = replace(config, features={plan.upstream.name: plan.upstream} if plan.upstream else {})
            found = find_features(part, manifest, cast, root)
        plans = feature_plans(part)
        asked += [
            pair for name, own in found.items() for pair in zip(own, read_by(plans[name], manifest, cast), strict=True)
        ]
        asked += [(extractor, manifest.samples) for extractor in view_extractors(part, found, root)]
    return [recompute(extractor, own, runtime, share=share, seed=seed) for extractor, own in asked], skipped
