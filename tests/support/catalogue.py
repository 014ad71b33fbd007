"""
A database's schema as its own catalogue has it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

if TYPE_CHECKING:
    from sqlalchemy import Connection

OBJECTS = {
    "sqlite": "SELECT type, name, sql FROM sqlite_master ORDER BY type, name",
    "postgresql": """
        SELECT 'constraint', conrelid::regclass || '.' || conname,
            pg_get_constraintdef(oid) || CASE WHEN convalidated THEN '' ELSE ' NOT VALID' END
        FROM pg_constraint WHERE connamespace = 'public'::regnamespace
        UNION ALL
        SELECT 'index', indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
        UNION ALL
        SELECT 'trigger', tgrelid::regclass || '.' || tgname,
            concat_ws(' ', pg_get_triggerdef(oid), tgenabled)
        FROM pg_trigger WHERE NOT tgisinternal
        UNION ALL
        SELECT 'column', attrelid::regclass || '.' || attname,
            concat_ws(' ', format_type(atttypid, atttypmod), attidentity, attnotnull)
        FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
        WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v', 'm')
            AND attnum > 0 AND NOT attisdropped
        UNION ALL
        SELECT 'comment', objoid::regclass || '.' || objsubid, description
        FROM pg_description JOIN pg_class ON pg_class.oid = objoid
        WHERE classoid = 'pg_class'::regclass AND relnamespace = 'public'::regnamespace
        ORDER BY 1, 2, 3""",
}


def schema_of(connection: Connection) -> list[tuple[str, ...]]:
    """
    Return every table, index, key, constraint and trigger with its definition.
    """
    query = text(OBJECTS[connection.dialect.name])
    return [tuple(row) for row in connection.execute(query)]
