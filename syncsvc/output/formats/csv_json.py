"""
Rows as CSV, JSON or readable text.

CSV is RFC 4180 in UTF-8, with a heading row; NULL is an empty field. JSON is an
array of objects, one on each line. In both, amounts have all of their four
places (in JSON as strings, so that no reader makes binary floating point of
them) and times are ISO 8601 in UTC. In CSV they all have microseconds and no
zone, the one form that pandas, Polars, DuckDB and LibreOffice take for a time
by themselves; what has a Z LibreOffice keeps as text.
"""

from __future__ import annotations

import csv
import io
import re
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import msgspec

from syncsvc.reports import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from syncsvc.reports import Column, Row

NUMERIC = (Kind.NUMBER, Kind.ID, Kind.AMOUNT, Kind.DAYS, Kind.PERCENT)
FORMULA_CHARACTERS = "=+\\-@＝＋－＠"  # noqa: RUF001 - spreadsheets take the wide ones, too
FORMULA = re.compile(rf"\s*[{FORMULA_CHARACTERS}]|[\t\r\n\0]")
# A spreadsheet that splits at another separator than the comma sees more cells than we wrote, and
# takes our quotes for text: each cell that it may see must be harmless.
FORMULA_AFTER_SEPARATOR = re.compile(
    rf"""([,;|\t\r\n\v\f\0\x85\u2028\u2029][\s"',;|\0]*)(?<!')(?=[{FORMULA_CHARACTERS}])"""
)
CONTROLS = re.compile(r"\r(?!\n)|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
HARMLESS = re.compile(r"\+\d+")  # an E.164 number: as a formula it is that number


class Format(StrEnum):
    """
    The formats of a report.
    """

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    XLSX = "xlsx"
    PARQUET = "parquet"


def csv_lines(columns: Sequence[Column], rows: Iterable[Row]) -> Iterator[str]:
    """
    Yield the header and each row as CSV.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    names = [column.name for column in columns]
    for line in ([names], *([[_field(row[name]) for name in names]] for row in rows)):
        writer.writerows(line)
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()


def _field(value: object) -> str:
    """
    Write a value exactly, but put an apostrophe before what a spreadsheet would run as a formula.
    """
    if value is None:
        return ""
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, datetime):
        return value.replace(tzinfo=None).isoformat(timespec="microseconds")
    if isinstance(value, bool | int | float | date):
        return str(value)
    return _harmless(str(value))


def _harmless(text: str) -> str:
    if HARMLESS.fullmatch(text):
        return text
    quoted = FORMULA_AFTER_SEPARATOR.sub(r"\1'", text)
    return f"'{quoted}" if FORMULA.match(text) else quoted


def json_lines(columns: Sequence[Column], rows: Iterable[Row]) -> Iterator[str]:
    """
    Yield an array of objects, one on each line.
    """
    before = "[\n"
    for row in rows:
        shown = {column.name: row[column.name] for column in columns}
        yield before + msgspec.json.encode(shown).decode()
        before = ",\n"
    yield "[]\n" if before == "[\n" else "\n]\n"


def without_controls(chunks: Iterable[str]) -> Iterator[str]:
    """
    Escape control characters but line ends, so that a terminal obeys none.
    """
    for chunk in chunks:
        yield CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", chunk)


def heading(column: Column, currency: str | None) -> str:
    """
    Return a column's name, with the currency if it has amounts.
    """
    return f"{column.name} ({currency})" if currency and column.kind is Kind.AMOUNT else column.name


def shown(value: Any, kind: Kind) -> str:  # noqa: ANN401 - whatever a column of this kind holds
    """
    Format a value for people; empty for None.
    """
    if value is None:
        return ""
    if kind is Kind.AMOUNT:
        return amount(value)
    if kind is Kind.NUMBER:
        return f"{value:,}"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    return f"{value:%Y-%m}" if isinstance(value, date) else str(value)


def amount(value: Decimal) -> str:
    """
    Format an amount with at least two decimal places: 1,234.50, 0.0125.
    """
    whole, _, places = f"{value:,.4f}".partition(".")
    return f"{whole}.{places.rstrip('0').ljust(2, '0')}"
