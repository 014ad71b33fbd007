"""
Prepare a connection for reports, and read the settings that an account's row has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from syncsvc.accounts import account_settings
from syncsvc.accounts import rows as account_rows
from syncsvc.accounts.rows import Account

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from syncsvc.settings.settings import Settings


def own_settings(connection: Connection, settings: Settings) -> Settings:
    """
    Return the settings of the account that they name, without credentials: with its row's, if any.

    Raises:
        ConfigurationError: A setting of the row can't be used.
    """
    found = account_rows.own_settings(connection, settings.account)
    if found is None:
        return settings
    account = Account(name=settings.account, settings=found)
    return account_settings.without_credentials(account, settings)


def read_only(connection: Connection) -> None:
    """
    Give all queries the same snapshot, in a transaction that can't write.
    """
    if connection.dialect.name == "postgresql":
        connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
