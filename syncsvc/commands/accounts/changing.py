"""
`syncsvc accounts set`, `pause`, `resume`, `due`, `remove` and `reseal`: change what is there.
"""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import msgspec
import typer
from sqlalchemy import delete, update

from syncsvc.accounts import account_settings, labels, rows, sealing, standing
from syncsvc.database import locks
from syncsvc.errors import ConfigurationError, RunInProgress
from syncsvc.notify import endpoint_rows, secrets_and_signatures
from syncsvc.output import output_file
from syncsvc.schema.internal_tables import internal_metadata
from syncsvc.schema.tables import account_status, accounts, metadata

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from sqlalchemy import Connection

    from syncsvc.settings.settings import Settings

PAUSE = 0.5  # seconds between two attempts to get the lock of a run in progress


def set_values(
    connection: Connection,
    process_settings: Settings,
    name: str,
    words: Sequence[str],
    labelled: Sequence[str],
) -> None:
    """
    Change settings and labels of an account; an empty value removes one.

    Args:
        words: Settings, such as `page_size=50`.
        labelled: Labels, such as `tier=gold`.

    Raises:
        UnknownAccount: There is none of that name.
        ConfigurationError: A value can't be used; nothing was changed.
    """
    changes = labels.pairs(words, "syncsvc accounts set")
    with rows.changing(connection):
        before = rows.require_for_change(connection, name)
        merged = before.labels | labels.pairs(labelled, "--label")
        after = msgspec.structs.replace(
            before,
            settings=account_settings.changed(before, changes, process_settings),
            labels=labels.validated({key: each for key, each in merged.items() if each}, name),
        )
        if after != before:
            rows.change(connection, after)
    with output_file.printing():
        if after == before:
            typer.echo(f"Account {name!r} has that already.")
            return
        for line in _differences(before.settings, after.settings, ""):
            typer.echo(line)
        for line in _differences(before.labels, after.labels, "label "):
            typer.echo(line)


def set_enabled(connection: Connection, name: str, *, enabled: bool) -> None:
    """
    Pause an account, or resume it; a run in progress ends as ever.

    Raises:
        UnknownAccount: There is none of that name.
    """
    with rows.changing(connection):
        before = rows.require_for_change(connection, name)
        if before.enabled != enabled:
            rows.change(connection, msgspec.structs.replace(before, enabled=enabled))
    state = "enabled" if enabled else "paused"
    already = " already" if before.enabled == enabled else " now"
    with output_file.printing():
        typer.echo(f"Account {name!r} is {state}{already}.")


def make_due(
    connection: Connection, process_settings: Settings, names: Sequence[str], *, failing: bool
) -> None:
    """
    Let accounts run now, on whichever worker of the fleet is free.

    Args:
        failing: Those whose last runs published nothing, beside those named.

    Raises:
        UnknownAccount: There is none of a name; none was made due.
    """
    with rows.changing(connection):
        chosen = {name: rows.require(connection, name).enabled for name in names}
        if failing:
            chosen |= {
                listed.account.name: True
                for listed in standing.every(connection, process_settings)
                if listed.standing == standing.Standing.FAILING
            }
        now = standing.database_time(connection)
        of_these = account_status.c.account.in_([name for name, on in chosen.items() if on])
        connection.execute(update(account_status).where(of_these).values(next_run_at=now))
    with output_file.printing():
        for name, is_enabled in chosen.items():
            typer.echo(f"Account {name!r} {'is due now' if is_enabled else 'is paused'}.")
        if not chosen:
            typer.echo("No account is failing.")


def remove(
    connection: Connection, name: str, *, delete_data: bool, confirmed: Callable[[], None]
) -> None:
    """
    Remove an account as soon as no run of it is in progress.

    Args:
        delete_data: Delete all that its runs wrote, too.
        confirmed: Raises unless somebody wants that; called if there is such an account.

    Raises:
        UnknownAccount: There is none of that name.
    """
    rows.require(connection, name)
    connection.rollback()
    confirmed()
    with _own_lock(connection, name), rows.changing(connection):
        rows.remove(connection, name)
        counts = _delete_data(connection, name) if delete_data else {}
    with output_file.printing():
        typer.echo(f"Account {name!r} was removed.")
        if not delete_data:
            typer.echo("Its numbers and their history are kept; --delete-data deletes them.")
        for table, count in counts.items():
            typer.echo(f"{table}: {count} rows were deleted.")


def reseal(connection: Connection, process_settings: Settings) -> bool:
    """
    Seal all credentials, and the secrets of webhooks, with the first key.

    Returns:
        Whether all could be opened.

    Raises:
        ConfigurationError: There is no key.
    """
    sealing.require_key(process_settings)
    problems: list[str] = []
    with rows.changing(connection):
        of_accounts = _reseal_accounts(connection, process_settings, problems)
        of_endpoints = _reseal_endpoints(connection, process_settings, problems)
    with output_file.printing():
        typer.echo(f"The credentials of {of_accounts} accounts are sealed with the first key.")
        if of_endpoints:
            typer.echo(f"So are the secrets of {of_endpoints} endpoints of webhooks.")
        for problem in problems:
            typer.echo(problem)
    return not problems


def _reseal_accounts(connection: Connection, settings: Settings, problems: list[str]) -> int:
    resealed = 0
    for account in rows.every_for_change(connection):
        if account.sealed is None:
            continue
        try:
            opened = sealing.unseal(settings, account.name, account.sealed)
        except ConfigurationError as error:
            problems.append(str(error))
            continue
        sealed = sealing.seal(settings, account.name, opened)
        rows.change(connection, msgspec.structs.replace(account, sealed=sealed))
        resealed += 1
    return resealed


def _reseal_endpoints(connection: Connection, settings: Settings, problems: list[str]) -> int:
    resealed = 0
    for endpoint in endpoint_rows.every(connection):
        if endpoint.sealed is None:
            continue
        try:
            opened = secrets_and_signatures.secrets_of(settings, endpoint)
        except ConfigurationError as error:
            problems.append(str(error))
            continue
        sealed = secrets_and_signatures.seal(settings, endpoint.name, opened)
        endpoint_rows.change(connection, msgspec.structs.replace(endpoint, sealed=sealed))
        resealed += 1
    return resealed


def _differences(
    before: Mapping[str, object], after: Mapping[str, object], prefix: str
) -> Iterator[str]:
    for name in sorted(before.keys() | after.keys()):
        if name not in after:
            yield f"{prefix}{name} was removed."
        elif before.get(name) != after[name]:
            yield f"{prefix}{name} is {after[name]!r} now."


@contextmanager
def _own_lock(connection: Connection, name: str) -> Iterator[None]:
    """
    Hold the account's run lock, as soon as it is free.
    """
    with ExitStack() as stack:
        reason = _refusal(stack, connection, name)
        if reason is not None:
            typer.echo(f"Waiting for a run to end. {reason}", err=True)
        while reason is not None:
            time.sleep(PAUSE)
            reason = _refusal(stack, connection, name)
        yield


def _refusal(stack: ExitStack, connection: Connection, name: str) -> RunInProgress | None:
    """
    Take the lock until the stack ends; return the error if somebody else holds it.
    """
    try:
        stack.enter_context(locks.run_lock(connection, name))
    except RunInProgress as error:
        return error
    return None


def _delete_data(connection: Connection, name: str) -> dict[str, int]:
    """
    Delete an account's rows from every table; return how many they were, by table.
    """
    tables = [
        table
        for schema in (internal_metadata, metadata)
        for table in reversed(schema.sorted_tables)
        if table is not accounts and "account" in table.c
    ]
    return {
        table.name: connection.execute(delete(table).where(table.c.account == name)).rowcount
        for table in tables
    }
