"""
Tell Alembic which tables there are and on which connection to work.

`syncsvc migrate` hands its connection over; the `alembic` command, used to
write new migrations, takes `-x url=…`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from alembic import context
from sqlalchemy import Connection, create_engine, text

from syncsvc.schema.fingerprint_table import internal_metadata
from syncsvc.schema.tables import metadata

if TYPE_CHECKING:
    from sqlalchemy.schema import SchemaItem

MIGRATION_LOCK = 0x73796E63  # "sync": two hosts can't migrate at once


def migrate_online(connection: Connection) -> None:
    """
    Bring the database that the connection leads to up (or down).
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})"))
    dialect = connection.dialect.name

    def is_for_here(item: SchemaItem, *_: object) -> bool:
        """
        Leave out an index that only another kind of database has.
        """
        return bool(item.info.get("only", dialect) == dialect)

    context.configure(
        connection=connection,
        target_metadata=[metadata, internal_metadata],
        compare_type=True,
        include_object=is_for_here,
    )
    with context.begin_transaction():
        context.run_migrations()


def migrate_offline(url: str) -> None:
    """
    Print the DDL instead of carrying it out.
    """
    context.configure(
        url=url,
        target_metadata=[metadata, internal_metadata],
        literal_binds=True,
        dialect_opts={"paramstyle": "named"},
        transactional_ddl=True,
    )
    with context.begin_transaction():
        context.run_migrations()


def run() -> None:
    """
    Use the connection given, or open one.
    """
    given = context.config.attributes.get("connection")
    url = context.config.attributes.get("url") or context.get_x_argument(as_dictionary=True).get(
        "url", "sqlite:///syncsvc.db"
    )
    if context.is_offline_mode():
        migrate_offline(url)
    elif given is not None:
        migrate_online(given)
    else:
        with create_engine(url).begin() as connection:
            migrate_online(connection)


run()
