"""
`syncsvc migrate` and `syncsvc prune`: what the database needs now and then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from syncsvc import compose, db, migrate, reporting_role

if TYPE_CHECKING:
    from syncsvc.config import Settings


def bring_up(
    settings: Settings, *, check: bool, reporting: str | None, addresses: bool = True
) -> bool:
    """
    Bring the database to the newest schema, or only tell; whether it is there now.

    Args:
        check: Only tell.
        reporting: The role that may read, if any.
        addresses: Whether it may read street addresses.
    """
    if check:
        compose.require_file(settings)
    engine = compose.engine_from(settings)
    with db.translated():
        if reporting is not None:
            reporting_role.require(engine, reporting)
        if not check:
            migrate.upgrade(engine)
        with engine.begin() as connection:
            found = migrate.current(connection)
            if reporting is not None:
                reporting_role.grant(connection, reporting, addresses=addresses)
    needed = migrate.newest()
    typer.echo(f"The schema is at {found or 'no revision'}, the newest is {needed}.")
    if reporting is not None:
        left_out = "" if addresses else ", but for street addresses"
        typer.echo(f"The role {reporting!r} may read the tables and views{left_out}.")
    return found == needed
