"""
`syncsvc notify`: add, list, try, pause, replay and remove the endpoints of webhooks.
"""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec
import typer
from sqlalchemy import select

from syncsvc import clock
from syncsvc.accounts import rows
from syncsvc.errors import ConfigurationError, SyncError
from syncsvc.notify import cursors, endpoint_rows, endpoint_standing, events, secrets_and_signatures
from syncsvc.notify.endpoint_rows import Endpoint
from syncsvc.notify.sending import Sender
from syncsvc.output import output_file
from syncsvc.output.formats import terminal
from syncsvc.reports import Column, Kind
from syncsvc.schema.tables import account_status
from syncsvc.settings import webhook_endpoints
from syncsvc.settings.webhook_endpoints import without_query

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from syncsvc.notify.endpoint_standing import Standing
    from syncsvc.settings.settings import Settings

COLUMNS = [
    Column("endpoint", Kind.TEXT, "The endpoint."),
    Column("state", Kind.TEXT, "enabled, paused or disabled."),
    Column("pending", Kind.NUMBER, "Events that wait."),
    Column("pending_since", Kind.MOMENT, "Since when the oldest of them waits."),
    Column("delivered_at", Kind.MOMENT, "When an event was last delivered."),
    Column("last_error", Kind.TEXT, "Why the last attempt failed."),
]


def add(connection: Connection, settings: Settings, name: str, table: dict[str, Any]) -> None:
    """
    Add an endpoint, and print its secret, which is not shown again.

    Args:
        table: What the command line says of it.

    Raises:
        ConfigurationError: Something of it can't be used, or there is one of that name.
    """
    webhook, problems = webhook_endpoints.judged(name, table, "")
    if webhook is None:
        raise ConfigurationError("\n".join(problems))
    secret = secrets_and_signatures.new_secret()
    sealed = secrets_and_signatures.seal(settings, name, [secret])
    with rows.changing(connection):
        endpoint_rows.add(connection, Endpoint.of(name, webhook, sealed))
    with output_file.printing():
        typer.echo(secret)
    typer.echo(
        f"Endpoint {name!r} was added and gets what happens from now on. Give its receiver the "
        f"secret above, which is not shown again, and try it: `syncsvc notify test {name}`.",
        err=True,
    )


def show_list(connection: Connection, settings: Settings, *, as_json: bool) -> None:
    """
    Print the endpoints and the state of their deliveries, as a table or a JSON array.
    """
    found = [_as_object(standing, settings) for standing in endpoint_standing.every(connection)]
    with output_file.printing():
        if as_json:
            typer.echo(msgspec.json.format(msgspec.json.encode(found)))
            return
        if not found:
            typer.echo("There are no endpoints yet. `syncsvc notify add` adds one.", err=True)
            return
        table = [{column.name: each[column.name] for column in COLUMNS} for each in found]
        terminal.show(terminal.report_table(COLUMNS, table, None))


def try_out(connection: Connection, settings: Settings, name: str) -> None:
    """
    Send a test event, and print the whole exchange but for the secret.

    Raises:
        SyncError: It was not delivered.
    """
    endpoint = endpoint_rows.require(connection, name)
    connection.rollback()
    secrets = secrets_and_signatures.secrets_of(settings, endpoint)
    now = clock.now()
    event = events.for_trial(name, now)
    headers = secrets_and_signatures.headers(event, secrets, now)
    with closing(Sender(endpoint)) as sender:
        answer = sender.send(event, headers)
    with output_file.printing():
        typer.echo(f"> POST {without_query(endpoint.url)}")
        for header, value in headers.items():
            typer.echo(f"> {header}: {value}")
        typer.echo(f"> {event.body.decode()}")
        typer.echo(f"< {answer.status or 'no response'}")
        for line in answer.body.decode(errors="replace").splitlines():
            typer.echo("< " + "".join(each if each.isprintable() else "�" for each in line))
    if answer.error is not None:
        raise SyncError(f"The test event was not delivered to {name!r}. {answer.error}")


def set_enabled(connection: Connection, name: str, *, enabled: bool) -> None:
    """
    Pause an endpoint, or resume it with all that it has not had.
    """
    with rows.changing(connection):
        endpoint_rows.set_enabled(connection, name, enabled=enabled)
    with output_file.printing():
        typer.echo(f"Endpoint {name!r} is now {'enabled' if enabled else 'paused'}.")


def replay(connection: Connection, name: str, since: datetime, account: str | None) -> None:
    """
    Send an endpoint again what runs found that began at a time or later.

    Args:
        account: Only this one; None for all that it covers.
    """
    with rows.changing(connection):
        endpoint = endpoint_rows.require(connection, name)
        ran = connection.execute(select(account_status.c.account).order_by("account")).scalars()
        chosen = [each for each in ran if endpoint.covers(each) and account in {None, each}]
        if not chosen:
            raise ConfigurationError(_nothing_to_replay(endpoint, account))
        for each in chosen:
            cursors.rewind(connection, name, each, since)
    with output_file.printing():
        accounts = "1 account" if len(chosen) == 1 else f"{len(chosen):,} accounts"
        moment = f"{since.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
        typer.echo(f"Endpoint {name!r} gets the events of {accounts} since {moment} again.")


def rotate(connection: Connection, settings: Settings, name: str, *, finish: bool) -> None:
    """
    Give an endpoint a new secret beside its present one, or drop the older one.

    Raises:
        ConfigurationError: Its secret is a file, there is nothing to finish, or a rotation before
            is not finished.
    """
    with rows.changing(connection):
        endpoint = endpoint_rows.require(connection, name)
        if endpoint.sealed is None:
            raise ConfigurationError(
                f"The secret of endpoint {name!r} is the credential file "
                f"{secrets_and_signatures.file_name(name)}: write the new one into it, above "
                "the present one."
            )
        present = secrets_and_signatures.secrets_of(settings, endpoint)
        if finish != (len(present) > 1):
            raise ConfigurationError(_no_rotation(name, finish=finish))
        after = present[:1] if finish else [secrets_and_signatures.new_secret(), present[0]]
        sealed = secrets_and_signatures.seal(settings, name, after)
        endpoint_rows.change(connection, msgspec.structs.replace(endpoint, sealed=sealed))
    with output_file.printing():
        if finish:
            typer.echo(f"Endpoint {name!r} signs with its newest secret alone.")
            return
        typer.echo(after[0])
    typer.echo(
        f"Both secrets sign now. When the receiver has the new one: "
        f"`syncsvc notify rotate {name} --finish`.",
        err=True,
    )


def remove(connection: Connection, name: str) -> None:
    """
    Remove an endpoint.
    """
    with rows.changing(connection):
        endpoint_rows.remove(connection, name)
    with output_file.printing():
        typer.echo(f"Endpoint {name!r} was removed.")


def _nothing_to_replay(endpoint: Endpoint, account: str | None) -> str:
    if account is None:
        return f"No account that endpoint {endpoint.name!r} covers has run yet."
    return f"Endpoint {endpoint.name!r} gets no events of {account!r}, or it never ran."


def _no_rotation(name: str, *, finish: bool) -> str:
    if finish:
        return f"Endpoint {name!r} has one secret: there is nothing to finish."
    return (
        f"Endpoint {name!r} has two secrets already. When its receiver has the newer one, run "
        f"`syncsvc notify rotate {name} --finish`, which drops the older one."
    )


def _as_object(standing: Standing, settings: Settings) -> dict[str, Any]:
    endpoint = standing.endpoint
    own = endpoint.sealed is None
    return {
        "endpoint": endpoint.name,
        "state": endpoint.state,
        "url": without_query(endpoint.url),
        "events": endpoint.events,
        "accounts": endpoint.accounts,
        "bulk": endpoint.bulk,
        "allow_http": endpoint.allow_http,
        "allow_private": endpoint.allow_private,
        "secret": "file" if own else "sealed",
        "in_settings": endpoint.name in settings.webhooks,
        "pending": standing.pending,
        "pending_since": standing.pending_since,
        "next_attempt_at": standing.next_attempt_at,
        "delivered_at": standing.delivered_at,
        "last_error": endpoint.disabled_reason or standing.last_error,
    }
