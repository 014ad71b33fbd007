"""
`syncsvc migrate`, `prune`, `check` and `config`: look after the schema, history and settings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from syncsvc.cli.common import (
    FAILED,
    AccountFlag,
    DatabaseFlag,
    JsonFlag,
    flags_and_environment,
    settings_of,
)

if TYPE_CHECKING:
    from datetime import datetime


CheckFlag = Annotated[
    bool, typer.Option("--check", help="Change nothing; exit 1 if the schema is not current.")
]
SqlFlag = Annotated[bool, typer.Option("--sql", help="Print the DDL instead.")]
ReportingRoleFlag = Annotated[
    str | None,
    typer.Option(
        help="Grant this PostgreSQL role read access to all tables and views.", show_default=False
    ),
]
WithoutAddressesFlag = Annotated[
    bool,
    typer.Option("--without-addresses", help="Exclude street addresses from that role's access."),
]
KeepMonthsFlag = Annotated[
    bool,
    typer.Option(
        "--keep-months",
        help="Maintain a materialised view of inventory_by_month; each run refreshes it "
        "(PostgreSQL).",
    ),
]


FleetFlag = Annotated[
    bool,
    typer.Option("--fleet", help="Also create the tables of the fleet's job queue (PostgreSQL)."),
]


def migrate(
    context: typer.Context,
    check: CheckFlag = False,
    sql: SqlFlag = False,
    reporting_role: ReportingRoleFlag = None,
    without_addresses: WithoutAddressesFlag = False,
    keep_months: KeepMonthsFlag = False,
    fleet: FleetFlag = False,
    database_url: DatabaseFlag = None,
) -> None:
    """
    Bring the database to the newest schema.
    """
    from syncsvc.commands import maintenance
    from syncsvc.database.maintenance import migrate as schema

    if reporting_role is not None and (check or sql):
        raise typer.BadParameter("--reporting-role can't be combined with --check or --sql.")
    if without_addresses and reporting_role is None:
        raise typer.BadParameter("--without-addresses needs --reporting-role.")
    if keep_months and (check or sql):
        raise typer.BadParameter("--keep-months can't be combined with --check or --sql.")
    if fleet and sql:
        raise typer.BadParameter("--fleet can't be combined with --sql.")
    settings = settings_of(context, quiet=True, database_url=database_url)
    if sql:
        typer.echo(schema.ddl(settings.database))
        return
    current = maintenance.migrate_database(
        settings,
        check=check,
        reporting_role=reporting_role,
        with_addresses=not without_addresses,
        keep_months=keep_months,
    )
    if fleet:
        from syncsvc.fleet.tasks import task_schema

        current = task_schema.migrate(settings, check=check) and current
    raise typer.Exit(0 if current else FAILED)


def prune(
    context: typer.Context,
    keep_history: Annotated[
        str | None,
        typer.Option(
            help="Delete history rows that have a successor and are older than this: 90d, 7y.",
            show_default=False,
        ),
    ] = None,
    keep_runs: Annotated[
        str | None, typer.Option(help="Delete runs older than this: 90d, 7y.", show_default=False)
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count what would be deleted; delete nothing.")
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
        raise typer.BadParameter(
            "Give --keep-history, --keep-runs, or both, such as --keep-history 7y."
        )
    settings = settings_of(context, quiet=True, account=account, database_url=database_url)
    maintenance.prune(
        settings,
        history_before=_cutoff("--keep-history", keep_history),
        runs_before=_cutoff("--keep-runs", keep_runs),
        dry_run=dry_run,
        as_json=as_json,
    )


def _cutoff(flag: str, length: str | None) -> datetime | None:
    from syncsvc import clock
    from syncsvc.database.maintenance import retention

    if length is None:
        return None
    try:
        return retention.back_from(clock.now(), length)
    except ValueError as exc:
        raise typer.BadParameter(f"{flag}: {length!r} {exc}. Write it like 90d or 7y.") from None


def check(
    context: typer.Context,
    account: AccountFlag = None,
    database_url: DatabaseFlag = None,
) -> None:
    """
    Check everything that a run needs.
    """
    from syncsvc.commands import check as doctor

    settings = settings_of(context, quiet=True, account=account, database_url=database_url)
    healthy = True
    for finding in doctor.examine(settings):
        healthy = healthy and finding.healthy
        mark = "ok    " if finding.healthy else "FAILED"
        typer.echo(f"{mark}  {finding.subject:<12} {finding.says}")
    raise typer.Exit(0 if healthy else FAILED)


def config(
    context: typer.Context,
    as_json: JsonFlag = False,
    account: AccountFlag = None,
    database_url: DatabaseFlag = None,
) -> None:
    """
    Print every setting with its value, source, default and meaning.
    """
    from syncsvc.commands import config as config_command
    from syncsvc.settings.effective_settings import explained

    sources = flags_and_environment(context, account=account, database_url=database_url)
    config_command.show(explained(*sources), as_json=as_json)
