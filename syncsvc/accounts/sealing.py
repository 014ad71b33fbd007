"""
Seal credentials with Fernet, so that the tables, their backups and their replicas have no secrets.

The keys are those of SYNCSVC_ACCOUNTS_KEY: the first one seals, all of them open.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import msgspec
from pydantic import SecretStr

from syncsvc.errors import ConfigurationError
from syncsvc.settings.sources import CREDENTIALS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryptography.fernet import MultiFernet

    from syncsvc.settings.settings import Settings

Credentials = dict[str, SecretStr]  # by the names of settings


def require_key(settings: Settings) -> None:
    """
    Refuse settings with which nothing can be sealed.

    Raises:
        ConfigurationError: SYNCSVC_ACCOUNTS_KEY is not set.
    """
    if settings.accounts_key is None:
        raise ConfigurationError(
            "SYNCSVC_ACCOUNTS_KEY is not set, so credentials can't be sealed. Set it to a Fernet "
            "key (`openssl rand -base64 32` prints one), or use credential files "
            "(SYNCSVC_ACCOUNTS_DIR)."
        )


def seal(settings: Settings, account: str, credentials: Mapping[str, SecretStr]) -> str:
    """
    Seal the credentials of an account with the first key.

    The account's name is sealed with them, so that they open in no other account's row.

    Raises:
        ConfigurationError: There is no key.
    """
    require_key(settings)
    content = {name: secret.get_secret_value() for name, secret in credentials.items()}
    return seal_content(settings, {"account": account, **content})


def unseal(settings: Settings, account: str, sealed: str) -> Credentials:
    """
    Open the sealed credentials of an account with whichever key opens them.

    Raises:
        ConfigurationError: There is no key, none opens them, or they are another account's.
    """
    if settings.accounts_key is None:
        raise ConfigurationError(
            f"Account {account!r} has sealed credentials, but SYNCSVC_ACCOUNTS_KEY is not set. "
            "Set it to the key that sealed them."
        )
    content = open_content(settings, sealed)
    if content is None or content.pop("account", None) != account:
        raise ConfigurationError(
            f"No key in SYNCSVC_ACCOUNTS_KEY opens the sealed credentials of account {account!r}. "
            "Add the key that sealed them and run `syncsvc accounts reseal`, or seal new ones: "
            f"`syncsvc accounts add {shlex.quote(account)} --credentials FILE`."
        )
    return {name: SecretStr(text) for name, text in content.items() if name in CREDENTIALS}


def new_key() -> str:
    """
    Return a new random key.
    """
    from cryptography.fernet import Fernet  # noqa: PLC0415 - most commands need none

    return Fernet.generate_key().decode()


def seal_content(settings: Settings, content: Mapping[str, str]) -> str:
    """
    Seal some texts with the first key, which there must be.

    One of them names the row that they belong to, so that they are of no use in another.
    """
    return _keys(settings).encrypt(msgspec.json.encode(content)).decode()


def open_content(settings: Settings, sealed: str) -> dict[str, str] | None:
    """
    Open sealed texts with whichever key opens them; None if none does.
    """
    if settings.accounts_key is None:
        return None
    from cryptography.fernet import InvalidToken  # noqa: PLC0415 - most commands need no keys

    try:
        return msgspec.json.decode(_keys(settings).decrypt(sealed.encode()), type=dict[str, str])
    except (InvalidToken, msgspec.DecodeError):
        return None


def _keys(settings: Settings) -> MultiFernet:
    from cryptography.fernet import Fernet, MultiFernet  # noqa: PLC0415 - most commands need none

    assert settings.accounts_key is not None  # noqa: S101 - the callers checked it
    return MultiFernet([Fernet(key) for key in settings.accounts_key.get_secret_value().split()])
