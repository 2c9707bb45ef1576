"""`affuse report ...`: write the report of a study, check it, set two side by side.

Imports wait until a command runs, so that --help is instant.
"""

from typing import Any

import click

from flows.command_options import common, do

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
