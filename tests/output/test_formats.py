from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import openpyxl
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet as pq

from support.build import profile
from support.processes import piped_from
from syncsvc.errors import ConfigurationError
from syncsvc.output import write_rows
from syncsvc.output.formats import csv_json, parquet, xlsx
from syncsvc.output.formats.csv_json import Format
from syncsvc.reports import REPORTS, Column, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from openpyxl.worksheet.worksheet import Worksheet

OPENING = Path(__file__).parents[2] / "docs" / "open-reports.md"
BLOCK = re.compile(r"^```(python|sql)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COLUMNS = (
    Column("number_e164", Kind.TEXT, "A number."),
    Column("address_id", Kind.ID, "An id."),
    Column("numbers", Kind.NUMBER, "A count.", has_total=True),
    Column("monthly_charge", Kind.AMOUNT, "An amount.", has_total=True),
    Column("days", Kind.DAYS, "Days."),
    Column("utilisation", Kind.PERCENT, "A share."),
    Column("valid_from", Kind.MOMENT, "A time."),
    Column("month", Kind.MONTH, "A month."),
)
ROWS: list[dict[str, Any]] = [
    {
        "number_e164": "+442079460001",
        "address_id": 1234567,
        "numbers": 2,
        "monthly_charge": Decimal("99999999.9999"),
        "days": Decimal("3.8"),
        "utilisation": Decimal("66.7"),
        "valid_from": datetime(2026, 3, 31, 12, 0, 21, tzinfo=UTC),
        "month": date(2026, 3, 1),
    },
    {
        "number_e164": "=1+1",
        "address_id": 2**63 - 1,
        "numbers": 3,
        "monthly_charge": Decimal("0.0001"),
        "days": None,
        "utilisation": None,
        "valid_from": datetime(2026, 3, 31, 12, 0, 23, 224805, tzinfo=UTC),
        "month": date(2026, 4, 1),
    },
    {**dict.fromkeys(column.name for column in COLUMNS), "number_e164": "+33199000006"},
]


@pytest.fixture
def files(tmp_path: Path) -> dict[Format, Path]:
    """
    The same rows in each format that other programs read.
    """
    paths = {each: tmp_path / f"rows.{each}" for each in (Format.CSV, Format.XLSX, Format.PARQUET)}
    for output_format, path in paths.items():
        write_rows.write_rows(COLUMNS, ROWS, output_format, path, name="rows", currency="GBP")
    return paths


def sheet_of(path: Path, *, values: bool) -> Worksheet:
    """
    The only sheet of a workbook, with the values or the formulas of its cells.
    """
    (sheet,) = openpyxl.load_workbook(path, data_only=values).worksheets
    return sheet


def test_a_workbook_has_typed_cells(files: dict[Format, Path]) -> None:
    """
    E.164 is text, times are times, amounts are numbers with the currency; no text is a formula.
    """
    sheet = sheet_of(files[Format.XLSX], values=True)
    heading, first, second, third, _ = sheet.iter_rows()

    assert [cell.value for cell in heading][3] == "monthly_charge (GBP)"
    assert [cell.value for cell in first] == [
        "+442079460001",
        1234567,
        2,
        99999999.9999,
        3.8,
        66.7,
        datetime(2026, 3, 31, 12, 0, 21),  # noqa: DTZ001 - Excel has no zones
        datetime(2026, 3, 1),  # noqa: DTZ001 - Excel has no zones
    ]
    assert [(cell.value, cell.data_type) for cell in second[:2]] == [
        ("=1+1", "s"),
        ("9223372036854775807", "s"),  # as a number Excel would round it
    ]
    assert first[3].number_format == '#,##0.0000 "GBP"'
    assert [cell.value for cell in third[1:]] == [None] * 7


def test_a_workbook_is_ready_to_use(files: dict[Format, Path]) -> None:
    """
    The heading stays in sight, can be filtered by, and the last row adds up what is shown.
    """
    sheet = sheet_of(files[Format.XLSX], values=False)
    totals = [cell.value for cell in sheet[5]]

    assert (sheet.title, sheet.freeze_panes, sheet.auto_filter.ref) == ("rows", "A2", "A1:H4")
    assert totals[:4] == ["Total", None, "=SUBTOTAL(109,C2:C4)", "=SUBTOTAL(109,D2:D4)"]
    values = [cell.value for cell in sheet_of(files[Format.XLSX], values=True)[5]]
    assert values[2:4] == [5, 100000000.0]


@profile
@given(st.text(st.characters(codec="utf-8"), min_size=1))
def test_any_text_survives_a_workbook(text: str) -> None:
    """
    Whatever was sent is read back, but for characters that XML can't have.
    """
    stream = io.BytesIO()
    xlsx.write([Column("c", Kind.TEXT, "")], [{"c": text}], stream, name="t", currency=None)

    (_, row) = openpyxl.load_workbook(stream).active.iter_rows(values_only=True)
    wanted = text.replace("\ufffe", "\ufffd").replace("\uffff", "\ufffd")
    assert _unescaped(row[0]) == _unescaped(wanted)


def _unescaped(text: str) -> str:
    """
    A text without the way in which a workbook writes control characters.
    """
    return re.sub(r"_x([0-9A-Fa-f]{4})_", lambda found: chr(int(found[1], 16)), text)


def test_what_excel_can_not_date_is_text() -> None:
    """
    A time from before 1901 is a text.
    """
    stream = io.BytesIO()
    moment = datetime(1, 1, 1, tzinfo=UTC)
    xlsx.write([Column("c", Kind.MOMENT, "")], [{"c": moment}], stream, name="t", currency=None)

    (_, row) = openpyxl.load_workbook(stream).active.iter_rows(values_only=True)
    assert row == ("0001-01-01 00:00:00",)


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        ([{"c": "a"}] * 3, "A sheet has room for 2 rows. Use --format csv or parquet"),
        ([{"c": "a" * 32_768}], "c in row 1 has 32,768 characters, a cell at most 32,767."),
    ],
)
def test_what_does_not_fit_a_sheet_is_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, rows: list[Any], complaint: str
) -> None:
    """
    Too many rows or too long a text leave no file that lacks some of it.
    """
    monkeypatch.setattr(xlsx, "MOST_ROWS", 2)
    path = tmp_path / "short.xlsx"
    columns = [Column("c", Kind.TEXT, "")]

    with pytest.raises(ConfigurationError, match=re.escape(complaint)):
        write_rows.write_rows(columns, rows, Format.XLSX, path, name="t")

    assert not path.exists()


def test_parquet_has_the_types_of_the_tables(files: dict[Format, Path]) -> None:
    """
    Times are UTC, charges numeric(12,4), texts are texts, and every value is the one that was.
    """
    table = pq.read_table(files[Format.PARQUET])

    assert table.schema.types == [
        pa.string(),
        pa.int64(),
        pa.int64(),
        pa.decimal128(12, 4),
        pa.decimal128(12, 1),
        pa.decimal128(12, 1),
        pa.timestamp("us", tz="UTC"),
        pa.date32(),
    ]
    assert table.schema.field("monthly_charge").metadata[b"currency"] == b"GBP"
    assert table.to_pylist() == ROWS


def test_many_rows_are_in_several_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Rows are written in groups, none is lost between them, and none at all is a file too.
    """
    monkeypatch.setattr(parquet, "GROUP_SIZE", 2)
    for rows in (ROWS, []):
        stream = io.BytesIO()
        parquet.write(COLUMNS, iter(rows), stream, currency=None)
        assert pq.read_table(stream).to_pylist() == rows


def test_times_of_a_csv_are_times_without_being_told(files: dict[Format, Path]) -> None:
    """
    pandas, Polars and DuckDB take a column of times for that, with and without fractions.
    """
    path = files[Format.CSV]
    wanted = [row["valid_from"].replace(tzinfo=None) for row in ROWS[:2]]

    (by_duckdb,) = duckdb.execute(f"SELECT list(valid_from) FROM '{path}'").fetchall()  # noqa: S608 - ours
    by_polars = pl.read_csv(path, try_parse_dates=True)["valid_from"].to_list()
    by_pandas = pd.to_datetime(pd.read_csv(path)["valid_from"])

    assert by_duckdb[0][:2] == by_polars[:2] == [*by_pandas[:2]] == wanted


@pytest.fixture
def converted(tmp_path: Path) -> Callable[[Path], str]:
    """
    What LibreOffice makes of a file: its cells, as flat XML.
    """
    office = shutil.which("soffice")
    if office is None and "CI" not in os.environ:
        pytest.skip("needs LibreOffice Calc")

    def convert(path: Path) -> str:
        call = [
            office or "soffice",
            f"-env:UserInstallation=file://{tmp_path}/office",
            *("--headless", "--convert-to", "fods", "--outdir", str(tmp_path), str(path)),
        ]
        subprocess.run(call, check=True, capture_output=True, timeout=240)
        return path.with_suffix(".fods").read_text()

    return convert


@pytest.mark.parametrize("output_format", [Format.CSV, Format.XLSX])
def test_libreoffice_reads_times_as_times(
    files: dict[Format, Path], converted: Callable[[Path], str], output_format: Format
) -> None:
    """
    LibreOffice takes times for times, and runs no text as a formula.
    """
    cells = converted(files[output_format])

    assert 'office:date-value="2026-03-31T12:00:21' in cells
    assert 'office:date-value="2026-03-31T12:00:23' in cells
    assert "of:=1+1" not in cells
    if output_format is Format.XLSX:
        assert 'office:value-type="string"' in cells
        assert "+442079460001" in cells


def test_without_pyarrow_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Parquet is an optional extra, and an error says how to install it.
    """
    monkeypatch.setitem(sys.modules, "pyarrow", None)

    with pytest.raises(ConfigurationError, match=re.escape("pip install 'syncsvc[parquet]'")):
        write_rows.require_format(Format.PARQUET)


@pytest.mark.parametrize("output_format", [Format.XLSX, Format.PARQUET])
def test_a_terminal_gets_no_binary_file(output_format: Format) -> None:
    """
    What a terminal would garble is refused, with what to do.
    """
    ours, its = os.openpty()
    try:
        with pytest.raises(ConfigurationError, match="Name a file with --output"):
            write_rows.write_rows(COLUMNS, ROWS, output_format, Path(os.ttyname(its)), name="rows")
    finally:
        os.close(ours)
        os.close(its)


@pytest.mark.parametrize("name", ["inventory", "spend-by-country", "trust"])
def test_every_format_has_the_same_rows(report_files: Callable[[str], Path], name: str) -> None:
    """
    CSV, workbook and Parquet of a report have the same columns and as many rows, through a pipe.
    """
    names = [column.name for column in REPORTS[name].columns]
    home = report_files(name)
    parquet_rows = pq.read_table(home / f"{name}.parquet")
    sheet = sheet_of(home / f"{name}.xlsx", values=True)
    csv_rows = pd.read_csv(home / f"{name}.csv")
    totals = any(column.has_total for column in REPORTS[name].columns)

    assert parquet_rows.column_names == list(csv_rows.columns) == names
    assert [cell.value for cell in sheet[1]] == [
        csv_json.heading(column, "GBP") for column in REPORTS[name].columns
    ]
    assert parquet_rows.num_rows == len(csv_rows) == sheet.max_row - 1 - totals


@pytest.fixture
def report_files(
    known_inventory: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], Path]:
    """
    A report of the known inventory in each format, written through a pipe.
    """
    url = known_inventory.url.render_as_string(hide_password=False)
    monkeypatch.chdir(tmp_path)
    environ = {**os.environ, "SYNCSVC_DATABASE_URL": url, "SYNCSVC_CURRENCY": "GBP"}

    def write(name: str) -> Path:
        for output_format in ("csv", "xlsx", "parquet"):
            file = tmp_path / f"{name}.{output_format}"
            piped_from(("report", name, "--format", output_format, "--output", str(file)), environ)
        return tmp_path

    return write


def _printed(language: str) -> Iterator[str]:
    for kind, code in BLOCK.findall(OPENING.read_text()):
        if kind == language:
            yield code


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
def test_the_code_of_the_page_runs(report_files: Callable[[str], Path]) -> None:
    """
    What the documentation prints for pandas, Polars and DuckDB runs as it is printed.
    """
    report_files("inventory")

    for code in _printed("python"):
        found: dict[str, Any] = {}
        exec(code, found)  # noqa: S102 - of our own page
        assert len(found["inventory"]) == 9, code
        assert found["inventory"]["number_e164"][0] == "+12125550108"
    answers = [duckdb.execute(query).fetchall() for query in _printed("sql")]
    assert sum(row[1] for row in answers[0]) == 9
    assert all(isinstance(row[1], datetime) for row in answers[1])
