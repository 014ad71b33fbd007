"""
Grant a PostgreSQL role read-only access to the tables and views.

Views run with their owner's rights, so a role can be granted a view, or some of its columns,
without the tables beneath it. Columns that may contain a street address are marked in the
schema, and can be withheld from the role.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from syncsvc.database.maintenance import monthly_view
from syncsvc.errors import ConfigurationError
from syncsvc.schema import tables, views

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Column, Connection, Engine, Table

RELATIONS = (*tables.metadata.tables.values(), *views.view_metadata.tables.values())
REVISION = "alembic_version"  # `syncsvc report` reads it to check the schema

FOUND = "SELECT rolsuper FROM pg_roles WHERE rolname = :role"
OWNS = """
SELECT pg_get_userbyid(relowner) FROM pg_class
WHERE oid = CAST(:relation AS regclass) AND pg_has_role(:role, relowner, 'MEMBER')"""
WRITES = """
SELECT has_table_privilege(:role, :relation, 'INSERT, UPDATE, DELETE, TRUNCATE, TRIGGER')
    OR has_any_column_privilege(:role, :relation, 'INSERT, UPDATE, REFERENCES')"""
READS = "SELECT has_column_privilege(:role, :relation, :column, 'SELECT')"
MAY_READ = "SELECT has_column_privilege(CAST(:relation AS text), CAST(:column AS text), 'SELECT')"
CREATES = """
SELECT has_schema_privilege(:role, current_schema(), 'CREATE')
    OR has_database_privilege(:role, current_database(), 'CREATE')"""


def require(engine: Engine, role: str) -> None:
    """
    Refuse a role that does not exist, or is a superuser.

    Raises:
        ConfigurationError: It says what to do.
    """
    if engine.dialect.name != "postgresql":
        raise ConfigurationError(
            "--reporting-role: SQLite has no roles; whoever can read the file can read all of it. "
            "Leave the flag out, and protect the file by its permissions."
        )
    with engine.connect() as connection:
        superuser = connection.execute(text(FOUND), {"role": role}).scalar()
    if superuser is None:
        raise ConfigurationError(
            f"--reporting-role: there is no role {role!r}. "
            f"Let an administrator create it: CREATE ROLE {_quoted(engine, role)} LOGIN;"
        )
    if superuser:
        raise ConfigurationError(f"--reporting-role: {role!r} is a superuser. Name another role.")


def grant(connection: Connection, role: str, *, addresses: bool) -> None:
    """
    Grant a role SELECT on all but sealed secrets, and revoke everything else granted here.

    With addresses it may also read tables that the same user creates later; without them, a
    later table needs another grant.

    Raises:
        ConfigurationError: Another grant still lets it do more.
    """
    for statement in _grants(connection, role, addresses=addresses):
        connection.exec_driver_sql(statement)
    excess = [*_excess(connection, role, addresses=addresses)]
    if excess:
        raise ConfigurationError(
            f"--reporting-role: nothing was granted, because {role!r} could do more than read: "
            f"{'; '.join(excess)}. The right may come from PUBLIC or from another role that it is "
            "a member of. Revoke it, or name another role."
        )


def _grants(connection: Connection, role: str, *, addresses: bool) -> Iterator[str]:
    """
    Return the statements that reset the role's privileges to exactly these.
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
        readable = [column.name for column in _readable(table, addresses=addresses)]
        columns = f" ({', '.join(readable)})" if len(readable) < len(table.c) else ""
        yield f"GRANT SELECT{columns} ON {space}.{table.name} TO {who}"
    yield f"GRANT EXECUTE ON FUNCTION {space}.inventory_as_of(timestamptz) TO {who}"
    later = f"GRANT SELECT ON TABLES TO {who}" if addresses else f"REVOKE ALL ON TABLES FROM {who}"
    yield f"ALTER DEFAULT PRIVILEGES IN SCHEMA {space} {later}"


def _relations(connection: Connection) -> Iterator[Table]:
    """
    Return the tables and views, and the materialised view if it exists.
    """
    yield from RELATIONS
    if monthly_view.exists(connection):
        yield monthly_view.inventory_by_month_kept


def _readable(table: Table, *, addresses: bool) -> list[Column[Any]]:
    """
    Return the columns that the role may read: never those with sealed secrets.
    """
    hidden = {"sealed"} if addresses else {"sealed", "personal"}
    return [column for column in table.c if not hidden & column.info.keys()]


def reads_addresses(connection: Connection) -> bool:
    """
    Return whether this user may read all columns that may have a street address.
    """
    if connection.dialect.name != "postgresql":
        return True
    return all(
        connection.execute(text(MAY_READ), {"relation": table.name, "column": column.name}).scalar()
        for table in RELATIONS
        for column in table.c
        if column.info.get("personal")
    )


def _excess(connection: Connection, role: str, *, addresses: bool) -> Iterator[str]:
    """
    Return what a role can do beyond reading.
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
        for column in {*table.c}.difference(_readable(table, addresses=addresses)):
            if holds(READS, relation=table.name, column=column.name):
                yield f"it can read {table.name}.{column.name}"


def _quoted(database: Connection | Engine, name: str) -> str:
    """
    Quote a name for a statement, whatever characters it contains.
    """
    return database.dialect.identifier_preparer.quote_identifier(name)
