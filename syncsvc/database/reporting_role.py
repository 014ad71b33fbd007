"""
A role of PostgreSQL that may read the tables and views, and do nothing else.

Views run with their owner's rights, so that a role can be given a view, or
some of its columns, without the tables under it. What may hold a street
address is marked in the schema, and can be kept from the role.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

from syncsvc.database import monthly_view
from syncsvc.errors import ConfigurationError
from syncsvc.schema import tables, views

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, Engine, Table

RELATIONS = (*tables.metadata.tables.values(), *views.view_metadata.tables.values())
REVISION = "alembic_version"  # so that `syncsvc report` can tell that the schema is current

FOUND = "SELECT rolsuper FROM pg_roles WHERE rolname = :role"
OWNS = """
SELECT pg_get_userbyid(relowner) FROM pg_class
WHERE oid = CAST(:relation AS regclass) AND pg_has_role(:role, relowner, 'MEMBER')"""
WRITES = """
SELECT has_table_privilege(:role, :relation, 'INSERT, UPDATE, DELETE, TRUNCATE, TRIGGER')
    OR has_any_column_privilege(:role, :relation, 'INSERT, UPDATE, REFERENCES')"""
READS = "SELECT has_column_privilege(:role, :relation, :column, 'SELECT')"
CREATES = """
SELECT has_schema_privilege(:role, current_schema(), 'CREATE')
    OR has_database_privilege(:role, current_database(), 'CREATE')"""


def require(engine: Engine, role: str) -> None:
    """
    Refuse a role that is not there, or is no ordinary one.

    Raises:
        ConfigurationError: With what to do about it.
    """
    if engine.dialect.name != "postgresql":
        raise ConfigurationError(
            "--reporting-role: SQLite has no roles; who may read the file may read all of it. "
            "It is for PostgreSQL."
        )
    with engine.connect() as connection:
        superuser = connection.execute(text(FOUND), {"role": role}).scalar()
    if superuser is None:
        raise ConfigurationError(
            f"--reporting-role: there is no role {role!r}. "
            f"Let an administrator make it: CREATE ROLE {_quoted(engine, role)} LOGIN;"
        )
    if superuser:
        raise ConfigurationError(f"--reporting-role: {role!r} is a superuser. Take another role.")


def grant(connection: Connection, role: str, *, addresses: bool) -> None:
    """
    Let a role read, and take everything else from it that it was given here.

    With addresses it may read what the same user makes later, too; without
    them, a later table is not its own until this is done again.

    Raises:
        ConfigurationError: It could do more all the same, by another grant.
    """
    for statement in _grants(connection, role, addresses=addresses):
        connection.exec_driver_sql(statement)
    excess = [*_excess(connection, role, addresses=addresses)]
    if excess:
        raise ConfigurationError(
            f"--reporting-role: nothing was granted, since {role!r} could do more than read: "
            f"{'; '.join(excess)}. It may do so as PUBLIC or as a member of another role. "
            "Revoke that, or take another role."
        )


def _grants(connection: Connection, role: str, *, addresses: bool) -> Iterator[str]:
    """
    The statements that leave a role with what it shall have, whatever it had.
    """
    who = _quoted(connection, role)
    name: str = connection.execute(text("SELECT current_schema()")).scalar_one()
    space = _quoted(connection, name)
    yield f"REVOKE ALL ON SCHEMA {space} FROM {who}"
    yield f"GRANT USAGE ON SCHEMA {space} TO {who}"
    relations = [*_relations(connection)]
    for relation in (REVISION, *(each.name for each in relations)):
        yield f"REVOKE ALL ON {space}.{relation} FROM {who}"
    yield f"GRANT SELECT ON {space}.{REVISION} TO {who}"
    for table in relations:
        columns = "" if addresses else f" ({', '.join(_impersonal(table))})"
        yield f"GRANT SELECT{columns} ON {space}.{table.name} TO {who}"
    yield f"GRANT EXECUTE ON FUNCTION {space}.inventory_as_of(timestamptz) TO {who}"
    later = f"GRANT SELECT ON TABLES TO {who}" if addresses else f"REVOKE ALL ON TABLES FROM {who}"
    yield f"ALTER DEFAULT PRIVILEGES IN SCHEMA {space} {later}"


def _relations(connection: Connection) -> Iterator[Table]:
    """
    Tables and views, and the months where they are kept.
    """
    yield from RELATIONS
    if monthly_view.are_kept(connection):
        yield monthly_view.inventory_by_month_kept


def _impersonal(table: Table) -> list[str]:
    return [column.name for column in table.c if not column.info.get("personal")]


def _excess(connection: Connection, role: str, *, addresses: bool) -> Iterator[str]:
    """
    What a role can do that it shall not.
    """

    def holds(query: str, **of: str) -> bool:
        return bool(connection.execute(text(query), {"role": role, **of}).scalar())

    if holds(CREATES):
        yield "it can create tables or schemas"
    for table in _relations(connection):
        if holds(OWNS, relation=table.name):
            yield f"it is, or may act as, the owner of {table.name}"
        elif holds(WRITES, relation=table.name):
            yield f"it can write to {table.name}"
        for column in table.c if not addresses else ():
            personal = column.info.get("personal", False)
            if personal and holds(READS, relation=table.name, column=column.name):
                yield f"it can read {table.name}.{column.name}"


def _quoted(database: Connection | Engine, name: str) -> str:
    """
    A name as it stands in a statement, whatever characters it has.
    """
    return database.dialect.identifier_preparer.quote_identifier(name)
