"""
Add the endpoints of webhooks, and how far each is with the events of each account.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from syncsvc.schema.columns import Json, UtcDateTime

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _create_endpoints()
    _create_cursors()


def _create_endpoints() -> None:
    op.create_table(
        "notify_endpoints",
        sa.Column("name", sa.Text(), nullable=False, comment="Name of the endpoint."),
        sa.Column("url", sa.Text(), nullable=False, comment="Where its events are sent."),
        sa.Column(
            "events",
            Json,
            nullable=False,
            comment="Patterns of the types of event that it gets, such as number.* (JSON array).",
        ),
        sa.Column(
            "accounts",
            Json,
            nullable=False,
            comment="Patterns of the accounts whose events it gets (JSON array).",
        ),
        _flag("bulk", "Whether it gets every number of a first or very large run, too."),
        _flag("allow_http", "Whether plain http may go to other hosts than loopback."),
        _flag("allow_private", "Whether its host may have a private address."),
        sa.Column(
            "signing_keys",
            sa.Text(),
            comment="Keys that sign its events, sealed by a key of SYNCSVC_ACCOUNTS_KEY; NULL if the "
            "endpoint is in the settings of a worker, and its keys in a file.",
        ),
        _flag("enabled", "Whether events are sent; false: paused, or disabled after failures."),
        sa.Column(
            "disabled_reason",
            sa.Text(),
            comment="Why it was disabled; NULL if it is enabled, or somebody paused it.",
        ),
        sa.Column("added_at", UtcDateTime(), nullable=False, comment="When it was added. UTC."),
        sa.Column(
            "changed_at", UtcDateTime(), nullable=False, comment="When the row last changed. UTC."
        ),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_notify_endpoints")),
        sa.CheckConstraint(
            "length(name) BETWEEN 1 AND 100", name=op.f("ck_notify_endpoints_name_length")
        ),
        *_arrays("events"),
        *_arrays("accounts"),
        comment="One row for each endpoint that webhooks are sent to.",
    )


def _create_cursors() -> None:
    op.create_table(
        "notify_cursors",
        sa.Column("endpoint", sa.Text(), nullable=False, comment="Name of the endpoint."),
        sa.Column(
            "account",
            sa.Text(),
            nullable=False,
            comment="Name under which this account's rows are kept (SYNCSVC_ACCOUNT).",
        ),
        _position("run_id", "The last run whose events the endpoint has all received."),
        _position(
            "history_id",
            "The last row of number_history that it received, or that was passed over.",
        ),
        _position(
            "run_events",
            "How many events about the run after run_id itself it has received.",
            sa.Integer(),
        ),
        _position("wanted_run_id", "The last run with events; beyond run_id, some of them wait."),
        sa.Column(
            "pending_since",
            UtcDateTime(),
            comment="Since when events wait; NULL if there are none. UTC.",
        ),
        _position("attempts", "How often the next event was sent without success.", sa.Integer()),
        sa.Column(
            "next_attempt_at",
            UtcDateTime(),
            comment="When it is sent again; NULL if it is due at once. UTC.",
        ),
        sa.Column(
            "last_error",
            sa.Text(),
            comment="Why the last attempt failed; NULL if it succeeded.",
        ),
        sa.Column("delivered_at", UtcDateTime(), comment="When an event was last delivered. UTC."),
        sa.PrimaryKeyConstraint("endpoint", "account", name=op.f("pk_notify_cursors")),
        sa.ForeignKeyConstraint(
            ["endpoint"],
            ["notify_endpoints.name"],
            name=op.f("fk_notify_cursors_endpoint"),
            ondelete="CASCADE",
        ),
        comment="How far each endpoint is with each account's events.",
        postgresql_with={"fillfactor": 70},
    )
    op.create_index(op.f("ix_notify_cursors_account"), "notify_cursors", ["account"])


def _flag(name: str, comment: str) -> sa.Column[bool]:
    return sa.Column(name, sa.Boolean(), nullable=False, comment=comment)


def _position(
    name: str, comment: str, kind: sa.types.TypeEngine[int] | None = None
) -> sa.Column[int]:
    return sa.Column(
        name, kind or sa.BigInteger(), nullable=False, server_default=sa.text("0"), comment=comment
    )


def _arrays(column: str) -> list[sa.CheckConstraint]:
    name = op.f(f"ck_notify_endpoints_{column}_array")
    return [
        sa.CheckConstraint(f"jsonb_typeof({column}) = 'array'", name=name).ddl_if("postgresql"),
        sa.CheckConstraint(f"json_type({column}) = 'array'", name=name).ddl_if("sqlite"),
    ]


def downgrade() -> None:
    op.drop_table("notify_cursors")
    op.drop_table("notify_endpoints")
