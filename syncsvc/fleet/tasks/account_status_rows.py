"""
What a fleet itself writes into `account_status`, beside the runs: when an account is due again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert

from syncsvc.schema.tables import account_status

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy import ColumnElement, Connection


def read(connection: Connection, account: str) -> dict[str, Any]:
    """
    Return an account's row; empty if it never ran.
    """
    query = select(account_status).where(account_status.c.account == account)
    row = connection.execute(query).mappings().first()
    return dict(row) if row else {}


def write(connection: Connection, account: str, **values: Any) -> None:  # noqa: ANN401 - SQL too
    """
    Write some columns of an account's row, which may be its first.
    """
    statement = insert(account_status).values(account=account, **values)
    connection.execute(statement.on_conflict_do_update(index_elements=["account"], set_=values))


def make_due(connection: Connection, accounts: Collection[str], seconds: float = 0.0) -> None:
    """
    Make accounts due so many seconds from now; those that never ran are due anyway.
    """
    _make_due(connection, account_status.c.account.in_(accounts), seconds)


def make_rescued_due(connection: Connection, accounts: Collection[str]) -> None:
    """
    Make accounts due now, but for those whose row is locked.

    Such a run has begun to publish, and writes itself when the account is due. If its process is
    frozen, nobody waits for it to rescue the others.
    """
    rows = select(account_status.c.account).where(account_status.c.account.in_(accounts))
    free = rows.with_for_update(skip_locked=True)
    _make_due(connection, account_status.c.account.in_(free), 0.0)


def _make_due(connection: Connection, these: ColumnElement[bool], seconds: float) -> None:
    due_at = seconds_from_now(seconds)
    connection.execute(update(account_status).where(these).values(next_run_at=due_at))


def seconds_from_now(seconds: float) -> ColumnElement[Any]:
    """
    Return a time by the database's clock.
    """
    return func.now() + func.make_interval(0, 0, 0, 0, 0, 0, seconds)
