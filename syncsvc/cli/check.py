"""
`syncsvc check` and `syncsvc config`: test everything that a run needs, and print every setting.
"""

from __future__ import annotations

import typer

from syncsvc.cli.common import (
    FAILED,
    AccountFlag,
    DatabaseFlag,
    JsonFlag,
    flags_and_environment,
    settings_of,
)


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
    from syncsvc.settings.explained import explained

    sources = flags_and_environment(context, account=account, database_url=database_url)
    config_command.show(explained(*sources), as_json=as_json)
