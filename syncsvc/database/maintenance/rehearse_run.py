"""
Rehearse a run in the database: everything that a run does there, rolled back.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy import delete, false, func, insert, select, text, update

from syncsvc.database import runs
from syncsvc.database.locks import run_lock
from syncsvc.database.transactions import translated
from syncsvc.errors import ConfigurationError, DatabaseUnavailable, SchemaNotCurrent
from syncsvc.schema.columns import metadata
from syncsvc.schema.internal_tables import internal_metadata
from syncsvc.vocabulary import Trigger

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, Engine, Table

ROUNDS = 3  # in which two connections are compared
TRIGGERS = {
    "sqlite": {"numbers_updated", "numbers_deleted"},
    "postgresql": {"numbers_updated", "numbers_deleted", "numbers_truncated"},
}
# A trigger fires if it is enabled for this session's replication role.
FIRING_TRIGGERS = {
    "sqlite": "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'numbers'",
    "postgresql": """SELECT tgname FROM pg_trigger WHERE tgrelid = to_regclass('numbers')
AND tgenabled IN ('A', CASE current_setting('session_replication_role')
                       WHEN 'replica' THEN 'R' ELSE 'O' END)""",
}


def is_standby(engine: Engine) -> bool:
    """
    Return whether this is a PostgreSQL server that replays another one and only reads.
    """
    if engine.dialect.name != "postgresql":
        return False
    with engine.connect() as connection:
        return bool(connection.execute(select(func.pg_is_in_recovery())).scalar_one())


def rehearse(engine: Engine, account: str) -> None:
    """
    Take the lock and write to every table, twice in a row, and roll it back.

    A second time shows whether the first has left its lock or its tables behind.

    Raises:
        RunInProgress: A run holds the lock now.
        DatabaseUnavailable: With the step that failed, and what the role needs.
    """
    for _ in range(2):
        with engine.connect() as connection, run_lock(connection, account):
            _write_and_roll_back(connection, account)


def _write_and_roll_back(connection: Connection, account: str) -> None:
    connection.execution_options(publishing=True)
    with connection.begin() as transaction:
        _require_writable(connection)
        with _step("can't create temporary tables", "Grant TEMPORARY on the database"):
            connection.execute(text("CREATE TEMPORARY TABLE syncsvc_rehearsal (walk integer)"))
            connection.execute(text("INSERT INTO syncsvc_rehearsal VALUES (1)"))
        for table in _tables():
            with _step(f"can't write to {table.name}", "Grant SELECT, INSERT, UPDATE and DELETE"):
                _write_nothing(connection, table)
        with _step("can't begin a run", "Grant INSERT on sync_runs"):
            runs.begin(connection, account, Trigger.MANUAL)
        transaction.rollback()


def _require_writable(connection: Connection) -> None:
    if connection.dialect.name != "postgresql":
        return
    if connection.execute(text("SHOW transaction_read_only")).scalar_one() == "on":
        raise DatabaseUnavailable(
            "The database accepts no writes: default_transaction_read_only is on for the server, "
            "the database or the role. Turn the setting off for the worker's role."
        )


def _tables() -> Iterator[Table]:
    yield from metadata.sorted_tables
    yield from internal_metadata.sorted_tables


def _write_nothing(connection: Connection, table: Table) -> None:
    """
    Ask for every right to a table with statements that concern no row.
    """
    column = next(iter(table.primary_key.columns))
    names = [each.name for each in table.columns if each.identity is None]
    nothing = select(*(table.c[name] for name in names)).where(false())
    connection.execute(insert(table).from_select(names, nothing, include_defaults=False))
    connection.execute(update(table).where(false()).values({column.name: column}))
    connection.execute(delete(table).where(false()))


@contextmanager
def _step(problem: str, remedy: str) -> Iterator[None]:
    """
    Name the step of the rehearsal that fails, and what to do.
    """
    try:
        with translated():
            yield
    except DatabaseUnavailable as exc:
        raise DatabaseUnavailable(
            f"A run {problem}. {str(exc).rstrip('.')}. {remedy} to the worker's role."
        ) from exc


def require_own_session(engine: Engine) -> None:
    """
    Refuse a pooler that gives a session's server connection to others between transactions.

    While one connection is idle, another that begins a transaction would get its server process;
    the first would then go on in another one, without its lock and its temporary tables.

    Raises:
        ConfigurationError: There is such a pooler.
    """
    with engine.connect() as one, engine.connect() as other:
        for _ in range(ROUNDS):
            first = _server_process(one)
            one.rollback()
            if _server_process(other) == first or _server_process(one) != first:
                raise ConfigurationError(
                    "SYNCSVC_DATABASE_URL leads to a pooler that changes the server connection "
                    "between transactions, and a run would lose its lock and temporary tables. "
                    "Set pool_mode = session (PgBouncer), or connect to PostgreSQL directly."
                )
            one.rollback()
            other.rollback()


def _server_process(connection: Connection) -> int:
    return int(connection.execute(select(func.pg_backend_pid())).scalar_one())


def require_triggers(connection: Connection) -> None:
    """
    Refuse a database in which the triggers on `numbers` are missing or do not fire.

    Raises:
        SchemaNotCurrent: With their names.
    """
    kind = connection.dialect.name
    firing = set(connection.execute(text(FIRING_TRIGGERS[kind])).scalars())
    silent = ", ".join(sorted(TRIGGERS[kind] - firing))
    if silent:
        remedy = (
            "Enable them with ALTER TABLE numbers ENABLE TRIGGER ALL, and do not set "
            "session_replication_role for this role."
            if kind == "postgresql"
            else "Restore a backup made with VACUUM INTO or the .backup command."
        )
        raise SchemaNotCurrent(f"Triggers on numbers are missing or disabled: {silent}. {remedy}")
