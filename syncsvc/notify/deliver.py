"""
Deliver one account's events to one endpoint: in order, one at a time, each at least once.

The cursor moves on after the response. Who is killed between the two leaves the event to the next
one, who sends it again under the same id.
"""

from __future__ import annotations

import random
from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING

import msgspec
import structlog

from syncsvc.accounts.standing import database_time
from syncsvc.database import locks
from syncsvc.errors import ConfigurationError
from syncsvc.notify import cursors, endpoint_rows, pending_events, secrets_and_signatures
from syncsvc.notify.sending import Answer, Sender

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from sqlalchemy import Connection, Engine

    from syncsvc.metrics import NotifyMetrics
    from syncsvc.notify.cursors import Cursor, Position
    from syncsvc.notify.endpoint_rows import Endpoint
    from syncsvc.notify.events import Event
    from syncsvc.settings.settings import Settings

log = structlog.get_logger(__name__)

# Seconds before the next attempt, the recommended table of Standard Webhooks.
RETRIES = (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
JITTER = 0.1  # of a wait, so that many endpoints of one receiver don't come back at once
LONGEST_ERROR = 500


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """
    What delivering needs beside the database.

    Attributes:
        settings: Returns the settings as they are now, with the keys.
        is_stopping: Returns whether no further event shall be sent.
    """

    settings: Callable[[], Settings]
    metrics: NotifyMetrics
    is_stopping: Callable[[], bool] = lambda: False


def deliver(engine: Engine, endpoint: str, account: str, context: Context) -> str | None:
    """
    Deliver what is due until nothing is left, or an attempt fails.

    Returns:
        Why the last attempt failed; None if none did, or somebody else is delivering.
    """
    with engine.connect() as connection:
        name = f"notify\n{endpoint}\n{account}"
        with locks.tried(connection, name) as acquired:
            if not acquired:
                return None
            return _Delivery(connection, endpoint, account, context).run()


class _Delivery:
    """
    One account's events on their way to one endpoint, under the lock of both.
    """

    def __init__(
        self, connection: Connection, endpoint: str, account: str, context: Context
    ) -> None:
        self._connection = connection
        self._name = endpoint
        self._account = account
        self._context = context
        self._delivered = 0

    def run(self) -> str | None:
        error: str | None = None
        while error is None and not self._context.is_stopping():
            with self._connection.begin():
                cursor = cursors.read(self._connection, self._name, self._account)
                now = database_time(self._connection)
                if cursor is None or (cursor.next_attempt_at or now) > now:
                    break
                endpoint = endpoint_rows.require(self._connection, self._name)
            error, moved = self._deliver_batch(endpoint, cursor)
            if not moved:
                break
        if self._delivered:
            log.info(
                "notify.delivered",
                endpoint=self._name,
                account=self._account,
                events=self._delivered,
            )
        return error

    def _deliver_batch(self, endpoint: Endpoint, cursor: Cursor) -> tuple[str | None, bool]:
        """
        Send the next events; return what failed, and whether the cursor is where it was left.
        """
        batch = pending_events.read(
            self._connection, self._account, cursor.position, bulk=endpoint.bulk
        )
        try:
            signing_secrets = secrets_and_signatures.secrets_of(self._context.settings(), endpoint)
            sender = Sender(endpoint)
        except ConfigurationError as exc:
            return self._failed(cursor, Answer(status=None, error=str(exc))), True
        with closing(sender):
            for event in batch.events:
                if not endpoint.gets(event.type):
                    continue
                if self._context.is_stopping():
                    return None, True
                answer = self._send(sender, event, signing_secrets)
                if answer.error is not None:
                    return self._failed(cursor, answer), True
                if not self._advance(cursor.position, event.after, delivered=True):
                    return None, False
                cursor = msgspec.structs.replace(cursor, position=event.after, attempts=0)
        end = batch.end
        if batch.is_last and cursor.wanted_run_id > end.run_id:
            end = msgspec.structs.replace(end, run_id=cursor.wanted_run_id)
        return None, self._advance(cursor.position, end, delivered=False)

    def _send(self, sender: Sender, event: Event, signing_secrets: list[str]) -> Answer:
        with self._connection.begin():
            now = database_time(self._connection)
        answer = sender.send(event, secrets_and_signatures.headers(event, signing_secrets, now))
        self._context.metrics.attempted(self._name, delivered=answer.error is None)
        return answer

    def _advance(self, before: Position, after: Position, *, delivered: bool) -> bool:
        """
        Move the cursor on; return whether nobody else did, and the endpoint is still enabled.
        """
        self._delivered += delivered
        with self._connection.begin():
            now = database_time(self._connection)
            moved = cursors.advance(
                self._connection,
                self._name,
                self._account,
                before,
                after,
                now,
                delivered=delivered,
            )
            return moved and endpoint_rows.is_enabled(self._connection, self._name)

    def _failed(self, cursor: Cursor, answer: Answer) -> str:
        """
        Note a failed attempt; disable the endpoint after the last one, or if it says so.
        """
        error = str(answer.error)[:LONGEST_ERROR]
        wait = None if answer.is_gone else _wait(cursor.attempts, answer.retry_after)
        with self._connection.begin():
            now = database_time(self._connection)
            due = None if wait is None else now + wait
            cursors.postpone(self._connection, self._name, self._account, cursor, due, error)
            if wait is None:
                reason = _why_disabled(cursor.attempts + 1, answer, error)
                endpoint_rows.set_enabled(
                    self._connection, self._name, enabled=False, reason=reason
                )
                log.error("notify.disabled", endpoint=self._name, reason=reason)
        self._log_failure(cursor.attempts + 1, error, due)
        return error

    def _log_failure(self, attempts: int, error: str, due: datetime | None) -> None:
        log.warning(
            "notify.failed",
            endpoint=self._name,
            account=self._account,
            attempts=attempts,
            error=error,
            next_attempt_at=None if due is None else due.isoformat(timespec="seconds"),
        )


def _wait(attempts: int, retry_after: float | None) -> timedelta | None:
    """
    Return how long to wait after one more failed attempt; None after the last one.
    """
    if attempts >= len(RETRIES):
        return None
    wait = RETRIES[attempts] * random.uniform(1, 1 + JITTER)  # noqa: S311 - no secret
    return timedelta(seconds=max(wait, retry_after or 0))


def _why_disabled(attempts: int, answer: Answer, error: str) -> str:
    if answer.is_gone:
        return "It responded 410: it wants no further events."
    return f"{attempts} attempts to deliver one event failed. {error}"
