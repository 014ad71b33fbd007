"""
Read the events of an account that come after a position, in the order in which they happened.

Number events of a run come first, by history id, then those about the run itself. What is read is
of one moment, and bounded, however much there is.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import and_, select

from syncsvc.notify import events
from syncsvc.notify.cursors import Position
from syncsvc.notify.events import Event, EventType
from syncsvc.schema.tables import number_history, numbers, sync_runs
from syncsvc.vocabulary import BROKEN, PUBLISHED, RunState

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sqlalchemy import Connection, RowMapping, Select

BULK = 1000  # changes in a run beyond which it is reported as one event
ROWS_READ = BULK + 1
RUNS_READ = 500
RUN = [
    sync_runs.c[name]
    for name in ("id", "account", "state", "started_at", "finished_at", "error", *events.COUNTS)
]
CHANGED = ("added", "provisioned", "cancelled", "reinstated", "changed")


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """
    The next events of an account.

    Attributes:
        end: The position after them, and after what needs no event.
        is_last: There were no more when they were read.
    """

    events: list[Event]
    end: Position
    is_last: bool


class _Found(msgspec.Struct, frozen=True, kw_only=True):
    """
    The rows after a position.

    Attributes:
        changes: Rows of the history by their runs.
        runs: Rows of `sync_runs` by id; pruned ones are missing.
        unfinished: The run that has more changes than were read; None if there is none.
        complete: Nothing else comes after the position.
    """

    changes: dict[int, list[RowMapping]]
    runs: dict[int, Any]
    unfinished: int | None
    complete: bool


class _Earlier(msgspec.Struct, frozen=True, kw_only=True):
    """
    The runs before a run, as far as its events depend on them.

    Attributes:
        ended: The last one that ended.
        published: The last one that published.
        is_none: No run has published before.
    """

    ended: Any
    published: Any
    is_none: bool


def read(connection: Connection, account: str, position: Position, *, bulk: bool) -> Batch:
    """
    Read the next events.

    Args:
        bulk: Every number of a first or very large run has its event.
    """
    with connection.begin():
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        found = _find(connection, account, position)
        earlier = _earlier(connection, account, position)
    return _batch(found, earlier, position, bulk=bulk)


def _find(connection: Connection, account: str, position: Position) -> _Found:
    ended = _ended(account).where(sync_runs.c.id > position.run_id).order_by(sync_runs.c.id)
    runs = connection.execute(ended.limit(RUNS_READ)).mappings().all()
    rows = _changes(connection, account, position)
    changes = {run: list(of_it) for run, of_it in groupby(rows, lambda row: row["run_id"])}
    has_more_rows, has_more_runs = len(rows) == ROWS_READ, len(runs) == RUNS_READ
    cut = max(changes) if has_more_rows else None
    if cut is not None and len(changes) > 1:
        del changes[cut]  # it is read from its start the next time
    lasts = [max(changes)] if has_more_rows else []
    last = min([*lasts, *([runs[-1]["id"]] if has_more_runs else [])], default=None)
    return _Found(
        changes={run: of_it for run, of_it in changes.items() if last is None or run <= last},
        runs={run["id"]: run for run in runs if last is None or run["id"] <= last},
        unfinished=cut if cut in changes else None,
        complete=last is None,
    )


def _ended(account: str) -> Select[Any]:
    run = sync_runs.c
    return select(*RUN).where(run.account == account, run.state != RunState.RUNNING)


def _changes(connection: Connection, account: str, position: Position) -> Sequence[RowMapping]:
    change = number_history.c
    same = and_(numbers.c.account == change.account, numbers.c.uuid == change.uuid)
    is_later = and_(change.id > position.history_id, change.run_id > position.run_id)
    query = (
        select(number_history, numbers.c.number_e164)
        .join(numbers, same)
        .where(change.account == account, is_later)
        .order_by(change.id)
        .limit(ROWS_READ)
    )
    return connection.execute(query).mappings().all()


def _earlier(connection: Connection, account: str, position: Position) -> _Earlier:
    run, change = sync_runs.c, number_history.c
    before = _ended(account).where(run.id <= position.run_id).order_by(run.id.desc()).limit(1)
    published = before.where(run.state.in_(PUBLISHED))
    oldest = select(change.run_id).where(change.account == account).order_by(change.id).limit(1)
    last_published = connection.execute(published).mappings().first()
    first_run = connection.execute(oldest).scalar()
    return _Earlier(
        ended=connection.execute(before).mappings().first(),
        published=last_published,
        is_none=last_published is None and (first_run is None or first_run > position.run_id),
    )


def _batch(found: _Found, earlier: _Earlier, position: Position, *, bulk: bool) -> Batch:
    """
    Go through the runs, each with its changes.
    """
    batch: list[Event] = []
    for run_id in sorted(found.changes.keys() | found.runs.keys()):
        changes = found.changes.get(run_id, [])
        run = found.runs.get(run_id) or _pruned(changes[0])
        is_bulk = not bulk and _is_bulk(run, changes, earlier)
        if not is_bulk:
            for row in changes:
                position = msgspec.structs.replace(position, history_id=row["id"])
                batch.append(events.of_number(row, position))
            if run_id == found.unfinished:
                break
        for count, kind in enumerate(_about(run, earlier, is_bulk=is_bulk), start=1):
            if count > position.run_events:
                after = msgspec.structs.replace(position, run_events=count)
                batch.append(events.of_run(kind, run, after))
        position = Position(run_id=run_id, history_id=position.history_id)
        earlier = _later(earlier, run)
    return Batch(events=batch, end=position, is_last=found.complete)


def _is_bulk(run: Mapping[str, Any], changes: list[RowMapping], earlier: _Earlier) -> bool:
    """
    Return whether a run is reported as one event: the first one, or one with many changes.
    """
    if run["state"] not in PUBLISHED:
        return False
    counted = [run[name] for name in CHANGED if run[name] is not None]
    return earlier.is_none or (sum(counted) if counted else len(changes)) > BULK


def _about(run: Mapping[str, Any], earlier: _Earlier, *, is_bulk: bool) -> Iterator[EventType]:
    """
    Yield the types of the events about a run itself.
    """
    if run["state"] in BROKEN:
        if earlier.ended is None or earlier.ended["state"] in PUBLISHED:
            yield EventType.ACCOUNT_FAILING
        return
    if is_bulk:
        yield EventType.RUN_PUBLISHED
    before = earlier.published["withheld"] if earlier.published else 0
    if run["withheld"] and run["withheld"] != before:
        yield EventType.RUN_WITHHELD
    if earlier.ended is not None and earlier.ended["state"] in BROKEN:
        yield EventType.ACCOUNT_RECOVERED


def _later(earlier: _Earlier, run: Mapping[str, Any]) -> _Earlier:
    if run["state"] in BROKEN:
        return msgspec.structs.replace(earlier, ended=run)
    return _Earlier(ended=run, published=run, is_none=False)


def _pruned(change: RowMapping) -> dict[str, Any]:
    """
    Return what is known of a run whose own row was pruned, by one of its changes.
    """
    return {
        **dict.fromkeys(column.name for column in RUN),
        "id": change["run_id"],
        "account": change["account"],
        "state": RunState.SUCCEEDED,
        "started_at": change["valid_from"],
        "finished_at": change["valid_from"],
    }
