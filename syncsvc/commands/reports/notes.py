"""
Notes on stderr: what a report leaves out, how old it is, and why it may be empty.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer
from sqlalchemy import select

from syncsvc.database import account_and_run_queries
from syncsvc.reports import Kind
from syncsvc.reports.every_account import ACCOUNT
from syncsvc.schema.tables import number_history

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from syncsvc.reports import Arguments, Column, Report
    from syncsvc.reports.every_account import Coverage

NAMES_SHOWN = 5
FROM_MONTHLY_VIEW = "months come from the materialised view, which each run refreshes."


def of_report(report: Report, arguments: Arguments) -> None:
    """
    Report on stderr which columns are left out, and how old the result is.
    """
    if left_out := set(report.columns).difference(report.readable_columns(arguments)):
        names = ", ".join(column.name for column in report.columns if column in left_out)
        typer.echo(f"Left out, as this database user may not read addresses: {names}.", err=True)
    if arguments.months_as_of is not None:
        typer.echo(
            f"As of {arguments.months_as_of:%Y-%m-%d %H:%M:%S} UTC: {FROM_MONTHLY_VIEW}", err=True
        )
    _note_running_month(report, arguments)


def of_beginning(connection: Connection, arguments: Arguments) -> None:
    """
    Report on stderr that the result is of a time of which nothing is known.
    """
    history = number_history.c
    first = connection.execute(
        select(history.valid_from)
        .where(history.account == arguments.account)
        .order_by(history.id)
        .limit(1)
    ).scalar()
    if first is None:
        typer.echo(f"No run of account {arguments.account!r} has published anything yet.", err=True)
    elif arguments.at is not None and arguments.at < first:
        typer.echo(f"Nothing was known before {first:%Y-%m-%d %H:%M:%S} UTC.", err=True)


def of_accounts(report: Report, accounts: Coverage, columns: Sequence[Column]) -> None:
    """
    Report on stderr which accounts are not covered, and which totals are missing.
    """
    if accounts.left_out and ACCOUNT in columns:
        typer.echo(
            f"Left out, as they have no row in accounts: {_some(accounts.left_out)}. Name one with "
            "--account, or adopt it with `syncsvc accounts add`.",
            err=True,
        )
    if {each.name for each in columns if each.has_total} != {
        each.name for each in report.columns if each.has_total
    }:
        found = sorted(each or "none" for each in accounts.currencies)
        typer.echo(
            f"Amounts have no total, as the accounts have different currencies: {_some(found)}.",
            err=True,
        )


def of_unknown(connection: Connection, arguments: Arguments, accounts: Coverage) -> None:
    """
    Report on stderr of which accounts nothing was known, or nothing is yet.
    """
    known = account_and_run_queries.known_by(connection, arguments.at)
    unknown = [each.name for each in accounts.accounts if each.name not in known]
    if not accounts.accounts:
        typer.echo("There are no accounts yet: no run has been started.", err=True)
    elif unknown and arguments.at is None:
        typer.echo(f"No run has published anything yet of: {_some(unknown)}.", err=True)
    elif unknown:
        typer.echo(f"Nothing was known by then of: {_some(unknown)}.", err=True)


def _note_running_month(report: Report, arguments: Arguments) -> None:
    month = f"{arguments.now:%Y-%m}"
    is_asked = "month" not in report.takes or f"{arguments.invoice_month:%Y-%m}" == month
    if is_asked and any(column.kind is Kind.MONTH for column in report.columns):
        typer.echo(f"{month} is still running: its figures are those until now.", err=True)


def _some(names: Sequence[str]) -> str:
    """
    List names, or the first few and how many more there are.
    """
    more = len(names) - NAMES_SHOWN
    shown = ", ".join(names[:NAMES_SHOWN])
    return f"{shown} and {more} more" if more > 0 else shown
