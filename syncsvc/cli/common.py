"""
Flags, exit codes, settings, signals and the classes of commands, which several commands share.
"""

from __future__ import annotations

import io
import os
import signal
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup, TyperOption

from syncsvc.signals import INTERRUPTED, ending_signals

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

    from syncsvc.settings.settings import Settings

FAILED, MISUSED, WITHHELD, LOCKED = 1, 2, 3, 4
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


AccountFlag = Annotated[
    str | None, typer.Option("--account", help="Instead of SYNCSVC_ACCOUNT.", show_default=False)
]
DatabaseFlag = Annotated[
    str | None,
    typer.Option("--database-url", help="Instead of SYNCSVC_DATABASE_URL.", show_default=False),
]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]


def use_utf8() -> None:
    """
    Write UTF-8 to stdout and stderr, whatever the locale and PYTHONIOENCODING are.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")


def settings_of(context: typer.Context, *, quiet: bool = False, **flags: object) -> Settings:
    """
    Load the settings, and set up logging accordingly.

    Args:
        quiet: Log warnings and errors only, unless the settings name another level.
    """
    from syncsvc.logs import set_up_logging
    from syncsvc.settings.loading import load_settings

    given, environ = flags_and_environment(context, **flags)
    settings = load_settings(flags=given, environ=environ)
    level = settings.log_level
    set_up_logging("warning" if quiet and level == "info" else level, settings.log_format)
    return settings


def flags_and_environment(
    context: typer.Context, **flags: object
) -> tuple[dict[str, object], dict[str, str]]:
    """
    Return the flags of the command line that are settings, and the environment with --config.
    """
    given = dict(context.obj)
    config = given.pop("config")
    environ = {**os.environ, **({"SYNCSVC_CONFIG": str(config)} if config else {})}
    return {**given, **flags}, environ


@contextmanager
def interrupts() -> Iterator[list[int]]:
    """
    Turn SIGINT and SIGTERM into a KeyboardInterrupt, and list those received.

    A signal may reach SQLite in the middle of a statement, which then ends as
    a failure of the database.
    """
    ending_signals.leave_to_command()
    seen: list[int] = []

    def interrupt(number: int, _frame: object) -> None:
        seen.append(number)
        raise KeyboardInterrupt

    before = {
        number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield seen
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def open_current(settings: Settings) -> Iterator[Connection]:
    """
    Connect to a database whose schema is current.
    """
    from syncsvc import build_from_settings
    from syncsvc.database import sqlite_file, transactions
    from syncsvc.database.maintenance import migrate

    sqlite_file.require_exists(settings.database)
    engine = build_from_settings.engine_from(settings)
    with (
        transactions.translated(),
        sqlite_file.unchanged(settings.database),
        engine.connect() as connection,
    ):
        migrate.require_current(connection)
        connection.rollback()
        yield connection
