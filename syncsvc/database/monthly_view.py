"""
The months kept: on PostgreSQL, a materialised view of `inventory_by_month`.

It is there where an operator asked for it (`syncsvc migrate --keep-months`), and is renewed after
each run that published. `inventory_by_month` itself is always worked out anew.
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
    Column("as_of", UtcDateTime, comment="When it was last renewed, the same in all rows. UTC."),
    comment="inventory_by_month as it was when last renewed, after a run that published. It is "
    "there where `syncsvc migrate --keep-months` made it.",
)
NAME = inventory_by_month_kept.name
KEEP = (
    f"CREATE MATERIALIZED VIEW {NAME} AS SELECT *, now() AS as_of FROM inventory_by_month",  # noqa: S608 - a name of ours
    f"CREATE UNIQUE INDEX uq_{NAME} ON {NAME} (month, account, country_alpha2)",
)
RENEW = f"REFRESH MATERIALIZED VIEW CONCURRENTLY {NAME}"
A_DAY = 86_400  # seconds

FOUND = "SELECT to_regclass(:name) IS NOT NULL"
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


def require(engine: Engine) -> None:
    """
    Refuse a database that can't keep an answer.

    Raises:
        ConfigurationError: It is SQLite.
    """
    if engine.dialect.name != "postgresql":
        raise ConfigurationError(
            "--keep-months: SQLite keeps no answers of views; inventory_by_month itself answers "
            "there. It is for PostgreSQL."
        )


def are_kept(connection: Connection) -> bool:
    """
    Whether the database keeps the months.
    """
    return connection.dialect.name == "postgresql" and _is_there(connection, NAME)


def as_of(connection: Connection) -> datetime | None:
    """
    When the months kept were last renewed; None where there are none that this user may read.
    """
    if connection.dialect.name != "postgresql":
        return None
    if not connection.execute(text(READABLE), {"name": NAME}).scalar():
        return None
    return connection.execute(select(func.max(inventory_by_month_kept.c.as_of))).scalar()


def keep(connection: Connection) -> None:
    """
    Keep the months from now on; whoever may read the view may read them too.
    """
    if are_kept(connection):
        return
    for statement in (*KEEP, *commented("MATERIALIZED VIEW", inventory_by_month_kept)):
        connection.exec_driver_sql(statement)
    for reader in connection.execute(text(READERS)).scalars().all():
        connection.exec_driver_sql(f"GRANT SELECT ON {NAME} TO {reader}")


@contextmanager
def put_aside(connection: Connection) -> Iterator[None]:
    """
    Don't have them stand in the way of a change of the view; make them anew of what it is then.
    """
    kept = are_kept(connection)
    if kept:
        connection.exec_driver_sql(f"DROP MATERIALIZED VIEW IF EXISTS {NAME}")
    yield
    if kept and _is_there(connection, inventory_by_month.name):
        keep(connection)


def renew(engine: Engine, seconds: float) -> None:
    """
    Renew them, where they are kept, in a session of its own; no reader waits for that.

    Args:
        seconds: How long that may take.
    """
    if engine.dialect.name != "postgresql":
        return
    with engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        if are_kept(connection):
            most = min(max(math.ceil(seconds), 1), A_DAY)
            connection.exec_driver_sql(f"SET statement_timeout = '{most}s'")
            connection.exec_driver_sql(RENEW)


def _is_there(connection: Connection, name: str) -> bool:
    return bool(connection.execute(text(FOUND), {"name": name}).scalar())
