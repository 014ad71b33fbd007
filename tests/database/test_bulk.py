"""
Copied rows are stored as inserted ones are.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as some
from sqlalchemy import BigInteger, Boolean, Column, MetaData, Table, Text, insert, text

from syncsvc.database.bulk import copy_into
from syncsvc.schema.columns import Money, UtcDateTime

if TYPE_CHECKING:
    from collections.abc import Iterator
    from decimal import Decimal

    from sqlalchemy import Connection, Engine

COPIED = Table(
    "copied",
    MetaData(),
    Column("number", BigInteger),
    Column("flag", Boolean),
    Column("words", Text),
    Column("amount", Money),
    Column("at", UtcDateTime),
    prefixes=["TEMPORARY"],
)
ROW = some.tuples(
    some.none() | some.integers(-(2**63), 2**63 - 1),
    some.none() | some.booleans(),
    some.none() | some.text(some.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    some.none() | some.decimals(-(10**8) + 1, 10**8 - 1, places=4),
    some.none()
    | some.datetimes(
        datetime(1, 1, 2),  # noqa: DTZ001 - the zone follows
        datetime(9999, 12, 30),  # noqa: DTZ001 - the zone follows
        timezones=some.sampled_from([UTC, timezone(timedelta(hours=-5))]),
    ),
)


@pytest.fixture
def connection(engine: Engine) -> Iterator[Connection]:
    """
    A connection with the table.
    """
    with engine.connect() as connection:
        COPIED.create(connection)
        yield connection
        connection.rollback()


def stored(connection: Connection) -> list[tuple[object, ...]]:
    """
    What the table holds, as the driver gives it and in any order; it is empty afterwards.
    """
    rows = sorted(map(tuple, connection.execute(text("SELECT * FROM copied"))), key=repr)
    connection.execute(COPIED.delete())
    return rows


@given(rows=some.lists(ROW, min_size=1, max_size=4))
@example(rows=[(1, True, "null", None, None), (2, False, "", None, None)])
@example(rows=[(1, None, '\\"],["\\', None, None), (2, None, "\\.", None, None)])
@example(rows=[(1, None, "]\n[", None, None), (2, None, "\u2028\x7f\x1b", None, None)])
@settings(
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,  # it leaves nothing
        HealthCheck.too_slow,
    ]
)
def test_copied_values_are_stored_as_inserted_ones(
    connection: Connection, rows: list[tuple[int, bool, str, Decimal, datetime]]
) -> None:
    """
    The quick way writes what the types of the columns write.
    """
    for row in rows:
        connection.execute(insert(COPIED).values(row))
    inserted = stored(connection)

    copy_into(connection, COPIED, rows)

    assert inserted == stored(connection)


def test_columns_may_be_named(connection: Connection) -> None:
    """
    Those that are not named stay empty.
    """
    copy_into(connection, COPIED, [("x", 1)], ["words", "number"])

    assert stored(connection) == [(1, None, "x", None, None)]
