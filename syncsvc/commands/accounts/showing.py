"""
`syncsvc accounts list` and `show`: how accounts stand, and what differs for each.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec
import typer

from syncsvc.accounts import account_settings, credential_files, labels, rows, standing
from syncsvc.errors import ConfigurationError
from syncsvc.output import output_file
from syncsvc.output.formats import terminal
from syncsvc.reports import Column, Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from syncsvc.accounts.rows import Account
    from syncsvc.accounts.standing import Listed
    from syncsvc.settings.settings import Settings

COLUMNS = [
    Column("account", Kind.TEXT, "The account."),
    Column("state", Kind.TEXT, "How it stands."),
    Column("live_numbers", Kind.NUMBER, "Its live numbers."),
    Column("last_success_at", Kind.MOMENT, "The end of its last run that published."),
    Column("next_run_at", Kind.MOMENT, "When it is due."),
    Column("attention", Kind.TEXT, "Why somebody has to act."),
]


def show_list(
    connection: Connection,
    process_settings: Settings,
    *,
    state: str | None,
    labelled: Sequence[str],
    as_json: bool,
) -> None:
    """
    Print the accounts, as a table or a JSON array.

    Args:
        state: Only those that stand so.
        labelled: Only those with all of these labels, words such as `tier=gold`.
    """
    wanted = labels.pairs(labelled, "--label")
    found = [
        listed
        for listed in standing.every(connection, process_settings)
        if state in {None, listed.standing} and wanted.items() <= listed.account.labels.items()
    ]
    with output_file.printing():
        if as_json:
            _print_json([_as_object(listed, process_settings) for listed in found])
            return
        terminal.show(terminal.report_table(COLUMNS, map(_as_row, found), None))


def show_one(
    connection: Connection, process_settings: Settings, name: str, *, as_json: bool
) -> None:
    """
    Print one account, without its secrets, as lines or a JSON object.

    Raises:
        UnknownAccount: There is none of that name.
    """
    account = rows.require(connection, name)
    listed = standing.of(connection, account, process_settings)
    fields = _as_object(listed, process_settings)
    fields["problem"] = _problem(account, process_settings)
    with output_file.printing():
        if as_json:
            _print_json(fields)
            return
        terminal.show(terminal.rows_table(["field", "value"], [*_lines(fields)]))


def _as_row(listed: Listed) -> dict[str, Any]:
    status = listed.status or {}
    fields = {column.name: status.get(column.name) for column in COLUMNS}
    return {**fields, "account": listed.account.name, "state": listed.standing}


def _as_object(listed: Listed, process_settings: Settings) -> dict[str, Any]:
    account = listed.account
    status = {name: value for name, value in (listed.status or {}).items() if name != "account"}
    return {
        "account": account.name,
        "state": listed.standing,
        "enabled": account.enabled,
        "settings": account.settings,
        "labels": account.labels,
        "credentials": _source(account, process_settings),
        "status": status or None,
    }


def _source(account: Account, process_settings: Settings) -> str:
    """
    Return where an account's credentials come from.
    """
    try:
        if credential_files.read(process_settings, account.name):
            return "files"
    except ConfigurationError:  # which `show` tells as its problem
        return "files"
    return "none" if account.sealed is None else "sealed"


def _problem(account: Account, process_settings: Settings) -> str | None:
    """
    Return what keeps the account from being synced.
    """
    try:
        account_settings.complete(account, process_settings)
    except ConfigurationError as error:
        return str(error)
    return None


def _lines(fields: dict[str, Any]) -> list[tuple[str, str]]:
    """
    Flatten an account's fields for people; what it has none of is left out.
    """
    lines = []
    for name, value in fields.items():
        if isinstance(value, dict):
            prefix = "" if name == "status" else f"{name}."
            lines += [(f"{prefix}{key}", each) for key, each in value.items()]
        else:
            lines.append((name, value))
    return [(name, _text(value)) for name, value in lines if value is not None]


def _text(value: object) -> str:
    match value:
        case datetime():
            return terminal.when(value)
        case bool():
            return str(value).lower()
        case list():
            return ", ".join(map(str, value))
        case _:
            return str(value)


def _print_json(content: object) -> None:
    typer.echo(msgspec.json.format(msgspec.json.encode(content)))
