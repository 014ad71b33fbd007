"""
Flags, exit codes, settings and signals that several commands share.
"""

from __future__ import annotations

import io
import os
import signal
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from syncsvc.signals import ending_signals

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

    from syncsvc.settings.settings import Settings

FAILED, MISUSED, WITHHELD, LOCKED = 1, 2, 3, 4


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
    from syncsvc import bootstrap
    from syncsvc.database import sqlite_file, transactions
    from syncsvc.database.maintenance import migrate

    sqlite_file.require_exists(settings.database)
    engine = bootstrap.engine_from(settings)
    with (
        transactions.translated(),
        sqlite_file.unchanged(settings.database),
        engine.connect() as connection,
    ):
        migrate.require_current(connection)
        connection.rollback()
        yield connection
