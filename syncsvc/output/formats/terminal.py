"""
Results as tables for a terminal, with or without colour.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, TextIO

from rich.console import Console
from rich.text import Text

from syncsvc.output.formats import csv_json
from syncsvc.output.formats.terminal_grid import Grid, Heading
from syncsvc.reports import Kind
from syncsvc.reports.definition.report import each_change_as_text
from syncsvc.reports.definition.totals import total_row

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime
    from decimal import Decimal

    from syncsvc.reports import Column, Row
    from syncsvc.sync.progress_and_summary import Summary

EVENT_COLOURS = {
    "added": "cyan",
    "provisioned": "green",
    "cancelled": "red",
    "reinstated": "yellow",
    "changed": "blue",
}
WITHHELD = """\
Cancellations were withheld: the numbers stay live until the provider shows that they are cancelled.
To list:   syncsvc report withheld
To look:   syncsvc sync --dry-run --allow-mass-cancel
To accept: syncsvc sync --allow-mass-cancel"""
UNLIMITED = 10_000_000  # characters
ISO_TIME = re.compile(r"^(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(\.\d+)?Z$")


class _Console(Console):
    """
    A console that raises BrokenPipeError; rich's own would end the process with 1.
    """

    def on_broken_pipe(self) -> None:
        raise  # noqa: PLE0704 - called while the exception is handled


def console(stream: TextIO | None = None) -> Console:
    """
    Return a console for results, on stdout or a stream; only a terminal limits its width.
    """
    made = _Console(highlight=False, file=stream)
    if not made.file.isatty() and "COLUMNS" not in os.environ:
        made.width = UNLIMITED
    return made


def show(grid: Grid, stream: TextIO | None = None) -> None:
    """
    Print a table; the terminal itself folds a word that is longer than its lines.
    """
    console(stream).print(grid, soft_wrap=True)


def outcome(summary: Summary) -> str:
    """
    Summarise one run in a line.
    """
    if summary.state == "planned":
        title = "Dry run, nothing was written"
    else:
        title = f"Run {summary.run_id}: {summary.state}" if summary.run_id else summary.state
    return f"{title}, in {summary.duration_seconds:.1f} s"


def summary_table(summary: Summary) -> Grid:
    """
    Return the counts of one run as a table, for the end of `syncsvc sync`.
    """
    size = "an unknown number" if summary.num_results is None else f"{summary.num_results:,}"
    walks = "1 walk" if summary.walks == 1 else f"{summary.walks} walks"
    counts = (
        ("listed", summary.listed, f"of {size}, on {summary.pages:,} pages in {walks}"),
        ("added", summary.added, "seen for the first time, not provisioned yet"),
        ("provisioned", summary.provisioned, "provisioned, as the provider's stamp says"),
        ("cancelled", summary.cancelled, "cancelled, on evidence"),
        ("reinstated", summary.reinstated, "live again after cancelled"),
        ("changed", summary.changed, "another column differs"),
        ("unchanged", summary.unchanged, "unchanged since the last run"),
        ("address changes", summary.address_changes, "addresses added or changed"),
        ("rejected", summary.rejected, "rows that could not be read, see sync_rejects"),
        ("withheld", summary.withheld, "cancellations that wait for a decision"),
    )
    return Grid(
        title=outcome(summary),
        headings=[Heading("what"), Heading("count", right=True), Heading("")],
        rows=[
            [Text(cell, style="" if count else "dim") for cell in (name, f"{count:,}", note)]
            for name, count, note in counts
        ],
        prose=True,
    )


def changes_table(rows: Sequence[Mapping[str, Any]], total: int) -> Grid:
    """
    Return the changes of one run, one row each.
    """
    shown = "" if len(rows) == total else f", the first {len(rows):,} of {total:,}"
    return Grid(
        title=f"Changes{shown}",
        headings=[Heading(name) for name in ("number", "event", "happened (UTC)", "what")],
        rows=[
            [
                _plain(row["number_e164"]),
                event_text(row["event"]),
                when(row["occurred_at"]),
                plain_changes(row),
            ]
            for row in rows
        ],
        prose=True,
    )


def runs_table(rows: Sequence[Mapping[str, Any]]) -> Grid:
    """
    Return the last runs, one row each.
    """
    counts = {
        "listed": ("listed",),
        "new": ("added", "provisioned", "reinstated"),
        "cancelled": ("cancelled",),
        "changed": ("changed",),
        "rejected": ("rejected",),
    }
    right = ("seconds", *counts)
    return Grid(
        title="Last runs, newest first",
        headings=[
            Heading("run", right=True),
            Heading("state"),
            Heading("started (UTC)"),
            *(Heading(name, right=True) for name in right),
        ],
        rows=[
            [
                str(row["id"]),
                Text(row["state"], style="green" if row["state"] == "succeeded" else "red"),
                f"{row['started_at']:%Y-%m-%d %H:%M}",
                _seconds(row),
                *(_sum(row, *names) for names in counts.values()),
            ]
            for row in rows
        ],
    )


def timeline_table(number: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> Grid:
    """
    Return the history of one number, oldest first.
    """
    names = ("known since (UTC)", "event", "happened (UTC)", "source", "what")
    return Grid(
        title=f"{_plain(number['number_e164'])}  {number['uuid']}  {number['lifecycle']}",
        headings=[Heading(name) for name in names],
        rows=[
            [
                when(row["valid_from"]),
                event_text(row["event"]),
                when(row["occurred_at"]),
                row["occurred_at_source"],
                plain_changes(row),
            ]
            for row in rows
        ],
        prose=True,
    )


def event_text(event: str) -> Text:
    """
    Return an event in its colour.
    """
    return Text(event, style=EVENT_COLOURS[event])


def when(moment: datetime | None) -> str:
    """
    Format a time to the second.
    """
    return f"{moment:%Y-%m-%d %H:%M:%S}" if moment else "-"


def plain_changes(row: Mapping[str, Any]) -> str:
    """
    Return the changed columns of a history row, old and new; its evidence if there are none.
    """
    said = map(_printable, each_change_as_text(row["changes"] or {}))
    return "\n".join(said) or f"first seen ({row['evidence']})"


def rows_table(headings: Sequence[str], rows: Sequence[Sequence[Any]]) -> Grid:
    """
    Return the rows of a query.
    """
    columns = zip(*rows, strict=True) if rows else ((),) * len(headings)
    return Grid(
        headings=[
            Heading(heading, right=all(isinstance(value, int | float) for value in column))
            for heading, column in zip(headings, columns, strict=True)
        ],
        rows=[[_plain(value) for value in row] for row in rows],
    )


def report_table(columns: Sequence[Column], rows: Iterable[Row], currency: str | None) -> Grid:
    """
    Return the rows of a report, and below them its totals, if it has any.

    The amounts of a column have the same number of places, and so has their total.
    """
    found = list(rows)
    totals = total_row(columns, found)
    every = [*found, *filter(None, [totals])]
    places = {
        column.name: max((_places(row[column.name]) for row in every), default=2)
        for column in columns
        if column.kind is Kind.AMOUNT
    }
    cells = [[_cell(row[column.name], column, places) for column in columns] for row in found]
    return Grid(
        headings=[
            Heading(
                csv_json.heading(column, currency),
                right=column.kind in csv_json.NUMERIC,
                is_id=column.name == "uuid",
            )
            for column in columns
        ],
        rows=cells,
        footer=None if totals is None else _total_cells(columns, totals, places),
        prose=columns[-1].kind is Kind.TEXT,
    )


def _total_cells(columns: Sequence[Column], totals: Row, places: Mapping[str, int]) -> list[str]:
    first, *others = columns
    shown = (
        _cell(totals[column.name], column, places) if column.has_total else "" for column in others
    )
    return [totals[first.name], *shown]


def _cell(value: Any, column: Column, places: Mapping[str, int]) -> str:  # noqa: ANN401 - of any kind
    if value is None:
        return "-"
    if column.kind is Kind.AMOUNT:
        return f"{value:,.{places[column.name]}f}"
    return _plain(csv_json.shown(value, column.kind))


def _places(value: Decimal | None) -> int:
    """
    Return how many decimal places an amount needs, at least those of cents.
    """
    return 2 if value is None else len(csv_json.amount(value).partition(".")[2])


def _plain(value: object) -> str:
    """
    Return a value of the provider's with control characters escaped, so a terminal obeys none.
    """
    return "none" if value is None else _printable(ISO_TIME.sub(r"\1 \2", str(value)))


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _sum(row: Mapping[str, Any], *names: str) -> str:
    """
    Add up counts of a run; a failed one has none.
    """
    counts = [row[name] for name in names]
    return "-" if None in counts else str(sum(counts))


def _seconds(row: Mapping[str, Any]) -> str:
    if row["finished_at"] is None:
        return "-"
    return f"{(row['finished_at'] - row['started_at']).total_seconds():.1f}"
