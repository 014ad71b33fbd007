"""
`syncsvc migrate` and `syncsvc prune`: what the database needs now and then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import typer

from syncsvc import bootstrap
from syncsvc.database import locks, migrate, monthly_view, reporting_role, retention, transactions
from syncsvc.output import output_file

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection, Table

    from syncsvc.settings.settings import Settings


def bring_up(
    settings: Settings,
    *,
    check: bool,
    reporting: str | None,
    addresses: bool = True,
    keep_months: bool = False,
) -> bool:
    """
    Bring the database to the newest schema, or only tell; whether it is there now.

    Args:
        check: Only tell.
        reporting: The role that may read, if any.
        addresses: Whether it may read street addresses.
        keep_months: Keep the answer of `inventory_by_month` from now on.
    """
    if check:
        bootstrap.require_file(settings)
    engine = bootstrap.engine_from(settings)
    with transactions.translated():
        if reporting is not None:
            reporting_role.require(engine, reporting)
        if keep_months:
            monthly_view.require_postgresql(engine)
        if not check:
            migrate.upgrade(engine)
        with engine.begin() as connection:
            migrate.require_known(connection)
            found = migrate.current(connection)
            if keep_months:
                monthly_view.create(connection)
            if reporting is not None:
                reporting_role.grant(connection, reporting, addresses=addresses)
    needed = migrate.newest()
    with output_file.printing():
        _print_schema(found, needed, reporting, addresses=addresses, keep_months=keep_months)
    return found == needed


def _print_schema(
    found: str | None, needed: str, reporting: str | None, *, addresses: bool, keep_months: bool
) -> None:
    typer.echo(f"The schema is at {found or 'no revision'}, the newest is {needed}.")
    if reporting is not None:
        left_out = "" if addresses else ", but for street addresses"
        typer.echo(f"The role {reporting!r} may read the tables and views{left_out}.")
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
    Remove the account's closed history and runs from before, and print how many rows those were.

    Args:
        dry_run: Count them only.
        as_json: Print one JSON object and nothing else.

    Raises:
        RunInProgress: A run of the account is under way; nothing was removed.
    """
    bootstrap.require_file(settings)
    engine = bootstrap.engine_from(settings)
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
    Remove all that was chosen or nothing, while no run of the account is under way.
    """
    with locks.run_lock(connection, account):
        connection.execution_options(publishing=True)
        with connection.begin():
            return {
                table.name: retention.remove(connection, table, chosen[table]) for table in chosen
            }
