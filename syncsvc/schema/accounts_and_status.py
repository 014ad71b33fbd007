"""
The tables that have one row for each account: how it stands, and what differs for it.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
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
    json_object,
    metadata,
    one_of,
)
from syncsvc.vocabulary import Lane, RunState


def _counted(name: str, comment: str, kind: type[Integer] = BigInteger) -> Column[int]:
    return Column(name, kind, nullable=False, server_default=text("0"), comment=comment)


account_status = Table(
    "account_status",
    metadata,
    account_column(),
    Column("host", Text, comment="Origin of the provider's address; NULL before its first run."),
    Column(
        "next_run_at",
        UtcDateTime,
        comment="When it is due next, by the database's clock; NULL until a run has said so. UTC.",
    ),
    Column(
        "lane",
        Text,
        nullable=False,
        server_default=Lane.FAST.value,
        comment="fast, or slow if the last run that ended took long.",
    ),
    _counted("failures", "Ended runs in a row that published nothing.", Integer),
    Column("attention", Text, comment="Why somebody has to act; NULL if nobody has to."),
    Column("last_run_id", BigInteger, comment="The last run; NULL before its first one."),
    Column(
        "last_state",
        Text,
        comment="State of the last run: running, succeeded, withheld, failed or crashed.",
    ),
    Column("last_started_at", UtcDateTime, comment="Start of the last run. UTC."),
    Column(
        "last_finished_at",
        UtcDateTime,
        comment="End of the last run that ended; NULL if there is none. UTC.",
    ),
    Column(
        "last_success_at",
        UtcDateTime,
        comment="End of the last run that published, cancellations withheld or not, by the clock "
        "of its machine; NULL if there is none. UTC.",
    ),
    Column(
        "last_error",
        Text,
        comment="Why the last run that ended published nothing; NULL if it published.",
    ),
    Column("last_seconds", Double, comment="How long the last run that ended took, in seconds."),
    _counted("live_numbers", "Numbers that are live."),
    _counted("cancelled_numbers", "Numbers that are cancelled."),
    _counted("withheld", "Cancellations that the last run that published did not accept."),
    _counted("rejected", "Rows that the last run that published could not read."),
    PrimaryKeyConstraint("account"),
    one_of("lane", Lane),
    one_of("last_state", RunState),
    Index(None, "next_run_at"),
    comment="How each account that ever ran stands. Its run writes it, in its own transaction.",
    postgresql_with={"fillfactor": 70},  # so that most updates stay on their page
)

accounts = Table(
    "accounts",
    metadata,
    Column("account", Text, nullable=False, comment="Name under which its rows are kept."),
    Column(
        "enabled", Boolean, nullable=False, comment="Whether the fleet syncs it; false: paused."
    ),
    Column(
        "settings",
        Json,
        nullable=False,
        comment="Settings that differ for this account, by name without SYNCSVC_ (JSON object).",
    ),
    Column(
        "credentials",
        Text,
        info=SEALED,
        comment="Its credentials, sealed by a key of SYNCSVC_ACCOUNTS_KEY; NULL if they are files.",
    ),
    Column(
        "labels", Json, nullable=False, comment="Labels for people, texts by name (JSON object)."
    ),
    Column("added_at", UtcDateTime, nullable=False, comment="When it was added. UTC."),
    Column("changed_at", UtcDateTime, nullable=False, comment="When the row last changed. UTC."),
    PrimaryKeyConstraint("account"),
    CheckConstraint("length(account) BETWEEN 1 AND 100", name="account_length"),
    *json_object("settings"),
    *json_object("labels"),
    comment="One row for each account of a fleet. Without a fleet there are none.",
)
