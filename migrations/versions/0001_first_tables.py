"""
The tables of the first release.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
MONEY = sa.Numeric(12, 4)
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "addresses",
        sa.Column(
            "account",
            sa.Text(),
            nullable=False,
            comment="Name under which this account's rows are kept (SYNCSVC_ACCOUNT).",
        ),
        sa.Column(
            "id", sa.BigInteger(), nullable=False, comment="The provider's id of the address."
        ),
        sa.Column("name", sa.Text(), nullable=True, comment="The provider's name for the address."),
        sa.Column(
            "use_for_proof_of_address",
            sa.Boolean(),
            nullable=True,
            comment="Whether it serves as proof of address (useForProofOfAddress).",
        ),
        sa.Column(
            "use_for_emergency_address",
            sa.Boolean(),
            nullable=True,
            comment="Whether it serves as emergency address (useForEmergencyAddress).",
        ),
        sa.Column("address_line1", sa.Text(), nullable=True, comment="First line."),
        sa.Column("address_line2", sa.Text(), nullable=True, comment="Second line."),
        sa.Column("address_city", sa.Text(), nullable=True, comment="City."),
        sa.Column("address_region", sa.Text(), nullable=True, comment="Region."),
        sa.Column("address_postal_code", sa.Text(), nullable=True, comment="Postal code."),
        sa.Column(
            "country_name", sa.Text(), nullable=True, comment="Country, as the provider names it."
        ),
        sa.Column(
            "country_iso",
            sa.Text(),
            nullable=True,
            comment="Country code, as the provider sends it.",
        ),
        sa.Column(
            "extra",
            JSON,
            nullable=True,
            comment="Fields that this version does not know, as sent (JSON object); NULL if none.",
        ),
        sa.Column(
            "first_seen_at",
            TIME,
            nullable=False,
            comment="Start of the first run. UTC.",
        ),
        sa.Column(
            "changed_at",
            TIME,
            nullable=False,
            comment="Start of the last change. UTC.",
        ),
        sa.PrimaryKeyConstraint("account", "id", name=op.f("pk_addresses")),
        comment="One row for each address that a number ever had.",
    )
    op.create_table(
        "sync_runs",
        sa.Column(
            "id",
            ID,
            sa.Identity(always=False),
            nullable=False,
            comment="Number of the run.",
        ),
        sa.Column(
            "account",
            sa.Text(),
            nullable=False,
            comment="Name under which this account's rows are kept (SYNCSVC_ACCOUNT).",
        ),
        sa.Column("trigger", sa.Text(), nullable=False, comment="manual, startup or schedule."),
        sa.Column(
            "state",
            sa.Text(),
            nullable=False,
            comment="running, succeeded, withheld, failed, crashed.",
        ),
        sa.Column(
            "started_at",
            TIME,
            nullable=False,
            comment="Start, and the valid_from of all that it wrote; later than that of the account's run before, whatever the clock does. UTC.",
        ),
        sa.Column(
            "finished_at",
            TIME,
            nullable=True,
            comment="End; NULL while it runs. UTC.",
        ),
        sa.Column(
            "walks",
            sa.Integer(),
            nullable=True,
            comment="How often the listing was walked, 3 at most.",
        ),
        sa.Column(
            "pages", sa.Integer(), nullable=True, comment="Listing pages read, in all walks."
        ),
        sa.Column(
            "num_results",
            sa.BigInteger(),
            nullable=True,
            comment="What the provider said last of the listing's size.",
        ),
        sa.Column(
            "listed",
            sa.BigInteger(),
            nullable=True,
            comment="Distinct numbers read from the listing.",
        ),
        sa.Column(
            "added", sa.BigInteger(), nullable=True, comment="History rows with the event added."
        ),
        sa.Column(
            "provisioned",
            sa.BigInteger(),
            nullable=True,
            comment="History rows with the event provisioned.",
        ),
        sa.Column(
            "cancelled",
            sa.BigInteger(),
            nullable=True,
            comment="History rows with the event cancelled.",
        ),
        sa.Column(
            "reinstated",
            sa.BigInteger(),
            nullable=True,
            comment="History rows with the event reinstated.",
        ),
        sa.Column(
            "changed",
            sa.BigInteger(),
            nullable=True,
            comment="History rows with the event changed.",
        ),
        sa.Column(
            "unchanged",
            sa.BigInteger(),
            nullable=True,
            comment="Listed live numbers that are as they were.",
        ),
        sa.Column(
            "address_changes",
            sa.BigInteger(),
            nullable=True,
            comment="Rows written to address_history.",
        ),
        sa.Column(
            "rejected",
            sa.BigInteger(),
            nullable=True,
            comment="Rows that could not be read; see sync_rejects.",
        ),
        sa.Column(
            "withheld",
            sa.BigInteger(),
            nullable=True,
            comment="Cancellations that were not accepted.",
        ),
        sa.Column("error", sa.Text(), nullable=True, comment="Why it failed; NULL if it did not."),
        sa.Column(
            "service_version", sa.Text(), nullable=False, comment="Version of syncsvc that ran."
        ),
        sa.Column(
            "detail",
            JSON,
            nullable=True,
            comment="More about the run, for people (JSON object).",
        ),
        sa.CheckConstraint(
            "state IN ('running', 'succeeded', 'withheld', 'failed', 'crashed')",
            name=op.f("ck_sync_runs_state_known"),
        ),
        sa.CheckConstraint(
            "trigger IN ('manual', 'startup', 'schedule')", name=op.f("ck_sync_runs_trigger_known")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sync_runs")),
        comment="One row for each run of an account.",
    )
    op.create_index(
        op.f("ix_sync_runs_account_started_at"), "sync_runs", ["account", "started_at"], unique=True
    )
    op.create_table(
        "address_history",
        sa.Column(
            "id",
            ID,
            sa.Identity(always=False),
            nullable=False,
            comment="Order in which rows were written.",
        ),
        sa.Column(
            "account",
            sa.Text(),
            nullable=False,
            comment="Name under which this account's rows are kept (SYNCSVC_ACCOUNT).",
        ),
        sa.Column("address_id", sa.BigInteger(), nullable=False, comment="The address, by its id."),
        sa.Column("run_id", sa.BigInteger(), nullable=False, comment="Run that wrote the row."),
        sa.Column("event", sa.Text(), nullable=False, comment="added or changed."),
        sa.Column(
            "valid_from",
            TIME,
            nullable=False,
            comment="Start of the run that wrote the row: from then on we knew it. UTC.",
        ),
        sa.Column(
            "valid_to",
            TIME,
            nullable=True,
            comment="Start of the run that wrote the next row; NULL on the newest. UTC.",
        ),
        sa.Column("name", sa.Text(), nullable=True, comment="The provider's name for the address."),
        sa.Column(
            "use_for_proof_of_address",
            sa.Boolean(),
            nullable=True,
            comment="Whether it serves as proof of address (useForProofOfAddress).",
        ),
        sa.Column(
            "use_for_emergency_address",
            sa.Boolean(),
            nullable=True,
            comment="Whether it serves as emergency address (useForEmergencyAddress).",
        ),
        sa.Column("address_line1", sa.Text(), nullable=True, comment="First line."),
        sa.Column("address_line2", sa.Text(), nullable=True, comment="Second line."),
        sa.Column("address_city", sa.Text(), nullable=True, comment="City."),
        sa.Column("address_region", sa.Text(), nullable=True, comment="Region."),
        sa.Column("address_postal_code", sa.Text(), nullable=True, comment="Postal code."),
        sa.Column(
            "country_name", sa.Text(), nullable=True, comment="Country, as the provider names it."
        ),
        sa.Column(
            "country_iso",
            sa.Text(),
            nullable=True,
            comment="Country code, as the provider sends it.",
        ),
        sa.Column(
            "extra",
            JSON,
            nullable=True,
            comment="Fields that this version does not know, as sent (JSON object); NULL if none.",
        ),
        sa.Column(
            "changes",
            JSON,
            nullable=True,
            comment='Every changed column as {"column": {"old": …, "new": …}}; NULL on a first row. Amounts are strings with 4 places, times ISO 8601 in UTC.',
        ),
        sa.CheckConstraint(
            "event IN ('added', 'changed')", name=op.f("ck_address_history_event_known")
        ),
        sa.CheckConstraint(
            "valid_to >= valid_from", name=op.f("ck_address_history_valid_in_order")
        ),
        sa.ForeignKeyConstraint(
            ["account", "address_id"],
            ["addresses.account", "addresses.id"],
            name=op.f("fk_address_history_account_address_id"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_address_history")),
        comment="One row for each change of an address, with the address as it stood after it. Nothing but valid_to is ever updated.",
    )
    op.create_index(
        op.f("ix_address_history_account_address_id_valid_from"),
        "address_history",
        ["account", "address_id", "valid_from"],
        unique=False,
    )
    op.create_index(op.f("ix_address_history_run_id"), "address_history", ["run_id"], unique=False)
    op.create_index(
        "uq_address_history_open",
        "address_history",
        ["account", "address_id"],
        unique=True,
        postgresql_where=sa.text("valid_to IS NULL"),
        sqlite_where=sa.text("valid_to IS NULL"),
    )
    op.create_table(
        "numbers",
        sa.Column(
            "account",
            sa.Text(),
            nullable=False,
            comment="Name under which this account's rows are kept (SYNCSVC_ACCOUNT).",
        ),
        sa.Column(
            "uuid",
            sa.Text(),
            nullable=False,
            comment="The provider's uuid of the number, lower case.",
        ),
        sa.Column("number_e164", sa.Text(), nullable=False, comment="The number in E.164."),
        sa.Column("number", sa.Text(), nullable=True, comment="The local number."),
        sa.Column("range_code", sa.Text(), nullable=True, comment="Range code."),
        sa.Column(
            "range_name", sa.Text(), nullable=True, comment="Range, such as number type or area."
        ),
        sa.Column("country_code", sa.Text(), nullable=True, comment="Country dialling code."),
        sa.Column(
            "country_name", sa.Text(), nullable=True, comment="Country, as the provider names it."
        ),
        sa.Column(
            "country_iso",
            sa.Text(),
            nullable=True,
            comment="Country code, as the provider sends it (UK).",
        ),
        sa.Column(
            "country_alpha2",
            sa.Text(),
            nullable=True,
            comment="ISO 3166-1 alpha-2 code (GB); NULL if country_iso is unknown.",
        ),
        sa.Column(
            "lifecycle",
            sa.Text(),
            nullable=False,
            comment="live, or cancelled on the evidence in the history.",
        ),
        sa.Column("status", sa.Text(), nullable=True, comment="The provider's status, as sent."),
        sa.Column(
            "monthly_charge",
            MONEY,
            nullable=True,
            comment="Cost per month, in the account's currency.",
        ),
        sa.Column(
            "setup_charge",
            MONEY,
            nullable=True,
            comment="Cost once, in the account's currency.",
        ),
        sa.Column(
            "provisioned_at",
            TIME,
            nullable=True,
            comment="When the provider says it was provisioned to the account. UTC.",
        ),
        sa.Column(
            "cancelled_at",
            TIME,
            nullable=True,
            comment="When it was cancelled: the provider's timestamp, or for a number that went missing the start of the run that found it gone. UTC.",
        ),
        sa.Column(
            "number_address_id",
            sa.BigInteger(),
            nullable=True,
            comment="Its address; NULL if none.",
        ),
        sa.Column(
            "emergency_number_address_id",
            sa.BigInteger(),
            nullable=True,
            comment="The address registered with the emergency services; NULL if none.",
        ),
        sa.Column(
            "details_status",
            sa.Text(),
            nullable=True,
            comment="Status inside the number's details, as sent.",
        ),
        sa.Column(
            "details_provisioned_at",
            TIME,
            nullable=True,
            comment="Provisioned timestamp inside the number's details. UTC.",
        ),
        sa.Column(
            "extra",
            JSON,
            nullable=True,
            comment="Fields that this version does not know, as sent (JSON object); NULL if none.",
        ),
        sa.Column(
            "first_seen_at",
            TIME,
            nullable=False,
            comment="Start of the first run. UTC.",
        ),
        sa.Column(
            "changed_at",
            TIME,
            nullable=False,
            comment="Start of the last change. UTC.",
        ),
        sa.Column(
            "first_run_id", sa.BigInteger(), nullable=False, comment="Run that saw it first."
        ),
        sa.Column(
            "changed_run_id", sa.BigInteger(), nullable=False, comment="Run that changed it last."
        ),
        sa.CheckConstraint(
            "lifecycle IN ('live', 'cancelled')", name=op.f("ck_numbers_lifecycle_known")
        ),
        sa.ForeignKeyConstraint(
            ["account", "emergency_number_address_id"],
            ["addresses.account", "addresses.id"],
            name=op.f("fk_numbers_account_emergency_number_address_id"),
        ),
        sa.ForeignKeyConstraint(
            ["account", "number_address_id"],
            ["addresses.account", "addresses.id"],
            name=op.f("fk_numbers_account_number_address_id"),
        ),
        sa.PrimaryKeyConstraint("account", "uuid", name=op.f("pk_numbers")),
        comment="One row for every number ever seen, as it stands now.",
    )
    op.create_index(
        op.f("ix_numbers_account_emergency_number_address_id"),
        "numbers",
        ["account", "emergency_number_address_id"],
        unique=False,
    )
    op.create_index(
        op.f("ix_numbers_account_number_address_id"),
        "numbers",
        ["account", "number_address_id"],
        unique=False,
    )
    op.create_index(
        op.f("ix_numbers_account_number_e164"), "numbers", ["account", "number_e164"], unique=False
    )
    op.create_table(
        "sync_rejects",
        sa.Column(
            "id",
            ID,
            sa.Identity(always=False),
            nullable=False,
            comment="Order in which rows were written.",
        ),
        sa.Column("run_id", sa.BigInteger(), nullable=False, comment="Run that met the row."),
        sa.Column(
            "account",
            sa.Text(),
            nullable=False,
            comment="Name under which this account's rows are kept (SYNCSVC_ACCOUNT).",
        ),
        sa.Column("page", sa.Integer(), nullable=False, comment="Page of the listing, from 1."),
        sa.Column("position", sa.Integer(), nullable=False, comment="Place on the page, from 1."),
        sa.Column(
            "uuid", sa.Text(), nullable=True, comment="The number's uuid, if it could be read."
        ),
        sa.Column("reason", sa.Text(), nullable=False, comment="What could not be read, and why."),
        sa.Column("payload", sa.Text(), nullable=False, comment="The row as sent (JSON text)."),
        sa.ForeignKeyConstraint(
            ["run_id"], ["sync_runs.id"], name=op.f("fk_sync_rejects_run_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sync_rejects")),
        comment="Rows of the listing that could not be read, kept as sent.",
    )
    op.create_index(op.f("ix_sync_rejects_run_id"), "sync_rejects", ["run_id"], unique=False)
    op.create_table(
        "number_history",
        sa.Column(
            "id",
            ID,
            sa.Identity(always=False),
            nullable=False,
            comment="Order in which rows were written.",
        ),
        sa.Column(
            "account",
            sa.Text(),
            nullable=False,
            comment="Name under which this account's rows are kept (SYNCSVC_ACCOUNT).",
        ),
        sa.Column("uuid", sa.Text(), nullable=False, comment="The number, by its uuid."),
        sa.Column("run_id", sa.BigInteger(), nullable=False, comment="Run that wrote the row."),
        sa.Column(
            "event",
            sa.Text(),
            nullable=False,
            comment="added, provisioned, cancelled, reinstated or changed.",
        ),
        sa.Column(
            "occurred_at",
            TIME,
            nullable=False,
            comment="When it happened: the provider's timestamp if it gives one, else the run's.",
        ),
        sa.Column(
            "occurred_at_source",
            sa.Text(),
            nullable=False,
            comment="provider: its own timestamp; observed: the start of the run that saw it.",
        ),
        sa.Column(
            "evidence",
            sa.Text(),
            nullable=False,
            comment="listing, cancelled_listing, or absence from a listing proved complete.",
        ),
        sa.Column(
            "valid_from",
            TIME,
            nullable=False,
            comment="Start of the run that wrote the row: from then on we knew it. UTC.",
        ),
        sa.Column(
            "valid_to",
            TIME,
            nullable=True,
            comment="Start of the run that wrote the next row; NULL on the newest. UTC.",
        ),
        sa.Column(
            "lifecycle",
            sa.Text(),
            nullable=False,
            comment="live, or cancelled on the evidence in the history.",
        ),
        sa.Column("status", sa.Text(), nullable=True, comment="The provider's status, as sent."),
        sa.Column(
            "monthly_charge",
            MONEY,
            nullable=True,
            comment="Cost per month, in the account's currency.",
        ),
        sa.Column(
            "setup_charge",
            MONEY,
            nullable=True,
            comment="Cost once, in the account's currency.",
        ),
        sa.Column(
            "provisioned_at",
            TIME,
            nullable=True,
            comment="When the provider says it was provisioned to the account. UTC.",
        ),
        sa.Column(
            "cancelled_at",
            TIME,
            nullable=True,
            comment="When it was cancelled: the provider's timestamp, or for a number that went missing the start of the run that found it gone. UTC.",
        ),
        sa.Column(
            "number_address_id",
            sa.BigInteger(),
            nullable=True,
            comment="Its address; NULL if none.",
        ),
        sa.Column(
            "emergency_number_address_id",
            sa.BigInteger(),
            nullable=True,
            comment="The address registered with the emergency services; NULL if none.",
        ),
        sa.Column(
            "changes",
            JSON,
            nullable=True,
            comment='Every changed column as {"column": {"old": …, "new": …}}; NULL on a first row. Amounts are strings with 4 places, times ISO 8601 in UTC.',
        ),
        sa.CheckConstraint(
            "event IN ('added', 'provisioned', 'cancelled', 'reinstated', 'changed')",
            name=op.f("ck_number_history_event_known"),
        ),
        sa.CheckConstraint(
            "evidence IN ('listing', 'cancelled_listing', 'absence')",
            name=op.f("ck_number_history_evidence_known"),
        ),
        sa.CheckConstraint(
            "lifecycle IN ('live', 'cancelled')", name=op.f("ck_number_history_lifecycle_known")
        ),
        sa.CheckConstraint(
            "occurred_at_source IN ('provider', 'observed')",
            name=op.f("ck_number_history_occurred_at_source_known"),
        ),
        sa.CheckConstraint("valid_to >= valid_from", name=op.f("ck_number_history_valid_in_order")),
        sa.ForeignKeyConstraint(
            ["account", "uuid"],
            ["numbers.account", "numbers.uuid"],
            name=op.f("fk_number_history_account_uuid"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_number_history")),
        comment="One row for each change of a number, with the number as it stood after it. Nothing but valid_to is ever updated.",
    )
    op.create_index(
        op.f("ix_number_history_account_uuid_valid_from"),
        "number_history",
        ["account", "uuid", "valid_from"],
        unique=False,
    )
    op.create_index(op.f("ix_number_history_run_id"), "number_history", ["run_id"], unique=False)
    op.create_index(
        "uq_number_history_open",
        "number_history",
        ["account", "uuid"],
        unique=True,
        postgresql_where=sa.text("valid_to IS NULL"),
        sqlite_where=sa.text("valid_to IS NULL"),
    )


def downgrade() -> None:
    op.drop_index(
        "uq_number_history_open",
        table_name="number_history",
        postgresql_where=sa.text("valid_to IS NULL"),
        sqlite_where=sa.text("valid_to IS NULL"),
    )
    op.drop_index(op.f("ix_number_history_run_id"), table_name="number_history")
    op.drop_index(op.f("ix_number_history_account_uuid_valid_from"), table_name="number_history")
    op.drop_table("number_history")
    op.drop_index(op.f("ix_sync_rejects_run_id"), table_name="sync_rejects")
    op.drop_table("sync_rejects")
    op.drop_index(op.f("ix_numbers_account_number_e164"), table_name="numbers")
    op.drop_index(op.f("ix_numbers_account_number_address_id"), table_name="numbers")
    op.drop_index(op.f("ix_numbers_account_emergency_number_address_id"), table_name="numbers")
    op.drop_table("numbers")
    op.drop_index(
        "uq_address_history_open",
        table_name="address_history",
        postgresql_where=sa.text("valid_to IS NULL"),
        sqlite_where=sa.text("valid_to IS NULL"),
    )
    op.drop_index(op.f("ix_address_history_run_id"), table_name="address_history")
    op.drop_index(
        op.f("ix_address_history_account_address_id_valid_from"), table_name="address_history"
    )
    op.drop_table("address_history")
    op.drop_index(op.f("ix_sync_runs_account_started_at"), table_name="sync_runs")
    op.drop_table("sync_runs")
    op.drop_table("addresses")
