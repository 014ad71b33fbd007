"""
`syncsvc migrate` and `syncsvc prune`: the schema and the retention of history.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from syncsvc.cli.common import FAILED, AccountFlag, DatabaseFlag, JsonFlag, settings_of

if TYPE_CHECKING:
    from datetime import datetime


def migrate(
    context: typer.Context,
    check: Annotated[
        bool, typer.Option("--check", help="Only tell; exit 1 where the schema is behind.")
    ] = False,
    sql: Annotated[bool, typer.Option("--sql", help="Print the DDL instead.")] = False,
    reporting_role: Annotated[
        str | None,
        typer.Option(
            help="A role of PostgreSQL that may read tables and views, now and later.",
            show_default=False,
        ),
    ] = None,
    without_addresses: Annotated[
        bool, typer.Option("--without-addresses", help="Keep street addresses from that role.")
    ] = False,
    keep_months: Annotated[
        bool,
        typer.Option(
            "--keep-months",
            help="Maintain a materialised view of inventory_by_month; each run refreshes it "
            "(PostgreSQL).",
        ),
    ] = False,
    database_url: DatabaseFlag = None,
) -> None:
    """
    Bring the database to the newest schema.
    """
    from syncsvc.commands import maintenance
    from syncsvc.database import migrate as schema

    if reporting_role is not None and (check or sql):
        raise typer.BadParameter("--reporting-role goes with neither --check nor --sql.")
    if without_addresses and reporting_role is None:
        raise typer.BadParameter("--without-addresses needs --reporting-role.")
    if keep_months and (check or sql):
        raise typer.BadParameter("--keep-months goes with neither --check nor --sql.")
    settings = settings_of(context, quiet=True, database_url=database_url)
    if sql:
        typer.echo(schema.ddl(settings.database))
        return
    current = maintenance.bring_up(
        settings,
        check=check,
        reporting=reporting_role,
        addresses=not without_addresses,
        keep_months=keep_months,
    )
    raise typer.Exit(0 if current else FAILED)


def prune(
    context: typer.Context,
    keep_history: Annotated[
        str | None,
        typer.Option(help="Remove closed history older than this: 90d, 7y.", show_default=False),
    ] = None,
    keep_runs: Annotated[
        str | None, typer.Option(help="Remove runs older than this: 90d, 7y.", show_default=False)
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count what would be removed; remove nothing.")
    ] = False,
    as_json: JsonFlag = False,
    account: AccountFlag = None,
    database_url: DatabaseFlag = None,
) -> None:
    """
    Delete history and runs that are past their retention time.
    """
    from syncsvc.commands import maintenance

    if keep_history is None and keep_runs is None:
        raise typer.BadParameter("Say what to keep: --keep-history 7y, --keep-runs 90d, or both.")
    settings = settings_of(context, quiet=True, account=account, database_url=database_url)
    maintenance.prune(
        settings,
        history_before=_back_from_now("--keep-history", keep_history),
        runs_before=_back_from_now("--keep-runs", keep_runs),
        dry_run=dry_run,
        as_json=as_json,
    )


def _back_from_now(flag: str, length: str | None) -> datetime | None:
    from syncsvc import clock
    from syncsvc.database import retention

    if length is None:
        return None
    try:
        return retention.back_from(clock.now(), length)
    except ValueError as exc:
        raise typer.BadParameter(f"{flag}: {length!r} {exc}. Write it like 90d or 7y.") from None
