"""
List the cancellations that an account's last run withheld.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "withheld_cancellations",
        sa.Column(
            "account",
            sa.Text(),
            nullable=False,
            comment="Name under which this account's rows are kept (SYNCSVC_ACCOUNT).",
        ),
        sa.Column(
            "uuid", sa.Text(), nullable=False, comment="The number, by its uuid. It stays live."
        ),
        sa.Column("number_e164", sa.Text(), nullable=False, comment="The number in E.164."),
        sa.Column(
            "run_id",
            sa.BigInteger(),
            nullable=False,
            comment="Run that withheld it: the last one.",
        ),
        sa.Column(
            "evidence",
            sa.Text(),
            nullable=False,
            comment="What suggests that it was cancelled: listing, cancelled_listing or absence.",
        ),
        sa.Column(
            "reason",
            sa.Text(),
            nullable=False,
            comment="Why it was withheld: guard, search_failed, search_limit or contradicted.",
        ),
        sa.CheckConstraint(
            "evidence IN ('listing', 'cancelled_listing', 'absence')",
            name=op.f("ck_withheld_cancellations_evidence_known"),
        ),
        sa.CheckConstraint(
            "reason IN ('guard', 'search_failed', 'search_limit', 'contradicted')",
            name=op.f("ck_withheld_cancellations_reason_known"),
        ),
        sa.ForeignKeyConstraint(
            ["run_id"],
            ["sync_runs.id"],
            name=op.f("fk_withheld_cancellations_run_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("account", "uuid", name=op.f("pk_withheld_cancellations")),
        comment="The cancellations that an account's last run withheld. Each run that publishes "
        "replaces the account's rows.",
    )
    op.create_index(op.f("ix_withheld_cancellations_run_id"), "withheld_cancellations", ["run_id"])


def downgrade() -> None:
    op.drop_table("withheld_cancellations")
