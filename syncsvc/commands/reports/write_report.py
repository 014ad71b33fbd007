"""
Write the rows of a report, of one account or of all.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from syncsvc import clock
from syncsvc.accounts.standing import database_time
from syncsvc.commands.reports import notes
from syncsvc.commands.reports.describe_reports import named_report
from syncsvc.commands.reports.settings_and_snapshot import own_settings, read_only
from syncsvc.database.account_and_run_queries import require_account, require_address
from syncsvc.database.maintenance import monthly_view
from syncsvc.database.maintenance.reporting_role import reads_addresses
from syncsvc.errors import ReportUsageError
from syncsvc.output.write_rows import require_format, write_rows
from syncsvc.reports import every_account, read_arguments

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from pathlib import Path

    from sqlalchemy import Connection

    from syncsvc.output.formats.csv_json import Format
    from syncsvc.reports import Arguments, Column, Report, Row
    from syncsvc.reports.every_account import Coverage
    from syncsvc.settings.settings import Settings

ALL = "all"  # as --account has it


class Answer(NamedTuple):
    """
    The rows of a report, which are read when they are asked for.

    Attributes:
        currency: The currency of all amounts, if it is known.
    """

    columns: tuple[Column, ...]
    rows: Generator[Row]
    currency: str | None


def print_report(
    connection: Connection,
    settings: Settings,
    words: Sequence[str],
    output_format: Format,
    output: Path,
    *,
    all_accounts: bool = False,
) -> None:
    """
    Write the rows of the report that a command line names.

    Args:
        settings: Those of the process.
        all_accounts: Write the rows of all accounts, one account after the other.

    Raises:
        ReportUsageError: There is no such report, or it does not take that.
        UnknownAddress: The account never had that address.
    """
    report, parameters = named_report(words)
    arguments = read_arguments(report, parameters, settings.account, clock.now())
    require_format(output_format)
    answers = _of_all if all_accounts or report.every_account else _of_one
    columns, rows, currency = answers(connection, settings, report, arguments)
    with closing(rows):
        write_rows(columns, rows, output_format, output, name=report.name, currency=currency)


def _of_one(
    connection: Connection, settings: Settings, report: Report, arguments: Arguments
) -> Answer:
    """
    Answer for one account, with the settings of its row.
    """
    currency = own_settings(connection, settings).currency
    read_only(connection)
    require_account(connection, arguments.account)
    arguments = _completed(connection, report, arguments)
    notes.of_report(report, arguments)
    notes.of_beginning(connection, arguments)
    if arguments.address is not None:
        require_address(connection, arguments.account, arguments.address)
    return Answer(report.readable_columns(arguments), report.rows(connection, arguments), currency)


def _of_all(
    connection: Connection, settings: Settings, report: Report, arguments: Arguments
) -> Answer:
    """
    Answer for all accounts; what their rows do not say is as the process's settings say.
    """
    accounts = every_account.coverage(connection, settings.currency)
    if not report.every_account:
        _refuse_a_name(accounts)
    read_only(connection)
    arguments = msgspec.structs.replace(
        _completed(connection, report, arguments),
        schedule=settings.schedule,
        currency=settings.currency,
        due_by=database_time(connection),
    )
    notes.of_report(report, arguments)
    columns = every_account.columns(report, arguments, accounts)
    notes.of_accounts(report, accounts, columns)
    if report.every_account:
        return Answer(columns, report.rows(connection, arguments), accounts.currency)
    notes.of_unknown(connection, arguments, accounts)
    if arguments.address is not None:
        require_address(connection, None, arguments.address)
    rows = every_account.rows(report, connection, arguments, accounts.accounts)
    return Answer(columns, rows, accounts.currency)


def _refuse_a_name(accounts: Coverage) -> None:
    """
    Refuse `--account all` if that is the name of an account.

    Raises:
        ReportUsageError: It says how to report that account.
    """
    if accounts.has(ALL):
        raise ReportUsageError(
            f"--account {ALL} means all accounts, but one is named {ALL!r}. For that one, set "
            f"SYNCSVC_ACCOUNT={ALL} instead of the flag; report the others one by one."
        )


def _completed(connection: Connection, report: Report, arguments: Arguments) -> Arguments:
    """
    Add what the database says: which columns can be read, and how old its months are.
    """
    with_addresses = reads_addresses(connection)
    as_of = monthly_view.as_of(connection) if report.by_month_end else None
    return msgspec.structs.replace(arguments, with_addresses=with_addresses, months_as_of=as_of)
