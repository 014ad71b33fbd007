"""
Fleets of real worker processes, over accounts of simulated providers.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import SecretStr
from sqlalchemy import func, select, text

from support.processes import MAIN, PATIENCE
from syncsvc.accounts import rows, sealing
from syncsvc.fleet.tasks import task_schema
from syncsvc.schema.tables import account_status, sync_runs
from syncsvc.settings.loading import load_settings

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from sqlalchemy import Engine

    from support.build import Row
    from syncsvc.settings.settings import Settings

KEY = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="  # 32 digits in base64


class Provider(Protocol):
    """
    Where accounts are, such as a sandbox.
    """

    @property
    def url(self) -> str:
        """
        Its address.
        """

    @property
    def token(self) -> str:
        """
        The token that it accepts.
        """


class Fleet:
    """
    Accounts in a database, and the workers that sync them.
    """

    def __init__(self, engine: Engine, directory: Path) -> None:
        """
        Create the task engine's tables; the workers will log into the directory.
        """
        self.engine = engine
        self.workers: list[subprocess.Popen[bytes]] = []
        self.logs = directory / "logs"
        self.logs.mkdir()
        url = engine.url.render_as_string(hide_password=False)
        self.environ = {
            **{k: v for k, v in os.environ.items() if not k.startswith("SYNCSVC_")},
            "SYNCSVC_DATABASE_URL": url,
            "SYNCSVC_ACCOUNTS_KEY": KEY,
            "SYNCSVC_HTTP_PORT": "0",
            "SYNCSVC_SCHEDULE": "1h",
            "SYNCSVC_API_RETRIES": "0",
        }
        with engine.begin() as connection:
            task_schema.upgrade(connection)

    def settings(self, **changed: str) -> Settings:
        """
        The settings of a worker.
        """
        return load_settings(environ=self.environ | changed)

    def add(self, names: Iterable[str], provider: Provider, **settings: Any) -> None:
        """
        Add accounts of a provider, with sealed credentials.
        """
        secret = {"api_token": SecretStr(provider.token)}
        keys = self.settings()
        with self.engine.begin() as connection:
            for name in names:
                sealed = sealing.seal(keys, name, secret)
                own = {"api_url": provider.url, **settings}
                rows.add(connection, rows.Account(name=name, settings=own, sealed=sealed))

    def start(self, workers: int = 1, **changed: str) -> list[subprocess.Popen[bytes]]:
        """
        Start further workers.
        """
        started = [self._start_one(changed) for _ in range(workers)]
        self.workers += started
        return started

    def _start_one(self, changed: dict[str, str]) -> subprocess.Popen[bytes]:
        log = self.logs / f"{len(list(self.logs.iterdir()))}.log"
        with log.open("wb") as out:
            return subprocess.Popen(
                [sys.executable, "-c", MAIN, "run", "--fleet"],
                env=self.environ | changed,
                stdout=out,
                stderr=out,
            )

    def log(self) -> str:
        """
        All that the workers have logged so far.
        """
        return "".join(path.read_text() for path in sorted(self.logs.iterdir()))

    def stop(self) -> None:
        """
        End every worker, by force if a signal does not.
        """
        alive = [each for each in self.workers if each.poll() is None]
        for each in alive:
            with suppress(ProcessLookupError):
                each.send_signal(signal.SIGCONT)
                each.terminate()
        for each in alive:
            try:
                each.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                each.kill()
                each.wait()
                raise

    def status(self) -> dict[str, Row]:
        """
        The rows of `account_status`, by account.
        """
        with self.engine.connect() as connection:
            found = connection.execute(select(account_status)).mappings()
            return {row["account"]: dict(row) for row in found}

    def succeeded(self) -> set[str]:
        """
        The accounts whose last run published.
        """
        return {name for name, row in self.status().items() if row["last_state"] == "succeeded"}

    def runs(self, *conditions: Any) -> int:
        """
        How many runs there were.
        """
        query = select(func.count()).select_from(sync_runs).where(*conditions)
        with self.engine.connect() as connection:
            return connection.execute(query).scalar_one()

    def jobs(self) -> int:
        """
        How many jobs are handed out and not done.
        """
        with self.engine.connect() as connection:
            query = text("SELECT count(*) FROM procrastinate_jobs WHERE task_name = 'sync_account'")
            return int(connection.execute(query).scalar_one())

    def make_due(self, *names: str) -> None:
        """
        Make accounts due now, or all of them.
        """
        wanted = account_status.c.account.in_(names) if names else text("true")
        with self.engine.begin() as connection:
            connection.execute(account_status.update().where(wanted).values(next_run_at=func.now()))
