"""
The tables, with the meaning of each column and the constraints that the database enforces.

The comments are the tables' documentation; on PostgreSQL they are stored with
the tables. A change here needs a migration: see CONTRIBUTING.md.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Table,
    Text,
    text,
)

from syncsvc.schema.accounts_and_status import account_status, accounts
from syncsvc.schema.columns import (
    EXTRA_COMMENT,
    PERSONAL,
    Id,
    Json,
    RowKey,
    UtcDateTime,
    account_column,
    address_content,
    changes_column,
    metadata,
    number_state,
    one_of,
    run_column,
    run_keys,
    valid_columns,
)
from syncsvc.schema.notify_tables import notify_cursors, notify_endpoints
from syncsvc.vocabulary import (
    Event,
    Evidence,
    Lifecycle,
    RunState,
    Source,
    Trigger,
    WithheldReason,
)

__all__ = [
    "TRACKED_COLUMNS",
    "account_status",
    "accounts",
    "address_history",
    "addresses",
    "metadata",
    "notify_cursors",
    "notify_endpoints",
    "number_history",
    "numbers",
    "sync_rejects",
    "sync_runs",
    "withheld_cancellations",
]


def by_time(column: str, kind: str) -> Index:
    """
    Index a time column, so that the rows of a day are found among those of many years.

    A block range index costs next to nothing to keep. SQLite has none, and goes without.
    """
    return Index(
        None,
        column,
        info={"only": "postgresql"},
        postgresql_using="brin",
        postgresql_ops={column: kind},
        postgresql_with={"pages_per_range": 32, "autosummarize": True},
    ).ddl_if(dialect="postgresql")


TRACKED_COLUMNS = tuple(column.name for column in number_state())

sync_runs = Table(
    "sync_runs",
    metadata,
    Column("id", Id, Identity(), comment="Number of the run."),
    account_column(),
    Column("trigger", Text, nullable=False, comment="manual, startup or schedule."),
    Column("state", Text, nullable=False, comment="running, succeeded, withheld, failed, crashed."),
    Column(
        "started_at",
        UtcDateTime,
        nullable=False,
        comment="Start, and the valid_from of all that it wrote; later than that of the "
        "account's run before, whatever the clock does. UTC.",
    ),
    Column("finished_at", UtcDateTime, comment="End; NULL while it runs. UTC."),
    Column("walks", Integer, comment="How often the listing was walked, 3 at most."),
    Column("pages", Integer, comment="Listing pages read, in all walks."),
    Column("num_results", BigInteger, comment="What the provider said last of the listing's size."),
    Column("listed", BigInteger, comment="Distinct numbers read from the listing."),
    Column("added", BigInteger, comment="History rows with the event added."),
    Column("provisioned", BigInteger, comment="History rows with the event provisioned."),
    Column("cancelled", BigInteger, comment="History rows with the event cancelled."),
    Column("reinstated", BigInteger, comment="History rows with the event reinstated."),
    Column("changed", BigInteger, comment="History rows with the event changed."),
    Column("unchanged", BigInteger, comment="Listed live numbers that are as they were."),
    Column("address_changes", BigInteger, comment="Rows written to address_history."),
    Column("rejected", BigInteger, comment="Rows that could not be read; see sync_rejects."),
    Column("withheld", BigInteger, comment="Cancellations that were not accepted."),
    Column("error", Text, comment="Why it failed; NULL if it did not."),
    Column("service_version", Text, nullable=False, comment="Version of syncsvc that ran."),
    Column("detail", Json, comment="More about the run, for people (JSON object)."),
    Column(
        "recorded_at",
        UtcDateTime,
        comment="End by the clock of its machine, which differs from finished_at if an earlier "
        "run's clock was ahead; NULL in runs of older versions. UTC.",
    ),
    RowKey(),
    one_of("trigger", Trigger),
    one_of("state", RunState),
    Index(None, "account", "started_at", unique=True),
    comment="One row for each run of an account.",
)

addresses = Table(
    "addresses",
    metadata,
    account_column(),
    Column("id", BigInteger, nullable=False, comment="The provider's id of the address."),
    *address_content(),
    Column("first_seen_at", UtcDateTime, nullable=False, comment="Start of the first run. UTC."),
    Column("changed_at", UtcDateTime, nullable=False, comment="Start of the last change. UTC."),
    PrimaryKeyConstraint("account", "id"),
    comment="One row for each address that a number ever had.",
)

numbers = Table(
    "numbers",
    metadata,
    account_column(),
    Column("uuid", Text, nullable=False, comment="The provider's uuid of the number, lower case."),
    Column("number_e164", Text, nullable=False, comment="The number in E.164."),
    Column("number", Text, comment="The local number."),
    Column("range_code", Text, comment="Range code."),
    Column("range_name", Text, comment="Range, such as number type or area."),
    Column("country_code", Text, comment="Country dialling code."),
    Column("country_name", Text, comment="Country, as the provider names it."),
    Column("country_iso", Text, comment="Country code, as the provider sends it (UK)."),
    Column(
        "country_alpha2",
        Text,
        comment="ISO 3166-1 alpha-2 code (GB); NULL if country_iso is unknown.",
    ),
    *number_state(),
    Column("details_status", Text, comment="Status inside the number's details, as sent."),
    Column(
        "details_provisioned_at",
        UtcDateTime,
        comment="Provisioned timestamp inside the number's details. UTC.",
    ),
    Column("extra", Json, info=PERSONAL, comment=EXTRA_COMMENT),
    Column("first_seen_at", UtcDateTime, nullable=False, comment="Start of the first run. UTC."),
    Column("changed_at", UtcDateTime, nullable=False, comment="Start of the last change. UTC."),
    run_column("first_run_id", "Run that saw it first."),
    run_column("changed_run_id", "Run that changed it last."),
    PrimaryKeyConstraint("account", "uuid"),
    ForeignKeyConstraint(["account", "number_address_id"], ["addresses.account", "addresses.id"]),
    ForeignKeyConstraint(
        ["account", "emergency_number_address_id"], ["addresses.account", "addresses.id"]
    ),
    one_of("lifecycle", Lifecycle),
    Index(None, "account", "number_e164"),
    Index(None, "account", "number_address_id"),
    Index(None, "account", "emergency_number_address_id"),
    comment="One row for every number ever seen, as it stands now.",
)

number_history = Table(
    "number_history",
    metadata,
    Column("id", Id, Identity(), comment="Order in which rows were written."),
    account_column(),
    Column("uuid", Text, nullable=False, comment="The number, by its uuid."),
    run_column("run_id", "Run that wrote the row."),
    Column(
        "event",
        Text,
        nullable=False,
        comment="added, provisioned, cancelled, reinstated or changed.",
    ),
    Column(
        "occurred_at",
        UtcDateTime,
        nullable=False,
        comment="When it happened: the provider's timestamp if it gives one, else the run's.",
    ),
    Column(
        "occurred_at_source",
        Text,
        nullable=False,
        comment="provider: its own timestamp; observed: the start of the run that saw it.",
    ),
    Column(
        "evidence",
        Text,
        nullable=False,
        comment="listing, cancelled_listing, or absence from a listing proved complete.",
    ),
    *valid_columns(),
    *number_state(),
    changes_column(),
    RowKey(),
    ForeignKeyConstraint(["account", "uuid"], ["numbers.account", "numbers.uuid"]),
    one_of("event", Event),
    one_of("occurred_at_source", Source),
    one_of("evidence", Evidence),
    one_of("lifecycle", Lifecycle),
    CheckConstraint("valid_to >= valid_from", name="valid_in_order"),
    Index(
        "uq_number_history_open",
        "account",
        "uuid",
        unique=True,
        postgresql_where=text("valid_to IS NULL"),
        sqlite_where=text("valid_to IS NULL"),
    ),
    Index(None, "account", "uuid", "valid_from"),
    Index(None, "run_id"),
    by_time("valid_from", "timestamptz_minmax_ops"),
    by_time("occurred_at", "timestamptz_minmax_multi_ops"),
    comment="One row for each change of a number, with the number as it stood after it. "
    "Nothing but valid_to is ever updated.",
)

address_history = Table(
    "address_history",
    metadata,
    Column("id", Id, Identity(), comment="Order in which rows were written."),
    account_column(),
    Column("address_id", BigInteger, nullable=False, comment="The address, by its id."),
    run_column("run_id", "Run that wrote the row."),
    Column("event", Text, nullable=False, comment="added or changed."),
    *valid_columns(),
    *address_content(),
    changes_column(),
    RowKey(),
    ForeignKeyConstraint(["account", "address_id"], ["addresses.account", "addresses.id"]),
    CheckConstraint("event IN ('added', 'changed')", name="event_known"),
    CheckConstraint("valid_to >= valid_from", name="valid_in_order"),
    Index(
        "uq_address_history_open",
        "account",
        "address_id",
        unique=True,
        postgresql_where=text("valid_to IS NULL"),
        sqlite_where=text("valid_to IS NULL"),
    ),
    Index(None, "account", "address_id", "valid_from"),
    Index(None, "run_id"),
    comment="One row for each change of an address, with the address as it stood after it. "
    "Nothing but valid_to is ever updated.",
)

sync_rejects = Table(
    "sync_rejects",
    metadata,
    Column("id", Id, Identity(), comment="Order in which rows were written."),
    Column("run_id", BigInteger, nullable=False, comment="Run that met the row."),
    account_column(),
    Column("page", Integer, nullable=False, comment="Page of the listing, from 1."),
    Column("position", Integer, nullable=False, comment="Place on the page, from 1."),
    Column("uuid", Text, comment="The number's uuid, if it could be read."),
    Column(
        "reason", Text, nullable=False, info=PERSONAL, comment="What could not be read, and why."
    ),
    Column("payload", Text, nullable=False, info=PERSONAL, comment="The row as sent (JSON text)."),
    RowKey(),
    *run_keys(),
    Index(None, "run_id"),
    comment="Rows of the listing that could not be read, kept as sent.",
)

withheld_cancellations = Table(
    "withheld_cancellations",
    metadata,
    account_column(),
    Column("uuid", Text, nullable=False, comment="The number, by its uuid. It stays live."),
    Column("number_e164", Text, nullable=False, comment="The number in E.164."),
    Column("run_id", BigInteger, nullable=False, comment="Run that withheld it: the last one."),
    Column(
        "evidence",
        Text,
        nullable=False,
        comment="What suggests that it was cancelled: listing, cancelled_listing or absence.",
    ),
    Column(
        "reason",
        Text,
        nullable=False,
        comment="Why it was withheld: guard, search_failed, search_limit or contradicted.",
    ),
    PrimaryKeyConstraint("account", "uuid"),
    *run_keys(),
    one_of("evidence", Evidence),
    one_of("reason", WithheldReason),
    Index(None, "run_id"),
    comment="The cancellations that an account's last run withheld. Each run that publishes "
    "replaces the account's rows.",
)
