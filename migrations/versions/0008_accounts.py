"""
Add the accounts of a fleet as rows.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from syncsvc.schema.columns import Json, UtcDateTime

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "accounts",
        sa.Column(
            "account", sa.Text(), nullable=False, comment="Name under which its rows are kept."
        ),
        sa.Column(
            "enabled",
            sa.Boolean(),
            nullable=False,
            comment="Whether the fleet syncs it; false: paused.",
        ),
        sa.Column(
            "settings",
            Json,
            nullable=False,
            comment="Settings that differ for this account, by name without SYNCSVC_ (JSON object).",
        ),
        sa.Column(
            "credentials",
            sa.Text(),
            nullable=True,
            comment="Its credentials, sealed by a key of SYNCSVC_ACCOUNTS_KEY; NULL if they are files.",
        ),
        sa.Column(
            "labels",
            Json,
            nullable=False,
            comment="Labels for people, texts by name (JSON object).",
        ),
        sa.Column("added_at", UtcDateTime(), nullable=False, comment="When it was added. UTC."),
        sa.Column(
            "changed_at", UtcDateTime(), nullable=False, comment="When the row last changed. UTC."
        ),
        sa.PrimaryKeyConstraint("account", name=op.f("pk_accounts")),
        sa.CheckConstraint(
            "length(account) BETWEEN 1 AND 100", name=op.f("ck_accounts_account_length")
        ),
        *_objects("settings"),
        *_objects("labels"),
        comment="One row for each account of a fleet. Without a fleet there are none.",
    )


def _objects(column: str) -> list[sa.CheckConstraint]:
    name = op.f(f"ck_accounts_{column}_object")
    return [
        sa.CheckConstraint(f"jsonb_typeof({column}) = 'object'", name=name).ddl_if("postgresql"),
        sa.CheckConstraint(f"json_type({column}) = 'object'", name=name).ddl_if("sqlite"),
    ]


def downgrade() -> None:
    op.drop_table("accounts")
