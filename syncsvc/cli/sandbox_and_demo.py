"""
`syncsvc sandbox` and `demo`: the service without a provider.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from syncsvc.cli.common import interrupts


def sandbox(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 chooses a free one.")] = 8080,
    numbers: Annotated[int, typer.Option(min=0, help="Size of the inventory.")] = 1000,
    seed: Annotated[int, typer.Option(help="Each seed makes another inventory.")] = 1,
    example: Annotated[
        bool,
        typer.Option(
            "--example", help="Serve the example of the provider's documentation instead."
        ),
    ] = False,
    change_every: Annotated[
        float, typer.Option(min=0, help="Seconds between changes; 0 = only on request.")
    ] = 0,
    fault: Annotated[
        list[str] | None,
        typer.Option(
            help='Inject this fault at the start, such as reset or {"kind": "status", "times": 3}; '
            "status, delay, cut, reset, html, body, drip, endless or timeout."
        ),
    ] = None,
    receiver: Annotated[
        bool,
        typer.Option("--receiver", help="Serve an endpoint for webhooks, too, and print them."),
    ] = False,
    receiver_port: Annotated[
        int, typer.Option(min=0, max=65535, help="Its port; 0 chooses a free one.")
    ] = 8081,
    receiver_secret_file: Annotated[
        Path | None,
        typer.Option(
            help="File with its secret; - is stdin. Without one, nothing is verified.",
            show_default=False,
        ),
    ] = None,
    receiver_status: Annotated[
        int | None,
        typer.Option(
            min=200, max=599, help="Respond with this status to every event.", show_default=False
        ),
    ] = None,
) -> None:
    """
    Serve a simulated provider on loopback, until interrupted.
    """
    from syncsvc.commands import sandbox_and_demo as sandbox_commands

    if not receiver and (receiver_secret_file or receiver_status):
        raise typer.BadParameter("The options of the receiver need --receiver.")
    options = sandbox_commands.ReceiverOptions(
        port=receiver_port, secret_file=receiver_secret_file, status=receiver_status
    )
    with interrupts():
        sandbox_commands.serve(
            port=port,
            size=None if example else numbers,
            seed=seed,
            change_every=change_every,
            faults=fault or [],
            receiver=options if receiver else None,
        )


def demo(
    fleet: Annotated[
        bool,
        typer.Option(
            "--fleet", help="Let three workers sync thirty accounts, and kill one of them, instead."
        ),
    ] = False,
) -> None:
    """
    Sync a simulated provider into SQLite several times while it changes.
    """
    from syncsvc.logs import set_up_logging

    set_up_logging("warning", "console")
    if fleet:
        from syncsvc.fleet.demo import run_demo

        with interrupts():
            run_demo()
        return
    from syncsvc.commands import sandbox_and_demo as sandbox_commands

    sandbox_commands.run_demo()
