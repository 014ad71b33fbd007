"""
`syncsvc accounts import` and `export`: accounts as a TOML file, and the single account of before.
"""

from __future__ import annotations

import sys
from collections import Counter
from typing import TYPE_CHECKING

import msgspec
import typer

from syncsvc.accounts import account_settings, accounts_file, credential_files, rows, sealing
from syncsvc.accounts.accounts_file import Change
from syncsvc.accounts.rows import Account
from syncsvc.errors import ConfigurationError
from syncsvc.output import output_file
from syncsvc.settings.sources import CREDENTIALS, decoded, printable, read_text, why_unread

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sqlalchemy import Connection

    from syncsvc.settings.settings import Settings

DONE = {"add": "added", "change": "changed", "pause": "paused", "resume": "resumed"}


def import_file(
    connection: Connection, process_settings: Settings, path: Path, *, dry_run: bool, prune: bool
) -> None:
    """
    Make the accounts those of a TOML file, and print what changes.

    Args:
        dry_run: Only print it.
        prune: Pause the accounts that the file lacks.

    Raises:
        ConfigurationError: The file, or an account in it, can't be used; nothing was changed.
    """
    wanted = accounts_file.read(_text(path), printable(path), process_settings)
    with rows.changing(connection):
        present = rows.every_for_change(connection)
        changes = list(accounts_file.changes(present, wanted, prune=prune))
        if not dry_run:
            _write(connection, changes)
    with output_file.printing():
        _print(changes, dry_run=dry_run)


def adopt(connection: Connection, process_settings: Settings, *, dry_run: bool) -> None:
    """
    Make the account of the settings, which ran alone before, an account of the fleet.

    Its history stays, as it is kept under the same name. Its credentials are sealed, unless it
    has credential files.

    Raises:
        ConfigurationError: It has no credentials, or there is no key to seal them.
    """
    with rows.changing(connection):
        is_there = rows.find(connection, process_settings.account) is not None
        changes = [] if is_there else [Change("add", _adopted(process_settings))]
        if not dry_run:
            _write(connection, changes)
    with output_file.printing():
        _print(changes, dry_run=dry_run)


def _adopted(process_settings: Settings) -> Account:
    name = process_settings.account
    account = Account(name=name, settings=account_settings.overrides(process_settings))
    if credential_files.read(process_settings, name):
        return account
    process_settings.require_credentials()
    found = {each: getattr(process_settings, each) for each in CREDENTIALS}
    given = {each: secret for each, secret in found.items() if secret is not None}
    sealed = sealing.seal(process_settings, name, given)
    return msgspec.structs.replace(account, sealed=sealed)


def export(connection: Connection) -> None:
    """
    Print all accounts as a TOML file, without their credentials.
    """
    text = accounts_file.text_of(rows.every(connection))
    with output_file.printing():
        typer.echo(text, nl=False)


def _text(path: Path) -> str:
    try:
        return decoded(sys.stdin.buffer) if str(path) == "-" else read_text(path)
    except OSError as error:
        raise ConfigurationError(f"The file {printable(path)} {why_unread(error)}.") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"The file {printable(path)} is not UTF-8 text.") from None


def _write(connection: Connection, changes: Sequence[Change]) -> None:
    for change in changes:
        if change.verb == "add":
            rows.add(connection, change.account)
        else:
            rows.change(connection, change.account)


def _print(changes: Sequence[Change], *, dry_run: bool) -> None:
    for change in changes:
        typer.echo(f"{change.verb:<6}  {change.account.name!r}")
    counts = Counter(change.verb for change in changes)
    told = ", ".join(f"{counts[verb]} {word}" for verb, word in DONE.items() if counts[verb])
    end = "; nothing was written (--dry-run)" if dry_run and told else ""
    typer.echo(f"{told or 'Nothing to change'}{end}.")
