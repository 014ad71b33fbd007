"""
How far each endpoint is with each account's events: rows of `notify_cursors`.

A run that has events raises `wanted_run_id`, in its own transaction. Whoever delivers moves the
other columns on. Neither waits for the other, and no event is lost between them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import bindparam, case, delete, func, or_, select, update

from syncsvc import clock
from syncsvc.database.runs import INSERT
from syncsvc.schema.tables import (
    account_status,
    notify_cursors,
    notify_endpoints,
    number_history,
    sync_runs,
)
from syncsvc.vocabulary import RunState

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection, Update

    from syncsvc.notify.endpoint_rows import Endpoint

IS_PENDING = notify_cursors.c.wanted_run_id > notify_cursors.c.run_id
KEY = ["endpoint", "account"]


class Position(msgspec.Struct, frozen=True, kw_only=True):
    """
    How far an endpoint is with an account's events.

    Attributes:
        run_id: The last run whose events it has all received.
        history_id: The last history row that it has received, or that was passed over.
        run_events: How many events about the next run itself it has received.
    """

    run_id: int = 0
    history_id: int = 0
    run_events: int = 0


class Cursor(msgspec.Struct, frozen=True, kw_only=True):
    """
    One endpoint's position in one account's events, and its attempts at the next one.

    Attributes:
        wanted_run_id: The last run with events.
    """

    position: Position
    wanted_run_id: int
    attempts: int = 0
    next_attempt_at: datetime | None = None


# Built once, since each event that is delivered needs them.
WAS = "was_"
MOVE = update(notify_cursors).where(
    *(
        notify_cursors.c[name] == bindparam(WAS + name)
        for name in (*KEY, *Position.__struct_fields__)
    )
)
ADVANCE = MOVE.values(
    pending_since=case(
        (
            notify_cursors.c.wanted_run_id > bindparam("passed_run_id"),
            bindparam("now", type_=notify_cursors.c.pending_since.type),
        )
    )
)


def wake(
    connection: Connection, account: str, run_id: int, endpoints: list[Endpoint], now: datetime
) -> None:
    """
    Record that a run has events for these endpoints, of which there is at least one.
    """
    rows = [
        {
            "endpoint": endpoint.name,
            "account": account,
            "wanted_run_id": run_id,
            "pending_since": now,
        }
        for endpoint in endpoints
    ]
    new = INSERT[connection.dialect.name](notify_cursors).values(rows)
    since = case((IS_PENDING, notify_cursors.c.pending_since), else_=now)
    connection.execute(
        new.on_conflict_do_update(
            index_elements=KEY,
            set_={"wanted_run_id": new.excluded.wanted_run_id, "pending_since": since},
        )
    )


def start_now(connection: Connection, endpoint: str, covers: Callable[[str], bool]) -> None:
    """
    Start a new endpoint behind the last run of every account.
    """
    ran = connection.execute(select(account_status.c.account)).scalars().all()
    rows = [
        {
            "endpoint": endpoint,
            "account": account,
            "run_id": (last := _last_run(connection, account)),
            "history_id": _last_change(connection, account),
            "wanted_run_id": last,
        }
        for account in ran
        if covers(account)
    ]
    if rows:
        connection.execute(INSERT[connection.dialect.name](notify_cursors), rows)


def due(connection: Connection, account: str | None, now: datetime) -> list[tuple[str, str]]:
    """
    Return the enabled endpoints, and the accounts of each, whose next event is due.

    Those that have waited longest for an attempt come first.

    Args:
        account: Only this one; None for all.
    """
    cursor = notify_cursors.c
    query = (
        select(cursor.endpoint, cursor.account)
        .join(notify_endpoints, notify_endpoints.c.name == cursor.endpoint)
        .where(IS_PENDING, notify_endpoints.c.enabled, _is_due(now))
        .order_by(func.coalesce(cursor.next_attempt_at, cursor.pending_since), *KEY)
    )
    if account is not None:
        query = query.where(cursor.account == account)
    return [(row.endpoint, row.account) for row in connection.execute(query)]


def next_due(connection: Connection, account: str | None) -> datetime | None:
    """
    Return when the first event that failed is to be sent again; None if none is.
    """
    cursor = notify_cursors.c
    query = (
        select(func.min(cursor.next_attempt_at))
        .join(notify_endpoints, notify_endpoints.c.name == cursor.endpoint)
        .where(IS_PENDING, notify_endpoints.c.enabled)
    )
    if account is not None:
        query = query.where(cursor.account == account)
    moment: datetime | None = connection.execute(query).scalar()
    return moment


def read(connection: Connection, endpoint: str, account: str) -> Cursor | None:
    """
    Return the cursor of an endpoint that is enabled and has events to come, else None.
    """
    query = (
        select(notify_cursors)
        .join(notify_endpoints, notify_endpoints.c.name == notify_cursors.c.endpoint)
        .where(*_is(endpoint, account), IS_PENDING, notify_endpoints.c.enabled)
    )
    row = connection.execute(query).mappings().first()
    if row is None:
        return None
    fields = msgspec.structs.fields(Position)
    return Cursor(
        position=Position(**{field.name: row[field.name] for field in fields}),
        wanted_run_id=row["wanted_run_id"],
        attempts=row["attempts"],
        next_attempt_at=row["next_attempt_at"],
    )


def advance(  # noqa: PLR0913 - a move has two ends
    connection: Connection,
    endpoint: str,
    account: str,
    before: Position,
    after: Position,
    now: datetime,
    *,
    delivered: bool,
) -> bool:
    """
    Move a cursor on, unless somebody else has moved it.

    Args:
        delivered: An event was delivered, not only passed over.

    Returns:
        Whether it was still where it was before.
    """
    values: dict[str, Any] = {
        **msgspec.structs.asdict(after),
        "attempts": 0,
        "next_attempt_at": None,
        "last_error": None,
        "now": now,
        "passed_run_id": after.run_id,
    }
    if delivered:
        values["delivered_at"] = now
    return _write(connection, ADVANCE, endpoint, account, before, values)


def postpone(
    connection: Connection,
    endpoint: str,
    account: str,
    cursor: Cursor,
    next_attempt_at: datetime | None,
    error: str,
) -> None:
    """
    Record a failed attempt, and when the next one is due; None if there is none.
    """
    values = {
        "attempts": cursor.attempts + 1,
        "next_attempt_at": next_attempt_at,
        "last_error": error,
    }
    _write(connection, MOVE, endpoint, account, cursor.position, values)


def retry_now(connection: Connection, endpoint: str) -> None:
    """
    Begin anew with the attempts of every account's next event.
    """
    of_it = notify_cursors.c.endpoint == endpoint
    values = {"attempts": 0, "next_attempt_at": None}
    connection.execute(update(notify_cursors).where(of_it).values(values))


def forget(connection: Connection, endpoint: str) -> None:
    """
    Delete an endpoint's cursors.
    """
    connection.execute(delete(notify_cursors).where(notify_cursors.c.endpoint == endpoint))


def rewind(connection: Connection, endpoint: str, account: str, since: datetime) -> None:
    """
    Send an endpoint again what the account's runs found that began at this time or later.
    """
    run, change = sync_runs.c, number_history.c
    earlier_run = select(func.max(run.id)).where(run.account == account, run.started_at < since)
    earlier_change = (
        select(change.id, change.run_id)
        .where(change.account == account, change.valid_from < since)
        .order_by(change.id.desc())
        .limit(1)
    )
    last = connection.execute(earlier_change).first()
    run_id = max(connection.execute(earlier_run).scalar() or 0, last.run_id if last else 0)
    wanted = _last_run(connection, account)
    row = {
        "endpoint": endpoint,
        "account": account,
        "run_id": run_id,
        "history_id": last.id if last else 0,
        "run_events": 0,
        "wanted_run_id": wanted,
        "pending_since": clock.now() if wanted > run_id else None,
        "attempts": 0,
        "next_attempt_at": None,
        "last_error": None,
    }
    new = INSERT[connection.dialect.name](notify_cursors).values(row)
    changed = {name: value for name, value in row.items() if name not in KEY}
    connection.execute(new.on_conflict_do_update(index_elements=KEY, set_=changed))


def _last_run(connection: Connection, account: str) -> int:
    """
    Return the last run that has ended, by its own row or by the history.
    """
    run = sync_runs.c
    ended = select(func.max(run.id)).where(run.account == account, run.state != RunState.RUNNING)
    change = number_history.c
    newest = select(change.run_id).where(change.account == account).order_by(change.id.desc())
    in_history = connection.execute(newest.limit(1)).scalar()
    return max(connection.execute(ended).scalar() or 0, in_history or 0)


def _last_change(connection: Connection, account: str) -> int:
    change = number_history.c
    found = connection.execute(select(func.max(change.id)).where(change.account == account))
    return found.scalar() or 0


def _is(endpoint: str, account: str) -> tuple[ColumnElement[bool], ...]:
    return notify_cursors.c.endpoint == endpoint, notify_cursors.c.account == account


def _is_due(now: datetime) -> ColumnElement[bool]:
    moment = notify_cursors.c.next_attempt_at
    return or_(moment.is_(None), moment <= now)


def _write(
    connection: Connection,
    statement: Update,
    endpoint: str,
    account: str,
    before: Position,
    values: dict[str, Any],
) -> bool:
    where = {"endpoint": endpoint, "account": account, **msgspec.structs.asdict(before)}
    given = {WAS + name: value for name, value in where.items()}
    return bool(connection.execute(statement, {**given, **values}).rowcount)
