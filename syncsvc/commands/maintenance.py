"""
`syncsvc migrate` and `syncsvc prune`: the schema and the retention of history.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import structlog
import typer

from syncsvc import build_from_settings
from syncsvc.database import locks, sqlite_file, transactions
from syncsvc.database.engine import untested_server
from syncsvc.database.maintenance import migrate, monthly_view, retention
from syncsvc.database.maintenance import reporting_role as roles
from syncsvc.output import output_file

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection, Table

    from syncsvc.settings.settings import Settings

log = structlog.get_logger(__name__)


def migrate_database(
    settings: Settings,
    *,
    check: bool,
    reporting_role: str | None,
    with_addresses: bool = True,
    keep_months: bool = False,
) -> bool:
    """
    Bring the database to the newest schema, or only compare; return whether it is current.

    Args:
        check: Change nothing.
        reporting_role: A role to grant read access to, if any.
        with_addresses: Whether it may read street addresses.
        keep_months: Maintain a materialised view of `inventory_by_month` from now on.
    """
    if check:
        sqlite_file.require_exists(settings.database)
    engine = build_from_settings.engine_from(settings)
    with transactions.translated():
        if reporting_role is not None:
            roles.require(engine, reporting_role)
        if keep_months:
            monthly_view.require_postgresql(engine)
        if not check:
            migrate.upgrade(engine)
        with engine.begin() as connection:
            migrate.require_known(connection)
            found = migrate.current(connection)
            if untested := untested_server(connection):
                log.warning("migrate.untested_server", server=untested)
            if keep_months:
                monthly_view.create(connection)
            if reporting_role is not None:
                roles.grant(connection, reporting_role, addresses=with_addresses)
    needed = migrate.newest()
    with output_file.printing():
        _print_schema(
            found, needed, reporting_role, with_addresses=with_addresses, keep_months=keep_months
        )
    return found == needed


def _print_schema(
    found: str | None, needed: str, role: str | None, *, with_addresses: bool, keep_months: bool
) -> None:
    typer.echo(f"The schema is at {found or 'no revision'}, the newest is {needed}.")
    if role is not None:
        left_out = "" if with_addresses else ", except street addresses"
        typer.echo(f"The role {role!r} may read the tables and views{left_out}.")
    if keep_months:
        typer.echo(f"{monthly_view.NAME} is a materialised view; each run refreshes it.")


def prune(
    settings: Settings,
    *,
    history_before: datetime | None,
    runs_before: datetime | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """
    Delete the account's closed history and runs from before, and print how many rows that is.

    Args:
        dry_run: Only count them.
        as_json: Print one JSON object and nothing else.

    Raises:
        RunInProgress: A run of the account is in progress; nothing was deleted.
    """
    sqlite_file.require_exists(settings.database)
    engine = build_from_settings.engine_from(settings)
    chosen = retention.superseded(settings.account, history_before, runs_before)
    with transactions.translated(), engine.connect() as connection:
        migrate.require_current(connection)
        connection.rollback()
        rows = (
            {table.name: retention.count(connection, table, chosen[table]) for table in chosen}
            if dry_run
            else _removed(connection, settings.account, chosen)
        )
    with output_file.printing():
        if as_json:
            report = {"account": settings.account, "dry_run": dry_run, **rows}
            typer.echo(msgspec.json.format(msgspec.json.encode(report)))
            return
        verb = "would be" if dry_run else "were"
        for table, removed in rows.items():
            cut = runs_before if table == "sync_runs" else history_before
            typer.echo(f"{table}: {removed} rows from before {cut:%Y-%m-%d %H:%M} {verb} removed.")


def _removed(
    connection: Connection, account: str, chosen: dict[Table, list[ColumnElement[bool]]]
) -> dict[str, int]:
    """
    Delete all of the rows or none, while no run of the account is in progress.
    """
    with locks.run_lock(connection, account):
        connection.execution_options(publishing=True)
        with connection.begin():
            return {
                table.name: retention.remove(connection, table, chosen[table]) for table in chosen
            }
