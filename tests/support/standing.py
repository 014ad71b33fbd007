"""
What `account_status` has to say, counted once more from all runs and all numbers.
"""

from __future__ import annotations

from collections import Counter
from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, select

from syncsvc.schema.tables import account_status, numbers, sync_runs

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine, Select

Row = dict[str, Any]

PUBLISHED = {"succeeded", "withheld"}
COUNTED = (
    *("account", "last_run_id", "last_state", "last_started_at", "last_finished_at"),
    *("last_success_at", "last_error", "failures", "withheld", "rejected"),
    *("live_numbers", "cancelled_numbers"),
)
RUN = (
    *("id", "account", "state", "started_at", "finished_at", "recorded_at", "error"),
    *("withheld", "rejected"),
)


def kept(engine: Engine, *accounts: str) -> list[Row]:
    """
    The rows of `account_status`, of all accounts or these, but for what no table tells.
    """
    with engine.connect() as connection:
        return _kept(connection, accounts)


def counted(engine: Engine, *accounts: str) -> list[Row]:
    """
    The same from the other tables.
    """
    with engine.connect() as connection:
        return _counted(connection, accounts)


def kept_and_counted(engine: Engine, *accounts: str) -> tuple[list[Row], list[Row]]:
    """
    Both, over one connection.
    """
    with engine.connect() as connection:
        return _kept(connection, accounts), _counted(connection, accounts)


def fill(connection: Connection) -> None:
    """
    Give each account that a test put together its row in `account_status`.
    """
    connection.execute(account_status.delete())
    for row in _counted(connection, ()):
        connection.execute(insert(account_status).values(row))


def _kept(connection: Connection, accounts: tuple[str, ...]) -> list[Row]:
    return [dict(row) for row in connection.execute(_statuses(accounts)).mappings()]


def _counted(connection: Connection, accounts: tuple[str, ...]) -> list[Row]:
    every = connection.execute(_runs(accounts)).mappings().all()
    kinds = connection.execute(_lifecycles(accounts))
    lifecycles = Counter((row.account, row.lifecycle) for row in kinds)
    return [
        {
            **_standing([dict(run) for run in every if run["account"] == account]),
            "live_numbers": lifecycles[account, "live"],
            "cancelled_numbers": lifecycles[account, "cancelled"],
        }
        for account in sorted({run["account"] for run in every})
    ]


def _standing(runs: list[Row]) -> Row:
    """
    What an account's runs say, in the order in which they started.
    """
    ended = [run for run in runs if run["state"] != "running"]
    published = [run for run in ended if run["state"] in PUBLISHED]
    last_ended: Row = ended[-1] if ended else {}
    last_published: Row = published[-1] if published else {}
    after = ended[ended.index(last_published) + 1 :] if published else ended
    return {
        "account": runs[-1]["account"],
        "last_run_id": runs[-1]["id"],
        "last_state": runs[-1]["state"],
        "last_started_at": runs[-1]["started_at"],
        "last_finished_at": last_ended.get("finished_at"),
        "last_success_at": last_published.get("recorded_at") or last_published.get("finished_at"),
        "last_error": last_ended.get("error"),
        "failures": len(after),
        "withheld": last_published.get("withheld") or 0,
        "rejected": last_published.get("rejected") or 0,
    }


@cache  # these statements are needed after every run of a test
def _statuses(accounts: tuple[str, ...]) -> Select[Any]:
    status = account_status.c
    return _of(accounts, select(*(status[name] for name in COUNTED)).order_by(status.account))


@cache
def _runs(accounts: tuple[str, ...]) -> Select[Any]:
    run = sync_runs.c
    return _of(accounts, select(*(run[name] for name in RUN)).order_by(run.started_at))


@cache
def _lifecycles(accounts: tuple[str, ...]) -> Select[Any]:
    return _of(accounts, select(numbers.c.account, numbers.c.lifecycle))


def _of(accounts: tuple[str, ...], query: Select[Any]) -> Select[Any]:
    """
    Keep the rows of some accounts, or of all if none is named.
    """
    return query.where(query.selected_columns["account"].in_(accounts)) if accounts else query
