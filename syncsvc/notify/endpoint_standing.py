"""
The state of every endpoint, for people and for metrics.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import and_, case, func, literal_column, select

from syncsvc.accounts.standing import database_time
from syncsvc.metrics import EndpointState
from syncsvc.notify import cursors, endpoint_rows
from syncsvc.schema.tables import notify_cursors, number_history

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection, ScalarSelect

    from syncsvc.notify.endpoint_rows import Endpoint

MOST_COUNTED = 1000  # changes of one account


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """
    An endpoint, and the state of its deliveries.

    Attributes:
        pending: Events that wait, at least; of an account 1,000 are counted at most.
        pending_since: Since when the oldest of them waits.
        next_attempt_at: When the next one is sent again; None if none failed.
        delivered_at: When an event was last delivered.
    """

    endpoint: Endpoint
    pending: int = 0
    pending_since: datetime | None = None
    next_attempt_at: datetime | None = None
    delivered_at: datetime | None = None
    last_error: str | None = None


def every(connection: Connection) -> list[Standing]:
    """
    Return all endpoints and the state of their deliveries, by name.
    """
    cursor = notify_cursors.c
    waiting = case((cursors.IS_PENDING, cursor.pending_since))
    query = select(
        cursor.endpoint,
        func.sum(case((cursors.IS_PENDING, _waiting_changes()), else_=0)).label("changes"),
        func.count(waiting).label("accounts"),
        func.min(waiting).label("pending_since"),
        func.min(cursor.next_attempt_at).label("next_attempt_at"),
        func.max(cursor.delivered_at).label("delivered_at"),
        func.max(cursor.last_error).label("last_error"),
    ).group_by(cursor.endpoint)
    found = {row["endpoint"]: row for row in connection.execute(query).mappings()}
    return [
        _standing(endpoint, found.get(endpoint.name))
        for endpoint in endpoint_rows.every(connection)
    ]


def states(connection: Connection) -> dict[str, EndpointState]:
    """
    Return the state of every endpoint, for metrics.
    """
    now = database_time(connection)
    found = {}
    for standing in every(connection):
        waits = standing.endpoint.enabled and standing.pending_since is not None
        age = (now - standing.pending_since).total_seconds() if standing.pending_since else 0.0
        found[standing.endpoint.name] = EndpointState(
            pending=standing.pending if waits else 0,
            oldest_seconds=max(age, 0.0) if waits else 0.0,
            disabled=standing.endpoint.state == "disabled",
        )
    return found


def _waiting_changes() -> ScalarSelect[int]:
    cursor, change = notify_cursors.c, number_history.c
    later = and_(change.id > cursor.history_id, change.run_id > cursor.run_id)
    rows = (
        select(literal_column("1"))
        .where(change.account == cursor.account, later)
        .correlate(notify_cursors)
        .limit(MOST_COUNTED)
        .subquery()
    )
    return select(func.count()).select_from(rows).scalar_subquery()


def _standing(endpoint: Endpoint, row: Any) -> Standing:  # noqa: ANN401 - a row, or None
    if row is None:
        return Standing(endpoint=endpoint)
    return Standing(
        endpoint=endpoint,
        pending=max(int(row["changes"]), row["accounts"]),  # a sum on PostgreSQL is a decimal
        pending_since=row["pending_since"],
        next_attempt_at=row["next_attempt_at"],
        delivered_at=row["delivered_at"],
        last_error=row["last_error"],
    )
