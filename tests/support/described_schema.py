"""
The schema as the code describes it, to compare with what the migrations create.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from syncsvc.schema import views
from syncsvc.schema.tables import metadata

if TYPE_CHECKING:
    from sqlalchemy import Engine

TRIGGERS = {
    "sqlite": (),
    "postgresql": (
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
    ),
}


def create_all(engine: Engine) -> None:
    """
    Create every table, trigger and view in an empty database.
    """
    dialect = engine.dialect.name
    with engine.begin() as connection:
        metadata.create_all(connection)
        for statement in (*TRIGGERS[dialect], *views.statements(dialect)):
            connection.exec_driver_sql(statement)
