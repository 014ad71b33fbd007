from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from decimal import Decimal
from io import StringIO
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from rich.cells import cell_len
from rich.console import Console

from support.build import profile, uuid_at
from support.processes import on_terminal, piped_from
from support.report_answers import defaults
from syncsvc.output.formats import csv_json, terminal
from syncsvc.output.formats.terminal_grid import Grid, Heading
from syncsvc.reports import REPORTS, Arguments, Column, Kind
from syncsvc.sync.progress_and_summary import Summary

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Engine

STYLES = re.compile(r"\x1b\[[0-9;]*m")
NOTE = "Left out, as the terminal is too narrow: uuid."
WIDTHS = (60, 80, 120, 200)
LATER = datetime(2026, 5, 29, 12, tzinfo=UTC)
MILLION = "1111111.0211"
HISTORY: dict[str, Any] = {
    "uuid": "00000000-0000-4000-8000-000000000001",
    "number_e164": "+442079460001",
    "lifecycle": "live",
    "event": "changed",
    "evidence": "listing",
    "occurred_at_source": "provider",
    "occurred_at": datetime(2026, 3, 28, 23, 50, 21, tzinfo=UTC),
    "valid_from": datetime(2026, 3, 29, 6, 0, 59, tzinfo=UTC),
    "changes": {
        "monthly_charge": {"old": "0.3000", "new": MILLION},
        "range_name": {"old": "Chelmsford", "new": "Stow on the Wold and Moreton in Marsh"},
    },
}
RUN: dict[str, Any] = {
    "id": 123456,
    "state": "succeeded",
    "started_at": datetime(2026, 3, 28, 23, 50, 21, tzinfo=UTC),
    "finished_at": datetime(2026, 3, 28, 23, 50, 22, tzinfo=UTC),
    **dict.fromkeys(
        ("listed", "added", "provisioned", "reinstated", "cancelled", "changed", "rejected"),
        1_000_000,
    ),
}


def test_no_report_cuts_a_cell(known_inventory: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Every report shows each cell whole in any width, but for uuids that a note names as left out.
    """
    for report in REPORTS.values():
        asked = Arguments(account="default", now=LATER, **defaults(report))
        with known_inventory.connect() as connection:
            rows = list(report.rows(connection, asked))
        table = terminal.report_table(report.columns, rows, "GBP")
        for width in WIDTHS:
            shown = _shown(table, monkeypatch, width)
            left_out = {"uuid"} if shown.endswith(NOTE) else set()
            columns = [column for column in report.columns if column.name not in left_out]
            wanted = [csv_json.heading(column, "GBP") for column in columns]
            wanted += [_words(_cell(row[each.name], each)) for row in rows for each in columns]
            assert [text for text in wanted if text not in shown] == [], (report.name, width)


def _cell(value: Any, column: Column) -> str:
    if isinstance(value, str):
        return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in value)
    return csv_json.shown(value, column.kind)


@pytest.mark.parametrize("width", WIDTHS)
def test_runs_timelines_and_changes_are_whole(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    """
    Runs, a number's history, the changes of a dry run and its summary are whole in any width.
    """
    summary = Summary(account="default", state="planned", listed=1_000_000)
    runs = _shown(terminal.runs_table([RUN] * 2), monkeypatch, width)
    timeline = _shown(terminal.timeline_table(HISTORY, [HISTORY]), monkeypatch, width)
    changes = _shown(terminal.changes_table([HISTORY], 2000), monkeypatch, width)
    counts = _shown(terminal.summary_table(summary), monkeypatch, width)

    assert all(whole in runs for whole in ("123456", "2026-03-28 23:50", "1000000", "3000000"))
    assert all(whole in runs for whole in ("started (UTC)", "cancelled", "rejected"))
    for shown in (timeline, changes):
        assert "2026-03-28 23:50:21" in shown
        assert f"monthly_charge: 0.3000 → {MILLION}" in shown
        assert "range_name: Chelmsford → Stow on the Wold and Moreton in Marsh" in shown
        assert HISTORY["number_e164"] in shown
    assert "2026-03-29 06:00:59" in timeline
    assert HISTORY["uuid"] in timeline
    assert "the first 1 of 2,000" in changes
    assert all(name in counts for name in summary.__struct_fields__[6:11])
    assert "1,000,000" in counts


def test_runs_are_lines_in_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A run of a thousand numbers is one line of a usual terminal.
    """
    usual = RUN | dict.fromkeys(("listed", "added", "changed"), 999) | {"id": 42}
    usual |= dict.fromkeys(("provisioned", "reinstated", "cancelled", "rejected"), 0)

    lines = _lines(terminal.runs_table([usual]), monkeypatch, 80)

    assert ["42", "succeeded", "2026-03-28", "23:50", "1.0", "999", "999", "0", "999", "0"] in [
        line.split() for line in lines
    ]


def test_uuids_go_first_and_a_note_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    What fits without its uuids is a table; what does not fit then is a block a row, with uuids.
    """
    columns = [
        Column("number_e164", Kind.TEXT, ""),
        Column("uuid", Kind.TEXT, ""),
        Column("cancelled_at", Kind.MOMENT, ""),
        Column("monthly_charge", Kind.AMOUNT, ""),
    ]
    row = {**HISTORY, "cancelled_at": LATER, "monthly_charge": None}
    table = terminal.report_table(columns, [row], "GBP")

    whole, without, blocks = (_lines(table, monkeypatch, width) for width in (120, 80, 50))

    assert [HISTORY["uuid"] in "\n".join(lines) for lines in (whole, without, blocks)] == [
        True,
        False,
        True,
    ]
    assert without[-1] == NOTE
    assert "number_e164           +442079460001" in blocks
    assert not any("Left out" in line for line in (*whole, *blocks))


def test_totals_are_the_last_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The last row has the sum of each column that has one, in lines and as a block.

    NULL counts as nothing, and a report without rows or without such a column has no totals.
    """
    columns = [
        Column("range_name", Kind.TEXT, ""),
        Column("numbers", Kind.NUMBER, "", has_total=True),
        Column("days", Kind.DAYS, ""),
        Column("monthly_charge", Kind.AMOUNT, "", has_total=True),
    ]
    rows = [
        {"range_name": "London", "numbers": 1_000, "days": Decimal("1.0"), "monthly_charge": None},
        {
            "range_name": "Paris",
            "numbers": 2,
            "days": Decimal("2.0"),
            "monthly_charge": Decimal("0.0125"),
        },
    ]
    table = terminal.report_table(columns, rows, None)

    assert _lines(table, monkeypatch, 80)[-1].split() == ["Total", "1,002", "0.0125"]
    assert [line.split() for line in _lines(table, monkeypatch, 30)[-3:]] == [
        ["range_name", "Total"],
        ["numbers", "1,002"],
        ["monthly_charge", "0.0125"],
    ]
    for none in (terminal.report_table(columns, [], None), _without_totals(columns, rows)):
        assert none.footer is None


def _without_totals(columns: list[Column], rows: list[dict[str, Any]]) -> Grid:
    plain = [structs.replace(column, has_total=False) for column in columns]
    return terminal.report_table(plain, rows, None)


def test_amounts_of_a_column_have_one_number_of_places(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Amounts stand under one another, with the places that the finest of them needs.
    """
    charge = Column("monthly_charge", Kind.AMOUNT, "")
    rows = [{"monthly_charge": value} for value in _amounts("0.3000", MILLION, "2.5000")]

    fine = _lines(terminal.report_table([charge], rows, None), monkeypatch, 80)
    cents = _lines(terminal.report_table([charge], rows[:1], None), monkeypatch, 80)

    assert [line.strip() for line in fine if "." in line] == ["0.3000", "1,111,111.0211", "2.5000"]
    assert len({line.index(".") for line in fine if "." in line}) == 1
    assert "0.30" in cents[-1]
    assert "0.3000" not in cents[-1]


def _amounts(*texts: str) -> Iterable[Any]:
    return map(Decimal, texts)


def test_no_title_of_a_provider_is_obeyed(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Markup and escape sequences that were sent are shown, not obeyed, in every table.
    """
    sent = "[red]\x1b[31mx"
    columns = [Column("range_name", Kind.TEXT, "")]
    timeline = terminal.timeline_table({**HISTORY, "number_e164": sent}, [])
    report = terminal.report_table(columns, [{"range_name": sent}], None)

    for grid in (timeline, report, terminal.rows_table(["range"], [[sent]])):
        for width in (10, 80):
            shown = _shown(grid, monkeypatch, width)
            assert r"[red]\x1b[31mx" in shown
            assert "\x1b" not in shown


words = st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=12)
cells = st.lists(words, max_size=6).map(" ".join)


@profile
@given(st.data())
def test_every_cell_is_shown_whole(data: st.DataObject) -> None:
    """
    Whatever the cells and the width, each cell is whole, and no line is wider than it has to be.
    """
    count = data.draw(st.integers(1, 5))
    row = st.lists(cells, min_size=count, max_size=count)
    grid = Grid(
        title=data.draw(st.none() | words),
        headings=[
            Heading(*each)
            for each in data.draw(
                st.lists(
                    st.tuples(words, st.booleans(), st.just(value=False)),
                    min_size=count,
                    max_size=count,
                )
            )
        ],
        rows=data.draw(st.lists(row, max_size=4)),
        footer=data.draw(st.none() | row),
        prose=data.draw(st.booleans()),
    )
    width = data.draw(st.integers(1, 100))

    stream = StringIO()
    Console(file=stream, width=width, highlight=False).print(grid, soft_wrap=True)

    shown = _words(stream.getvalue())
    every = [str(cell) for line in (*grid.rows, grid.footer or ()) for cell in line]
    assert [cell for cell in every if cell not in shown] == []
    assert all(heading.name in shown for heading in grid.headings)
    longest = max(map(cell_len, " ".join([*every, *(h.name for h in grid.headings)]).split()))
    room = max(width, longest + 2, cell_len(grid.title or ""), 15)
    assert all(cell_len(line.rstrip()) <= room for line in stream.getvalue().split("\n"))


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
def test_only_a_terminal_limits_the_width(known_inventory: Engine) -> None:
    """
    On a terminal of 60 columns a report's lines fit it; into a pipe a row is one line.
    """
    url = known_inventory.url.render_as_string(hide_password=False)
    environ = {**os.environ, "SYNCSVC_DATABASE_URL": url, "TERM": "xterm", "NO_COLOR": "1"}
    words = ("report", "charges-changed", "--days", "36500")

    seen = STYLES.sub("", on_terminal(words, 60, environ)).splitlines()
    piped = piped_from(words, environ).splitlines()

    assert 40 < max(map(len, seen)) <= 60
    assert any(line.split() == ["uuid", uuid_at(5)] for line in seen)
    assert any(uuid_at(5) in line and "0.25" in line for line in piped)


def _lines(grid: Grid, monkeypatch: pytest.MonkeyPatch, width: int) -> list[str]:
    """
    Print a table in a terminal of this width; its lines that are not blank.
    """
    stream = StringIO()
    monkeypatch.setenv("COLUMNS", str(width))
    terminal.show(grid, stream)
    return [line.rstrip() for line in stream.getvalue().splitlines() if line.strip()]


def _shown(grid: Grid, monkeypatch: pytest.MonkeyPatch, width: int) -> str:
    return _words(" ".join(_lines(grid, monkeypatch, width)))


def _words(text: str) -> str:
    """
    A text without line ends and runs of blanks.
    """
    return " ".join(text.split())
