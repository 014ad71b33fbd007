"""
Answers as text: exact for machines, readable for people.

CSV is RFC 4180 in UTF-8, with a heading row; NULL is an empty field. JSON is an
array of objects, one on each line. In both, amounts have all of their four
places (in JSON as strings, so that no reader makes binary floating point of
them) and times are ISO 8601 in UTC.
"""

from __future__ import annotations

import csv
import io
import os
import re
import sys
import tempfile
from contextlib import contextmanager
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import msgspec

from syncsvc.errors import ConfigurationError
from syncsvc.reports import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from syncsvc.reports import Column, Row

NUMERIC = (Kind.NUMBER, Kind.AMOUNT, Kind.DAYS)
FORMULA = re.compile(r"[=+\-@\t\r\n\0＝＋－＠]")  # noqa: RUF001 - spreadsheets take the wide ones, too
HARMLESS = re.compile(r"\+\d+")  # an E.164 number: as a formula it is that number


class Format(StrEnum):
    """
    How an answer is written.
    """

    TABLE = "table"
    CSV = "csv"
    JSON = "json"


def csv_lines(columns: Sequence[Column], rows: Iterable[Row]) -> Iterator[str]:
    """
    The heading and each row, as CSV.
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
    A value, exactly; a text that a spreadsheet would run is made one that it shows.
    """
    if value is None:
        return ""
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, str) and FORMULA.match(value) and not HARMLESS.fullmatch(value):
        return f"'{value}"
    return str(value)


def json_lines(columns: Sequence[Column], rows: Iterable[Row]) -> Iterator[str]:
    """
    An array of objects, one on each line.
    """
    before = "[\n"
    for row in rows:
        shown = {column.name: row[column.name] for column in columns}
        yield before + msgspec.json.encode(shown).decode()
        before = ",\n"
    yield "[]\n" if before == "[\n" else "\n]\n"


def heading(column: Column, currency: str | None) -> str:
    """
    A column's name, with the currency where it holds amounts.
    """
    return f"{column.name} ({currency})" if currency and column.kind is Kind.AMOUNT else column.name


def shown(value: Any, kind: Kind) -> str:  # noqa: ANN401 - whatever a column of this kind holds
    """
    A value as people read it; empty for None.
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
    An amount to the cent, or further where it goes further: 1,234.50, 0.0125.
    """
    whole, _, places = f"{value:,.4f}".partition(".")
    return f"{whole}.{places.rstrip('0').ljust(2, '0')}"


@contextmanager
def opened(path: Path) -> Iterator[TextIO]:
    """
    Where to write: stdout for `-`, else a file that appears whole or not at all.

    Raises:
        ConfigurationError: It can't be written.
    """
    if str(path) == "-":
        with _stdout() as stream:
            yield stream
        return
    try:
        if path.exists() and not path.is_file():  # a pipe or a device can't be replaced
            with path.open("w", encoding="utf-8", newline="") as stream:
                yield stream
        else:
            with _replacing(path.resolve()) as stream:
                yield stream
    except OSError as exc:
        raise ConfigurationError(f"{path} can't be written: {exc.strerror}.") from exc


@contextmanager
def _stdout() -> Iterator[TextIO]:
    """
    Stdout in UTF-8, whatever the terminal's language is.
    """
    stream = io.TextIOWrapper(sys.stdout.buffer, encoding="utf-8", newline="", write_through=True)
    try:
        yield stream
    finally:
        stream.detach()


@contextmanager
def _replacing(path: Path) -> Iterator[TextIO]:
    """
    A new file beside the path, moved onto it in the end.
    """
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with open(descriptor, "w", encoding="utf-8", newline="") as stream:  # noqa: PTH123 - a descriptor
            yield stream
        os.chmod(name, _mode(path))  # noqa: PTH101 - as mkstemp gives it
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _mode(path: Path) -> int:
    """
    The permissions of the file that is replaced, or those of any new file.
    """
    if path.exists():
        return path.stat().st_mode & 0o7777
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask
