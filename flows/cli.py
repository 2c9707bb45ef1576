"""The command line: `affuse`, also `python -m flows`. Imports wait until a command runs, so that --help is instant."""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from flows.command_options import FAILED, WRONG_USAGE, common, do, shown, study_argument
from flows.progress import console
from flows.store_commands import store

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
DEMO = EXAMPLES / "demo.toml"
EXPECTED = (ArithmeticError, LookupError, OSError, ValueError)  # bases of what the rooms raise


def running(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of commands that compute."""
    options = (
        click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:1."),
        click.option("--batch-size", type=int, help="Most samples embedded at once. Default: as many as fit."),
        click.option(
            "--decode-workers",
            type=int,
            help="Threads that read and decode media, in each process. Default: half the cores, at least 2. "
            "Raise it when the receipt says 'decode bound'.",
        ),
        click.option("--time-limit", default=120.0, show_default=True, help="Seconds of computing to decode a sample."),
        click.option("--workers", type=int, help="Extract in that many processes of this machine."),
        click.option(
            "--dask",
            metavar="ADDRESS",
            help="Extract on the workers of a Dask scheduler, such as tcp://host:8786; one process a GPU if they "
            "advertise GPUs. docs/scheduling.md has the commands.",
        ),
        click.option("--retry-quarantined", is_flag=True, help="Try samples again that failed before."),
        click.option("--reason", multiple=True, help="Of these, only what failed for this reason; may be repeated."),
        click.option("--rehash", is_flag=True, help="Read every file again, even where nothing tells of a change."),
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
    return do("run", str(DEMO), options)


@cli.command()
@study_argument
@common
@running
def run(study: str, **options: Any) -> dict[str, Any]:
    """Go the whole way: manifest, features, heads, report.

    STUDY is a TOML file; examples/ has one for each kind of corpus, examples/paper.toml every setting.
    """
    return do("run", study, options)


@cli.command()
@study_argument
@common
def manifest(study: str, **options: Any) -> dict[str, Any]:
    """Check a STUDY's corpus and list it, one row a sample."""
    result = do("manifest", study, options)
    if not options["quiet"]:
        console.print(f"{result['manifest']}: {result['samples']:,} samples ({result['pairing']})", highlight=False)
        for scheme, counts in result["labels"].items():
            console.print(f"  {scheme}: " + ", ".join(f"{name} {n:,}" for name, n in counts.items()), highlight=False)
        for reason, count in result["dropped"].items():
            console.print(f"  left out: {count:,} {reason}", highlight=False)
        for warning in result["warnings"]:
            console.print(f"  warning: {warning}", highlight=False, markup=False, style="yellow")
    return result


@cli.command()
@study_argument
@common
def splits(study: str, **options: Any) -> dict[str, Any]:
    """Show who would be tested how often in a STUDY; nothing is extracted, trained or scored.

    One line a group (a sample, if the study names no groups), the least tested first, and the sizes of the parts.
    """
    from flows.terminal import show_splits

    return shown(do("splits", study, options), show_splits, quiet=options["quiet"])


@cli.command()
@study_argument
@common
@running
def extract(study: str, **options: Any) -> dict[str, Any]:
    """Extract the features that are not in the store yet.

    A receipt says at the end where the time went, and what to change if the device had to wait.
    """
    return do("extract", study, options)


@cli.command()
@study_argument
@common
@running
def train(study: str, **options: Any) -> dict[str, Any]:
    """Train the encoders that are not trained yet."""
    return do("train", study, options)


@cli.command()
@study_argument
@common
@running
def study(study: str, **options: Any) -> dict[str, Any]:
    """Train and score the heads that have not run yet."""
    return do("study", study, options)


STUDY = "study"  # the command that is meant where none is named


class StudyFirst(click.Group):
    """`affuse report my-study.toml` beside `affuse report compare A B`: what is no command belongs to a study."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        named = args[:1] and args[0] in {*self.commands, *ctx.help_option_names}
        return super().parse_args(ctx, args if named or not args else [STUDY, *args])

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write_usage(ctx.command_path, "[OPTIONS] STUDY")
        formatter.write_usage(ctx.command_path, "compare [OPTIONS] A B")

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        self.commands[STUDY].format_options(ctx, formatter)
        self.format_commands(ctx, formatter)


class Unnamed(click.Context):
    """Where the command that nobody names runs: messages call it what was typed."""

    @property
    def command_path(self) -> str:
        return self.parent.command_path if self.parent else super().command_path


class StudyCommand(click.Command):
    context_class = Unnamed


@click.group(cls=StudyFirst)
def report() -> None:
    """Write the report of a STUDY that has run, check it, or compare two.

    STUDY is a study file, or the name of a study: then its [report] settings are those of its last run.

    \b
    affuse report my-study.toml                 page, results, methods, tables, figures
    affuse report my-study.toml --open          the same, and show the page in the browser
    affuse report my-study.toml --check         does what is written follow from the predictions?
    affuse report compare one.toml other.toml   which verdicts flip between two studies, and why

    docs/report.md describes every file.
    """


@report.command(STUDY, cls=StudyCommand, hidden=True)
@click.argument("study")
@click.option("--open", "open_page", is_flag=True, help="Show the page in the browser.")
@click.option(
    "--check",
    is_flag=True,
    help="Write nothing: compute and render the report again and compare with what is written; exit code 1 if a "
    "number or a byte differs.",
)
@click.option("--pdf", is_flag=True, help="Write the figures as PDF too, for a paper.")
@common
def report_study(study: str, open_page: bool, check: bool, pdf: bool, **options: Any) -> dict[str, Any]:
    """Write the report of a STUDY that has run."""
    from flows import report_jobs

    if check and (open_page or pdf):
        raise click.UsageError("--check writes nothing: leave out --open and --pdf")
    if check:
        return report_jobs.check_job(study, **options)
    written = do("report", study, {**options, "pdf": pdf})
    if open_page:
        report_jobs.show_page(written["report"])
    return written


@report.command("compare")
@click.argument("a")
@click.argument("b")
@common
def report_compare(a: str, b: str, **options: Any) -> dict[str, Any]:
    """Set two studies side by side: which verdicts flip, and what differs between A and B.

    A and B are study files, names of studies, ids of reports, or ids of studies that have one report, of one root.
    Writes a page of its own.
    """
    from flows import report_jobs

    return report_jobs.compare_job(a, b, **options)


cli.add_command(report)
cli.add_command(store)


def main() -> None:
    """Run the command line and exit: 0 done, 1 failed, 2 wrong usage or settings."""
    from stores.errors import ConfigError

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # who is asked to end says what is kept
    try:
        code = cli.main(prog_name="affuse", standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except click.UsageError as error:
        error.show()
        sys.exit(WRONG_USAGE)
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
