"""
How all accounts stand at one moment, from their rows and `account_status` alone.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

import msgspec
from sqlalchemy import select

from syncsvc.accounts.standing import Standing, database_time, standing, usable_interval
from syncsvc.schema.tables import account_status, accounts
from syncsvc.vocabulary import Lane

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection, RowMapping, Select

    from syncsvc.settings.settings import Settings

NEED_A_LOOK = (Standing.FAILING, Standing.LATE, Standing.WITHHELD)  # worst first
COLUMNS = (
    *("host", "next_run_at", "lane", "failures", "attention", "last_state", "last_finished_at"),
    *("last_success_at", "last_error", "live_numbers", "cancelled_numbers", "withheld", "rejected"),
)


class AccountOverview(msgspec.Struct, frozen=True, kw_only=True):
    """
    One account.

    Attributes:
        interval: The time between two of its scheduled runs.
        late: By how long it is overdue; 0 if it is not, or is paused.
        last_success_at: None if it never had one.
    """

    account: str
    standing: Standing
    host: str | None
    lane: Lane
    failures: int
    attention: str | None
    last_state: str | None
    last_success_at: datetime | None
    last_error: str | None
    interval: timedelta
    late: timedelta
    live_numbers: int
    cancelled_numbers: int
    withheld: int
    rejected: int


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """
    All accounts, by name.

    Attributes:
        at: The time, by the database's clock.
    """

    at: datetime
    accounts: Sequence[AccountOverview]

    def counts(self) -> Counter[str]:
        """
        Return how many accounts stand in each way.
        """
        return Counter(each.standing.value for each in self.accounts)

    def need_a_look(self) -> list[AccountOverview]:
        """
        Return the accounts that somebody should look at, worst first.
        """
        troubled = [each for each in self.accounts if each.standing in NEED_A_LOOK]
        return sorted(troubled, key=_badness)

    def lag(self) -> timedelta:
        """
        Return how long the account that has waited longest is overdue.
        """
        return max((each.late for each in self.accounts), default=timedelta())

    def due(self) -> int:
        """
        Return how many accounts wait for their run.
        """
        return sum(each.late > timedelta() for each in self.accounts)

    def oldest_success(self) -> datetime | None:
        """
        Return the end of the last success of the account whose last success is the oldest.
        """
        ends = [
            each.last_success_at
            for each in self.accounts
            if each.last_success_at and each.standing is not Standing.PAUSED
        ]
        return min(ends, default=None)


def _badness(account: AccountOverview) -> tuple[Any, ...]:
    """
    Order accounts by what is wrong, and by how much.
    """
    return (
        NEED_A_LOOK.index(account.standing),
        account.attention is None,
        -account.failures,
        -account.late,
        -account.withheld,
        account.account,
    )


def read(connection: Connection, settings: Settings) -> Overview:
    """
    Read how all accounts stand.

    Args:
        settings: Those of the process, whose schedule is that of accounts without their own.
    """
    now = database_time(connection)
    rows = connection.execute(_query()).mappings()
    found = [_account(row, settings.schedule, now) for row in rows]
    return Overview(at=now, accounts=found)


def _query() -> Select[Any]:
    status = account_status.c
    schedule = accounts.c.settings["schedule"].as_string().label("schedule")
    return (
        select(accounts.c.account, accounts.c.enabled, schedule, *(status[c] for c in COLUMNS))
        .select_from(accounts.outerjoin(account_status, status.account == accounts.c.account))
        .order_by(accounts.c.account)
    )


def _account(row: RowMapping, usual_schedule: str, now: datetime) -> AccountOverview:
    interval = usable_interval(row["schedule"], usual_schedule)
    how = standing(
        enabled=row["enabled"],
        status=cast("Mapping[str, Any]", row) if row["failures"] is not None else None,
        interval=interval,
        now=now,
    )
    due_at = row["next_run_at"]
    is_waiting = row["enabled"] and due_at is not None and due_at < now
    return AccountOverview(
        account=row["account"],
        standing=how,
        host=row["host"],
        lane=Lane(row["lane"] or Lane.FAST),
        failures=row["failures"] or 0,
        attention=row["attention"],
        last_state=row["last_state"],
        last_success_at=row["last_success_at"],
        last_error=row["last_error"],
        interval=interval,
        late=now - due_at if is_waiting else timedelta(),
        live_numbers=row["live_numbers"] or 0,
        cancelled_numbers=row["cancelled_numbers"] or 0,
        withheld=row["withheld"] or 0,
        rejected=row["rejected"] or 0,
    )


class CachedOverview:
    """
    The overview for those who ask often. Safe to use from several threads.

    Args:
        read: Reads it from the database.
        age: Seconds after which it is read again.
    """

    def __init__(self, read: Callable[[], Overview], age: float) -> None:
        self._read = read
        self._age = age
        self._lock = threading.Lock()
        self._read_at = float("-inf")
        self._last: Overview | None = None

    def __call__(self) -> Overview:
        """
        Return the overview, which may be a little old.
        """
        with self._lock:
            now = time.monotonic()
            if self._last is None or now > self._read_at + self._age:
                self._last, self._read_at = self._read(), now
            return self._last
