"""The command line: `affuse`, also `python -m flows`."""

import json
import os
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

from flows.progress import console

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
DEMO = EXAMPLES / "demo.toml"
FAILED, WRONG_USAGE = 1, 2
EXPECTED = (ArithmeticError, LookupError, OSError, ValueError)  # bases of what the rooms raise

study_argument = click.argument("study", type=click.Path(dir_okay=False, path_type=str))


def common(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options every command takes, and turn its result into one JSON object if asked."""

    @click.option(
        "--root",
        help="Where everything is written: a folder, or an fsspec address. Default: $AFFUSE_ROOT, else ./runs.",
    )
    @click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout, everything else on stderr.")
    @click.option("--quiet", is_flag=True, help="Say nothing on stderr but errors.")
    @wraps(command)
    def wrapped(*args: Any, as_json: bool, **options: Any) -> None:
        result = command(*args, **options)
        if as_json:
            click.echo(json.dumps(result))
        if result.get("ok") is False:
            raise click.exceptions.Exit(FAILED)

    return wrapped


def running(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of commands that compute."""
    options = (
        click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:1."),
        click.option("--batch-size", default=32, show_default=True, help="Samples embedded at once."),
        click.option("--workers", default=2, show_default=True, help="Threads that decode media."),
        click.option("--dask", help="Spread extraction: a scheduler such as tcp://host:8786, or local:N processes."),
        click.option("--retry-quarantined", is_flag=True, help="Try samples again that failed before."),
        click.option("--reason", multiple=True, help="Of these, only what failed for this reason; may be repeated."),
        click.option("--rehash", is_flag=True, help="Read every file again, even where size and time are unchanged."),
        click.option("--prefect", is_flag=True, help="Run as a Prefect flow (default when PREFECT_API_URL is set)."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="affuse")
def cli() -> None:
    """Extract affect features once, then compare fusion strategies on them, honestly.

    \b
    affuse demo                      a full study on a synthetic corpus (two minutes)
    affuse run my-study.toml         the same for your own recordings
    affuse run my-study.toml --json  for scripts; a second run extracts and trains nothing

    Everything is kept under --root and found again by content: moving, renaming or relabelling files
    repeats no extraction of frozen features. Exit codes: 0 done, 1 failed, 2 wrong usage or settings.
    """


@cli.command()
@common
@running
def demo(**options: Any) -> dict[str, Any]:
    """Run a full study on a synthetic corpus (examples/demo.toml)."""
    return _do("run", str(DEMO), options)


@cli.command()
@study_argument
@common
@running
def run(study: str, **options: Any) -> dict[str, Any]:
    """Go the whole way: manifest, features, heads, report.

    STUDY is a TOML file; examples/ has one for each kind of corpus, examples/paper.toml every setting.
    """
    return _do("run", study, options)


@cli.command()
@study_argument
@common
def manifest(study: str, **options: Any) -> dict[str, Any]:
    """Check a STUDY's corpus and list it, one row a sample."""
    result = _do("manifest", study, options)
    if not options["quiet"]:
        console.print(f"{result['manifest']}: {result['samples']:,} samples ({result['pairing']})", highlight=False)
        for scheme, counts in result["labels"].items():
            console.print(f"  {scheme}: " + ", ".join(f"{name} {n:,}" for name, n in counts.items()), highlight=False)
        for reason, count in result["dropped"].items():
            console.print(f"  left out: {count:,} {reason}", highlight=False)
    return result


@cli.command()
@study_argument
@common
@running
def extract(study: str, **options: Any) -> dict[str, Any]:
    """Extract the features that are not in the store yet."""
    return _do("extract", study, options)


@cli.command()
@study_argument
@common
@running
def train(study: str, **options: Any) -> dict[str, Any]:
    """Train the encoders that are not trained yet."""
    return _do("train", study, options)


@cli.command()
@study_argument
@common
@running
def study(study: str, **options: Any) -> dict[str, Any]:
    """Train and score the heads that have not run yet."""
    return _do("study", study, options)


@cli.command()
@study_argument
@common
def report(study: str, **options: Any) -> dict[str, Any]:
    """Write the report of a STUDY that has run."""
    return _do("report", study, options)


@cli.group()
def store() -> None:
    """Look into the store."""


@store.command("ls")
@click.option("--quarantine", is_flag=True, help="List the samples that failed instead, and why.")
@common
def store_ls(quarantine: bool, root: str | None, quiet: bool) -> dict[str, Any]:
    """List manifests, features, encoders, studies and reports."""
    from flows.listing import list_quarantine, list_store, show_quarantine, show_store

    found, show = (list_quarantine, show_quarantine) if quarantine else (list_store, show_store)
    content = found(root)
    if not quiet:
        show(content)
    return content


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
    """Write the features of a STUDY, aligned with its samples, for other programs to read.

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

    said = export_study(study, out, ExportOptions(format=form, **options), root)
    if not quiet:
        show_export(said)
    return said


@store.command("explain")
@study_argument
@click.option("--sample", help="Say it of one sample: its id.")
@common
def store_explain(study: str, sample: str | None, root: str | None, quiet: bool) -> dict[str, Any]:
    """Say why the features of a STUDY are a hit or will be made again.

    One line a modality, told against the nearest stored feature or encoder: which settings, weights, samples or
    labels differ. With --sample, where its rows lie or why it has none. Extracts, trains and writes nothing.
    """
    from flows.explain import explain_study, show_explanation

    found = explain_study(study, root, sample)
    if not quiet:
        show_explanation(found)
    return found


@store.command("verify")
@click.argument("study", required=False)
@click.option("--recompute", help="Also extract a random share of STUDY's rows again, such as 1%, and compare.")
@click.option("--seed", default=0, show_default=True, help="Chooses the share.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:1.")
@common
def store_verify(
    study: str | None, recompute: str | None, seed: int, device: str, root: str | None, quiet: bool
) -> dict[str, Any]:
    """Check every file and every row in the store; exit code 1 if anything is wrong.

    \b
    affuse store verify                               seals, digests, what is missing or does not belong
    affuse store verify my-study.toml --recompute 1%  how far stored rows are from what is extracted now

    A damaged part is mended by deleting its seal: its rows are extracted again by the next run.
    """
    from extractors.extractor import Runtime
    from flows.upkeep import show_verdict, verify_store

    found = verify_store(
        root, study=study, recompute_share=recompute, seed=seed, runtime=Runtime(device=device), quiet=quiet
    )
    if not quiet:
        show_verdict(found)
    return found


@store.command("gc")
@click.argument("names", nargs=-1)
@click.option("--delete", is_flag=True, help="Delete it; without, only say what would go.")
@click.option("--unused", is_flag=True, help="Also features and encoders that no study refers to.")
@click.option("--even-if-used", is_flag=True, help="Delete what NAMES say even if a study refers to it.")
@click.option("--grace-hours", default=24.0, show_default=True, help="Leave alone what changed within this time.")
@common
def store_gc(names: tuple[str, ...], root: str | None, quiet: bool, **options: Any) -> dict[str, Any]:
    """Collect what nobody needs: unfinished writings and parts that were replaced.

    \b
    affuse store gc                    what would go, and how much it is
    affuse store gc --delete           do it
    affuse store gc bert-0123456789ab  a whole feature or encoder, by id
    """
    from flows.upkeep import collect_litter, show_litter

    found = collect_litter(root, names, **options)
    if not quiet:
        show_litter(found)
    return found


@store.command("compact")
@click.argument("features", nargs=-1)
@common
def store_compact(features: tuple[str, ...], root: str | None, quiet: bool) -> dict[str, Any]:
    """Merge the many small parts of FEATURES (ids; all by default) into few large ones.

    Safe while others read and write. `affuse store gc` later collects the parts that were replaced.
    """
    from flows.upkeep import compact_store, show_compacted

    found = compact_store(root, features)
    if not quiet:
        show_compacted(found)
    return found


def _do(job: str, study: str, options: dict[str, Any]) -> dict[str, Any]:
    """Run a job here, or as a Prefect flow; imports wait until now so that --help is instant."""
    from flows import jobs

    as_flow = options.pop("prefect", False) or (job != "manifest" and "PREFECT_API_URL" in os.environ)
    chosen = jobs.Options(**options)
    if as_flow:
        from flows.as_flows import run_as_flow

        return run_as_flow(job, study, chosen)
    plain: Callable[[str, jobs.Options], dict[str, Any]] = getattr(jobs, f"{job}_job")
    return plain(study, chosen)


def main() -> None:
    """Run the command line and exit: 0 done, 1 failed, 2 wrong usage or settings."""
    from stores.errors import ConfigError

    try:
        cli.main(prog_name="affuse", standalone_mode=False)
    except click.UsageError as error:
        error.show()
        sys.exit(WRONG_USAGE)
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        console.print("Interrupted. What was sealed is kept; the same command goes on from there.", style="yellow")
        sys.exit(FAILED)
    except ConfigError as error:
        _complain(error)
        sys.exit(WRONG_USAGE)
    except Exception as error:
        _complain(error)
        sys.exit(FAILED)


def _complain(error: Exception) -> None:
    console.print(f"{type(error).__name__}: {error}", style="red", highlight=False, markup=False)
    if os.environ.get("AFFUSE_TRACEBACK"):
        console.print_exception()
    elif not isinstance(error, EXPECTED):
        console.print("Not foreseen: AFFUSE_TRACEBACK=1 shows where it came from.", style="dim", highlight=False)
