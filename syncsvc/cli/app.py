"""
The command line. Logs go to stderr, results to stdout.

What a command needs is imported when it runs, so that `--help` and
`--version` answer at once.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from syncsvc import __version__
from syncsvc.cli import (
    accounts,
    help_texts,
    migrate_prune_check,
    notify,
    query,
    sandbox_and_demo,
    sync_and_run,
)
from syncsvc.cli.common import FAILED, LOCKED, MISUSED, Command, Group, use_utf8
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
_command(help=help_texts.SYNC)(sync_and_run.sync)
_command(help=help_texts.RUN)(sync_and_run.run)
_command(help=help_texts.MIGRATE)(migrate_prune_check.migrate)
_command(help=help_texts.PRUNE)(migrate_prune_check.prune)
_command(help=help_texts.CHECK)(migrate_prune_check.check)
_command(help=help_texts.CONFIG)(migrate_prune_check.config)
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
_command(help=help_texts.SANDBOX)(sandbox_and_demo.sandbox)
_command(help=help_texts.DEMO)(sandbox_and_demo.demo)
app.add_typer(accounts.app, name="accounts", help=help_texts.ACCOUNTS)
app.add_typer(notify.app, name="notify", help=help_texts.NOTIFY)
