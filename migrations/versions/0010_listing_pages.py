"""
What lets a run skip the pages of a listing that are as they were.

An internal table; a version that does not know it runs on.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "listing_pages",
        sa.Column(
            "account",
            sa.Text(),
            nullable=False,
            comment="Name under which this account's rows are kept (SYNCSVC_ACCOUNT).",
        ),
        sa.Column("chunk", sa.Integer(), nullable=False, comment="Number of the row, from 0."),
        _bytes("rows", "8 bytes of fingerprint and 16 of uuid for each of the pages' rows."),
        _bytes("address_ids", "8 bytes for each address on the pages."),
        sa.PrimaryKeyConstraint("account", "chunk", name=op.f("pk_listing_pages")),
        comment="Internal: what lets a run skip pages that are as they were. May be emptied.",
    )


def _bytes(name: str, comment: str) -> sa.Column[bytes]:
    return sa.Column(name, sa.LargeBinary(), nullable=False, comment=comment)


def downgrade() -> None:
    op.drop_table("listing_pages")
