"""
Delete closed history and runs that are past their retention time.

Queries about the retained period return the same as before: the inventory as known at any of
its moments, the months that end in it, and the state of each account.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, exists, func, not_, select

from syncsvc.schema.tables import (
    address_history,
    notify_cursors,
    notify_endpoints,
    number_history,
    sync_rejects,
    sync_runs,
)
from syncsvc.vocabulary import PUBLISHED, RunState

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import ColumnElement, Connection, Select, Table


def back_from(now: datetime, length: str) -> datetime:
    """
    Return the time N days (90d) or N calendar years (7y) before now.

    Shorter units are refused: older rows will be deleted, and 6m means six minutes elsewhere.

    Raises:
        ValueError: The length has another format, or the time would be before year 1.
    """
    written = re.fullmatch(r"(\d{1,6})([dy])", length.strip(), re.ASCII)
    if written is None:
        raise ValueError("is not a length of time")
    if int(written[1]) == 0:
        raise ValueError("is too short: it must be at least 1d")
    number = int(written[1])
    try:
        return now - timedelta(days=number) if written[2] == "d" else _years_back(now, number)
    except (ValueError, OverflowError):
        raise ValueError("is too long") from None


def _years_back(now: datetime, number: int) -> datetime:
    """
    Return the same day of an earlier year; for 29 February, the day before.
    """
    day = 28 if (now.month, now.day) == (2, 29) else now.day
    return now.replace(year=now.year - number, day=day)


def superseded(
    account: str, history_before: datetime | None, runs_before: datetime | None
) -> dict[Table, list[ColumnElement[bool]]]:
    """
    Return the conditions of the rows past their retention time, by table.

    Args:
        history_before: The begin of the retained period; None keeps all history.
        runs_before: The same for runs.
    """
    found: dict[Table, list[ColumnElement[bool]]] = {}
    if history_before is not None:
        found[number_history] = [
            *_closed_numbers(account, history_before),
            ~_is_pending(account, number_history.c.id > notify_cursors.c.history_id),
        ]
        found[address_history] = _closed(address_history, account, history_before)
    if runs_before is not None:
        found[sync_runs] = [
            *_old_runs(account, runs_before),
            ~_is_pending(account, sync_runs.c.id >= notify_cursors.c.run_id),
        ]
    return found


def count(connection: Connection, table: Table, conditions: list[ColumnElement[bool]]) -> int:
    """
    Return how many rows would be deleted.
    """
    query = select(func.count()).select_from(table).where(*conditions)
    return connection.execute(query).scalar_one()


def remove(connection: Connection, table: Table, conditions: list[ColumnElement[bool]]) -> int:
    """
    Delete the rows, and return how many they were.
    """
    return connection.execute(delete(table).where(*conditions)).rowcount


def _is_pending(account: str, comes_after: ColumnElement[bool]) -> ColumnElement[bool]:
    """
    Select rows that have not been sent to an enabled endpoint of webhooks yet.
    """
    cursor = notify_cursors.c
    pending = (
        select(cursor.endpoint)
        .join(notify_endpoints, notify_endpoints.c.name == cursor.endpoint)
        .where(notify_endpoints.c.enabled, cursor.account == account)
        .where(cursor.wanted_run_id > cursor.run_id, comes_after)
    )
    return exists(pending)


def _closed(history: Table, account: str, before: datetime) -> list[ColumnElement[bool]]:
    """
    Select rows that were superseded when the retained period began; never an open one.
    """
    return [history.c.account == account, history.c.valid_to <= before]


def _closed_numbers(account: str, before: datetime) -> list[ColumnElement[bool]]:
    """
    Select the same of numbers of which no row known by then occurred later.

    A timestamp ahead of its run puts an old row into the months of the retained period.
    """
    other = number_history.alias("other").c
    ahead = exists().where(
        other.account == account,
        other.uuid == number_history.c.uuid,
        other.valid_from <= before,
        other.occurred_at > before,
    )
    return [*_closed(number_history, account, before), not_(ahead)]


def _old_runs(account: str, before: datetime) -> list[ColumnElement[bool]]:
    """
    Select runs that began before, have no stored rejects, and don't show the account's state.
    """
    run = sync_runs.c
    old = [run.account == account, run.started_at < before, run.state != RunState.RUNNING]
    refers = exists().where(sync_rejects.c.run_id == run.id)
    return [*old, not_(refers), *(run.id.not_in(each) for each in _last_runs(account))]


def _last_runs(account: str) -> Iterator[Select[Any]]:
    """
    Select the ids of the account's last run, the last that ended, and the last that published.
    """
    run = sync_runs.c
    for which in ([], [run.state != RunState.RUNNING], [run.state.in_(PUBLISHED)]):
        yield (
            select(run.id)
            .where(run.account == account, *which)
            .order_by(run.started_at.desc())
            .limit(1)
        )
