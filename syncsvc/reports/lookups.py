"""
Named read-only questions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import Text, and_, cast, func, or_, select

from syncsvc.errors import UnknownNumber
from syncsvc.schema.tables import number_history, numbers, sync_runs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import ColumnElement, Connection, Select

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
    Find the numbers of an account by a uuid, or by an E.164 number they have or had.

    Any spelling of the same digits will do: with a plus sign, 00 or neither, and with
    separators. Only if nothing has exactly this text or these digits behind a plus sign are
    all spellings and earlier numbers compared, which reads the whole account.

    Raises:
        UnknownNumber: There is none.
    """
    digits = _digits(wanted)
    exact = or_(
        numbers.c.uuid == wanted.strip().lower(),
        numbers.c.number_e164.in_([wanted.strip(), f"+{digits}", digits]),
    )
    found = _numbers_where(connection, account, exact)
    if not found and digits:
        uuids = [*_spelled_otherwise(connection, account, digits)]
        found = _numbers_where(connection, account, numbers.c.uuid.in_(uuids))
    if not found:
        raise UnknownNumber(
            f"No number {wanted!r} in account {account!r}. Give it like +441245123456, or its uuid."
        )
    return found


def _numbers_where(
    connection: Connection, account: str, condition: ColumnElement[bool]
) -> list[Row]:
    query = (
        select(numbers)
        .where(numbers.c.account == account, condition)
        .order_by(numbers.c.first_seen_at, numbers.c.uuid)
    )
    return _rows(connection, query)


def _spelled_otherwise(connection: Connection, account: str, digits: str) -> Iterator[str]:
    """
    The uuids of numbers that have these digits in another spelling, or had them before.
    """
    now = select(numbers.c.uuid, numbers.c.number_e164).where(numbers.c.account == account)
    for uuid, text in connection.execute(now):
        if _digits(text) == digits:
            yield uuid
    renumbered = cast(history.changes, Text).like('%"number_e164"%')
    before = select(history.uuid, history.changes).where(history.account == account, renumbered)
    for uuid, changes in connection.execute(before):
        if _digits(str(changes.get("number_e164", {}).get("old"))) == digits:
            yield uuid


def _digits(text: str) -> str:
    """
    The digits of a number behind its plus sign or 00.
    """
    found = "".join(character for character in text if character in "0123456789")
    return found.removeprefix("00")


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
