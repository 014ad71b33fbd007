"""
`syncsvc run`: the worker.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from syncsvc.cli.common import AccountFlag, DatabaseFlag, settings_of
from syncsvc.signals import INTERRUPTED, ending_signals

if TYPE_CHECKING:
    from syncsvc.settings.settings import Settings


FleetFlag = Annotated[
    bool,
    typer.Option(
        "--fleet", help="Sync all accounts of `syncsvc accounts`, beside any number of workers."
    ),
]


def run(
    context: typer.Context,
    fleet: FleetFlag = False,
    account: AccountFlag = None,
    database_url: DatabaseFlag = None,
) -> None:
    """
    Sync at startup, then on SYNCSVC_SCHEDULE, until SIGTERM or SIGINT.
    """

    def read_settings() -> Settings:
        return settings_of(context, account=account, database_url=database_url)

    ending_signals.leave_to_command()
    if fleet:
        if account is not None:
            raise typer.BadParameter("--account can't be combined with --fleet.")
        from syncsvc.fleet.service import run_fleet

        run_fleet(read_settings)
        return
    from syncsvc.worker import service

    interrupted = service.run_worker(read_settings)
    raise typer.Exit(INTERRUPTED if interrupted else 0)
