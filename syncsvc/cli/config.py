"""
`syncsvc config`: every setting, its value and where it comes from.
"""

from __future__ import annotations

import typer  # noqa: TC002 - typer evaluates the annotations

from syncsvc.cli.common import AccountFlag, DatabaseFlag, JsonFlag, flags_and_environment


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
