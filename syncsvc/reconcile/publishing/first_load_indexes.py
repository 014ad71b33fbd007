"""
Speed up the first load: drop indexes and keys, insert the rows, recreate them.

To maintain indexes and check keys row by row takes longer than to insert the
rows. If no account has any number yet, the transaction that publishes the
first ones drops both and recreates them. If it fails, both are rolled back.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import structlog
from sqlalchemy import exists, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.schema import AddConstraint, CreateIndex, DropConstraint, DropIndex

from syncsvc.schema.tables import number_history, numbers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, Index, Table
    from sqlalchemy.sql.ddl import ExecutableDDLElement

log = structlog.get_logger(__name__)

FILLED = (numbers, number_history)

# SQLite keeps its keys. Uuids come in no order, so that each belongs to another page of the key.
# These KiB hold the keys of 100,000 rows; 2,000 would be the default.
LARGER_CACHE = "PRAGMA cache_size=-8000"

# Rows without statistics are checked against a foreign key by sorting both tables, unless
# PostgreSQL may only hash them. It takes a fifth of the time.
JOINS_OTHER_THAN_BY_HASH = ("enable_mergejoin", "enable_nestloop")


@contextmanager
def quick_first_load(connection: Connection) -> Iterator[bool]:
    """
    Insert the rows of a first load without indexes and keys, in the caller's transaction.

    If the tables may not be altered, or somebody is reading them, they keep theirs.

    Yields:
        Whether indexes and keys were dropped.
    """
    if not _is_first(connection) or not _dropped(connection):
        yield False
        return
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(LARGER_CACHE)
    yield True
    with _joining_by_hash(connection):
        for statement in _create_statements(connection):
            connection.execute(statement)


def _is_first(connection: Connection) -> bool:
    return not connection.execute(select(exists().select_from(numbers))).scalar_one()


def _dropped(connection: Connection) -> bool:
    """
    Drop indexes and keys; return whether that was possible.
    """
    try:
        with connection.begin_nested():
            if _has_constraints(connection):
                connection.exec_driver_sql("LOCK TABLE numbers, number_history NOWAIT")
            for statement in _drop_statements(connection):
                connection.execute(statement)
    except DBAPIError as exc:
        log.debug("sync.first_load_keeps_indexes", error=type(exc.orig).__name__)
        return False
    return True


def _has_constraints(connection: Connection) -> bool:
    """
    Return whether constraints can be dropped; SQLite has them in the table's definition.
    """
    return connection.dialect.name == "postgresql"


@contextmanager
def _joining_by_hash(connection: Connection) -> Iterator[None]:
    """
    Let PostgreSQL join by hash alone, until the block or the transaction ends.
    """
    if not _has_constraints(connection):
        yield
        return
    for setting in JOINS_OTHER_THAN_BY_HASH:
        connection.exec_driver_sql(f"SET LOCAL {setting} = off")
    yield
    for setting in JOINS_OTHER_THAN_BY_HASH:
        connection.exec_driver_sql(f"SET LOCAL {setting} TO DEFAULT")


def _drop_statements(connection: Connection) -> Iterator[ExecutableDDLElement]:
    for table in FILLED:
        yield from (DropIndex(index) for index in _indexes(connection, table))
        if _has_constraints(connection):
            yield from (DropConstraint(key) for key in table.foreign_key_constraints)
    if _has_constraints(connection):
        yield from (DropConstraint(table.primary_key) for table in FILLED)


def _create_statements(connection: Connection) -> Iterator[ExecutableDDLElement]:
    if _has_constraints(connection):
        for table in FILLED:
            yield AddConstraint(table.primary_key, isolate_from_table=False)
    for table in FILLED:
        yield from (CreateIndex(index) for index in _indexes(connection, table))
        if _has_constraints(connection):
            yield from (
                AddConstraint(key, isolate_from_table=False)
                for key in table.foreign_key_constraints
            )


def _indexes(connection: Connection, table: Table) -> list[Index]:
    dialect = connection.dialect.name
    return [index for index in table.indexes if index.info.get("only", dialect) == dialect]
