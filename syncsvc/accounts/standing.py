"""
How each account stands: one word from its row in `accounts` and that in `account_status`.
"""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import select

from syncsvc import clock
from syncsvc.accounts import rows
from syncsvc.database import transactions
from syncsvc.schema.tables import account_status
from syncsvc.settings import values
from syncsvc.settings.crontab import Crontab

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from sqlalchemy import Connection

    from syncsvc.accounts.rows import Account
    from syncsvc.settings.settings import Settings

SHORTEST_DELAY = timedelta(seconds=60)  # below this, an account that is due is not late


class Standing(StrEnum):
    """
    How an account stands; of several that apply, the first one.
    """

    PAUSED = "paused"  # the fleet does not sync it
    NEVER = "never"  # no run of it has ended yet
    FAILING = "failing"  # its last run published nothing, or somebody has to act
    WITHHELD = "withheld"  # its last published run withheld cancellations
    LATE = "late"  # it is overdue by more than an interval, and by more than a minute
    OK = "ok"  # none of these


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """
    An account, how it stands, and its row of `account_status`, if it has one.
    """

    account: Account
    standing: Standing
    status: dict[str, Any] | None


def standing(
    *, enabled: bool, status: Mapping[str, Any] | None, interval: timedelta, now: datetime
) -> Standing:
    """
    Return how an account stands.

    Args:
        enabled: It is not paused.
        status: Its row of `account_status`; None if there is none.
        interval: The time between two of its scheduled runs.
        now: The database's time.
    """
    if not enabled:
        return Standing.PAUSED
    if status is None or status["last_finished_at"] is None:
        return Standing.NEVER
    if status["failures"] or status["attention"] is not None:
        return Standing.FAILING
    if status["withheld"]:
        return Standing.WITHHELD
    due_at = status["next_run_at"]
    if due_at is not None and now - due_at > max(SHORTEST_DELAY, interval):
        return Standing.LATE
    return Standing.OK


def every(connection: Connection, process_settings: Settings) -> Iterator[Listed]:
    """
    Yield every account and how it stands, by name.
    """
    now = database_time(connection)
    states = {row["account"]: row for row in connection.execute(select(account_status)).mappings()}
    for account in rows.every(connection):
        yield _listed(account, states.get(account.name), process_settings, now)


def of(connection: Connection, account: Account, process_settings: Settings) -> Listed:
    """
    Return how one account stands.
    """
    query = select(account_status).where(account_status.c.account == account.name)
    row = connection.execute(query).mappings().first()
    return _listed(account, row, process_settings, database_time(connection))


def database_time(connection: Connection) -> datetime:
    """
    Return the time by which accounts are due: the server's, or on SQLite this machine's.
    """
    ahead = transactions.clock_ahead(connection)
    return clock.now() - (ahead or timedelta())


@lru_cache(maxsize=1024)
def interval_of(schedule: str) -> timedelta:
    """
    Return the time between two runs; of a crontab the shortest.

    Raises:
        ValueError: It is no schedule.
    """
    if not values.is_interval(schedule):
        return Crontab(schedule).shortest_gap
    length = values.interval(schedule)
    assert isinstance(length, timedelta)  # noqa: S101 - it was text
    return length


def usable_interval(own: object, usual: str) -> timedelta:
    """
    Return the interval of an account's own schedule; the usual one's if it has none to use.
    """
    try:
        return interval_of(usual if own is None else str(own))
    except ValueError:
        return interval_of(usual)


def _listed(
    account: Account, row: Mapping[Any, Any] | None, process: Settings, now: datetime
) -> Listed:
    status = dict(row) if row else None
    interval = usable_interval(account.settings.get("schedule"), process.schedule)
    found = standing(enabled=account.enabled, status=status, interval=interval, now=now)
    return Listed(account=account, standing=found, status=status)
