"""
Deliver to all endpoints at once, each in a thread of its own, so that none waits for another.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from datetime import timedelta
from typing import TYPE_CHECKING

import structlog

from syncsvc.accounts import rows
from syncsvc.accounts.standing import database_time
from syncsvc.database import transactions
from syncsvc.database.maintenance import migrate
from syncsvc.errors import SyncError, UnknownEndpoint
from syncsvc.notify import cursors, endpoint_rows
from syncsvc.notify.deliver import Context, deliver

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Engine

    from syncsvc.metrics import NotifyMetrics
    from syncsvc.settings.settings import Settings

log = structlog.get_logger(__name__)

MOST_AT_ONCE = 32  # endpoints; others wait for the next turn
BUSY = timedelta(seconds=1)  # until a look at what came meanwhile
LONGEST_ONCE = 60.0  # seconds that `syncsvc sync` goes on delivering


def adopt(engine: Engine, settings: Settings) -> None:
    """
    Write the endpoints of the settings to the database, if there are any.

    Raises:
        SchemaNotCurrent: The database needs `syncsvc migrate`.
        DatabaseUnavailable: It can't be written.
    """
    if not settings.webhooks:
        return
    with transactions.translated(), engine.connect() as connection:
        migrate.require_current(connection)
        with rows.changing(connection):
            endpoint_rows.adopt(connection, settings.webhooks)


def deliver_once(engine: Engine, settings: Settings, metrics: NotifyMetrics, account: str) -> None:
    """
    Make one attempt to deliver what waits, for a process that ends afterwards.
    """
    deliveries = Deliveries(lambda: engine, lambda: settings, metrics, account)
    deliveries.start_due()
    deliveries.finish(LONGEST_ONCE)


class Deliveries:
    """
    The deliveries of one process. Safe to use from several threads.

    Args:
        engine: Returns the database in use.
        settings: Returns the settings as they are now, with the keys.
        account: The only account whose events are delivered; None for all.
    """

    def __init__(
        self,
        engine: Callable[[], Engine],
        settings: Callable[[], Settings],
        metrics: NotifyMetrics,
        account: str | None = None,
    ) -> None:
        self._engine = engine
        self._account = account
        self._stopped = threading.Event()
        self._context = Context(
            settings=settings, metrics=metrics, is_stopping=self._stopped.is_set
        )
        self._running: dict[str, threading.Thread] = {}
        self._lock = threading.Lock()
        self._is_lost = False  # the database, when it was last asked

    def start_due(self) -> timedelta | None:
        """
        Start what is due, but for endpoints to which something is on its way.

        Returns:
            How long until something may be due again; None if nothing waits.
        """
        try:
            with transactions.short_read(self._engine()) as connection:
                now = database_time(connection)
                due = cursors.due(connection, self._account, now)
                later = cursors.next_due(connection, self._account)
        except SyncError as exc:
            self._log_loss(exc)
            return None
        self._is_lost = False
        is_busy = self._start_idle(due)
        waits = [BUSY] if is_busy else []
        return min([*waits, *([later - now] if later else [])], default=None)

    def _start_idle(self, due: list[tuple[str, str]]) -> bool:
        """
        Start a thread for each endpoint that is due and has none; return whether any is at work.
        """
        accounts: dict[str, list[str]] = defaultdict(list)
        for endpoint, account in due:
            accounts[endpoint].append(account)
        with self._lock:
            self._running = {name: each for name, each in self._running.items() if each.is_alive()}
            for endpoint in accounts.keys() - self._running.keys():
                if len(self._running) < MOST_AT_ONCE and not self._stopped.is_set():
                    self._start(endpoint, accounts[endpoint])
            return bool(self._running)

    def finish(self, seconds: float) -> None:
        """
        Wait until nothing is on its way, or until the time is over; then send nothing more.
        """
        ends_at = time.monotonic() + seconds
        try:
            for thread in list(self._running.values()):
                thread.join(max(ends_at - time.monotonic(), 0))
        finally:
            self.stop()

    def stop(self) -> None:
        """
        Send no further event; the process may end while one is on its way.
        """
        self._stopped.set()

    def _log_loss(self, exc: SyncError) -> None:
        """
        Log once that the database is away, and not at every look.
        """
        if not self._is_lost:
            log.warning("notify.database_lost", error=str(exc))
        self._is_lost = True

    def _start(self, endpoint: str, accounts: list[str]) -> None:
        thread = threading.Thread(
            target=self._deliver, args=(endpoint, accounts), name=f"notify-{endpoint}", daemon=True
        )
        self._running[endpoint] = thread
        thread.start()

    def _deliver(self, endpoint: str, accounts: list[str]) -> None:
        """
        Deliver one account's events after the other's; what fails once would fail again.
        """
        try:
            for account in accounts:
                with transactions.translated():
                    if self._stopped.is_set() or self._deliver_one(endpoint, account):
                        return
        except UnknownEndpoint:
            return  # somebody has removed it meanwhile
        except SyncError as exc:
            self._log_loss(exc)
        except Exception:
            log.exception("notify.delivery_failed", endpoint=endpoint)

    def _deliver_one(self, endpoint: str, account: str) -> bool:
        """
        Deliver an account's events; return whether an attempt failed.
        """
        return deliver(self._engine(), endpoint, account, self._context) is not None
