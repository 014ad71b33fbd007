"""
Tables for a terminal: in 80 columns, with or without colour.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, TextIO

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from syncsvc.output import csv_json
from syncsvc.reports import Kind
from syncsvc.reports.report import each_change_as_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from syncsvc.reports import Column
    from syncsvc.sync.summary import Summary

EVENT_COLOURS = {
    "added": "cyan",
    "provisioned": "green",
    "cancelled": "red",
    "reinstated": "yellow",
    "changed": "blue",
}
WITHHELD = """\
Cancellations were withheld: the numbers stay live until the provider shows that they are cancelled.
To look:   syncsvc sync --dry-run --allow-mass-cancel
To accept: syncsvc sync --allow-mass-cancel"""
UNBOUNDED = 10_000  # characters
ISO_TIME = re.compile(r"^(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(\.\d+)?Z$")


class _Console(Console):
    """
    A console that raises BrokenPipeError; rich's own would end the process with 1.
    """

    def on_broken_pipe(self) -> None:
        raise  # noqa: PLE0704 - called while the exception is handled


def console() -> Console:
    """
    Return the console for results: stdout.
    """
    return _Console(highlight=False)


def wide_console(stream: TextIO | None = None) -> Console:
    """
    Return a console for tables of any width: only a terminal folds them.
    """
    to = _Console(highlight=False, file=stream)
    folds = to.is_terminal or "COLUMNS" in os.environ
    return to if folds else _Console(highlight=False, file=stream, width=UNBOUNDED)


def outcome(summary: Summary) -> str:
    """
    Summarise one run in a line.
    """
    if summary.state == "planned":
        title = "Dry run, nothing was written"
    else:
        title = f"Run {summary.run_id}: {summary.state}" if summary.run_id else summary.state
    return f"{title}, in {summary.duration_seconds:.1f} s"


def summary_table(summary: Summary) -> Table:
    """
    Return the counts of one run as a table, for the end of `syncsvc sync`.
    """
    table = _table(outcome(summary))
    table.add_column("what")
    table.add_column("count", justify="right")
    table.add_column("")
    size = "an unknown number" if summary.num_results is None else f"{summary.num_results:,}"
    walks = "1 walk" if summary.walks == 1 else f"{summary.walks} walks"
    for name, count, note in (
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
    ):
        table.add_row(name, f"{count:,}", note, style="" if count else "dim")
    return table


def changes_table(rows: Sequence[Mapping[str, Any]], total: int) -> Table:
    """
    Return the changes of one run, a line each.
    """
    shown = "" if len(rows) == total else f", the first {len(rows):,} of {total:,}"
    table = _table(f"Changes{shown}")
    for heading in ("number", "event", "happened (UTC)", "what"):
        table.add_column(heading, overflow="fold", no_wrap=heading != "what")
    for row in rows:
        table.add_row(
            _value(row["number_e164"]),
            event_text(row["event"]),
            when(row["occurred_at"]),
            what(row),
        )
    return table


def runs_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """
    Return the last runs, a line each.
    """
    table = _table("Last runs, newest first")
    table.add_column("run", justify="right")
    table.add_column("state", no_wrap=True)
    table.add_column("started (UTC)", no_wrap=True)
    for heading in ("s", "listed", "new", "gone", "changed", "rejected"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        colour = "green" if row["state"] == "succeeded" else "red"
        table.add_row(
            str(row["id"]),
            f"[{colour}]{row['state']}[/]",
            f"{row['started_at']:%Y-%m-%d %H:%M}",
            _seconds(row),
            _sum(row, "listed"),
            _sum(row, "added", "provisioned", "reinstated"),
            _sum(row, "cancelled"),
            _sum(row, "changed"),
            _sum(row, "rejected"),
        )
    return table


def timeline_table(number: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> Table:
    """
    Return the history of one number, oldest first.
    """
    table = _table(f"{_value(number['number_e164'])}  {number['uuid']}  {number['lifecycle']}")
    for heading in ("known since (UTC)", "event", "happened (UTC)", "source", "what"):
        table.add_column(heading, overflow="fold", no_wrap=heading != "what")
    for row in rows:
        table.add_row(
            when(row["valid_from"]),
            event_text(row["event"]),
            when(row["occurred_at"]),
            row["occurred_at_source"],
            what(row),
        )
    return table


def event_text(event: str) -> str:
    """
    Return an event in its colour.
    """
    return f"[{EVENT_COLOURS[event]}]{event}[/]"


def when(moment: datetime | None) -> str:
    """
    Format a time to the second.
    """
    return f"{moment:%Y-%m-%d %H:%M:%S}" if moment else "-"


def what(row: Mapping[str, Any]) -> str:
    """
    Return the changed columns of a history row, old and new; its evidence if there are none.
    """
    return escape(plain_changes(row))


def plain_changes(row: Mapping[str, Any]) -> str:
    """
    Return the same without markup, for pages.
    """
    said = map(_printable, each_change_as_text(row["changes"] or {}))
    return "\n".join(said) or f"first seen ({row['evidence']})"


def rows_table(headings: Sequence[str], rows: Sequence[Sequence[Any]]) -> Table:
    """
    Return the rows of a query.
    """
    table = _table(None)
    for heading in headings:
        table.add_column(heading)
    for row in rows:
        table.add_row(*map(_value, row))
    return table


def report_table(
    columns: Sequence[Column], rows: Iterable[Mapping[str, Any]], currency: str | None
) -> Table:
    """
    Return the rows of a report.
    """
    table = _table(None)
    for column in columns:
        right = column.kind in csv_json.NUMERIC
        table.add_column(
            csv_json.heading(column, currency),
            justify="right" if right else "left",
            no_wrap=column.kind is not Kind.TEXT,
            overflow="fold",
        )
    for row in rows:
        table.add_row(*(_cell(row[column.name], column) for column in columns))
    return table


def _cell(value: object, column: Column) -> str:
    return "-" if value is None else _value(csv_json.shown(value, column.kind))


def _value(value: object) -> str:
    return escape(_plain(value))


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


def _table(title: str | None) -> Table:
    return Table(title=title, title_justify="left", box=box.SIMPLE, pad_edge=False)
