"""
`syncsvc sandbox` and `demo`: serve a simulated provider, and sync it.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
import tempfile
import time
from contextlib import ExitStack
from datetime import UTC, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import typer
from rich.rule import Rule
from sqlalchemy import make_url, text

from syncsvc.database import account_and_run_queries, number_lookup
from syncsvc.database.engine import open_engine
from syncsvc.database.maintenance import migrate
from syncsvc.errors import ConfigurationError
from syncsvc.output.formats import terminal
from syncsvc.provider.client import NumberApi
from syncsvc.provider.http.transport import HttpTransport
from syncsvc.provider.tokens import FixedToken
from syncsvc.sandbox import Fault, Inventory, Sandbox
from syncsvc.sandbox.receiver import Receiver
from syncsvc.settings.sources import decoded, printable, read_text, why_unread
from syncsvc.settings.webhook_values import is_webhook_secret
from syncsvc.sync.run import run_once
from syncsvc.sync.run_inputs import Job

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from rich.console import Console
    from sqlalchemy import Connection, Engine

SIZE = 1000
CHANGES_SHOWN = 12
RULE_WIDTH = 80

QUERIES = {
    "Live numbers and what they cost a month, by country": """\
SELECT country_alpha2, count(*) AS numbers, round(sum(monthly_charge), 2) AS monthly
FROM numbers WHERE lifecycle = 'live' GROUP BY country_alpha2 ORDER BY numbers DESC""",
    "What happened, and on what evidence": """\
SELECT event, evidence, occurred_at_source AS clock, count(*) AS rows
FROM number_history GROUP BY event, evidence, occurred_at_source ORDER BY event""",
    "Live numbers without an emergency address": """\
SELECT count(*) AS numbers FROM numbers
WHERE lifecycle = 'live' AND emergency_number_address_id IS NULL""",
}


def run_demo() -> None:
    """
    Sync a changing provider into SQLite several times, and print what happened.
    """
    console = terminal.console()
    path = Path(tempfile.mkdtemp(prefix="syncsvc-demo-")) / "syncsvc.db"
    engine = open_engine(make_url(f"sqlite:///{path}"))
    migrate.upgrade(engine)
    with Sandbox(Inventory.seeded(SIZE)) as sandbox:
        console.print(f"A simulated provider with {SIZE:,} numbers listens at {sandbox.url}.\n")
        transport = HttpTransport(sandbox.url, timeout=30, concurrency=4)
        api = NumberApi(transport, FixedToken(sandbox.token), page_size=200, retries=5, zone=UTC)
        for title, act in _acts(sandbox):
            act()
            _rule(console, title)
            _sync_and_print(console, engine, api)
        api.close()
    _print_queries(console, engine, path)


def _rule(console: Console, title: str) -> None:
    console.print(Rule(title, align="left"), width=RULE_WIDTH)


def _acts(sandbox: Sandbox) -> list[tuple[str, Callable[[], Any]]]:
    inventory = sandbox.inventory

    def change() -> None:
        inventory.provision(3)
        inventory.edit(2)
        inventory.cancel(2)

    def misbehave() -> None:
        sandbox.inject(Fault(kind="status", status=503), Fault(kind="cut"))

    def shift() -> None:
        sandbox.before_page = provision_once

    def provision_once(page: int) -> None:
        if page > 1:
            sandbox.before_page = None
            inventory.provision(1)

    return [
        ("1. The first sync", lambda: None),
        ("2. Nothing has changed", lambda: None),
        ("3. Provisioned, edited, cancelled", change),
        ("4. An error 503 and a cut body: retried, nothing changes", misbehave),
        ("5. A number is added while the pages are walked: the walk is repeated", shift),
        ("6. Back again", lambda: inventory.reinstate(1)),
    ]


def _sync_and_print(console: Console, engine: Engine, api: NumberApi) -> None:
    changes: list[Any] = []

    def note_changes(connection: Connection, run_id: int) -> None:
        changes.extend(account_and_run_queries.changes_of_run(connection, run_id, CHANGES_SHOWN))

    job = Job(
        engine=engine,
        api=api,
        account="default",
        deadline=timedelta(minutes=5),
        on_found=note_changes,
    )
    summary = run_once(job)
    written = sum(getattr(summary, event) for event in terminal.EVENT_COLOURS)
    if 0 < written <= CHANGES_SHOWN:
        terminal.show(terminal.changes_table(changes, written))
    console.print(
        f"Run {summary.run_id} {summary.state} in {summary.duration_seconds:.2f} s: "
        f"{summary.listed:,} numbers listed on {summary.pages} pages, "
        f"{written:,} changes written, {summary.unchanged:,} numbers unchanged.\n"
    )


def _print_queries(console: Console, engine: Engine, path: Path) -> None:
    _rule(console, "Ask the tables")
    with engine.connect() as connection:
        for title, query in QUERIES.items():
            result = connection.execute(text(query))
            console.print(f"\n{title}:\n[dim]{query}[/dim]", soft_wrap=True)
            terminal.show(terminal.rows_table(list(result.keys()), result.all()))
        example = number_lookup.most_changed(connection, "default")
    console.print(
        f"\nThe database stays at {path}. Look further:\n"
        f"  export SYNCSVC_DATABASE_URL=sqlite:///{path}\n"
        f"  {_this_command()} runs\n"
        f"  {_this_command()} history {example}\n",
        soft_wrap=True,
    )


def _this_command() -> str:
    """
    Return how a shell calls this program again: by its name if that finds it, else by its path.
    """
    program = Path(sys.argv[0])
    if program.name == "__main__.py":
        return f"{shlex.quote(sys.executable)} -m syncsvc"
    found = shutil.which(program.name)
    if not program.is_file() or (found and program.samefile(found)):
        return program.name
    return shlex.quote(str(program.absolute()))


class ReceiverOptions(msgspec.Struct, frozen=True, kw_only=True):
    """
    What the command line says of the receiver of webhooks.

    Attributes:
        secret_file: The file with its secret, or two; `-` is stdin, None is none.
        status: What it responds to every event; None: what a proper receiver does.
    """

    port: int
    secret_file: Path | None
    status: int | None


def serve(
    *,
    port: int,
    size: int | None,
    seed: int,
    change_every: float,
    faults: list[str],
    receiver: ReceiverOptions | None,
) -> None:
    """
    Serve the simulated provider until a KeyboardInterrupt.

    Args:
        size: Numbers in the inventory; None for the documented example.
        change_every: Seconds between changes; 0 for none.
        faults: Kinds, or JSON objects with the fields of `Fault`.
        receiver: Serve one, too.
    """
    ordered = [_fault(order) for order in faults]
    inventory = Inventory.example() if size is None else Inventory.seeded(size, seed=seed)
    sandbox = Sandbox(inventory, port=port)
    endpoint = None if receiver is None else _receiver(receiver)
    with ExitStack() as stack:
        _listen(stack, sandbox, "--port", port)
        if endpoint is not None and receiver is not None:
            _listen(stack, endpoint, "--receiver-port", receiver.port)
        sandbox.inject(*ordered)
        if change_every:
            sandbox.change_every(change_every)
        typer.echo(
            f"{len(inventory.rows)} numbers at {sandbox.url}, until Ctrl-C. In another shell:\n"
            f"  export SYNCSVC_API_URL={sandbox.url} SYNCSVC_API_TOKEN={sandbox.token}\n"
            "  syncsvc sync"
        )
        if endpoint is not None:
            typer.echo(f"Webhooks to {endpoint.url} are printed here.")
        while True:
            time.sleep(3600)


def _listen(
    stack: ExitStack, server: AbstractContextManager[object], option: str, port: int
) -> None:
    try:
        stack.enter_context(server)
    except OSError as exc:
        raise ConfigurationError(
            f"{option} {port}: the sandbox can't listen there ({os.strerror(exc.errno or 0)}). "
            "Choose another port; 0 takes a free one."
        ) from None


def _receiver(options: ReceiverOptions) -> Receiver:
    file = options.secret_file
    secrets = [] if file is None else _secrets(file)
    return Receiver(secrets, typer.echo, status=options.status, port=options.port)


def _secrets(path: Path) -> list[str]:
    """
    Read the secret of an endpoint, or the two of which one replaces the other.

    Raises:
        ConfigurationError: The file can't be read, or has something else; it is not quoted.
    """
    option = "--receiver-secret-file"
    try:
        text = decoded(sys.stdin.buffer) if str(path) == "-" else read_text(path)
    except OSError as error:
        raise ConfigurationError(
            f"{option}: the file {printable(path)} {why_unread(error)}."
        ) from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{option}: the file {printable(path)} is not text.") from None
    secrets = text.split()
    if not secrets or not all(map(is_webhook_secret, secrets)):
        raise ConfigurationError(
            f"{option}: the file {printable(path)} has something else than the secrets that "
            "`syncsvc notify add` and `syncsvc notify rotate` print."
        )
    return secrets


def _fault(order: str) -> Fault:
    try:
        fields = json.loads(order) if order.lstrip().startswith("{") else {"kind": order}
        return Fault.from_order(fields)
    except (TypeError, ValueError) as exc:
        raise ConfigurationError(f"--fault {order}: {exc}") from None
