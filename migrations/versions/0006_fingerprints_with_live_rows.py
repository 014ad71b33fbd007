"""
Store beside fingerprints which rows of numbers they were stored for.

A version that does not know the column leaves it empty; its fingerprints are then not used.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "listing_fingerprints",
        sa.Column(
            "live_rows",
            sa.Text(),
            nullable=True,
            comment="Number, runs and versions of the live rows that they were stored for.",
        ),
    )


def downgrade() -> None:
    op.drop_column("listing_fingerprints", "live_rows")
