"""
Build the engine, the API client and the run's input from settings.

Nothing is opened here, but the row of the account if the database has accounts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from sqlalchemy import inspect

from syncsvc.accounts import account_settings, rows
from syncsvc.database import sqlite_file, transactions
from syncsvc.database.engine import open_engine
from syncsvc.payloads.extra_fields import IgnoredFields
from syncsvc.provider.client import NumberApi
from syncsvc.provider.http.transport import HttpTransport
from syncsvc.provider.shared_hosts import Address
from syncsvc.provider.tokens import ClientCredentials, FixedToken
from syncsvc.reconcile.withhold_cancellations import Guard
from syncsvc.schema.tables import accounts
from syncsvc.sync.next_due import Schedule
from syncsvc.sync.run_inputs import Job

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from syncsvc.accounts.rows import Account
    from syncsvc.provider.meter import Meter
    from syncsvc.provider.shared_hosts import AccountTransport, SharedHosts
    from syncsvc.provider.tokens import Tokens
    from syncsvc.settings.settings import Settings

USUAL_PORTS = {"https": 443, "http": 80}


def engine_from(settings: Settings) -> Engine:
    """
    Create the engine for the settings' database.

    Raises:
        ConfigurationError: It is a SQLite file that can't be one.
    """
    sqlite_file.require_usable(settings.database)
    return open_engine(settings.database)


def account_of(settings: Settings) -> Account | None:
    """
    Return the row of the account that the settings name; None if it has none.

    A database that was not created or migrated yet has no accounts.

    Raises:
        DatabaseUnavailable: The database does not answer in time.
        ConfigurationError: It is a file that can't be a database.
    """
    if sqlite_file.is_missing(settings.database):
        return None
    with transactions.short_read(engine_from(settings)) as connection:
        if not inspect(connection).has_table(accounts.name):
            return None
        return rows.find(connection, settings.account)


def own_settings(settings: Settings) -> Settings:
    """
    Return the settings of the account that they name: with its row's, if it has one.

    Raises:
        DatabaseUnavailable: The database does not answer in time.
        ConfigurationError: A setting of the row, or the account's credentials, can't be used.
    """
    account = account_of(settings)
    return settings if account is None else account_settings.complete(account, settings)


def api_from(
    settings: Settings, *, retries: int | None = None, meter: Meter | None = None
) -> NumberApi:
    """
    Create the client for the settings' account.

    Raises:
        ConfigurationError: There are no credentials.
    """
    settings.require_credentials()
    transport = transport_from(settings, meter)
    tokens = tokens_from(settings, transport)
    return _client(
        settings, transport, tokens, settings.api_retries if retries is None else retries
    )


def shared_api_from(settings: Settings, hosts: SharedHosts) -> NumberApi:
    """
    Create the client for one account of many, over what the accounts of its host share.

    Raises:
        ConfigurationError: There are no credentials.
    """
    settings.require_credentials()
    address = Address(origin(settings.api_url), settings.api_url, settings.api_timeout)
    transport = hosts.transport(address, settings.account, settings.concurrency)
    secrets = (settings.api_token, settings.api_client_id, settings.api_client_secret)
    shown = (secret.get_secret_value() if secret else "" for secret in secrets)
    key = (settings.account, settings.api_url, *shown)
    tokens = hosts.tokens(key, lambda: tokens_from(settings, transport))
    return _client(settings, transport, tokens, settings.api_retries)


def _client(
    settings: Settings, transport: HttpTransport | AccountTransport, tokens: Tokens, retries: int
) -> NumberApi:
    return NumberApi(
        transport,
        tokens,
        page_size=settings.page_size,
        retries=retries,
        zone=settings.timezone,
        ignored=IgnoredFields(settings.ignored_fields),
    )


def job_from(settings: Settings, engine: Engine, api: NumberApi) -> Job:
    """
    Create the input of a run.
    """
    return Job(
        engine=engine,
        api=api,
        account=settings.account,
        deadline=settings.run_deadline,
        cancelled_listing=settings.cancelled_listing,
        guard=Guard(percent=settings.cancel_guard_percent, count=settings.cancel_guard_count),
        keep_rejects=settings.keep_rejects,
        host=origin(settings.api_url),
        schedule=Schedule.of(settings.schedule, settings.interval),
    )


def origin(address: str) -> str:
    """
    Return the scheme, host and port of an address, which tell the provider's hosts apart.
    """
    parts = urlsplit(address)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    is_usual = parts.port in {None, USUAL_PORTS.get(parts.scheme)}
    return f"{parts.scheme}://{host}" + ("" if is_usual else f":{parts.port}")


def transport_from(settings: Settings, meter: Meter | None = None) -> HttpTransport:
    """
    Create the transport to the provider.
    """
    return HttpTransport(
        settings.api_url,
        timeout=settings.api_timeout,
        concurrency=settings.concurrency,
        meter=meter,
    )


def tokens_from(settings: Settings, transport: HttpTransport | AccountTransport) -> Tokens:
    """
    Create the source of access tokens: a fixed one, or client credentials.
    """
    if settings.api_token is not None:
        return FixedToken(settings.api_token.get_secret_value())
    assert settings.api_client_id is not None  # noqa: S101 - require_credentials checked it
    assert settings.api_client_secret is not None  # noqa: S101 - require_credentials checked it
    return ClientCredentials(
        transport,
        settings.api_client_id.get_secret_value(),
        settings.api_client_secret.get_secret_value(),
    )
