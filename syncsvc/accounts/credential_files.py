"""
Read the credential files of accounts: `NAME/api_token`, or `NAME/api_client_id` and `_secret`.

They are read at each call, so that rotated secrets need no signal. `from_toml` reads the one file
that `syncsvc accounts add` takes credentials from.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import SecretStr

from syncsvc.errors import ConfigurationError
from syncsvc.settings.sources import (
    CREDENTIALS,
    UnreadableError,
    credential_directories,
    credential_file,
    printable,
    variable,
    what_is_wrong,
)

if TYPE_CHECKING:
    from syncsvc.settings.settings import Settings
    from syncsvc.settings.sources import Found

SUBDIRECTORY = "accounts"  # of the directories of the process's own credential files
ACCEPTED = 'Write api_token = "…" into it, or api_client_id = "…" and api_client_secret = "…".'
LONGEST_NAME = 255  # bytes of a file's name, on usual file systems


def read(settings: Settings, account: str) -> dict[str, Found]:
    """
    Return the credentials of an account that are files, as written, by the names of settings.

    Those of the first directory that has any are returned, and none of the others.

    Raises:
        ConfigurationError: A file exists and can't be read.
    """
    name = folder_name(account)
    if len(name.encode()) > LONGEST_NAME:
        return {}
    for directory in directories(settings):
        if found := _of_folder(directory / _in_any_locale(name), account):
            return found
    return {}


def directories(settings: Settings) -> list[Path]:
    """
    Return where the folders of accounts are searched: SYNCSVC_ACCOUNTS_DIR, or the usual places.
    """
    if settings.accounts_dir is not None:
        return [Path(_in_any_locale(settings.accounts_dir))]
    return [directory / SUBDIRECTORY for directory in credential_directories(os.environ)]


def folder_name(account: str) -> str:
    """
    Return the name of an account's folder, which is the account's if it is no path.

    A slash is %2F in it, a percent sign %25, and a dot at its start %2E.
    """
    name = account.replace("%", "%25").replace("/", "%2F")
    return f"%2E{name[1:]}" if name.startswith(".") else name


def _in_any_locale(name: str) -> str:
    return os.fsdecode(name.encode())


def _of_folder(folder: Path, account: str) -> dict[str, Found]:
    found = {}
    for name in CREDENTIALS:
        try:
            credential = credential_file(name, [folder])
        except UnreadableError as error:
            raise ConfigurationError(
                f"Account {account!r}: {variable(name)}{error}. Let the user who runs syncsvc "
                "read it, or remove it."
            ) from None
        if credential is not None:
            found[name] = credential
    return found


def from_toml(text: str, file: str) -> dict[str, SecretStr]:
    """
    Read the credentials of an account from TOML, without judging them.

    Args:
        file: The file's name, for messages, which never quote it: it has secrets.

    Raises:
        ConfigurationError: It has no credentials, or something else.
    """
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(
            f"--credentials: the file {file} {what_is_wrong(error)}. {ACCEPTED}"
        ) from None
    if unknown := sorted(document.keys() - set(CREDENTIALS)):
        raise ConfigurationError(
            f"--credentials: the file {file} has {printable(unknown[0])}, which is not a "
            f"credential. {ACCEPTED}"
        )
    if wrong := [name for name, value in sorted(document.items()) if not isinstance(value, str)]:
        raise ConfigurationError(f"--credentials: {wrong[0]} in the file {file} is not text.")
    if not document:
        raise ConfigurationError(f"--credentials: the file {file} has no credentials. {ACCEPTED}")
    return {name: SecretStr(value.rstrip("\r\n")) for name, value in document.items()}
