"""`affuse store ...`: look into a store, check it, keep it in order, take features out of it.

Imports wait until a command runs, so that --help is instant.
"""

from pathlib import Path
from typing import Any

import click

from flows.command_options import common, shown, study_argument


@click.group()
def store() -> None:
    """Look into the store."""


@store.command("ls")
@click.option("--quarantine", is_flag=True, help="List the samples that failed instead, and why.")
@common
def store_ls(quarantine: bool, root: str | None, quiet: bool) -> dict[str, Any]:
    """List manifests, features, encoders, studies and reports."""
    from flows.listing import list_quarantine, list_store, show_quarantine, show_store

    found, show = (list_quarantine, show_quarantine) if quarantine else (list_store, show_store)
    return shown(found(root), show, quiet=quiet)


@store.command("export")
@study_argument
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "form",
    type=click.Choice(["parquet", "zarr", "npz"]),
    help="Default: told from OUT's suffix, else parquet.",
)
@click.option(
    "--feature", "features", multiple=True, help="May be repeated: a modality, or acoustic. Default: all modalities."
)
@click.option("--repeat", default=0, show_default=True, help="Whose rows, where encoders are trained per repeat.")
@click.option("--overwrite", is_flag=True, help="Replace OUT if it exists.")
@common
def store_export(study: str, out: Path, root: str | None, quiet: bool, form: str | None, **options: Any) -> Any:
    """Write the features of a STUDY for other programs.

    \b
    affuse store export my-study.toml features.parquet   pandas, polars, duckdb
    affuse store export my-study.toml features.zarr      xarray
    affuse store export my-study.toml features.npz       numpy
    affuse store export my-study.toml frames.zarr --feature acoustic

    One row a sample, with split, labels, scores and groups; what is absent or quarantined is null (parquet),
    or NaN and marked in has_<feature>. Says in the file which features these are. Extracts and trains nothing:
    run `affuse extract STUDY` first. docs/export.md reads each of them.
    """
    from flows.export import ExportOptions, export_study, show_export

    return shown(export_study(study, out, ExportOptions(format=form, **options), root), show_export, quiet=quiet)


@store.command("explain")
@study_argument
@click.option("--sample", help="Say it of one sample: its id.")
@common
def store_explain(study: str, sample: str | None, root: str | None, quiet: bool) -> dict[str, Any]:
    """Say why features are reused or made again.

    One line a modality, told against the nearest stored feature or encoder: which settings, weights, samples or
    labels differ. With --sample, where its rows lie or why it has none. Extracts, trains and writes nothing.
    """
    from flows.explain import explain_study, show_explanation

    return shown(explain_study(study, root, sample), show_explanation, quiet=quiet)


@store.command("verify")
@click.argument("study", required=False)
@click.option("--recompute", help="Also extract a random share of STUDY's rows again, such as 1%, and compare.")
@click.option("--seed", default=0, show_default=True, help="Chooses the share.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:1.")
@common
def store_verify(
    study: str | None, recompute: str | None, seed: int, device: str, root: str | None, quiet: bool
) -> dict[str, Any]:
    """Check every file and row; exit code 1 if one is wrong.

    \b
    affuse store verify                               seals, digests, what is missing or does not belong
    affuse store verify my-study.toml --recompute 1%  how far stored rows are from what is extracted now

    Each line says what to do about it. A damaged part is removed by `affuse store gc --damaged --delete`; the next run
    extracts its rows again.
    """
    from extractors.extractor import Runtime
    from flows.upkeep import show_verdict, verify_store

    runtime = Runtime(device=device)
    found = verify_store(root, study=study, recompute_share=recompute, seed=seed, runtime=runtime, quiet=quiet)
    return shown(found, show_verdict, quiet=quiet)


@store.command("gc")
@click.argument("names", nargs=-1)
@click.option("--delete", is_flag=True, help="Delete it; without, only say what would go.")
@click.option("--unused", is_flag=True, help="Also features and encoders that no study refers to.")
@click.option("--damaged", is_flag=True, help="Also parts whose rows have changed: checks all of them, as verify does.")
@click.option("--even-if-used", is_flag=True, help="Delete what NAMES say even if a study refers to it.")
@click.option(
    "--grace-hours",
    type=click.FloatRange(min=0),
    default=24.0,
    show_default=True,
    help="Leave alone what changed within this time.",
)
@common
def store_gc(names: tuple[str, ...], root: str | None, quiet: bool, **options: Any) -> dict[str, Any]:
    """Collect unfinished writings and replaced parts.

    \b
    affuse store gc                    what would go, and how much it is
    affuse store gc --delete           do it
    affuse store gc bert-0123456789ab  a whole feature or encoder, by id
    """
    from flows.upkeep import collect_litter, show_litter

    return shown(collect_litter(root, names, **options), show_litter, quiet=quiet)


@store.command("compact")
@click.argument("features", nargs=-1)
@common
def store_compact(features: tuple[str, ...], root: str | None, quiet: bool) -> dict[str, Any]:
    """Merge small parts of FEATURES into large ones.

    FEATURES are ids; all by default.
    Safe while others read and write. `affuse store gc` later collects the parts that were replaced.
    """
    from flows.upkeep import compact_store, show_compacted

    return shown(compact_store(root, features), show_compacted, quiet=quiet)
