"""
A run's own row in `sync_runs`, and its account's: begun, finished, failed or crashed.
"""

from __future__ import annotations

import os
import socket
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import msgspec
import structlog
from sqlalchemy import case, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from syncsvc import __version__, clock
from syncsvc.schema.tables import account_status, numbers, sync_rejects, sync_runs
from syncsvc.vocabulary import PUBLISHED, Lifecycle, RunState, Trigger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection, Row, Table

log = structlog.get_logger(__name__)

INSERT: dict[str, Callable[[Table], postgresql.Insert | sqlite.Insert]] = {
    "postgresql": postgresql.insert,
    "sqlite": sqlite.insert,
}

NUMBERS = {"live_numbers", "cancelled_numbers"}
CRASH = "Its process ended, or lost the database, before it could record its result."


class Run(msgspec.Struct, frozen=True):
    """
    One run in progress.

    Attributes:
        id: Its id in `sync_runs`.
        started_at: The `valid_from` of every row that it writes.
        follows_success: The account's last run has published.
    """

    id: int
    account: str
    started_at: datetime
    follows_success: bool = False


def begin(connection: Connection, account: str, trigger: Trigger, host: str | None = None) -> Run:
    """
    Record that a run has begun.

    Args:
        host: The origin of the provider's address, if it is known.
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
    begun = connection.execute(insert(sync_runs).values(row).returning(sync_runs.c.id))
    run_id = begun.scalar_one()
    status = {"last_run_id": run_id, "last_state": RunState.RUNNING, "last_started_at": started_at}
    before = _write_status(connection, account, {**status, **({"host": host} if host else {})})
    follows_success = before.last_success_at is not None and not before.failures
    return Run(run_id, account, started_at, follows_success)


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


def mark_crashed(connection: Connection, account: str) -> list[int]:
    """
    Mark the runs whose process died as crashed; only the lock's new holder knows that it did.

    Returns:
        Their ids.
    """
    now = clock.now()
    left = (sync_runs.c.account == account, sync_runs.c.state == RunState.RUNNING)
    crashed = {
        "state": RunState.CRASHED,
        "finished_at": case((sync_runs.c.started_at > now, sync_runs.c.started_at), else_=now),
        "recorded_at": now,
        "error": CRASH,
    }
    returned = (sync_runs.c.id, sync_runs.c.finished_at)
    marked = update(sync_runs).where(*left).values(crashed).returning(*returned)
    ended = connection.execute(marked).all()
    if ended:
        status = {
            "last_state": RunState.CRASHED,
            "last_finished_at": max(run.finished_at for run in ended),
            "last_error": CRASH,
        }
        _write_failures(connection, account, len(ended), status)
    return [run.id for run in ended]


def finish(
    connection: Connection,
    run: Run,
    counts: Mapping[str, int | None],
    detail: Mapping[str, Any],
    status: Mapping[str, Any] | None = None,
) -> None:
    """
    Record that a run published, in the same transaction.

    Args:
        status: Further columns of the account's status; its numbers are counted unless they are
            among these.
    """
    state = RunState.WITHHELD if counts.get("withheld") else RunState.SUCCEEDED
    times = _times(run)
    _end(connection, run, {**counts, **times, "state": state, "detail": {**place(), **detail}})
    found: dict[str, Any] = {
        "failures": 0,
        "attention": None,
        "last_state": state,
        "last_finished_at": times["finished_at"],
        "last_success_at": times["recorded_at"],
        "last_error": None,
        **{name: counts.get(name) or 0 for name in ("withheld", "rejected")},
        **(status or {}),
    }
    if not NUMBERS.issubset(found):
        found |= _count_numbers(connection, run.account)
    _write_status(connection, run.account, found)


def fail(
    connection: Connection,
    run: Run,
    counts: Mapping[str, int | None],
    error: str,
    status: Mapping[str, Any] | None = None,
) -> None:
    """
    Record that a run failed, unless its commit has succeeded after all.

    Args:
        status: Further columns of the account's status.
    """
    times = _times(run)
    if _end(connection, run, {**counts, **times, "state": RunState.FAILED, "error": error}):
        found = {
            "last_state": RunState.FAILED,
            "last_finished_at": times["finished_at"],
            "last_error": error,
            **(status or {}),
        }
        _write_failures(connection, run.account, 1, found)


def standing(connection: Connection, account: str) -> dict[str, Any]:
    """
    Read the columns of an account's status that decide when it runs next; none if it has no row.
    """
    names = ("lane", "failures", "attention", "next_run_at")
    query = select(*(account_status.c[name] for name in names))
    row = connection.execute(query.where(account_status.c.account == account)).mappings().first()
    return dict(row or {})


def published(connection: Connection, run: Run) -> dict[str, Any] | None:
    """
    Return the run's row if the run has published, else None.
    """
    query = select(sync_runs).where(*_is(run), sync_runs.c.state.in_(PUBLISHED))
    row = connection.execute(query).mappings().first()
    return dict(row) if row else None


def forget_rejects(connection: Connection, run: Run, older_than: timedelta) -> None:
    """
    Delete the rejects of the account's runs that began long before this one.
    """
    old = select(sync_runs.c.id).where(
        sync_runs.c.account == run.account, sync_runs.c.started_at < run.started_at - older_than
    )
    mine = sync_rejects.c.account == run.account
    connection.execute(delete(sync_rejects).where(mine, sync_rejects.c.run_id.in_(old)))


def _end(connection: Connection, run: Run, values: dict[str, Any]) -> bool:
    """
    Write the end of a run; return whether it was in progress.
    """
    in_progress = (*_is(run), sync_runs.c.state == RunState.RUNNING)
    return bool(connection.execute(update(sync_runs).where(*in_progress).values(values)).rowcount)


def _is(run: Run) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return sync_runs.c.account == run.account, sync_runs.c.id == run.id


def _times(run: Run) -> dict[str, datetime]:
    now = clock.now()
    return {"finished_at": max(now, run.started_at), "recorded_at": now}


def _write_status(
    connection: Connection, account: str, values: Mapping[str, Any]
) -> Row[int, datetime | None]:
    """
    Change these columns of an account's row, which is created if it is missing.

    Returns:
        Its failures and its last success, afterwards.
    """
    row = INSERT[connection.dialect.name](account_status).values(account=account, **values)
    written = row.on_conflict_do_update(index_elements=["account"], set_=values)
    status = account_status.c
    return connection.execute(written.returning(status.failures, status.last_success_at)).one()


def _write_failures(
    connection: Connection, account: str, more: int, values: Mapping[str, Any]
) -> None:
    """
    Count further runs that published nothing, and change these columns.
    """
    row = INSERT[connection.dialect.name](account_status)
    first = {"account": account, "failures": more, **values}
    further = {"failures": account_status.c.failures + more, **values}
    connection.execute(
        row.values(first).on_conflict_do_update(index_elements=["account"], set_=further)
    )


def _count_numbers(connection: Connection, account: str) -> dict[str, int]:
    """
    Count an account's live and cancelled numbers, whoever wrote them.
    """
    lifecycle = numbers.c.lifecycle
    query = select(
        func.count().filter(lifecycle == Lifecycle.LIVE).label("live_numbers"),
        func.count().filter(lifecycle == Lifecycle.CANCELLED).label("cancelled_numbers"),
    ).where(numbers.c.account == account)
    return dict(connection.execute(query).mappings().one())


def place() -> dict[str, Any]:
    """
    Return the host and process of a run, for people who look for it.
    """
    return {"host": socket.gethostname(), "pid": os.getpid()}
