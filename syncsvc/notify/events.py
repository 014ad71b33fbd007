"""
The events that are sent to endpoints, each made from a history row or from a run.

An event that is made again is the same to the byte, so that receivers can drop what they know.
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import msgspec

from syncsvc.notify.cursors import Position

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import RowMapping

LARGEST_BODY = 20_000  # bytes, as Standard Webhooks recommends
NAMESPACE = uuid.UUID("0c6d1e6e-3b0e-5f0a-9d58-6f2f5c9b7a41")  # of the ids of events
UNSENT = frozenset({"extra"})  # of a number: unknown fields may contain street addresses
COUNTS = (
    *("listed", "added", "provisioned", "cancelled", "reinstated", "changed", "unchanged"),
    *("address_changes", "rejected", "withheld"),
)


class EventType(StrEnum):
    """
    The types of event.
    """

    NUMBER_ADDED = "number.added"
    NUMBER_PROVISIONED = "number.provisioned"
    NUMBER_CHANGED = "number.changed"
    NUMBER_CANCELLED = "number.cancelled"
    NUMBER_REINSTATED = "number.reinstated"
    RUN_PUBLISHED = "run.published"  # in place of the numbers of a first or very large run
    RUN_WITHHELD = "run.withheld"  # other cancellations are withheld than after the run before
    ACCOUNT_FAILING = "account.failing"  # a run published nothing, and the one before did
    ACCOUNT_RECOVERED = "account.recovered"  # a run published, and the one before did not
    TEST = "test"  # sent by `syncsvc notify test` alone


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """
    One event.

    Attributes:
        id: The same in every attempt and replay.
        body: The JSON that is sent.
        after: The position of a cursor after it.
    """

    id: str
    type: EventType
    body: bytes
    after: Position


def of_number(row: RowMapping, after: Position) -> Event:
    """
    Return the event of a history row, which also has `number_e164`.
    """
    names = ("account", "uuid", "number_e164", "event", "evidence")
    times = ("occurred_at", "valid_from")
    data = {
        **{name: row[name] for name in names},
        **{name: _time(row[name]) for name in times},
        "occurred_at_source": row["occurred_at_source"],
        "lifecycle": row["lifecycle"],
        "changes": _without_unsent(row["changes"]),
        "run_id": row["run_id"],
        "history_id": row["id"],
    }
    kind = EventType(f"number.{row['event']}")
    identity = (row["account"], kind, row["id"], _time(row["valid_from"]))
    return _event(kind, identity, row["valid_from"], data, after)


def of_run(kind: EventType, run: Mapping[str, Any], after: Position) -> Event:
    """
    Return an event about a run, which is a row of `sync_runs`.
    """
    data = {
        "account": run["account"],
        "run_id": run["id"],
        "state": run["state"],
        "started_at": _time(run["started_at"]),
        "finished_at": _time(run["finished_at"]),
        **{name: run[name] for name in COUNTS},
        "error": run["error"],
    }
    identity = (run["account"], kind, run["id"], _time(run["started_at"]))
    return _event(kind, identity, run["finished_at"], data, after)


def for_trial(endpoint: str, now: datetime) -> Event:
    """
    Return an event for trying an endpoint, which no receiver needs to act on.
    """
    identity = (endpoint, EventType.TEST, uuid.uuid4())
    return _event(EventType.TEST, identity, now, {"endpoint": endpoint}, Position())


def _event(
    kind: EventType,
    identity: tuple[object, ...],
    moment: datetime,
    data: dict[str, Any],
    after: Position,
) -> Event:
    """
    Return an event, whose body is small enough for every receiver.
    """
    envelope = {"type": kind, "timestamp": _time(moment), "data": data}
    body = msgspec.json.encode(envelope)
    if len(body) > LARGEST_BODY:
        body = msgspec.json.encode({**envelope, "data": _shortened(data)})
    name = "\n".join(map(str, identity))
    return Event(id=f"evt_{uuid.uuid5(NAMESPACE, name).hex}", type=kind, body=body, after=after)


def _shortened(data: dict[str, Any]) -> dict[str, Any]:
    """
    Return the data with only the names of the changed columns, and the start of an error.
    """
    changes, error = data.get("changes"), data.get("error")
    if changes is not None:
        return {**data, "changes": dict.fromkeys(changes)}
    return {**data, "error": error and error[:1000]}


def _without_unsent(changes: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if changes is None:
        return None
    return {name: change for name, change in changes.items() if name not in UNSENT}


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
