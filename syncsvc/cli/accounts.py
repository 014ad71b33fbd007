"""
`syncsvc accounts`: the accounts of a fleet.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

from syncsvc.cli import help_texts
from syncsvc.cli.common import (
    FAILED,
    Command,
    DatabaseFlag,
    Group,
    JsonFlag,
    open_current,
    settings_of,
)

app = typer.Typer(cls=Group, no_args_is_help=True)
_command = partial(app.command, cls=Command)

Name = Annotated[str, typer.Argument(help="The account.", show_default=False)]
LabelFlag = Annotated[
    list[str] | None, typer.Option("--label", metavar="KEY=VALUE", help="A label; repeatable.")
]
DryRunFlag = Annotated[
    bool, typer.Option("--dry-run", help="Print what would change and write nothing.")
]


@_command(help=help_texts.ACCOUNTS_ADD)
def add(
    context: typer.Context,
    name: Name,
    settings_given: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A setting of its own; repeatable."),
    ] = None,
    label: LabelFlag = None,
    credentials: Annotated[
        Path | None,
        typer.Option(help="TOML file with its credentials; - is stdin.", show_default=False),
    ] = None,
    no_check: Annotated[
        bool, typer.Option("--no-check", help="Don't try its credentials first.")
    ] = False,
    database_url: DatabaseFlag = None,
) -> None:
    """
    Add an account.
    """
    from syncsvc.commands.accounts import adding
    from syncsvc.settings.sources import from_utf8

    settings = settings_of(context, quiet=True, database_url=database_url)
    wanted = adding.Wanted(
        name=from_utf8(name),
        settings=settings_given or [],
        labels=label or [],
        credentials=credentials,
        check=not no_check,
    )
    with open_current(settings) as connection:
        adding.add(connection, settings, wanted)


@_command("import", help=help_texts.ACCOUNTS_IMPORT)
def import_(
    context: typer.Context,
    file: Annotated[
        Path | None, typer.Argument(help="TOML file; - is stdin.", show_default=False)
    ] = None,
    dry_run: DryRunFlag = False,
    prune: Annotated[
        bool, typer.Option("--prune", help="Pause accounts that are not in the file.")
    ] = False,
    from_settings: Annotated[
        bool, typer.Option("--from-settings", help="Make a row of the account of SYNCSVC_ACCOUNT.")
    ] = False,
    database_url: DatabaseFlag = None,
) -> None:
    """
    Add and change accounts by a file.
    """
    from syncsvc.commands.accounts import transfer

    if (file is None) != from_settings:
        raise typer.BadParameter("Give a file, or --from-settings.")
    if from_settings and prune:
        raise typer.BadParameter("--prune needs a file.")
    settings = settings_of(context, quiet=True, database_url=database_url)
    with open_current(settings) as connection:
        if file is None:
            transfer.adopt(connection, settings, dry_run=dry_run)
        else:
            transfer.import_file(connection, settings, file, dry_run=dry_run, prune=prune)


@_command(help=help_texts.ACCOUNTS_EXPORT)
def export(context: typer.Context, database_url: DatabaseFlag = None) -> None:
    """
    Print all accounts as a TOML file.
    """
    from syncsvc.commands.accounts import transfer

    settings = settings_of(context, quiet=True, database_url=database_url)
    with open_current(settings) as connection:
        transfer.export(connection)


@_command("list", help=help_texts.ACCOUNTS_LIST)
def list_(
    context: typer.Context,
    state: Annotated[
        Literal["ok", "late", "failing", "withheld", "paused", "never"] | None,
        typer.Option(help="Only accounts in this state.", show_default=False),
    ] = None,
    label: LabelFlag = None,
    as_json: JsonFlag = False,
    database_url: DatabaseFlag = None,
) -> None:
    """
    List the accounts.
    """
    from syncsvc.commands.accounts import showing

    settings = settings_of(context, quiet=True, database_url=database_url)
    with open_current(settings) as connection:
        showing.show_list(connection, settings, state=state, labelled=label or [], as_json=as_json)


@_command(help=help_texts.ACCOUNTS_SHOW)
def show(
    context: typer.Context, name: Name, as_json: JsonFlag = False, database_url: DatabaseFlag = None
) -> None:
    """
    Show one account.
    """
    from syncsvc.commands.accounts import showing
    from syncsvc.settings.sources import from_utf8

    settings = settings_of(context, quiet=True, database_url=database_url)
    with open_current(settings) as connection:
        showing.show_one(connection, settings, from_utf8(name), as_json=as_json)


@_command("set", help=help_texts.ACCOUNTS_SET)
def set_(
    context: typer.Context,
    name: Name,
    values: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE", help="Settings.", show_default=False),
    ] = None,
    label: LabelFlag = None,
    database_url: DatabaseFlag = None,
) -> None:
    """
    Change settings and labels of an account.
    """
    from syncsvc.commands.accounts import changing
    from syncsvc.settings.sources import from_utf8

    if not values and not label:
        raise typer.BadParameter("Give KEY=VALUE, such as page_size=50, or --label.")
    settings = settings_of(context, quiet=True, database_url=database_url)
    with open_current(settings) as connection:
        changing.set_values(connection, settings, from_utf8(name), values or [], label or [])


@_command(help=help_texts.ACCOUNTS_PAUSE)
def pause(context: typer.Context, name: Name, database_url: DatabaseFlag = None) -> None:
    """
    Pause an account.
    """
    _set_enabled(context, name, database_url, enabled=False)


@_command(help=help_texts.ACCOUNTS_RESUME)
def resume(context: typer.Context, name: Name, database_url: DatabaseFlag = None) -> None:
    """
    Resume a paused account.
    """
    _set_enabled(context, name, database_url, enabled=True)


@_command(help=help_texts.ACCOUNTS_DUE)
def due(
    context: typer.Context,
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME", help="Accounts.", show_default=False),
    ] = None,
    failing: Annotated[bool, typer.Option("--failing", help="All that are failing.")] = False,
    database_url: DatabaseFlag = None,
) -> None:
    """
    Let accounts run now.
    """
    from syncsvc.commands.accounts import changing
    from syncsvc.settings.sources import from_utf8

    if not names and not failing:
        raise typer.BadParameter("Name accounts, or give --failing.")
    settings = settings_of(context, quiet=True, database_url=database_url)
    chosen = [from_utf8(name) for name in names or []]
    with open_current(settings) as connection:
        changing.make_due(connection, settings, chosen, failing=failing)


@_command(help=help_texts.ACCOUNTS_REMOVE)
def remove(
    context: typer.Context,
    name: Name,
    delete_data: Annotated[
        bool, typer.Option("--delete-data", help="Delete its numbers and history, too.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask for confirmation.")] = False,
    database_url: DatabaseFlag = None,
) -> None:
    """
    Remove an account.
    """
    from syncsvc.commands.accounts import changing
    from syncsvc.settings.sources import from_utf8

    def confirmed() -> None:
        if not yes:
            _confirm(from_utf8(name), delete_data=delete_data)

    settings = settings_of(context, quiet=True, database_url=database_url)
    with open_current(settings) as connection:
        changing.remove(connection, from_utf8(name), delete_data=delete_data, confirmed=confirmed)


@_command(help=help_texts.ACCOUNTS_RESEAL)
def reseal(context: typer.Context, database_url: DatabaseFlag = None) -> None:
    """
    Seal all credentials with the first key.
    """
    from syncsvc.commands.accounts import changing

    settings = settings_of(context, quiet=True, database_url=database_url)
    with open_current(settings) as connection:
        all_opened = changing.reseal(connection, settings)
    raise typer.Exit(0 if all_opened else FAILED)


def _set_enabled(
    context: typer.Context, name: str, database_url: str | None, *, enabled: bool
) -> None:
    from syncsvc.commands.accounts import changing
    from syncsvc.settings.sources import from_utf8

    settings = settings_of(context, quiet=True, database_url=database_url)
    with open_current(settings) as connection:
        changing.set_enabled(connection, from_utf8(name), enabled=enabled)


def _confirm(account: str, *, delete_data: bool) -> None:
    """
    Ask on a terminal; refuse elsewhere, where nobody could answer.
    """
    if not sys.stdin.isatty():
        raise typer.BadParameter("Add --yes, as there is no terminal to confirm at.")
    what = "and delete all of its numbers and history" if delete_data else "and keep its history"
    typer.confirm(f"Remove account {account!r} {what}?", abort=True, err=True)
