"""
Insert many rows faster than SQLAlchemy does.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec

from syncsvc.database.transactions import translation
from syncsvc.schema.columns import Money, UtcDateTime

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from decimal import Decimal

    from sqlalchemy import Connection, Table


ROWS_AS_JSON = msgspec.json.Encoder()
CSV_OF_JSON = r" WITH (FORMAT csv, NULL 'null', ESCAPE E'\\')"


@lru_cache(maxsize=1024)
def _time_as_text(value: datetime) -> str:
    utc = value.astimezone(UTC)
    naive = datetime.combine(utc, utc.time())  # its text takes half the time, with this step
    return naive.isoformat(" ", "microseconds")


@lru_cache(maxsize=1024)
def _money_as_float(value: Decimal) -> float:
    return float(value)


# Of the types of our columns, those that SQLite's driver does not store by itself.
SQLITE_ADAPTERS: dict[type, Callable[[Any], float | str]] = {
    Money: _money_as_float,
    UtcDateTime: _time_as_text,
}


def copy_into(
    connection: Connection,
    table: Table,
    rows: Sequence[tuple[Any, ...]],
    columns: Sequence[str] = (),
) -> None:
    """
    Insert many rows the fastest way: COPY on PostgreSQL, executemany on SQLite.

    Args:
        columns: In the order of the values; by default all of the table's.
    """
    if not rows:
        return
    names = columns or table.c.keys()
    if connection.dialect.name == "postgresql":
        _copy(connection, table, rows, names)
        return
    places = ", ".join("?" * len(names))
    statement = f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({places})"  # noqa: S608 - our names
    adapters = _sqlite_adapters(table, names)
    connection.exec_driver_sql(statement, [_as_sqlite_stores(row, adapters) for row in rows])


def _sqlite_adapters(
    table: Table, names: Sequence[str]
) -> list[tuple[int, Callable[[Any], float | str]]]:
    """
    Return the places of the columns that SQLite's driver does not store by itself, and how to.
    """
    kinds = [(place, type(table.c[name].type)) for place, name in enumerate(names)]
    return [(place, SQLITE_ADAPTERS[kind]) for place, kind in kinds if kind in SQLITE_ADAPTERS]


def _as_sqlite_stores(
    row: tuple[Any, ...], adapters: Sequence[tuple[int, Callable[[Any], float | str]]]
) -> tuple[Any, ...]:
    """
    Convert a row to SQLite's storage types directly; SQLAlchemy's type processing is slow here.
    """
    values = list(row)
    for place, adapt in adapters:
        if (value := values[place]) is not None:
            values[place] = adapt(value)
    return tuple(values)


def _copy(
    connection: Connection, table: Table, rows: Sequence[tuple[Any, ...]], names: Sequence[str]
) -> None:
    driver = connection.connection.driver_connection
    assert driver is not None  # noqa: S101 - the connection is open
    lines = _csv_lines(rows)
    form = "" if lines is None else CSV_OF_JSON
    statement = f"COPY {table.name} ({', '.join(names)}) FROM STDIN{form}"
    try:
        with driver.cursor().copy(statement) as copy:
            if lines is not None:
                copy.write(lines)
            else:
                for row in rows:
                    copy.write_row(row)
    except driver.Error as exc:  # SQLAlchemy knows nothing of COPY
        raise translation(exc) from exc


def _csv_lines(rows: Sequence[tuple[Any, ...]]) -> bytes | None:
    """
    Return rows as CSV for COPY, in a quarter of the time that psycopg takes for its text format.

    A row as a JSON array, without its brackets, is a line of CSV in which quotes and backslashes
    are escaped by a backslash. CSV has no other escapes: rows with control characters, which JSON
    escapes too, return None.
    """
    arrays = ROWS_AS_JSON.encode_lines(rows)
    if b"\\" in arrays and b"\\" in arrays.replace(rb"\\", b"").replace(rb"\"", b""):
        return None
    return arrays[1:-2].replace(b"]\n[", b"\n")  # JSON has no newline within a string
