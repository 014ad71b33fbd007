"""
The accounts that reports over all accounts cover, and the rows of a report over all of them.

An account of a fleet is a row of `accounts`. Without any such rows, every account that ever ran is
covered.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, NamedTuple

import msgspec
from msgspec import structs
from sqlalchemy import Text, cast, exists, null, select, true, union_all
from sqlalchemy.exc import ProgrammingError

from syncsvc.database import account_and_run_queries
from syncsvc.reports.definition.expressions import portable_order
from syncsvc.reports.definition.report import Column, Kind
from syncsvc.schema.tables import account_status, accounts
from syncsvc.settings.sources import printable

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Sequence

    from sqlalchemy import Connection, Subquery

    from syncsvc.reports.definition.report import Arguments, Report, Row

ACCOUNT = Column("account", Kind.TEXT, "The account.")
CURRENCY = Column("currency", Kind.TEXT, "The currency of its amounts; NULL if it is not set.")


class CoveredAccount(NamedTuple):
    """
    An account, and the currency of its amounts; None if it is not set.
    """

    name: str
    currency: str | None


class Coverage(msgspec.Struct, frozen=True, kw_only=True):
    """
    The accounts that a report over all accounts covers.

    Attributes:
        accounts: They, sorted by the code points of their names.
        left_out: Accounts that ran and have no row in `accounts`, although others have.
    """

    accounts: Sequence[CoveredAccount]
    left_out: Sequence[str]

    @property
    def currencies(self) -> set[str | None]:
        """
        The different currencies of the accounts.
        """
        return {account.currency for account in self.accounts}

    @property
    def currency(self) -> str | None:
        """
        The currency of all accounts; None if they have different ones, or none.
        """
        found = self.currencies
        return found.pop() if len(found) == 1 else None

    def has(self, name: str) -> bool:
        """
        Return whether there is an account of that name, covered or not.
        """
        return name in self.left_out or any(account.name == name for account in self.accounts)


def coverage(connection: Connection, currency: str | None) -> Coverage:
    """
    Read which accounts are covered. It ends the transaction.

    Args:
        currency: The currency of accounts whose row has none.
    """
    rows, ran = covered(), account_and_run_queries.accounts(connection)
    query = select(rows.c.account, rows.c.currency).order_by(*portable_order(rows.c.account))
    try:
        found = [
            CoveredAccount(name, currency if own is None else printable(own))
            for name, own in connection.execute(query)
        ]
    except ProgrammingError:  # a reporting role from before the table
        found = [CoveredAccount(name, currency) for name in sorted(ran)]
    connection.rollback()
    names = {account.name for account in found}
    return Coverage(accounts=found, left_out=[name for name in ran if name not in names])


def covered() -> Subquery:
    """
    The accounts that are covered, each with what its row says: enabled, schedule and currency.
    """
    own, status = accounts.c.settings, account_status.c
    rows = select(
        accounts.c.account,
        accounts.c.enabled,
        own["schedule"].as_string().label("schedule"),
        own["currency"].as_string().label("currency"),
    )
    unknown = cast(null(), Text)
    ran = select(status.account, true(), unknown, unknown).where(
        status.last_run_id.is_not(None), ~exists(select(accounts.c.account))
    )
    return union_all(rows, ran).subquery("covered")


def columns(report: Report, arguments: Arguments, accounts: Coverage) -> tuple[Column, ...]:
    """
    Return the columns of a report over all accounts.

    The account comes first, then the currency, if there are amounts. Amounts of different
    currencies have no total.
    """
    found = report.readable_columns(arguments)
    if len(accounts.currencies) > 1:
        found = tuple(_without_total(column) for column in found)
    if report.every_account:
        return found
    has_amounts = any(column.kind is Kind.AMOUNT for column in found)
    return (ACCOUNT, *([CURRENCY] if has_amounts else []), *found)


def _without_total(column: Column) -> Column:
    return structs.replace(column, has_total=False) if column.kind is Kind.AMOUNT else column


def rows(
    report: Report,
    connection: Connection,
    arguments: Arguments,
    accounts: Iterable[CoveredAccount],
) -> Generator[Row]:
    """
    Yield the rows of each account, one account after the other; a limit counts for each.
    """
    for name, currency in accounts:
        own = structs.replace(arguments, account=name)
        first = {ACCOUNT.name: name, CURRENCY.name: currency}
        with closing(report.rows(connection, own)) as found:
            for row in found:
                yield {**row, **first}
