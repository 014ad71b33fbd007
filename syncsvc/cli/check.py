"""
`syncsvc check`: test everything that a run needs.
"""

from __future__ import annotations

import typer

from syncsvc.cli.common import FAILED, AccountFlag, DatabaseFlag, settings_of


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
