"""
`syncsvc runs`, `history` and `report`: read the tables and write what they have.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import msgspec
import typer
from sqlalchemy import select

from syncsvc import clock
from syncsvc.accounts import account_settings
from syncsvc.accounts import rows as account_rows
from syncsvc.accounts.rows import Account
from syncsvc.database.maintenance import monthly_view
from syncsvc.database.maintenance.reporting_role import reads_addresses
from syncsvc.database.number_lookup import find_numbers, timeline
from syncsvc.database.queries import last_runs, require_account, require_address
from syncsvc.errors import ReportUsageError
from syncsvc.output import output_file
from syncsvc.output.formats import terminal
from syncsvc.output.formats.csv_json import Format
from syncsvc.output.write_rows import require_format, write_rows
from syncsvc.reports import (
    PARAMETERS,
    REPORTS_BY_AUDIENCE,
    Column,
    Kind,
    find_report,
    read_arguments,
    signature,
)
from syncsvc.reports.definition.report import REQUIRED
from syncsvc.schema.tables import number_history

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sqlalchemy import Connection

    from syncsvc.reports import Arguments, Report, Row
    from syncsvc.settings.settings import Settings

REPORT_LIST = (
    Column("reader", Kind.TEXT, "The audience."),
    Column("name", Kind.TEXT, "The report."),
    Column("meaning", Kind.TEXT, "What a row is."),
    Column("takes", Kind.TEXT, "Its parameters, with their defaults."),
)
FROM_MONTHLY_VIEW = "months come from the materialised view, which each run refreshes."


def own_settings(connection: Connection, settings: Settings) -> Settings:
    """
    Return the settings of the account that they name, without credentials: with its row's, if any.

    Raises:
        ConfigurationError: A setting of the row can't be used.
    """
    found = account_rows.own_settings(connection, settings.account)
    if found is None:
        return settings
    account = Account(name=settings.account, settings=found)
    return account_settings.without_credentials(account, settings)


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


def list_reports(output_format: Format, output: Path) -> None:
    """
    Print the reports there are.
    """
    rows = [
        {"reader": reader, "name": each.name, "meaning": each.meaning, "takes": signature(each)}
        for reader, reports in REPORTS_BY_AUDIENCE.items()
        for each in reports
    ]
    columns = REPORT_LIST if output_format is not Format.TABLE else REPORT_LIST[1:3]
    write_rows(columns, rows, output_format, output, name="reports")


def describe(words: Sequence[str]) -> str:
    """
    Describe a report, its parameters and its columns, for `syncsvc report NAME --help`.
    """
    report, _ = named_report(words)
    takes = [
        (f"{PARAMETERS[name].flag} {PARAMETERS[name].metavar}", PARAMETERS[name].meaning, default)
        for name, default in report.takes.items()
    ]
    needed = "".join(f" {flag}" for flag, _, default in takes if default is REQUIRED)
    lines = [f"syncsvc report {report.name}", "", report.meaning, report.why, "", "Takes:"]
    lines += [
        f"  {flag:<18} {meaning}{default_sentence(default)}" for flag, meaning, default in takes
    ]
    lines += ["", "Columns:"]
    lines += [f"  {each.name:<22} {each.meaning}" for each in report.columns]
    file = f"--format csv --output {report.name}.csv"
    lines += ["", f"Example: syncsvc report {report.name}{needed} {file}"]
    return "\n".join(lines)


def default_sentence(default: object) -> str:
    """
    Say what a parameter is by default, or that it is required; nothing if it may be missing.
    """
    if default is None:
        return ""
    return " Required." if default is REQUIRED else f" Default: {default}."


def print_report(
    connection: Connection,
    settings: Settings,
    words: Sequence[str],
    output_format: Format,
    output: Path,
) -> None:
    """
    Write the rows of the report that a command line names.

    Raises:
        ReportUsageError: There is no such report, or it does not take that.
        UnknownAddress: The account never had that address.
    """
    report, parameters = named_report(words)
    arguments = read_arguments(report, parameters, settings.account, clock.now())
    require_format(output_format)
    _read_only(connection)
    if not report.every_account:
        require_account(connection, settings.account)
    with_addresses = reads_addresses(connection)
    arguments = msgspec.structs.replace(arguments, with_addresses=with_addresses)
    if report.by_month_end:
        arguments = msgspec.structs.replace(arguments, months_as_of=monthly_view.as_of(connection))
    _note(connection, report, arguments)
    if arguments.address is not None:
        require_address(connection, settings.account, arguments.address)
    with closing(report.rows(connection, arguments)) as rows:
        write_rows(
            report.readable_columns(arguments),
            rows,
            output_format,
            output,
            name=report.name,
            currency=settings.currency,
        )


def write_page(
    connection: Connection, settings: Settings, html: Path, words: Sequence[str]
) -> None:
    """
    Write the page of the inventory's state.

    Raises:
        ReportUsageError: There are more arguments.
    """
    from syncsvc.output import inventory_page  # noqa: PLC0415 - charts take a while to load

    if words:
        raise ReportUsageError(f"--html writes one page with all reports; leave {words[0]!r} out.")
    _read_only(connection)
    require_account(connection, settings.account)
    made = inventory_page.render(connection, settings.account, settings.currency, clock.now())
    with output_file.open_output(html) as stream:
        stream.write(made)


def _read_only(connection: Connection) -> None:
    """
    Give all queries the same snapshot, in a transaction that can't write.
    """
    if connection.dialect.name == "postgresql":
        connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)


def _print_json(rows: list[Row]) -> None:
    typer.echo(msgspec.json.format(msgspec.json.encode(rows)))


def named_report(words: Sequence[str]) -> tuple[Report, list[str]]:
    """
    Find the report that a command line names, and the words that are its parameters.

    Every parameter has a value, so that the name may also follow them.

    Raises:
        ReportUsageError: There is no such report, or no name.
    """
    rest = list(words)
    place = 0
    while place < len(rest) and rest[place].startswith("-"):
        place += 1 if "=" in rest[place] else 2
    if place >= len(rest):
        raise ReportUsageError(
            f"{rest[0]} belongs to a report: name the report. `syncsvc report` lists all."
        )
    return find_report(rest.pop(place)), rest


def _note(connection: Connection, report: Report, arguments: Arguments) -> None:
    """
    Report on stderr how old the result is, and why it may be empty.
    """
    if left_out := set(report.columns).difference(report.readable_columns(arguments)):
        names = ", ".join(column.name for column in report.columns if column in left_out)
        typer.echo(f"Left out, as this database user may not read addresses: {names}.", err=True)
    if report.every_account:
        return
    if arguments.months_as_of is not None:
        typer.echo(
            f"As of {arguments.months_as_of:%Y-%m-%d %H:%M:%S} UTC: {FROM_MONTHLY_VIEW}", err=True
        )
    _note_running_month(report, arguments)
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


def _note_running_month(report: Report, arguments: Arguments) -> None:
    month = f"{arguments.now:%Y-%m}"
    is_asked = "month" not in report.takes or f"{arguments.invoice_month:%Y-%m}" == month
    if is_asked and any(column.kind is Kind.MONTH for column in report.columns):
        typer.echo(f"{month} is still running: its figures are those until now.", err=True)
