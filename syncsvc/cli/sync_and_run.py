"""
`syncsvc sync` and `syncsvc run`: one run, and the worker.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from syncsvc.cli.common import (
    FAILED,
    WITHHELD,
    AccountFlag,
    DatabaseFlag,
    JsonFlag,
    interrupts,
    settings_of,
)
from syncsvc.signals import INTERRUPTED, ending_signals

if TYPE_CHECKING:
    from syncsvc.settings.settings import Settings

DryRunFlag = Annotated[
    bool, typer.Option("--dry-run", help="Print what would change and write nothing.")
]
AllowMassCancelFlag = Annotated[
    bool,
    typer.Option(
        "--allow-mass-cancel",
        help="Accept cancellations that the guard (SYNCSVC_CANCEL_GUARD_*) would withhold.",
    ),
]
MetricsFileFlag = Annotated[
    Path | None,
    typer.Option(
        help="Write the metrics to this file, for node_exporter's textfile collector.",
        show_default=False,
    ),
]

FleetFlag = Annotated[
    bool,
    typer.Option(
        "--fleet", help="Sync all accounts of `syncsvc accounts`, shared with other such workers."
    ),
]


def sync(
    context: typer.Context,
    dry_run: DryRunFlag = False,
    as_json: JsonFlag = False,
    allow_mass_cancel: AllowMassCancelFlag = False,
    metrics_file: MetricsFileFlag = None,
    account: AccountFlag = None,
    database_url: DatabaseFlag = None,
) -> None:
    """
    Do one full run now.
    """
    from syncsvc.commands import sync as sync_command
    from syncsvc.vocabulary import PUBLISHED

    show_progress = sys.stderr.isatty() and not as_json
    settings = settings_of(context, quiet=show_progress, account=account, database_url=database_url)
    with interrupts() as interrupted:
        summary = sync_command.sync(
            settings,
            sync_command.Options(
                dry_run=dry_run,
                allow_mass_cancel=allow_mass_cancel,
                show_progress=show_progress,
                as_json=as_json,
                metrics_file=metrics_file,
            ),
        )
    if interrupted:
        published = summary.state in PUBLISHED
        typer.echo(f"Stopped; {'the run has' if published else 'nothing was'} published.", err=True)
        raise typer.Exit(INTERRUPTED)
    if summary.state == "failed":
        raise typer.Exit(FAILED)
    raise typer.Exit(WITHHELD if summary.withheld else 0)


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
