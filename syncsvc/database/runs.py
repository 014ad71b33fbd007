"""
A run's own row in `sync_runs`: begun, finished, failed or crashed.
"""

from __future__ import annotations

import os
import socket
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import msgspec
import structlog
from sqlalchemy import case, delete, func, insert, select, update

from syncsvc import __version__, clock
from syncsvc.schema.tables import sync_rejects, sync_runs
from syncsvc.vocabulary import PUBLISHED, RunState, Trigger

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

log = structlog.get_logger(__name__)


class Run(msgspec.Struct, frozen=True):
    """
    One run in progress.

    Attributes:
        id: Its id in `sync_runs`.
        started_at: The `valid_from` of every row that it writes.
    """

    id: int
    account: str
    started_at: datetime


def begin(connection: Connection, account: str, trigger: Trigger) -> Run:
    """
    Record that a run has begun.
    """
    started_at = next_start(connection, account)
    row = {
        "account": account,
        "trigger": trigger,
        "state": RunState.RUNNING,
        "started_at": started_at,
        "service_version": __version__,
        "detail": place(),
    }
    run_id = connection.execute(insert(sync_runs).values(row).returning(sync_runs.c.id))
    return Run(id=run_id.scalar_one(), account=account, started_at=started_at)


def next_start(connection: Connection, account: str) -> datetime:
    """
    Return the start of a run that begins now: later than the last one, whatever the clock says.

    History needs its runs in order. So a run that started under a clock ten years ahead dates
    all later ones; they are logged until the clock has caught up.
    """
    last: datetime | None = connection.execute(
        select(func.max(sync_runs.c.started_at)).where(sync_runs.c.account == account)
    ).scalar_one()
    now = clock.now()
    if last is None:
        return now
    if last - now > clock.TOLERANCE:
        log.warning("sync.clock_behind_last_run", clock=str(now), last_started_at=str(last))
    return max(now, last + timedelta(microseconds=1))


def mark_crashed(connection: Connection, account: str) -> int:
    """
    Mark the runs whose process died as crashed; only the lock's new holder knows that it did.
    """
    now = clock.now()
    left = (sync_runs.c.account == account, sync_runs.c.state == RunState.RUNNING)
    crashed = {
        "state": RunState.CRASHED,
        "finished_at": case((sync_runs.c.started_at > now, sync_runs.c.started_at), else_=now),
        "recorded_at": now,
        "error": "Its process ended, or lost the database, before it could record its result.",
    }
    return connection.execute(update(sync_runs).where(*left).values(crashed)).rowcount


def finish(
    connection: Connection, run: Run, counts: dict[str, int | None], detail: dict[str, Any]
) -> None:
    """
    Record that a run published, in the same transaction.
    """
    state = RunState.WITHHELD if counts.get("withheld") else RunState.SUCCEEDED
    _end(connection, run, {**counts, "state": state, "detail": {**place(), **detail}})


def fail(connection: Connection, run: Run, counts: dict[str, int | None], error: str) -> None:
    """
    Record that a run failed, unless its commit has succeeded after all.
    """
    _end(connection, run, {**counts, "state": RunState.FAILED, "error": error})


def published(connection: Connection, run: Run) -> dict[str, Any] | None:
    """
    Return the run's row if the run has published, else None.
    """
    query = select(sync_runs).where(sync_runs.c.id == run.id, sync_runs.c.state.in_(PUBLISHED))
    row = connection.execute(query).mappings().first()
    return dict(row) if row else None


def forget_rejects(connection: Connection, run: Run, older_than: timedelta) -> None:
    """
    Delete the rejects of the account's runs that began long before this one.
    """
    old = select(sync_runs.c.id).where(
        sync_runs.c.account == run.account, sync_runs.c.started_at < run.started_at - older_than
    )
    connection.execute(delete(sync_rejects).where(sync_rejects.c.run_id.in_(old)))


def _end(connection: Connection, run: Run, values: dict[str, Any]) -> None:
    in_progress = (sync_runs.c.id == run.id, sync_runs.c.state == RunState.RUNNING)
    now = clock.now()
    times = {"finished_at": max(now, run.started_at), "recorded_at": now}
    connection.execute(update(sync_runs).where(*in_progress).values(**values, **times))


def place() -> dict[str, Any]:
    """
    Return the host and process of a run, for people who look for it.
    """
    return {"host": socket.gethostname(), "pid": os.getpid()}
