"""
`syncsvc runs` and `history`: read the tables and write what they have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import typer

from syncsvc.database.account_and_run_queries import last_runs, require_account
from syncsvc.database.number_lookup import find_numbers, timeline
from syncsvc.output.formats import terminal

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from syncsvc.database.account_and_run_queries import Row


def show_runs(connection: Connection, account: str, limit: int, *, as_json: bool) -> None:
    """
    Print the last runs, and the error of each that failed.
    """
    require_account(connection, account)
    rows = last_runs(connection, account, limit)
    if as_json:
        _print_json(rows)
        return
    terminal.show(terminal.runs_table(rows))
    for row in rows:
        if row["error"]:
            terminal.console().print(f"Run {row['id']}: {row['error']}", markup=False)


def show_history(connection: Connection, account: str, number: str, *, as_json: bool) -> None:
    """
    Print the timeline of each number that this E.164 number or uuid names.

    Raises:
        UnknownNumber: There is none.
    """
    require_account(connection, account)
    found = find_numbers(connection, account, number)
    timelines = [(row, timeline(connection, account, row["uuid"])) for row in found]
    if as_json:
        _print_json([{**row, "history": rows} for row, rows in timelines])
        return
    for row, rows in timelines:
        terminal.show(terminal.timeline_table(row, rows))


def _print_json(rows: list[Row]) -> None:
    typer.echo(msgspec.json.format(msgspec.json.encode(rows)))
