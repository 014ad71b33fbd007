"""
What a fleet itself writes into `account_status`, beside the runs: when an account is due again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert

from syncsvc.schema.tables import account_status

if TYPE_CHECKING:
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


def seconds_from_now(seconds: float) -> ColumnElement[Any]:
    """
    Return a time by the database's clock.
    """
    return func.now() + func.make_interval(0, 0, 0, 0, 0, 0, seconds)
