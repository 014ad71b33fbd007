"""
Read the state of accounts, their runs, and what the runs wrote.
"""

from __future__ import annotations

from datetime import UTC, datetime
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import and_, select
from sqlalchemy.exc import ProgrammingError

from syncsvc.errors import UnknownAccount, UnknownAddress
from syncsvc.schema import tables
from syncsvc.schema.tables import addresses, number_history, numbers, sync_runs
from syncsvc.schema.views import sync_status
from syncsvc.vocabulary import BROKEN, PUBLISHED, Lifecycle

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import Connection, Select, Table

    from syncsvc.metrics import Metrics
    from syncsvc.vocabulary import RunState

Row = dict[str, Any]

ROWS_AT_ONCE = 1000
NAMES_SHOWN = 3
NO_SUCCESS = dict.fromkeys(["last_success_at", "last_dated_success_at"])
LONG_AGO = datetime.fromtimestamp(0, tz=UTC)

history = number_history.c
same_number = and_(numbers.c.account == history.account, numbers.c.uuid == history.uuid)


class AccountStatus(msgspec.Struct, frozen=True, kw_only=True):
    """
    The state of one account.

    Attributes:
        has_published: A run has published, with or without withheld cancellations.
        last_success: The time at which the tables last agreed with the provider.
        numbers: Counts by lifecycle.
        withheld: How many cancellations the last run that published withheld.
        first_withheld: Ten of their numbers, in E.164.
        rejected: How many rows the last run that published could not read.
        trouble: Why the last run that ended published nothing; None if it published.
    """

    account: str
    has_published: bool
    last_success: datetime | None
    numbers: dict[str, int]
    withheld: int
    first_withheld: list[str]
    rejected: int
    trouble: str | None


def accounts(connection: Connection) -> list[str]:
    """
    Return every account that ever ran, by name.
    """
    status = tables.account_status.c
    query = select(status.account).where(status.last_run_id.is_not(None)).order_by(status.account)
    return list(connection.execute(query).scalars())


def require_account(connection: Connection, account: str) -> None:
    """
    Refuse an account that never had a run and has no row, if others had a run.

    Raises:
        UnknownAccount: It names the accounts that are most similar.
    """
    runs = select(sync_runs.c.id).where(sync_runs.c.account == account).limit(1)
    if connection.execute(runs).first() is not None:
        return
    known = accounts(connection)
    if known and not _has_row(connection, account):
        near = get_close_matches(account, known, n=NAMES_SHOWN) or known[:NAMES_SHOWN]
        more = ", …" if len(known) > len(near) else ""
        raise UnknownAccount(
            f"There is no account {account!r} in this database. "
            f"There are: {', '.join(near)}{more}. Name one with --account or SYNCSVC_ACCOUNT."
        )


def _has_row(connection: Connection, account: str) -> bool:
    """
    Return whether it is an account of a fleet; False if this user can't know.
    """
    rows = tables.accounts.c
    query = select(rows.account).where(rows.account == account)
    try:
        return connection.execute(query).first() is not None
    except ProgrammingError:  # a reporting role from before the table
        connection.rollback()
        return False


def account_status(connection: Connection, account: str) -> AccountStatus:
    """
    Read the current state of an account.
    """
    status = _status(connection, account)
    last_published = _last_run(connection, account, PUBLISHED) if status["withheld"] else None
    return AccountStatus(
        account=account,
        has_published=status["last_success_at"] is not None,
        last_success=status["last_dated_success_at"],
        numbers=_by_lifecycle(status),
        withheld=status["withheld"],
        first_withheld=list(((last_published or {}).get("detail") or {}).get("first_withheld", [])),
        rejected=status["rejected"],
        trouble=last_trouble(connection, account),
    )


def set_gauges(connection: Connection, account: str, metrics: Metrics) -> None:
    """
    Set the gauges from the account's status.

    If all successes are dated in the future, by a clock that was ahead, none is known: a gauge
    in the future would keep the alert silent until then.
    """
    status = _status(connection, account)
    unknown = LONG_AGO if status["last_success_at"] is not None else None
    metrics.inventory(
        numbers=_by_lifecycle(status),
        withheld=status["withheld"],
        last_success=status["last_dated_success_at"] or unknown,
    )


def last_trouble(connection: Connection, account: str) -> str | None:
    """
    Return why the account's last run that ended published nothing; None if it published.
    """
    status = tables.account_status.c
    query = select(status.failures).where(status.account == account)
    if not connection.execute(query).scalar():
        return None
    return _trouble(_last_run(connection, account, (*PUBLISHED, *BROKEN)))


def _status(connection: Connection, account: str) -> Row:
    """
    Read an account's row, with its last success that is not dated in the future.
    """
    status = tables.account_status
    names = ("last_success_at", "live_numbers", "cancelled_numbers", "withheld", "rejected")
    dated = sync_status.c.last_success_at.label("last_dated_success_at")
    query = (
        select(*(status.c[name] for name in names), dated)
        .join_from(status, sync_status, sync_status.c.account == status.c.account)
        .where(status.c.account == account)
    )
    row = connection.execute(query).mappings().first()
    return dict(row) if row else {**dict.fromkeys([*names[1:]], 0), **NO_SUCCESS}


def _by_lifecycle(status: Row) -> dict[str, int]:
    return {
        Lifecycle.LIVE: status["live_numbers"],
        Lifecycle.CANCELLED: status["cancelled_numbers"],
    }


def _trouble(run: Row | None) -> str | None:
    if run is None or run["state"] not in BROKEN:
        return None
    return f"Run {run['id']} {run['state']}: {run['error']}"


def latest_changes(connection: Connection, limit: int, *names: str) -> list[Row]:
    """
    Return the history rows that were written last, of these accounts or of all, newest first.
    """
    found = [
        row
        for account in names or accounts(connection)
        for row in fetch_rows(connection, _latest_changes_of(account, limit))
    ]
    return sorted(found, key=lambda row: int(row["id"]), reverse=True)[:limit]


def _latest_changes_of(account: str, limit: int) -> Select[Any]:
    """
    Select an account's last history rows: the key of all begins with the account.
    """
    return (
        select(numbers.c.number_e164, number_history)
        .join_from(number_history, numbers, same_number)
        .where(history.account == account)
        .order_by(history.id.desc())
        .limit(limit)
    )


def _last_run(connection: Connection, account: str, states: Sequence[RunState]) -> Row | None:
    query = (
        select(sync_runs)
        .where(sync_runs.c.account == account, sync_runs.c.state.in_(states))
        .order_by(sync_runs.c.started_at.desc())
        .limit(1)
    )
    return next(iter(fetch_rows(connection, query)), None)


def last_runs(connection: Connection, account: str, limit: int) -> list[Row]:
    """
    Return the last runs of an account, newest first.
    """
    query = (
        select(sync_runs)
        .where(sync_runs.c.account == account)
        .order_by(sync_runs.c.started_at.desc())
        .limit(limit)
    )
    return fetch_rows(connection, query)


def changes_of_run(connection: Connection, run_id: int, limit: int) -> list[Row]:
    """
    Return the history rows that one run wrote, each with its number.
    """
    query = (
        select(numbers.c.number_e164, number_history)
        .join_from(number_history, numbers, same_number)
        .where(history.run_id == run_id)
        .order_by(history.event, numbers.c.number_e164, history.id)
        .limit(limit)
    )
    return fetch_rows(connection, query)


def rows_of_run(connection: Connection, table: Table, run_id: int) -> Iterator[Row]:
    """
    Yield all rows of a table that one run wrote, in the order of the table's key.

    They lack the run's id and their own, which mean nothing if the run is rolled back; rows of
    `number_history` also have their number.
    """
    columns = [column for column in table.c if column.name not in {"id", "run_id"}]
    query = select(*columns).where(table.c.run_id == run_id).order_by(*table.primary_key)
    if table is number_history:
        query = query.add_columns(numbers.c.number_e164).join(numbers, same_number)
    for row in connection.execute(query, execution_options={"yield_per": ROWS_AT_ONCE}).mappings():
        yield dict(row)


def known_by(connection: Connection, moment: datetime | None) -> set[str]:
    """
    Return the accounts of which something was known at a time, or by now if it is None.
    """
    status = tables.account_status.c
    first = (
        select(history.valid_from)
        .where(history.account == status.account)
        .order_by(history.id)
        .limit(1)
        .scalar_subquery()
    )
    was_known = first.is_not(None) if moment is None else first <= moment
    return set(connection.execute(select(status.account).where(was_known)).scalars())


def require_address(connection: Connection, account: str | None, address_id: int) -> None:
    """
    Make sure that an account, or any account if it is None, has or had an address.

    Raises:
        UnknownAddress: It never had one with this id.
    """
    query = select(addresses.c.id).where(addresses.c.id == address_id).limit(1)
    if account is not None:
        query = query.where(addresses.c.account == account)
    if connection.execute(query).first() is None:
        where = "any account" if account is None else f"account {account!r}"
        raise UnknownAddress(
            f"No address {address_id} in {where}. `syncsvc report inventory` shows the ids of "
            "addresses."
        )


def fetch_rows(connection: Connection, query: Select[Any]) -> list[Row]:
    """
    Return all rows of a query.
    """
    return [dict(row) for row in connection.execute(query).mappings()]
