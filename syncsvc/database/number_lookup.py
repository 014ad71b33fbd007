"""
Find a number by what people write, and read its history.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from sqlalchemy import Text, cast, func, or_, select

from syncsvc.database.account_and_run_queries import fetch_rows, history, same_number
from syncsvc.errors import UnknownNumber
from syncsvc.schema.tables import number_history, numbers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import ColumnElement, Connection

    from syncsvc.database.account_and_run_queries import Row


def find_numbers(connection: Connection, account: str, wanted: str) -> list[Row]:
    """
    Find the numbers of an account by a uuid, or by an E.164 number they have or had.

    Any spelling of the same digits will do: with a plus sign, 00 or neither, as a national
    number, and with separators. Only if nothing has exactly this text or these digits behind a
    plus sign are all spellings and earlier numbers compared, which reads the whole account.

    Raises:
        UnknownNumber: There is none.
    """
    text = wanted.strip().encode(errors="replace").decode()  # an argument need not be UTF-8
    digits = _digits(text)
    exact = or_(
        numbers.c.uuid == _uuid(text),
        numbers.c.number_e164.in_([text, f"+{digits}", digits]),
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


def _uuid(text: str) -> str:
    """
    Return a uuid as the tables have it, from any of its forms: in braces, as a URN, all digits.
    """
    try:
        return str(UUID(text))
    except ValueError:
        return text.lower()


def _numbers_where(
    connection: Connection, account: str, condition: ColumnElement[bool]
) -> list[Row]:
    query = (
        select(numbers)
        .where(numbers.c.account == account, condition)
        .order_by(numbers.c.first_seen_at, numbers.c.uuid)
    )
    return fetch_rows(connection, query)


def _spelled_otherwise(connection: Connection, account: str, digits: str) -> Iterator[str]:
    """
    Find the uuids of numbers that have these digits in another spelling, or had them before.
    """
    columns = (numbers.c.uuid, numbers.c.country_code)
    known = select(*columns, numbers.c.number_e164).where(numbers.c.account == account)
    renumbered = cast(history.changes, Text).like('%"number_e164"%')
    before = (
        select(*columns, history.changes)
        .join_from(number_history, numbers, same_number)
        .where(history.account == account, renumbered)
    )
    for uuid, country_code, number in connection.execute(known):
        if digits in _spellings(number, country_code):
            yield uuid
    for uuid, country_code, changes in connection.execute(before):
        old = changes.get("number_e164", {}).get("old")
        if digits in _spellings(str(old), country_code):
            yield uuid


def _spellings(number: str, country_code: str | None) -> set[str]:
    """
    Return the digits of a number as people write it: +44 1245, 01245, 1245 and +44 (0)1245.
    """
    digits, prefix = _digits(number), _digits(country_code or "")
    if not (prefix and digits.startswith(prefix)):
        return {digits}
    national = digits.removeprefix(prefix)
    return {digits, national, f"0{national}", f"{prefix}0{national}"}


def _digits(text: str) -> str:
    """
    Return the digits of a number behind its plus sign or 00.
    """
    found = "".join(character for character in text if character in "0123456789")
    return found.removeprefix("00")


def timeline(connection: Connection, account: str, uuid: str) -> list[Row]:
    """
    Return the history of one number, oldest first.
    """
    query = (
        select(number_history)
        .where(history.account == account, history.uuid == uuid)
        .order_by(history.valid_from, history.id)
    )
    return fetch_rows(connection, query)


def most_changed(connection: Connection, account: str) -> str | None:
    """
    Return the E.164 number that has the longest history in an account.
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
