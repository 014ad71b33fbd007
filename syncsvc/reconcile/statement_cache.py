"""
Statements that are built once a process, and executed with the values of each run.

SQLAlchemy takes longer to build one of them than a database takes to execute it for a few changes.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import BigInteger, Text, bindparam, exists, func, select

from syncsvc.schema.columns import UtcDateTime

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection, Executable, FromClause, Select, Table

    from syncsvc.database.runs import Run

S = TypeVar("S")

AHEAD_AT_MOST = timedelta(hours=24)  # of the run's start: no later stamp is credible

# What differs from run to run. No name is that of a column, as those have another meaning in
# INSERT and UPDATE.
ACCOUNT = bindparam("of_account", type_=Text())
RUN_ID = bindparam("of_run", type_=BigInteger())
STARTED_AT = bindparam("run_started_at", type_=UtcDateTime())
LATEST_STAMP = bindparam("latest_stamp", type_=UtcDateTime())

BUILT: dict[Hashable, Any] = {}


def built(build: Callable[..., S], *arguments: Hashable) -> S:
    """
    Return what a function builds of these arguments, which it does only once.

    It is kept in `BUILT`. So no argument may be made for one run alone.
    """
    key = (build, *arguments)
    if key not in BUILT:
        BUILT[key] = build(*arguments)
    found: S = BUILT[key]
    return found


def values_for(account: str) -> dict[str, Any]:
    """
    Return the values for an account, of which the run does not matter.
    """
    return {ACCOUNT.key: account}


def values_at(account: str, started_at: datetime) -> dict[str, Any]:
    """
    Return the values for a run of which the id does not matter.
    """
    return {
        **values_for(account),
        "run_started_at": started_at,
        "latest_stamp": started_at + AHEAD_AT_MOST,
    }


def values_of(run: Run) -> dict[str, Any]:
    """
    Return the values for a run.
    """
    return {**values_at(run.account, run.started_at), "of_run": run.id}


def execute_for(connection: Connection, run: Run, *builds: Callable[[], Executable]) -> None:
    """
    Execute what these functions build for a run, one after the other.
    """
    for build in builds:
        connection.execute(built(build), values_of(run))


def count(
    connection: Connection,
    rows: FromClause,
    *conditions: ColumnElement[bool],
    values: Mapping[str, Any] | None = None,
) -> int:
    """
    Count the rows that meet the conditions.

    Args:
        rows: Like the conditions, the same object whenever the same is meant.
    """
    return connection.execute(built(_counting, rows, *conditions), values).scalar_one()


def _counting(rows: FromClause, *conditions: ColumnElement[bool]) -> Select[int]:
    return select(func.count()).select_from(rows).where(*conditions)


def has_rows(connection: Connection, table: Table) -> bool:
    """
    Return whether a table has any row.
    """
    return bool(connection.execute(built(_existing, table)).scalar_one())


def _existing(table: Table) -> Select[bool]:
    return select(exists().select_from(table))
