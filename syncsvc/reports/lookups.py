"""
Named read-only questions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, func, or_, select

from syncsvc.errors import UnknownNumber
from syncsvc.schema.tables import number_history, numbers, sync_runs

if TYPE_CHECKING:
    from sqlalchemy import Connection, Select

Row = dict[str, Any]

history = number_history.c
same_number = and_(numbers.c.account == history.account, numbers.c.uuid == history.uuid)


def last_runs(connection: Connection, account: str, limit: int) -> list[Row]:
    """
    The last runs of an account, newest first.
    """
    query = (
        select(sync_runs)
        .where(sync_runs.c.account == account)
        .order_by(sync_runs.c.id.desc())
        .limit(limit)
    )
    return _rows(connection, query)


def changes_of_run(connection: Connection, run_id: int, limit: int) -> list[Row]:
    """
    The history rows that one run wrote, with the number that each is about.
    """
    query = (
        select(numbers.c.number_e164, number_history)
        .join_from(number_history, numbers, same_number)
        .where(history.run_id == run_id)
        .order_by(history.event, numbers.c.number_e164, history.id)
        .limit(limit)
    )
    return _rows(connection, query)


def find_numbers(connection: Connection, account: str, wanted: str) -> list[Row]:
    """
    The numbers of an account that a uuid or an E.164 number names, as they are now.

    The plus sign and separators of an E.164 number may be left out.

    Raises:
        UnknownNumber: There is none.
    """
    digits = "+" + "".join(filter(str.isdigit, wanted))
    query = (
        select(numbers)
        .where(
            numbers.c.account == account,
            or_(
                numbers.c.uuid == wanted.strip().lower(),
                numbers.c.number_e164.in_([wanted.strip(), digits]),
            ),
        )
        .order_by(numbers.c.first_seen_at, numbers.c.uuid)
    )
    found = _rows(connection, query)
    if not found:
        raise UnknownNumber(
            f"No number {wanted!r} in account {account!r}. Give it like +441245123456, or its uuid."
        )
    return found


def timeline(connection: Connection, account: str, uuid: str) -> list[Row]:
    """
    The history of one number, oldest first.
    """
    query = (
        select(number_history)
        .where(history.account == account, history.uuid == uuid)
        .order_by(history.valid_from, history.id)
    )
    return _rows(connection, query)


def most_changed(connection: Connection, account: str) -> str | None:
    """
    The E.164 number with the longest history of an account.
    """
    query = (
        select(numbers.c.number_e164)
        .join_from(number_history, numbers, same_number)
        .where(history.account == account)
        .group_by(numbers.c.number_e164)
        .order_by(func.count().desc(), numbers.c.number_e164)
        .limit(1)
    )
    return connection.execute(query).scalar()


def _rows(connection: Connection, query: Select[Any]) -> list[Row]:
    return [dict(row) for row in connection.execute(query).mappings()]
