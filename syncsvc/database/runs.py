"""
A run's own row in `sync_runs`: begun, finished, failed, crashed.
"""

from __future__ import annotations

import os
import socket
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import case, delete, func, insert, select, update

from syncsvc import __version__, clock
from syncsvc.schema.tables import sync_rejects, sync_runs
from syncsvc.vocabulary import RunState, Trigger

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection


class Run(msgspec.Struct, frozen=True):
    """
    One run under way.

    Attributes:
        id: Its number in `sync_runs`.
        started_at: The `valid_from` of all that it writes.
    """

    id: int
    account: str
    started_at: datetime


def begin(connection: Connection, account: str, trigger: Trigger) -> Run:
    """
    Note that a run has begun.
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
    Return when a run that begins now starts: later than the one before, whatever the clock does.
    """
    last = connection.execute(
        select(func.max(sync_runs.c.started_at)).where(sync_runs.c.account == account)
    ).scalar_one()
    return clock.now() if last is None else max(clock.now(), last + timedelta(microseconds=1))


def mark_crashed(connection: Connection, account: str) -> int:
    """
    Note the runs whose holder died; only the lock's new holder may say so.
    """
    left = (sync_runs.c.account == account, sync_runs.c.state == RunState.RUNNING)
    crashed = {
        "state": RunState.CRASHED,
        "finished_at": case(
            (sync_runs.c.started_at > clock.now(), sync_runs.c.started_at), else_=clock.now()
        ),
        "error": "Its process ended, or lost the database, before it could say how it went.",
    }
    return connection.execute(update(sync_runs).where(*left).values(crashed)).rowcount


def finish(
    connection: Connection, run: Run, counts: dict[str, int | None], detail: dict[str, Any]
) -> None:
    """
    Note that a run published, in the transaction that does.
    """
    state = RunState.WITHHELD if counts.get("withheld") else RunState.SUCCEEDED
    _end(connection, run, {**counts, "state": state, "detail": {**place(), **detail}})


def fail(connection: Connection, run: Run, counts: dict[str, int | None], error: str) -> None:
    """
    Note that a run failed, unless it has published after all.
    """
    _end(connection, run, {**counts, "state": RunState.FAILED, "error": error})


def published(connection: Connection, run: Run) -> dict[str, Any] | None:
    """
    The row of a run, where it says that the run has published.
    """
    states = (RunState.SUCCEEDED, RunState.WITHHELD)
    query = select(sync_runs).where(sync_runs.c.id == run.id, sync_runs.c.state.in_(states))
    row = connection.execute(query).mappings().first()
    return dict(row) if row else None


def forget_rejects(connection: Connection, run: Run, older_than: timedelta) -> None:
    """
    Remove the account's rejects of runs that began long before this one.
    """
    old = select(sync_runs.c.id).where(
        sync_runs.c.account == run.account, sync_runs.c.started_at < run.started_at - older_than
    )
    connection.execute(delete(sync_rejects).where(sync_rejects.c.run_id.in_(old)))


def _end(connection: Connection, run: Run, values: dict[str, Any]) -> None:
    under_way = (sync_runs.c.id == run.id, sync_runs.c.state == RunState.RUNNING)
    finished_at = max(clock.now(), run.started_at)
    connection.execute(
        update(sync_runs).where(*under_way).values(**values, finished_at=finished_at)
    )


def place() -> dict[str, Any]:
    """
    Where a run takes place, for whoever looks for it.
    """
    return {"host": socket.gethostname(), "pid": os.getpid()}
