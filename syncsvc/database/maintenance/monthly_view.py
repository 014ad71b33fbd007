"""
Maintain a materialised view of `inventory_by_month` on PostgreSQL.

It exists if an operator asked for it (`syncsvc migrate --keep-months`), and is refreshed after
each run that publishes. `inventory_by_month` itself is computed by each query.
"""

from __future__ import annotations

import math
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy import Column, MetaData, Table, func, select, text

from syncsvc.errors import ConfigurationError
from syncsvc.schema.columns import UtcDateTime
from syncsvc.schema.views import commented, inventory_by_month

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from sqlalchemy import Connection, Engine

inventory_by_month_kept = Table(
    "inventory_by_month_kept",
    MetaData(),
    *(Column(each.name, each.type, comment=each.comment) for each in inventory_by_month.c),
    Column("as_of", UtcDateTime, comment="When it was last refreshed, the same in all rows. UTC."),
    comment="inventory_by_month at the last refresh, after a run that published. It exists if "
    "`syncsvc migrate --keep-months` created it.",
)
NAME = inventory_by_month_kept.name
CREATE = (
    f"CREATE MATERIALIZED VIEW {NAME} AS SELECT *, now() AS as_of FROM inventory_by_month",  # noqa: S608 - a name of ours
    f"CREATE UNIQUE INDEX uq_{NAME} ON {NAME} (month, account, country_alpha2)",
)
REFRESH = f"REFRESH MATERIALIZED VIEW CONCURRENTLY {NAME}"
A_DAY = 86_400  # seconds

EXISTS = "SELECT to_regclass(:name) IS NOT NULL"
READABLE = """
SELECT relispopulated AND has_table_privilege(oid, 'SELECT')
FROM pg_class WHERE oid = to_regclass(:name)"""
READERS = """
SELECT DISTINCT CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END
FROM pg_class c
LEFT JOIN pg_attribute ON attrelid = c.oid
CROSS JOIN LATERAL (
  SELECT * FROM aclexplode(relacl) UNION ALL SELECT * FROM aclexplode(attacl)
) granted
WHERE c.oid = CAST('inventory_by_month' AS regclass) AND privilege_type = 'SELECT'
  AND grantee <> relowner
ORDER BY 1"""


def require_postgresql(engine: Engine) -> None:
    """
    Refuse a database without materialised views.

    Raises:
        ConfigurationError: It is SQLite.
    """
    if engine.dialect.name != "postgresql":
        raise ConfigurationError(
            "--keep-months: SQLite has no materialised views; inventory_by_month itself answers "
            "there. Leave the flag out."
        )


def exists(connection: Connection) -> bool:
    """
    Return whether the database has the materialised view.
    """
    return connection.dialect.name == "postgresql" and _relation_exists(connection, NAME)


def as_of(connection: Connection) -> datetime | None:
    """
    Return when the view was last refreshed; None if there is none that this user may read.
    """
    if connection.dialect.name != "postgresql":
        return None
    if not connection.execute(text(READABLE), {"name": NAME}).scalar():
        return None
    return connection.execute(select(func.max(inventory_by_month_kept.c.as_of))).scalar()


def create(connection: Connection) -> None:
    """
    Create the materialised view, and grant it to everyone who may read the view itself.
    """
    if exists(connection):
        return
    for statement in (*CREATE, *commented("MATERIALIZED VIEW", inventory_by_month_kept)):
        connection.exec_driver_sql(statement)
    for reader in connection.execute(text(READERS)).scalars().all():
        connection.exec_driver_sql(f"GRANT SELECT ON {NAME} TO {reader}")


@contextmanager
def dropped_during(connection: Connection) -> Iterator[None]:
    """
    Drop the materialised view while migrations change the view beneath it, then recreate it.
    """
    existed = exists(connection)
    if existed:
        connection.exec_driver_sql(f"DROP MATERIALIZED VIEW IF EXISTS {NAME}")
    yield
    if existed and _relation_exists(connection, inventory_by_month.name):
        create(connection)


def refresh(engine: Engine, seconds: float) -> None:
    """
    Refresh the materialised view, if there is one, in a session of its own; no reader waits.

    Args:
        seconds: The time limit.
    """
    if engine.dialect.name != "postgresql":
        return
    with engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        if exists(connection):
            most = min(max(math.ceil(seconds), 1), A_DAY)
            connection.exec_driver_sql(f"SET statement_timeout = '{most}s'")
            connection.exec_driver_sql(REFRESH)


def _relation_exists(connection: Connection, name: str) -> bool:
    return bool(connection.execute(text(EXISTS), {"name": name}).scalar())
