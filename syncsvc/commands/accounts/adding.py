"""
`syncsvc accounts add`: add an account after asking the provider for one page.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import msgspec
import typer

from syncsvc import build_from_settings
from syncsvc.accounts import account_settings, credential_files, labels, rows, sealing
from syncsvc.accounts.rows import Account
from syncsvc.errors import ConfigurationError, ProviderRefused, ProviderUnavailable, SyncError
from syncsvc.output import output_file
from syncsvc.settings.sources import decoded, printable, read_text, why_unread

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pydantic import SecretStr
    from sqlalchemy import Connection

    from syncsvc.settings.settings import Settings


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """
    What the command line says of an account.

    Attributes:
        settings: Words such as `page_size=50`.
        labels: Words such as `tier=gold`.
        credentials: The file that has them; `-` is stdin, None is none.
        check: Ask the provider for a page.
    """

    name: str
    settings: Sequence[str] = ()
    labels: Sequence[str] = ()
    credentials: Path | None = None
    check: bool = True


def add(connection: Connection, process_settings: Settings, wanted: Wanted) -> None:
    """
    Add an account, or give one that is there new credentials.

    Raises:
        ConfigurationError: It is there and gets none, or something of it can't be used.
        SyncError: The provider refuses these credentials, or does not answer.
    """
    given = None if wanted.credentials is None else read_credentials(wanted.credentials)
    present = rows.find(connection, wanted.name)
    connection.rollback()
    if present is not None and given is None:
        raise rows.is_there(wanted.name)
    account = _merged(present or Account(name=wanted.name), wanted, process_settings)
    settings = _judged(account, process_settings, wanted, given)
    sealed = None if given is None else sealing.seal(process_settings, account.name, given)
    size = _listed(settings, account.name) if wanted.check else None
    _write(connection, account, sealed, wanted, process_settings, is_new=present is None)
    with output_file.printing():
        _report(account.name, is_new=present is None, size=size)
        _note(account.name, process_settings, is_sealed=sealed is not None)


def read_credentials(path: Path) -> dict[str, SecretStr]:
    """
    Read credentials from a TOML file, or from stdin for `-`.

    Raises:
        ConfigurationError: It can't be read; no message quotes it.
    """
    try:
        text = decoded(sys.stdin.buffer) if str(path) == "-" else read_text(path)
    except OSError as error:
        raise ConfigurationError(
            f"--credentials: the file {printable(path)} {why_unread(error)}."
        ) from None
    except UnicodeDecodeError:
        raise ConfigurationError(
            f"--credentials: the file {printable(path)} is not UTF-8 text."
        ) from None
    return credential_files.from_toml(text, printable(path))


def _merged(account: Account, wanted: Wanted, process_settings: Settings) -> Account:
    """
    Return an account with the settings and labels of the command line beside its own.
    """
    labelled = account.labels | labels.pairs(wanted.labels, "--label")
    changed = msgspec.structs.replace(
        account,
        settings=account.settings | labels.pairs(wanted.settings, "--set"),
        labels=labels.validated(labelled, account.name),
    )
    stored = account_settings.as_stored(changed, process_settings)
    return msgspec.structs.replace(changed, settings=stored)


def _judged(
    account: Account,
    process_settings: Settings,
    wanted: Wanted,
    given: dict[str, SecretStr] | None,
) -> Settings:
    """
    Return the account's settings, with the credentials given, else its files if they are needed.
    """
    if given is not None:
        return account_settings.with_credentials(account, process_settings, given)
    if wanted.check:
        return account_settings.complete(account, process_settings)
    return account_settings.without_credentials(account, process_settings)


def _listed(settings: Settings, name: str) -> int | None:
    """
    Ask the provider for one page; return how many numbers it counts, if it says so.
    """
    api = build_from_settings.api_from(settings, retries=0)
    try:
        page = api.page(1)
    except (ProviderRefused, ProviderUnavailable) as error:
        raise SyncError(
            f"Account {name!r} was not added. {error} --no-check adds it without asking."
        ) from None
    finally:
        api.close()
    return page.num_results if page else None


def _write(
    connection: Connection,
    account: Account,
    sealed: str | None,
    wanted: Wanted,
    process_settings: Settings,
    *,
    is_new: bool,
) -> None:
    with rows.changing(connection):
        if is_new:
            rows.add(connection, msgspec.structs.replace(account, sealed=sealed))
            return
        present = rows.require_for_change(connection, account.name)
        changed = _merged(present, wanted, process_settings)
        rows.change(connection, msgspec.structs.replace(changed, sealed=sealed))


def _report(name: str, *, is_new: bool, size: int | None) -> None:
    done = "was added" if is_new else "has new credentials"
    numbers = "" if size is None else f" The provider counts {size} numbers."
    typer.echo(f"Account {name!r} {done}.{numbers}")


def _note(name: str, process_settings: Settings, *, is_sealed: bool) -> None:
    """
    Report on stderr if the account has credentials of both kinds, or none.
    """
    has_files = bool(credential_files.read(process_settings, name))
    if has_files and is_sealed:
        typer.echo("Its credential files win over the sealed ones: remove them.", err=True)
    if not has_files and not is_sealed:
        typer.echo("It has no credentials yet. `syncsvc accounts show` says how.", err=True)
