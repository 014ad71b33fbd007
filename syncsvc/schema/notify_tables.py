"""
The tables of webhooks: where events are sent, and how far each endpoint is with each account.

There is no table of events: `number_history` and `sync_runs` are where they come from.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKeyConstraint,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Table,
    Text,
    text,
)

from syncsvc.schema.columns import (
    SEALED,
    Json,
    UtcDateTime,
    account_column,
    json_array,
    metadata,
)


def _flag(name: str, comment: str) -> Column[bool]:
    return Column(name, Boolean, nullable=False, comment=comment)


def _position(name: str, comment: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False, server_default=text("0"), comment=comment)


notify_endpoints = Table(
    "notify_endpoints",
    metadata,
    Column("name", Text, nullable=False, comment="Name of the endpoint."),
    Column(
        "url",
        Text,
        nullable=False,
        info=SEALED,  # it may have a token in it
        comment="Where its events are sent.",
    ),
    Column(
        "events",
        Json,
        nullable=False,
        comment="Patterns of the types of event that it gets, such as number.* (JSON array).",
    ),
    Column(
        "accounts",
        Json,
        nullable=False,
        comment="Patterns of the accounts whose events it gets (JSON array).",
    ),
    _flag("bulk", "Whether it gets every number of a first or very large run, too."),
    _flag("allow_http", "Whether plain http may go to other hosts than loopback."),
    _flag("allow_private", "Whether its host may have a private address."),
    Column(
        "signing_keys",
        Text,
        info=SEALED,
        comment="Keys that sign its events, sealed by a key of SYNCSVC_ACCOUNTS_KEY; NULL if the "
        "endpoint is in the settings of a worker, and its keys in a file.",
    ),
    _flag("enabled", "Whether events are sent; false: paused, or disabled after failures."),
    Column(
        "disabled_reason",
        Text,
        comment="Why it was disabled; NULL if it is enabled, or somebody paused it.",
    ),
    Column("added_at", UtcDateTime, nullable=False, comment="When it was added. UTC."),
    Column("changed_at", UtcDateTime, nullable=False, comment="When the row last changed. UTC."),
    PrimaryKeyConstraint("name"),
    CheckConstraint("length(name) BETWEEN 1 AND 100", name="name_length"),
    *json_array("events"),
    *json_array("accounts"),
    comment="One row for each endpoint that webhooks are sent to.",
)

notify_cursors = Table(
    "notify_cursors",
    metadata,
    Column("endpoint", Text, nullable=False, comment="Name of the endpoint."),
    account_column(),
    _position("run_id", "The last run whose events the endpoint has all received."),
    _position(
        "history_id", "The last row of number_history that it received, or that was passed over."
    ),
    Column(
        "run_events",
        Integer,
        nullable=False,
        server_default=text("0"),
        comment="How many events about the run after run_id itself it has received.",
    ),
    _position("wanted_run_id", "The last run with events; beyond run_id, some of them wait."),
    Column(
        "pending_since",
        UtcDateTime,
        comment="Since when events wait; NULL if there are none. UTC.",
    ),
    Column(
        "attempts",
        Integer,
        nullable=False,
        server_default=text("0"),
        comment="How often the next event was sent without success.",
    ),
    Column(
        "next_attempt_at",
        UtcDateTime,
        comment="When it is sent again; NULL if it is due at once. UTC.",
    ),
    Column("last_error", Text, comment="Why the last attempt failed; NULL if it succeeded."),
    Column("delivered_at", UtcDateTime, comment="When an event was last delivered. UTC."),
    PrimaryKeyConstraint("endpoint", "account"),
    ForeignKeyConstraint(["endpoint"], ["notify_endpoints.name"], ondelete="CASCADE"),
    Index(None, "account"),
    comment="How far each endpoint is with each account's events.",
    postgresql_with={"fillfactor": 70},  # so that most updates stay on their page
)
