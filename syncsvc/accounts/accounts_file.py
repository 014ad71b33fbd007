"""
Accounts as a TOML file of `[accounts.NAME]` tables, without secrets: write it, read it, compare.

The file states all that an account's row has but its credentials: what it does not name is not
set, and an account is enabled unless it says `enabled = false`.
"""

from __future__ import annotations

import json
import re
import tomllib
from typing import TYPE_CHECKING, Any

import msgspec

from syncsvc.accounts import labels
from syncsvc.accounts.account_settings import as_stored
from syncsvc.accounts.rows import Account
from syncsvc.errors import ConfigurationError
from syncsvc.settings.sources import printable, what_is_wrong

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from syncsvc.settings.settings import Settings

BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


class Change(msgspec.Struct, frozen=True):
    """
    One account that an import writes.

    Attributes:
        verb: `add`, `change`, `pause` or `resume`.
        account: As it will be.
    """

    verb: str
    account: Account


def text_of(accounts: Iterable[Account]) -> str:
    """
    Write accounts as TOML.
    """
    return "\n".join("\n".join(_table(account)) + "\n" for account in accounts)


def read(text: str, name: str, process_settings: Settings) -> list[Account]:
    """
    Read accounts from TOML; their settings are judged and have the form in which they are stored.

    Args:
        name: Of the file, for messages.

    Raises:
        ConfigurationError: It has a line for each problem.
    """
    found, problems = [], []
    for account, table in _tables(text, name).items():
        try:
            found.append(_account(account, table, process_settings))
        except ConfigurationError as error:
            problems.append(str(error))
    if problems:
        raise ConfigurationError("\n".join(problems))
    return found


def changes(
    present: Iterable[Account], wanted: Iterable[Account], *, prune: bool
) -> Iterator[Change]:
    """
    Compare accounts with those of a file, by name; each yields at most one change.

    Args:
        prune: Pause the accounts that the file lacks.
    """
    there = {account.name: account for account in present}
    for account in wanted:
        before = there.pop(account.name, None)
        if before is None:
            yield Change("add", account)
            continue
        after = msgspec.structs.replace(account, sealed=before.sealed)
        if after != before:
            yield Change(_verb(before, after), after)
    for account in there.values() if prune else ():
        if account.enabled:
            yield Change("pause", msgspec.structs.replace(account, enabled=False))


def _verb(before: Account, after: Account) -> str:
    if msgspec.structs.replace(after, enabled=before.enabled) != before:
        return "change"
    return "resume" if after.enabled else "pause"


def _tables(text: str, name: str) -> Mapping[str, object]:
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"The file {name} {what_is_wrong(error)}.") from None
    if unknown := sorted(document.keys() - {"accounts"}):
        raise ConfigurationError(
            f"The file {name} has {printable(unknown[0])} beside its accounts. It consists of "
            "tables such as [accounts.berlin]."
        )
    tables = document.get("accounts", {})
    if not isinstance(tables, dict):
        raise ConfigurationError(f"The file {name}: accounts is not a table of tables.")
    return tables


def _account(name: str, table: object, process_settings: Settings) -> Account:
    if not isinstance(table, dict):
        raise ConfigurationError(f"Account {name!r}: it is not a table such as [accounts.berlin].")
    settings = dict(table)
    is_enabled, labelled = settings.pop("enabled", True), settings.pop("labels", {})
    if not isinstance(is_enabled, bool):
        raise ConfigurationError(f"Account {name!r}: enabled is neither true nor false.")
    if not isinstance(labelled, dict):
        raise ConfigurationError(f"Account {name!r}: labels is not a table of texts.")
    account = Account(
        name=name,
        enabled=is_enabled,
        settings=settings,
        labels=labels.validated(labelled, name),
    )
    stored = as_stored(account, process_settings)
    return msgspec.structs.replace(account, settings=stored)


def _table(account: Account) -> Iterator[str]:
    yield f"[accounts.{_key(account.name)}]"
    if not account.enabled:
        yield "enabled = false"
    if account.labels:
        yield f"labels = {_toml(account.labels)}"
    for name, value in sorted(account.settings.items()):
        if value is not None:
            yield f"{_key(name)} = {_toml(value)}"


def _key(name: str) -> str:
    return name if BARE_KEY.fullmatch(name) else _toml(name)


def _toml(value: Any) -> str:  # noqa: ANN401 - what JSON has
    """
    Write a value of JSON as TOML, whose texts have JSON's escapes and one more.
    """
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_key(key)} = {_toml(each)}' for key, each in value.items())}}}"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
