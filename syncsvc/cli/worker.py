"""
`syncsvc run`: the worker.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from syncsvc.cli.common import AccountFlag, DatabaseFlag, settings_of
from syncsvc.signals import INTERRUPTED, ending_signals

if TYPE_CHECKING:
    from syncsvc.settings.settings import Settings


def run(
    context: typer.Context,
    account: AccountFlag = None,
    database_url: DatabaseFlag = None,
) -> None:
    """
    Sync at startup, then on SYNCSVC_SCHEDULE, until SIGTERM or SIGINT.
    """
    from syncsvc.worker import service

    def read_settings() -> Settings:
        return settings_of(context, account=account, database_url=database_url)

    ending_signals.leave_to_command()
    interrupted = service.run_worker(read_settings)
    raise typer.Exit(INTERRUPTED if interrupted else 0)
