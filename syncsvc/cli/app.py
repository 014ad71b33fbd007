"""
The command line. Logs go to stderr, results to stdout.

What a command needs is imported when it runs, so that `--help` and
`--version` answer at once.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup, TyperOption

from syncsvc import __version__
from syncsvc.cli import check, help_texts, maintenance, query, sandbox, sync, worker
from syncsvc.cli.common import FAILED, LOCKED, MISUSED, use_utf8
from syncsvc.errors import (
    ConfigurationError,
    DatabaseUnavailable,
    ReportUsageError,
    RunInProgress,
    SchemaNotCurrent,
    SyncError,
)
from syncsvc.signals import INTERRUPTED

EXIT_CODES: dict[type[SyncError], int] = {
    ConfigurationError: MISUSED,
    SchemaNotCurrent: MISUSED,
    ReportUsageError: MISUSED,
    RunInProgress: LOCKED,
}
PLAIN = {
    "Value error, ": "",
    "Input should be a valid integer, unable to parse string as an integer": "not a whole number",
    "Input should be a valid number, unable to parse string as a number": "not a number",
    "Input should be greater than or equal to": "it must be at least",
    "Input should be less than or equal to": "it must be at most",
}


class Command(TyperCommand):
    """
    A command.
    """

    def get_params(self, ctx: Any) -> list[Any]:  # noqa: ANN401 - of typer's own copy of click
        """
        Return its parameters.
        """
        return _without_types_of_flags(super().get_params(ctx))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - of typer's own copy of click
        """
        Read its parameters; what is wrong with one is said in our words, not in pydantic's.
        """
        try:
            return super().parse_args(ctx, args)
        except typer.BadParameter as exc:
            for theirs, ours in PLAIN.items():
                exc.message = exc.message.replace(theirs, ours)
            raise


class Group(TyperGroup):
    """
    All commands together.
    """

    def get_params(self, ctx: Any) -> list[Any]:  # noqa: ANN401 - of typer's own copy of click
        """
        Return its parameters.
        """
        return _without_types_of_flags(super().get_params(ctx))

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - of typer's own copy of click
        """
        Call the command; an interrupt is reported with what it left behind, if that is known.
        """
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as exc:
            left = f"; {exc}" if exc.args else ""
            typer.echo(f"Stopped{left}.", err=True)
            raise typer.Exit(INTERRUPTED) from None


def _without_types_of_flags(parameters: list[Any]) -> list[Any]:
    """
    Show `--dry-run` and not `--dry-run <bool>`.
    """
    for parameter in parameters:
        if isinstance(parameter, TyperOption) and parameter.is_flag:
            parameter.metavar = ""
    return parameters


app = typer.Typer(
    name="syncsvc",
    cls=Group,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """
    Run a command and end with its exit code.
    """
    use_utf8()
    try:
        app()
    except SyncError as exc:
        for line in str(exc).splitlines():
            typer.echo(f"syncsvc: {line}", err=True)
        if isinstance(exc, DatabaseUnavailable):
            typer.echo("Run `syncsvc check` to find out why.", err=True)
        sys.exit(EXIT_CODES.get(type(exc), FAILED))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except OSError as exc:  # of stdout; what opens files and sockets names them
        from syncsvc.output.output_file import give_up_stdout

        give_up_stdout()
        typer.echo(f"syncsvc: The result can't be written: {exc.strerror or exc}.", err=True)
        sys.exit(FAILED)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"syncsvc {__version__}")
        raise typer.Exit


@app.callback(help=help_texts.APP)
def common(
    context: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option(help="TOML file of settings, instead of SYNCSVC_CONFIG.", show_default=False),
    ] = None,
    log_level: Annotated[
        str | None, typer.Option(help="Instead of SYNCSVC_LOG_LEVEL.", show_default=False)
    ] = None,
    log_format: Annotated[
        str | None, typer.Option(help="Instead of SYNCSVC_LOG_FORMAT.", show_default=False)
    ] = None,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """
    Read the options that all commands have.
    """
    context.obj = {"config": config, "log_level": log_level, "log_format": log_format}


_command = partial(app.command, cls=Command)
_command(help=help_texts.SYNC)(sync.sync)
_command(help=help_texts.RUN)(worker.run)
_command(help=help_texts.MIGRATE)(maintenance.migrate)
_command(help=help_texts.PRUNE)(maintenance.prune)
_command(help=help_texts.CHECK)(check.check)
_command(help=help_texts.CONFIG)(check.config)
_command(help=help_texts.RUNS)(query.runs)
_command(help=help_texts.HISTORY)(query.history)
_command(
    help=help_texts.REPORT,
    context_settings={
        "allow_extra_args": True,  # a report's own parameters
        "ignore_unknown_options": True,
        "help_option_names": [],  # with a name, --help is that report's
    },
)(query.report)
_command(help=help_texts.SANDBOX)(sandbox.sandbox)
_command(help=help_texts.DEMO)(sandbox.demo)
