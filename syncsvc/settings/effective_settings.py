"""
Every setting with its value, where that comes from, its default and its meaning; no secrets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from syncsvc.settings.loading import load_settings
from syncsvc.settings.settings import Settings
from syncsvc.settings.sources import SECRETS, gather, variable

if TYPE_CHECKING:
    from collections.abc import Mapping

MEANINGS = {
    "api_url": "base URL of the provider; plain http only to loopback",
    "api_allow_http": "allow plain http to other hosts",
    "api_token": "a fixed access token, or else a client id and secret",
    "api_client_id": "OAuth2 client id; tokens are fetched and refreshed automatically",
    "api_client_secret": "OAuth2 client secret",
    "api_timezone": "IANA time zone of the provider's timestamps",
    "api_timeout": "seconds for one request, from its start to the last byte of the body",
    "api_retries": "retries of one request",
    "page_size": "numbers per page, 1 to 200",
    "concurrency": "pages in flight, 1 to 64",
    "database_url": "an SQLAlchemy URL of SQLite or PostgreSQL",
    "account": "the account name stored with every row",
    "schedule": "the worker's schedule: an interval or a five-field crontab in UTC",
    "run_deadline": "a run that takes longer fails and publishes nothing",
    "keep_rejects": "retention of rows that could not be read, in sync_rejects",
    "cancel_guard_percent": "cancellations on weak evidence are withheld if they exceed this "
    "percentage of the live numbers and SYNCSVC_CANCEL_GUARD_COUNT",
    "cancel_guard_count": "see SYNCSVC_CANCEL_GUARD_PERCENT",
    "cancelled_listing": "use the cancelled listing as evidence: on requires it, off never reads "
    "it, auto does without it if it answers 403 or 404",
    "ignored_fields": "unknown fields of the provider that are not stored in extra",
    "currency": "ISO 4217 code to label amounts; the provider does not send one",
    "http_host": "address of the worker's health endpoints, metrics and status page",
    "http_port": "port of the same; 0 turns them off",
    "log_level": "the least severe level that is logged",
    "log_format": "console, json, or auto: console on a terminal and JSON elsewhere",
    "fleet_slots": "accounts that a fleet worker syncs at once",
    "fleet_slow_slots": "how many of those slots are for slow accounts",
    "accounts_key": "Fernet keys that seal the accounts' credentials, one per line: the first "
    "seals, all open",
    "accounts_dir": "directory of the accounts' credential files, which win over sealed ones; "
    "by default accounts in $CREDENTIALS_DIRECTORY, then in /run/secrets/syncsvc",
    "keep_runs": "retention of sync_runs in a fleet, which prunes them itself; 30d by default",
    "metrics_accounts": "how many accounts that need attention have metrics of their own",
    "rate_scope": "whether the accounts of one provider host share one request rate: host, or "
    "account if the provider limits each of them",
}


class Explained(msgspec.Struct, frozen=True, kw_only=True):
    """
    One setting.

    Attributes:
        setting: The name of its variable.
        value: In use, as text; `set` for a secret; None if there is none.
        source: A flag, `environment`, a file, or `default`.
    """

    setting: str
    value: str | None
    source: str
    default: str | None
    meaning: str


def explained(flags: Mapping[str, object], environ: Mapping[str, str]) -> list[Explained]:
    """
    Explain all settings.

    Raises:
        ConfigurationError: There are problems; it has a line for each.
    """
    settings = load_settings(flags=flags, environ=environ)
    values, defaults = settings.redacted(), Settings().redacted()
    found = gather(Settings.model_fields, flags=flags, environ=environ).found
    return [
        Explained(
            setting=variable(name),
            value=_value(name, values[name]),
            source=_source(found[name].where) if name in found else "default",
            default=defaults[name] or None,
            meaning=MEANINGS[name],
        )
        for name in Settings.model_fields
    ]


def _value(name: str, text: str) -> str | None:
    """
    Return a value to show; the database's URL has lost its password already.
    """
    secret = name in SECRETS and name != "database_url"
    return "set" if secret and text else text or None


def _source(where: str) -> str:
    return where.strip(" ()") or "environment"
