"""
What lets a run pass over the rows of a listing that are as they were.

An internal table, and triggers that empty it wherever a number is updated or
deleted; a version that does not know it runs on.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

SQLITE = (
    """CREATE TRIGGER numbers_updated AFTER UPDATE ON numbers BEGIN
  DELETE FROM listing_fingerprints WHERE account = old.account AND part = substr(old.uuid, 1, 2);
END""",
    """CREATE TRIGGER numbers_deleted AFTER DELETE ON numbers BEGIN
  DELETE FROM listing_fingerprints WHERE account = old.account AND part = substr(old.uuid, 1, 2);
END""",
)
POSTGRESQL = (
    """CREATE FUNCTION forget_listing_fingerprints() RETURNS trigger LANGUAGE plpgsql
SET search_path FROM CURRENT AS $$
BEGIN
  IF to_regclass('listing_fingerprints') IS NULL THEN
    RETURN NULL;
  END IF;
  IF TG_OP = 'TRUNCATE' THEN
    DELETE FROM listing_fingerprints;
  ELSE
    DELETE FROM listing_fingerprints AS kept
    USING (SELECT DISTINCT account, substr(uuid, 1, 2) AS part FROM before) AS touched
    WHERE kept.account = touched.account AND kept.part = touched.part;
  END IF;
  RETURN NULL;
END
$$""",
    """CREATE TRIGGER numbers_updated AFTER UPDATE ON numbers
REFERENCING OLD TABLE AS before FOR EACH STATEMENT
EXECUTE FUNCTION forget_listing_fingerprints()""",
    """CREATE TRIGGER numbers_deleted AFTER DELETE ON numbers
REFERENCING OLD TABLE AS before FOR EACH STATEMENT
EXECUTE FUNCTION forget_listing_fingerprints()""",
    """CREATE TRIGGER numbers_truncated AFTER TRUNCATE ON numbers
FOR EACH STATEMENT EXECUTE FUNCTION forget_listing_fingerprints()""",
)
TRIGGERS = {"sqlite": SQLITE, "postgresql": POSTGRESQL}


def upgrade() -> None:
    op.create_table(
        "listing_fingerprints",
        sa.Column(
            "account",
            sa.Text(),
            nullable=False,
            comment="Name under which this account's rows are kept (SYNCSVC_ACCOUNT).",
        ),
        sa.Column(
            "part", sa.Text(), nullable=False, comment="First two characters of the numbers' uuids."
        ),
        sa.Column(
            "fingerprints",
            sa.LargeBinary(),
            nullable=False,
            comment="8 bytes for each listed row that numbers agrees with, sorted.",
        ),
        sa.PrimaryKeyConstraint("account", "part", name=op.f("pk_listing_fingerprints")),
        comment="Internal: what lets a run pass over rows that are as they were. May be emptied.",
    )
    for statement in TRIGGERS[op.get_context().dialect.name]:
        op.execute(statement)


def downgrade() -> None:
    if op.get_context().dialect.name == "postgresql":
        op.execute("DROP FUNCTION forget_listing_fingerprints() CASCADE")
    else:
        op.execute("DROP TRIGGER numbers_updated")
        op.execute("DROP TRIGGER numbers_deleted")
    op.drop_table("listing_fingerprints")
