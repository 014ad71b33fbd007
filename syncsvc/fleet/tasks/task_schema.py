"""
The task engine's own tables: create them, bring them up to date, and say if they are not current.

procrastinate ships its schema and the steps between its versions as SQL files. The last step that
was taken is noted in the comment of its table of jobs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer
from sqlalchemy import func, select, text

from syncsvc import build_from_settings
from syncsvc.database import transactions
from syncsvc.database.locks import lock_key
from syncsvc.errors import ConfigurationError, SchemaNotCurrent
from syncsvc.fleet.tasks.task_engine import schema_sql, schema_steps
from syncsvc.output import output_file

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Connection, Engine

    from syncsvc.settings.settings import Settings

NOTE = "Jobs of procrastinate, by `syncsvc migrate --fleet`; last step: "
UPGRADE = "fleet upgrade"  # lock
FOUND = """
SELECT coalesce(obj_description(to_regclass('procrastinate_jobs')), '')
WHERE to_regclass('procrastinate_jobs') IS NOT NULL"""


def require_postgresql(engine: Engine) -> None:
    """
    Refuse a database that has no sessions' locks and no notifications.

    Raises:
        ConfigurationError: It is SQLite.
    """
    if engine.dialect.name != "postgresql":
        raise ConfigurationError(
            "A fleet needs PostgreSQL, since its workers share the database. Set "
            "SYNCSVC_DATABASE_URL to postgresql://…; `syncsvc run` without --fleet runs on SQLite."
        )


def migrate(settings: Settings, *, check: bool) -> bool:
    """
    Bring the engine's tables up to date, or only look, and print it; return whether they are.

    Args:
        check: Change nothing.

    Raises:
        ConfigurationError: The database is not PostgreSQL.
    """
    engine = build_from_settings.engine_from(settings)
    require_postgresql(engine)
    with transactions.translated(), engine.begin() as connection:
        if not check:
            upgrade(connection)
        found = last_step(connection)
    with output_file.printing():
        typer.echo(
            f"The task engine's tables are at {found or 'no step'}, the newest is {newest_step()}."
        )
    return found == newest_step()


def upgrade(connection: Connection) -> None:
    """
    Create the engine's tables, or take the steps that are missing, in the caller's transaction.

    Somebody who does the same at once waits for it, and then finds nothing to do.
    """
    connection.execute(select(func.pg_advisory_xact_lock(lock_key(connection, UPGRADE))))
    found = last_step(connection)
    if found is None:
        _execute(connection, schema_sql())
    for step in _steps_after(found) if found is not None else ():
        _execute(connection, step.read_text(encoding="utf-8"))
    connection.execute(text(f"COMMENT ON TABLE procrastinate_jobs IS '{NOTE}{newest_step()}'"))


def require_current(connection: Connection) -> None:
    """
    Refuse engine's tables that are missing or older than the engine.

    Raises:
        SchemaNotCurrent: It says which command to run.
    """
    found = last_step(connection)
    if found is None:
        problem = "The database has no tables of the task engine yet."
    elif _steps_after(found):
        problem = f"The task engine's tables are at {found}, it needs {newest_step()}."
    else:
        return
    raise SchemaNotCurrent(f"{problem} Run `syncsvc migrate --fleet` with the same settings.")


def last_step(connection: Connection) -> str | None:
    """
    Return the last step that was taken; None if there are no tables, empty if it is not noted.
    """
    comment = connection.execute(text(FOUND)).scalar()
    return None if comment is None else str(comment).partition(NOTE)[2]


def newest_step() -> str:
    """
    Return the last step that the installed engine knows.
    """
    return schema_steps()[-1].stem


def _steps_after(found: str) -> list[Path]:
    return [step for step in schema_steps() if step.stem > found] if found else []


def _execute(connection: Connection, statements: str) -> None:
    """
    Execute several statements at once, as only the driver can.
    """
    driver = connection.connection.driver_connection
    assert driver is not None  # noqa: S101 - the connection is open
    driver.execute(statements)
