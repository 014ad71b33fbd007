"""
`syncsvc runs`, `history` and `report`: read the tables.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from syncsvc.cli.common import (
    AccountFlag,
    DatabaseFlag,
    JsonFlag,
    open_current,
    settings_of,
)

ReportName = Annotated[
    str | None, typer.Argument(help="Report name; omit it to list the reports.", show_default=False)
]
FormatFlag = Annotated[
    Literal["table", "csv", "json", "xlsx", "parquet"],
    typer.Option("--format", help="Output format."),
]
OutputFlag = Annotated[Path, typer.Option(help="Output file, written atomically; - is stdout.")]
OneOrAllFlag = Annotated[
    str | None,
    typer.Option(
        "--account", help="Instead of SYNCSVC_ACCOUNT; all: all accounts.", show_default=False
    ),
]
HtmlFlag = Annotated[
    Path | None,
    typer.Option(
        help="Write the inventory's state to this file, as one HTML page.", show_default=False
    ),
]
HelpFlag = Annotated[
    bool, typer.Option("--help", "-h", help="Show this message, or a report's parameters.")
]


def runs(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, help="Show at most N runs.")] = 20,
    as_json: JsonFlag = False,
    account: AccountFlag = None,
    database_url: DatabaseFlag = None,
) -> None:
    """
    List the last runs, newest first.
    """
    from syncsvc.commands import runs_and_history

    settings = settings_of(context, quiet=True, account=account, database_url=database_url)
    with open_current(settings) as connection:
        runs_and_history.show_runs(connection, settings.account, limit, as_json=as_json)


def history(
    context: typer.Context,
    number: Annotated[str, typer.Argument(help="An E.164 number or a uuid.", show_default=False)],
    as_json: JsonFlag = False,
    account: AccountFlag = None,
    database_url: DatabaseFlag = None,
) -> None:
    """
    Show the timeline of one number.
    """
    from syncsvc.commands import runs_and_history

    settings = settings_of(context, quiet=True, account=account, database_url=database_url)
    with open_current(settings) as connection:
        runs_and_history.show_history(connection, settings.account, number, as_json=as_json)


def report(
    context: typer.Context,
    name: ReportName = None,
    output_format: FormatFlag = "table",
    output: OutputFlag = Path("-"),
    html: HtmlFlag = None,
    account: OneOrAllFlag = None,
    database_url: DatabaseFlag = None,
    show_help: HelpFlag = False,
) -> None:
    """
    Print a report, or list the reports.
    """
    from syncsvc.commands.reports import describe_reports, write_page, write_report
    from syncsvc.errors import ReportUsageError
    from syncsvc.output.formats.csv_json import Format
    from syncsvc.output.output_file import require_writable

    words = [*filter(None, [name]), *context.args]
    if show_help:
        typer.echo(describe_reports.describe(words) if words else context.get_help())
        return
    all_accounts = account == write_report.ALL
    if html is not None and all_accounts:
        raise ReportUsageError("--html writes the page of one account; name it with --account.")
    if not words and html is None:
        describe_reports.list_reports(Format(output_format), output)
        return
    if html is None:
        describe_reports.named_report(words)  # before a missing database is reported
    for file, option in ((html, "--html"), (output, "--output")):
        if file is not None:
            require_writable(file, option)
    settings = settings_of(context, quiet=True, account=account, database_url=database_url)
    with open_current(settings) as connection:
        if html is not None:
            write_page.write_page(connection, settings, html, words)
        else:
            write_report.print_report(
                connection,
                settings,
                words,
                Format(output_format),
                output,
                all_accounts=all_accounts,
            )
