"""
`syncsvc notify`: the endpoints of webhooks.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

import typer

from syncsvc.cli import help_texts
from syncsvc.cli.common import Command, DatabaseFlag, Group, JsonFlag, open_current, settings_of

app = typer.Typer(cls=Group, no_args_is_help=True)
_command = partial(app.command, cls=Command)

Name = Annotated[str, typer.Argument(help="The endpoint.", show_default=False)]


def _patterns(option: str, what: str) -> Any:  # noqa: ANN401 - of typer
    return typer.Option(option, metavar="PATTERN", help=f"{what}; repeatable.", show_default="all")


@_command(help=help_texts.NOTIFY_ADD)
def add(
    context: typer.Context,
    name: Name,
    url: Annotated[str, typer.Option(help="Where events are sent.", show_default=False)],
    events: Annotated[
        list[str] | None, _patterns("--events", "Types of event, such as number.*")
    ] = None,
    accounts: Annotated[list[str] | None, _patterns("--accounts", "Accounts")] = None,
    bulk: Annotated[
        bool, typer.Option("--bulk", help="Send every number of a first or very large run.")
    ] = False,
    allow_http: Annotated[
        bool, typer.Option("--allow-http", help="Allow plain http to other hosts than loopback.")
    ] = False,
    allow_private: Annotated[
        bool, typer.Option("--allow-private", help="Allow private IP addresses.")
    ] = False,
    database_url: DatabaseFlag = None,
) -> None:
    """
    Add an endpoint.
    """
    from syncsvc.commands import notify
    from syncsvc.settings.sources import from_utf8

    settings = settings_of(context, quiet=True, database_url=database_url)
    table: dict[str, Any] = {
        "url": url,
        **({"events": events} if events else {}),
        **({"accounts": [from_utf8(each) for each in accounts]} if accounts else {}),
        "bulk": bulk,
        "allow_http": allow_http,
        "allow_private": allow_private,
    }
    with open_current(settings) as connection:
        notify.add(connection, settings, name, table)


@_command("list", help=help_texts.NOTIFY_LIST)
def list_(
    context: typer.Context, as_json: JsonFlag = False, database_url: DatabaseFlag = None
) -> None:
    """
    List the endpoints.
    """
    from syncsvc.commands import notify

    settings = settings_of(context, quiet=True, database_url=database_url)
    with open_current(settings) as connection:
        notify.show_list(connection, settings, as_json=as_json)


@_command("test", help=help_texts.NOTIFY_TEST)
def try_out(context: typer.Context, name: Name, database_url: DatabaseFlag = None) -> None:
    """
    Send a test event.
    """
    from syncsvc.commands import notify

    settings = settings_of(context, quiet=True, database_url=database_url)
    with open_current(settings) as connection:
        notify.try_out(connection, settings, name)


@_command(help=help_texts.NOTIFY_PAUSE)
def pause(context: typer.Context, name: Name, database_url: DatabaseFlag = None) -> None:
    """
    Pause an endpoint.
    """
    _set_enabled(context, name, database_url, enabled=False)


@_command(help=help_texts.NOTIFY_RESUME)
def resume(context: typer.Context, name: Name, database_url: DatabaseFlag = None) -> None:
    """
    Resume an endpoint.
    """
    _set_enabled(context, name, database_url, enabled=True)


@_command(help=help_texts.NOTIFY_REPLAY)
def replay(
    context: typer.Context,
    name: Name,
    since: Annotated[
        str, typer.Option(metavar="TIME", help="A date or time in UTC.", show_default=False)
    ],
    account: Annotated[
        str | None, typer.Option(help="Only this account.", show_default=False)
    ] = None,
    database_url: DatabaseFlag = None,
) -> None:
    """
    Send events again.
    """
    from syncsvc.commands import notify
    from syncsvc.reports.definition.parameters import moment_of
    from syncsvc.settings.sources import from_utf8

    try:
        moment = moment_of(since)
    except ValueError as error:
        raise typer.BadParameter(f"--since: give {error}.") from None
    settings = settings_of(context, quiet=True, database_url=database_url)
    wanted = None if account is None else from_utf8(account)
    with open_current(settings) as connection:
        notify.replay(connection, name, moment, wanted)


@_command(help=help_texts.NOTIFY_ROTATE)
def rotate(
    context: typer.Context,
    name: Name,
    finish: Annotated[bool, typer.Option("--finish", help="Drop the older secret.")] = False,
    database_url: DatabaseFlag = None,
) -> None:
    """
    Rotate the secret of an endpoint.
    """
    from syncsvc.commands import notify

    settings = settings_of(context, quiet=True, database_url=database_url)
    with open_current(settings) as connection:
        notify.rotate(connection, settings, name, finish=finish)


@_command(help=help_texts.NOTIFY_REMOVE)
def remove(context: typer.Context, name: Name, database_url: DatabaseFlag = None) -> None:
    """
    Remove an endpoint.
    """
    from syncsvc.commands import notify

    settings = settings_of(context, quiet=True, database_url=database_url)
    with open_current(settings) as connection:
        notify.remove(connection, name)


def _set_enabled(
    context: typer.Context, name: str, database_url: str | None, *, enabled: bool
) -> None:
    from syncsvc.commands import notify

    settings = settings_of(context, quiet=True, database_url=database_url)
    with open_current(settings) as connection:
        notify.set_enabled(connection, name, enabled=enabled)
