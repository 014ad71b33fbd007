"""
Write the rows of a report, in any of its formats, to stdout or a file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from syncsvc.errors import ConfigurationError
from syncsvc.output import output_file
from syncsvc.output.formats import csv_json, parquet, terminal
from syncsvc.output.formats.csv_json import Format

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path
    from typing import BinaryIO

    from syncsvc.reports import Column, Row

BINARY = (Format.XLSX, Format.PARQUET)


def write_rows(
    columns: Sequence[Column],
    rows: Iterable[Row],
    output_format: Format,
    output: Path,
    *,
    name: str,
    currency: str | None = None,
) -> None:
    """
    Write rows to a file, or to stdout for `-`.

    Args:
        columns: The columns, in order.
        rows: The rows, with a value for each column.
        output_format: How.
        output: Where to.
        name: What the rows are called, for the sheet of a workbook.
        currency: The code of the amounts' currency, if known.

    Raises:
        ConfigurationError: The file can't be written, or the format can't hold the rows.
    """
    if output_format in BINARY:
        with output_file.open_binary(output) as stream:
            _require_no_terminal(stream, output_format)
            _write_binary(columns, rows, output_format, stream, name, currency)
    elif output_format is Format.TABLE:
        _write_table(columns, rows, output, currency)
    else:
        lines = csv_json.csv_lines if output_format is Format.CSV else csv_json.json_lines
        text = lines(columns, rows)
        with output_file.open_output(output) as file:
            file.writelines(csv_json.without_controls(text) if file.isatty() else text)


def require_format(output_format: Format) -> None:
    """
    Refuse a format that can't be written here, before the rows are read.

    Raises:
        ConfigurationError: A library is missing.
    """
    if output_format is Format.PARQUET:
        parquet.require_pyarrow()


def _require_no_terminal(stream: BinaryIO, output_format: Format) -> None:
    if stream.isatty():
        raise ConfigurationError(
            f"--format {output_format} is not for a terminal. Name a file with --output."
        )


def _write_binary(
    columns: Sequence[Column],
    rows: Iterable[Row],
    output_format: Format,
    stream: BinaryIO,
    name: str,
    currency: str | None,
) -> None:
    if output_format is Format.PARQUET:
        parquet.write(columns, rows, stream, currency=currency)
        return
    from syncsvc.output.formats import xlsx  # noqa: PLC0415 - it takes a while to load

    xlsx.write(columns, rows, stream, name=name, currency=currency)


def _write_table(
    columns: Sequence[Column], rows: Iterable[Row], output: Path, currency: str | None
) -> None:
    table = terminal.report_table(columns, rows, currency)
    if output == output_file.STDOUT:
        terminal.show(table)
        return
    with output_file.open_output(output) as stream:
        terminal.show(table, stream)
