"""
The settings of one account: the process's, then those of its row, which win, and its credentials.

The same model judges them as judges the process's own. What is wrong is an error of that account.
"""

from __future__ import annotations

import shlex
from datetime import timedelta
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import msgspec

from syncsvc.accounts import credential_files, rows, sealing
from syncsvc.errors import ConfigurationError
from syncsvc.settings import values
from syncsvc.settings.loading import judged
from syncsvc.settings.settings import Settings
from syncsvc.settings.sources import CREDENTIALS, SECRETS, Found, printable, variable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pydantic import SecretStr
    from sqlalchemy import Connection

    from syncsvc.accounts.rows import Account

OF_THE_PROCESS = {
    "account",
    *SECRETS,
    *("http_host", "http_port", "log_level", "log_format"),
    *("fleet_slots", "fleet_slow_slots", "accounts_dir"),
    *("keep_runs", "metrics_accounts", "rate_scope"),
}
OVERRIDABLE = [name for name in Settings.model_fields if name not in OF_THE_PROCESS]


def settings_of(connection: Connection, name: str, process_settings: Settings) -> Settings:
    """
    Return the settings with which an account is synced, its credentials among them.

    Raises:
        UnknownAccount: It has no row.
        ConfigurationError: A setting or the credentials can't be used; it names the account.
    """
    return complete(rows.require(connection, name), process_settings)


def complete(account: Account, process_settings: Settings) -> Settings:
    """
    Return the settings of an account with its credentials, from files or from its row.

    The process's own credentials are another account's, and are never used for this one.

    Raises:
        ConfigurationError: A setting or the credentials can't be used; it names the account.
    """
    found = credentials(account, process_settings)
    if not found:
        raise ConfigurationError(_no_credentials(account, process_settings))
    return _judged(account, process_settings, found)


def with_credentials(
    account: Account, process_settings: Settings, given: Mapping[str, SecretStr]
) -> Settings:
    """
    Return the settings of an account with these credentials in place of its own.

    Raises:
        ConfigurationError: A setting or the credentials can't be used; it names the account.
    """
    found = {name: Found(value=secret, where=" (--credentials)") for name, secret in given.items()}
    return _judged(account, process_settings, found)


def without_credentials(account: Account, process_settings: Settings) -> Settings:
    """
    Return the settings of an account, for those who ask the provider nothing.

    Raises:
        ConfigurationError: A setting can't be used; it names the account.
    """
    return _judged(account, process_settings, {})


def as_stored(account: Account, process_settings: Settings) -> dict[str, Any]:
    """
    Return the settings of an account's row in the one form in which they are stored.

    Raises:
        ConfigurationError: One can't be used; it names the account.
    """
    settings = without_credentials(account, process_settings)
    return {name: _json(getattr(settings, name)) for name in sorted(account.settings)}


def overrides(settings: Settings) -> dict[str, Any]:
    """
    Return what a row has to have, so that its account is synced with these settings.
    """
    given = [name for name in OVERRIDABLE if name in settings.model_fields_set]
    default = Settings()
    return {
        name: _json(getattr(settings, name))
        for name in sorted(given)
        if getattr(settings, name) != getattr(default, name)
    }


def changed(
    account: Account, words: Mapping[str, str], process_settings: Settings
) -> dict[str, Any]:
    """
    Return the settings of an account's row after a change, in the form in which they are stored.

    Args:
        words: Values as people write them, by name; an empty one removes the setting.

    Raises:
        ConfigurationError: One can't be used; it names the account.
    """
    settings = {**account.settings, **words}
    for name, word in words.items():
        if word == "" and (name in account.settings or name in OVERRIDABLE):
            del settings[name]
    return as_stored(msgspec.structs.replace(account, settings=settings), process_settings)


def credentials(account: Account, process_settings: Settings) -> dict[str, Found]:
    """
    Return an account's credentials: its files, else those that its row has sealed; maybe none.

    Raises:
        ConfigurationError: They can't be read; it names the account.
    """
    found = credential_files.read(process_settings, account.name)
    if found or account.sealed is None:
        return found
    opened = sealing.unseal(process_settings, account.name, account.sealed)
    return {name: Found(value=secret, where=" (sealed)") for name, secret in opened.items()}


def _judged(account: Account, process: Settings, found: dict[str, Found]) -> Settings:
    """
    Judge the settings of an account; every problem is a line that names it.
    """
    problems = list(_misplaced(account.settings))
    own = {name: Found(value=value) for name, value in account.settings.items()}
    settings, refused = None, list[str]()
    if not problems:
        name = {"account": Found(value=account.name)}
        settings, refused = judged(_inherited(process) | own | found | name, complete=True)
    if settings is None:
        lines = [f"Account {account.name!r}: {line}" for line in [*problems, *refused]]
        raise ConfigurationError("\n".join(lines))
    return settings


def _inherited(process: Settings) -> dict[str, Found]:
    """
    Return the process's settings, except its credentials for the provider.
    """
    given = {name: getattr(process, name) for name in process.model_fields_set}
    return {
        name: Found(value=value)
        for name, value in given.items()
        if name not in CREDENTIALS and value is not None
    }


def _misplaced(names: Iterable[str]) -> Iterator[str]:
    """
    Yield a line for each name that an account's row can't have.
    """
    for name in sorted(names):
        if name in CREDENTIALS:
            yield (
                f"{name}: a secret is never stored as a setting; give it with "
                "`syncsvc accounts add NAME --credentials FILE`, or as a file"
            )
        elif name == "account":
            yield "account: an account keeps its name; add another account instead"
        elif name in OF_THE_PROCESS:
            yield (
                f"{name}: all accounts of a process share it; set {variable(name)} for the process"
            )
        elif name not in OVERRIDABLE:
            [nearest] = get_close_matches(name.lower(), OVERRIDABLE, n=1, cutoff=0.0)
            yield f"{printable(name)}: unknown setting; did you mean {nearest}?"


def _no_credentials(account: Account, process: Settings) -> str:
    folder = credential_files.folder_name(account.name)
    places = " or ".join(str(place / folder) for place in credential_files.directories(process))
    return (
        f"Account {account.name!r} has no credentials. Seal them in its row with `syncsvc accounts "
        f"add {shlex.quote(account.name)} --credentials FILE`, or put files into {places}: "
        "api_token, or api_client_id and api_client_secret."
    )


def _json(value: object) -> Any:  # noqa: ANN401 - what JSON has
    """
    Convert a setting's value to JSON, in a form that its validator accepts again.
    """
    match value:
        case timedelta():
            return values.interval_text(value)
        case tuple():
            return list(value)
        case _:
            return value
