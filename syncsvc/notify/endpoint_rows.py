"""
The endpoints that webhooks are sent to: rows of `notify_endpoints`.

Endpoints of a worker's own settings have a row, too, so that they can be paused; it has no secret.
"""

from __future__ import annotations

import difflib
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import bindparam, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from syncsvc import clock
from syncsvc.accounts.standing import database_time
from syncsvc.errors import ConfigurationError, UnknownEndpoint
from syncsvc.notify import cursors
from syncsvc.notify.events import EventType
from syncsvc.schema.tables import notify_endpoints
from syncsvc.settings.sources import printable
from syncsvc.vocabulary import Event

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection, RowMapping

    from syncsvc.database.runs import Run
    from syncsvc.settings.webhook_endpoints import Webhook

NAMES_SHOWN = 3


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """
    One endpoint.

    Attributes:
        events: Patterns of the types of event that it gets.
        accounts: Patterns of the accounts whose events it gets.
        bulk: It gets every number of a first or very large run, not only a summary.
        sealed: Its secrets, sealed; None if they are a file.
        disabled_reason: Why it is not enabled; None if somebody paused it.
    """

    name: str
    url: str
    events: tuple[str, ...] = ("*",)
    accounts: tuple[str, ...] = ("*",)
    bulk: bool = False
    allow_http: bool = False
    allow_private: bool = False
    sealed: str | None = None
    enabled: bool = True
    disabled_reason: str | None = None

    @classmethod
    def of(cls, name: str, webhook: Webhook, sealed: str | None = None) -> Endpoint:
        """
        Return the endpoint that a table of the settings, or a command line, describes.
        """
        options = {field: getattr(webhook, field) for field in DESCRIBED}
        return cls(name=name, sealed=sealed, **options)

    def wants(self, event_type: str) -> bool:
        """
        Return whether it gets events of this type.
        """
        return any(fnmatchcase(event_type, pattern) for pattern in self.events)

    def gets(self, event_type: str) -> bool:
        """
        Return whether it is sent such an event: one it wants, or what stands for some of those.
        """
        stands_for_numbers = event_type == EventType.RUN_PUBLISHED
        return self.wants(event_type) or (
            stands_for_numbers and any(self.wants(each) for each in NUMBER_EVENTS)
        )

    def covers(self, account: str) -> bool:
        """
        Return whether it gets events of this account.
        """
        return any(fnmatchcase(account, pattern) for pattern in self.accounts)

    @property
    def state(self) -> str:
        """
        Return `enabled`, `paused` by somebody, or `disabled` after failures.
        """
        if self.enabled:
            return "enabled"
        return "disabled" if self.disabled_reason else "paused"


NUMBER_EVENTS = [each for each in EventType if each.startswith("number.")]
IS_ENABLED = select(notify_endpoints.c.enabled).where(
    notify_endpoints.c.name == bindparam("endpoint")
)
DESCRIBED = ("url", "events", "accounts", "bulk", "allow_http", "allow_private")


def every(connection: Connection) -> list[Endpoint]:
    """
    Return all endpoints, by name.
    """
    rows = connection.execute(select(notify_endpoints).order_by("name")).mappings()
    return [_endpoint(row) for row in rows]


def require(connection: Connection, name: str) -> Endpoint:
    """
    Return the endpoint of that name.

    Raises:
        UnknownEndpoint: There is none; it names the most similar ones.
    """
    query = select(notify_endpoints).where(notify_endpoints.c.name == name)
    row = connection.execute(query).mappings().first()
    return _endpoint(row) if row else _unknown(connection, name)


def is_enabled(connection: Connection, name: str) -> bool:
    """
    Return whether there is an endpoint of that name, and events are sent to it.
    """
    return bool(connection.execute(IS_ENABLED, {"endpoint": name}).scalar())


def add(connection: Connection, endpoint: Endpoint) -> None:
    """
    Add an endpoint; it is sent what happens from now on.

    Raises:
        ConfigurationError: There is one of that name.
    """
    now = clock.now()
    values = {**_values(endpoint), "name": endpoint.name, "added_at": now, "changed_at": now}
    try:
        connection.execute(insert(notify_endpoints).values(values))
    except IntegrityError:
        raise ConfigurationError(
            f"There is an endpoint {endpoint.name!r} already. Take another name, or remove it "
            f"with `syncsvc notify remove`."
        ) from None
    cursors.start_now(connection, endpoint.name, endpoint.covers)


def change(connection: Connection, endpoint: Endpoint) -> None:
    """
    Write an endpoint that was read in the same transaction.
    """
    values = {**_values(endpoint), "changed_at": clock.now()}
    changed = update(notify_endpoints).where(notify_endpoints.c.name == endpoint.name)
    connection.execute(changed.values(values))


def set_enabled(
    connection: Connection, name: str, *, enabled: bool, reason: str | None = None
) -> None:
    """
    Enable, pause or disable an endpoint; one that is enabled begins anew with its attempts.

    Args:
        reason: Why it is disabled; None if somebody paused it.
    """
    endpoint = require(connection, name)
    changed = msgspec.structs.replace(endpoint, enabled=enabled, disabled_reason=reason)
    change(connection, changed)
    if enabled:
        cursors.retry_now(connection, name)


def remove(connection: Connection, name: str) -> None:
    """
    Remove an endpoint and its cursors.

    Raises:
        UnknownEndpoint: There is none of that name.
    """
    require(connection, name)
    cursors.forget(connection, name)
    connection.execute(delete(notify_endpoints).where(notify_endpoints.c.name == name))


def adopt(connection: Connection, webhooks: dict[str, Webhook]) -> None:
    """
    Write the endpoints of a worker's own settings; whether one is paused stays as it is.
    """
    present = {endpoint.name: endpoint for endpoint in every(connection)}
    for name, webhook in webhooks.items():
        wanted = Endpoint.of(name, webhook)
        if name not in present:
            add(connection, wanted)
        elif present[name].sealed is None:
            before = present[name]
            state = {"enabled": before.enabled, "disabled_reason": before.disabled_reason}
            after = msgspec.structs.replace(wanted, **state)
            if after != before:
                change(connection, after)


def wake(connection: Connection, account: str, run_id: int) -> None:
    """
    Record, in the run's own transaction, that it has events for the endpoints of its account.
    """
    covering = [endpoint for endpoint in every(connection) if endpoint.covers(account)]
    if covering:
        cursors.wake(connection, account, run_id, covering, database_time(connection))


def wake_if_changed(connection: Connection, run: Run, counts: Mapping[str, Any]) -> None:
    """
    Do the same for a run that publishes, if it has events.

    That is a change, a cancellation withheld, a first success, or one after a failure. Most runs
    have none of these, and then cost nothing.
    """
    changed = any(counts.get(name) for name in (*Event, "withheld"))
    if changed or not run.follows_success:
        wake(connection, run.account, run.id)


def _values(endpoint: Endpoint) -> dict[str, Any]:
    return {
        "url": endpoint.url,
        "events": list(endpoint.events),
        "accounts": list(endpoint.accounts),
        "bulk": endpoint.bulk,
        "allow_http": endpoint.allow_http,
        "allow_private": endpoint.allow_private,
        "signing_keys": endpoint.sealed,
        "enabled": endpoint.enabled,
        "disabled_reason": endpoint.disabled_reason,
    }


def _endpoint(row: RowMapping) -> Endpoint:
    return Endpoint(
        name=row["name"],
        url=row["url"],
        events=tuple(row["events"]),
        accounts=tuple(row["accounts"]),
        bulk=row["bulk"],
        allow_http=row["allow_http"],
        allow_private=row["allow_private"],
        sealed=row["signing_keys"],
        enabled=row["enabled"],
        disabled_reason=row["disabled_reason"],
    )


def _unknown(connection: Connection, name: str) -> Endpoint:
    known = list(connection.execute(select(notify_endpoints.c.name).order_by("name")).scalars())
    if not known:
        raise UnknownEndpoint(
            f"There is no endpoint {name!r}: there are none yet. `syncsvc notify add` adds one."
        )
    near = difflib.get_close_matches(name, known, n=NAMES_SHOWN) or known[:NAMES_SHOWN]
    more = ", …" if len(known) > len(near) else ""
    raise UnknownEndpoint(
        f"There is no endpoint {name!r}. There are: {', '.join(map(printable, near))}{more}. "
        "`syncsvc notify list` shows all."
    )
