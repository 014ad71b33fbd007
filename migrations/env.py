"""
Configure Alembic: the tables' metadata and the connection.

`syncsvc migrate` passes its connection; the `alembic` command, used to write new migrations, takes
`-x url=…`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from alembic import context
from sqlalchemy import Connection, create_engine, text

from syncsvc.schema.internal_tables import internal_metadata
from syncsvc.schema.tables import metadata

if TYPE_CHECKING:
    from sqlalchemy.schema import SchemaItem

MIGRATION_LOCK = 0x73796E63  # "sync": only one host migrates at a time


def migrate_online(connection: Connection) -> None:
    """
    Migrate the connection's database to the requested revision.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})"))
    dialect = connection.dialect.name

    def is_for_here(item: SchemaItem, *_: object) -> bool:
        """
        Return whether this kind of database has an index.
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
    Print the DDL instead of executing it.
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
    Migrate on the given connection, or on a new one.
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
