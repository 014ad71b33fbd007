"""
How an account stands: what the worker's pages and metrics tell from the tables.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import and_, func, select

from syncsvc.schema.tables import number_history, numbers, sync_runs
from syncsvc.vocabulary import RunState

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from syncsvc.metrics import Metrics

Row = dict[str, Any]

PUBLISHED = (RunState.SUCCEEDED, RunState.WITHHELD)
BROKEN = (RunState.FAILED, RunState.CRASHED)


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """
    How one account stands.

    Attributes:
        last_run: Its row in `sync_runs`; None before the first.
        last_ended: The last run that is not under way.
        last_published: The last run that succeeded, withheld or not.
        numbers: How many, by lifecycle.
    """

    account: str
    last_run: Row | None
    last_ended: Row | None
    last_published: Row | None
    numbers: dict[str, int]

    @property
    def last_success(self) -> datetime | None:
        """
        When the tables were last made to agree with the provider.
        """
        return self.last_published["finished_at"] if self.last_published else None

    @property
    def withheld(self) -> int:
        """
        Cancellations that the last run to publish did not accept.
        """
        return (self.last_published or {}).get("withheld") or 0

    @property
    def first_withheld(self) -> list[str]:
        """
        Ten of their numbers, in E.164.
        """
        detail = (self.last_published or {}).get("detail") or {}
        return list(detail.get("first_withheld", []))

    @property
    def trouble(self) -> str | None:
        """
        Why the last run that ended published nothing; None where it did.
        """
        ended = self.last_ended
        if ended is None or ended["state"] not in BROKEN:
            return None
        return f"Run {ended['id']} {ended['state']}: {ended['error']}"


def accounts(connection: Connection) -> list[str]:
    """
    Every account that ever ran, by name.
    """
    query = select(sync_runs.c.account).distinct().order_by(sync_runs.c.account)
    return list(connection.execute(query).scalars())


def standing(connection: Connection, account: str) -> Standing:
    """
    How an account stands now.
    """
    ended = (*PUBLISHED, *BROKEN)
    return Standing(
        account=account,
        last_run=_last(connection, account, tuple(RunState)),
        last_ended=_last(connection, account, ended),
        last_published=_last(connection, account, PUBLISHED),
        numbers=_numbers(connection, account),
    )


def show(connection: Connection, account: str, metrics: Metrics) -> None:
    """
    Set the gauges by what the tables say.
    """
    found = standing(connection, account)
    metrics.inventory(
        numbers=found.numbers, withheld=found.withheld, last_success=found.last_success
    )


def latest_changes(connection: Connection, limit: int) -> list[Row]:
    """
    The history rows that were written last, of all accounts, newest first.
    """
    same_number = and_(
        numbers.c.account == number_history.c.account, numbers.c.uuid == number_history.c.uuid
    )
    query = (
        select(numbers.c.number_e164, number_history)
        .join_from(number_history, numbers, same_number)
        .order_by(number_history.c.id.desc())
        .limit(limit)
    )
    return [dict(row) for row in connection.execute(query).mappings()]


def last_trouble(connection: Connection, account: str) -> str | None:
    """
    Why the account's last run that ended published nothing; None where it did.
    """
    ended = _last(connection, account, (*PUBLISHED, *BROKEN))
    bare = Standing(
        account=account, last_run=None, last_ended=ended, last_published=None, numbers={}
    )
    return bare.trouble


def _last(connection: Connection, account: str, states: Sequence[RunState]) -> Row | None:
    query = (
        select(sync_runs)
        .where(sync_runs.c.account == account, sync_runs.c.state.in_(states))
        .order_by(sync_runs.c.started_at.desc())
        .limit(1)
    )
    row = connection.execute(query).mappings().first()
    return dict(row) if row else None


def _numbers(connection: Connection, account: str) -> dict[str, int]:
    lifecycle = numbers.c.lifecycle
    query = select(lifecycle, func.count()).where(numbers.c.account == account).group_by(lifecycle)
    return {row[0]: row[1] for row in connection.execute(query)}
