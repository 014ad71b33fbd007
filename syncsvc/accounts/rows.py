"""
Read and write the rows of the table `accounts`.

Whoever changes a row reads it in the same transaction with `require_for_change`, so that two
changes at once follow each other.
"""

from __future__ import annotations

from contextlib import contextmanager
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import delete, insert, select, update
from sqlalchemy.exc import IntegrityError, ProgrammingError

from syncsvc import clock
from syncsvc.errors import ConfigurationError, UnknownAccount
from syncsvc.schema.tables import accounts
from syncsvc.settings.sources import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, RowMapping, Select

NAMES_SHOWN = 3


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """
    One account of a fleet.

    Attributes:
        enabled: The fleet syncs it; otherwise it is paused.
        settings: Those that differ for this account, by name, as JSON has them.
        sealed: Its credentials, sealed; None if they are files, or if there are none.
    """

    name: str
    enabled: bool = True
    settings: dict[str, Any] = {}
    labels: dict[str, str] = {}
    sealed: str | None = None


@contextmanager
def changing(connection: Connection) -> Iterator[None]:
    """
    Open a transaction for changes, which on SQLite waits for other writers at its start.
    """
    connection.rollback()
    connection.execution_options(publishing=True)
    with connection.begin():
        yield


def every(connection: Connection) -> list[Account]:
    """
    Return all accounts, by name.
    """
    query = select(accounts).order_by(accounts.c.account)
    return [_account(row) for row in connection.execute(query).mappings()]


def every_for_change(connection: Connection) -> list[Account]:
    """
    Return all accounts, which nobody else changes until this transaction ends.
    """
    query = select(accounts).order_by(accounts.c.account).with_for_update()
    return [_account(row) for row in connection.execute(query).mappings()]


def enabled(connection: Connection) -> list[str]:
    """
    Return the names of the accounts that are not paused, in order.
    """
    query = select(accounts.c.account).where(accounts.c.enabled).order_by(accounts.c.account)
    return list(connection.execute(query).scalars())


def find(connection: Connection, name: str) -> Account | None:
    """
    Return the account of that name; None if there is none.
    """
    return _found(connection, select(accounts).where(accounts.c.account == name))


def own_settings(connection: Connection, name: str) -> dict[str, Any] | None:
    """
    Return the settings of an account's row; None if there is none, or none that this user reads.
    """
    query = select(accounts.c.settings).where(accounts.c.account == name)
    try:
        found: dict[str, Any] | None = connection.execute(query).scalar()
    except ProgrammingError:  # a reporting role from before the table
        found = None
    connection.rollback()
    return found


def require(connection: Connection, name: str) -> Account:
    """
    Return the account of that name.

    Raises:
        UnknownAccount: There is none; it names the most similar ones.
    """
    return find(connection, name) or _unknown(connection, name)


def require_for_change(connection: Connection, name: str) -> Account:
    """
    Return the account of that name, which nobody else changes until this transaction ends.

    Raises:
        UnknownAccount: There is none; it names the most similar ones.
    """
    query = select(accounts).where(accounts.c.account == name).with_for_update()
    return _found(connection, query) or _unknown(connection, name)


def add(connection: Connection, account: Account) -> None:
    """
    Insert a new account.

    Raises:
        ConfigurationError: There is one of that name.
    """
    now = clock.now()
    values = {"account": account.name, **_values(account), "added_at": now, "changed_at": now}
    try:
        connection.execute(insert(accounts).values(values))
    except IntegrityError:
        raise is_there(account.name) from None


def is_there(name: str) -> ConfigurationError:
    """
    Return the error for an account that is to be added and is there.
    """
    return ConfigurationError(
        f"There is an account {name!r} already. Change it with `syncsvc accounts set`, "
        "or its credentials with `syncsvc accounts add --credentials`."
    )


def change(connection: Connection, account: Account) -> None:
    """
    Write an account that was read for a change.
    """
    values = {**_values(account), "changed_at": clock.now()}
    connection.execute(update(accounts).where(accounts.c.account == account.name).values(values))


def remove(connection: Connection, name: str) -> None:
    """
    Delete an account's row; what its runs wrote stays.
    """
    connection.execute(delete(accounts).where(accounts.c.account == name))


def _values(account: Account) -> dict[str, Any]:
    return {
        "enabled": account.enabled,
        "settings": account.settings,
        "labels": account.labels,
        "credentials": account.sealed,
    }


def _found(connection: Connection, query: Select[Any]) -> Account | None:
    row = connection.execute(query).mappings().first()
    return _account(row) if row else None


def _account(row: RowMapping) -> Account:
    return Account(
        name=row["account"],
        enabled=row["enabled"],
        settings=row["settings"],
        labels=row["labels"],
        sealed=row["credentials"],
    )


def _unknown(connection: Connection, name: str) -> Account:
    known = list(connection.execute(select(accounts.c.account).order_by("account")).scalars())
    if not known:
        raise UnknownAccount(
            f"There is no account {name!r}: there are none yet. `syncsvc accounts add` adds one."
        )
    near = get_close_matches(name, known, n=NAMES_SHOWN) or known[:NAMES_SHOWN]
    more = ", …" if len(known) > len(near) else ""
    raise UnknownAccount(
        f"There is no account {name!r}. There are: {', '.join(map(printable, near))}{more}. "
        "`syncsvc accounts list` shows all."
    )
