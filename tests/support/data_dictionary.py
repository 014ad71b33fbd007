"""
Write docs/data.md from the comments of tables, views and words: `make docs`.
"""

from __future__ import annotations

import inspect
import re
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import create_mock_engine

from syncsvc import vocabulary
from syncsvc.database.maintenance.monthly_view import inventory_by_month_kept
from syncsvc.schema import tables, views

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Column, ForeignKeyConstraint, Table

PAGE = Path(__file__).parents[2] / "docs" / "data.md"
POSTGRESQL = create_mock_engine("postgresql+psycopg://", lambda *_: None).dialect
NAMES = {"timestamp with time zone": "timestamptz", "numeric(12, 4)": "numeric(12,4)"}

START = """\
# Every table, view, column and word

*This page is generated from the schema's own comments (`make docs`); a test fails where it is not
up to date.*

Types are those of PostgreSQL. Times are UTC, months and their ends too, whatever zone a session is
in. On SQLite, times are text (`2026-01-31 23:59:59.000000`, always with six digits, so that they
sort and compare as times do), JSON is text, flags are 0 and 1, and an amount is the nearest double.
Sums in the views are exact on both: on SQLite they are taken over whole ten-thousandths and divided
once, at the end, so that the result is the double nearest to the exact sum and prints as it. Sum
amounts of your own in the same way: `sum(CAST(round(monthly_charge * 10000) AS INTEGER)) /
10000.0`.

Keys are those of PostgreSQL. On SQLite, a table with a column `id` that numbers its rows has that
column alone as its key, and is referenced by it alone.

**P** marks what may hold a street address, or what was sent of one; `syncsvc migrate
--reporting-role NAME --without-addresses` keeps it from that role.
"""

AS_OF = """\
## The inventory as of a moment

What was known at a moment is told by `valid_from` and `valid_to`, on both databases:

```sql
SELECT account, number_e164, country_alpha2, status, monthly_charge
FROM number_changes
WHERE lifecycle = 'live'
  AND valid_from <= '2026-03-01' AND (valid_to IS NULL OR valid_to > '2026-03-01')
ORDER BY account, number_e164;
```

On PostgreSQL a function does the same: `SELECT … FROM inventory_as_of('2026-03-01 00:00Z') WHERE
lifecycle = 'live'`. A moment without a zone is taken in the session's.
"""

WORDS_START = """\
## Words

What the columns `event`, `lifecycle`, `evidence` and others hold. [ADR
3](adr/0003-history-events-and-timestamps.md) says why these.
"""


def dictionary() -> str:
    """
    The whole page.
    """
    parts = [START, "## How the tables hang together\n", diagram(), "## Tables\n"]
    parts += [described(table) for table in tables.metadata.tables.values()]
    parts += ["## Views\n"]
    parts += [described(view) for view in views.view_metadata.tables.values()]
    parts += [described(inventory_by_month_kept)]
    parts += [AS_OF, function(), WORDS_START]
    parts += [words(enumeration) for enumeration in enumerations()]
    return "\n".join(parts).rstrip() + "\n"


def diagram() -> str:
    """
    Tables, their keys and what they refer to, as Mermaid draws them.
    """
    lines = ["```mermaid", "erDiagram"]
    for table in tables.metadata.tables.values():
        keys_there = (key for key in table.foreign_key_constraints if is_for_postgresql(key))
        lines += sorted(f"    {relation(key)}" for key in keys_there)
        if "run_id" in table.c and not table.c.run_id.foreign_keys:
            lines.append(f'    sync_runs |o..o{{ {table.name} : "run_id, without a foreign key"')
    for table in tables.metadata.tables.values():
        lines += [f"    {table.name} {{", *(f"        {field}" for field in keys(table)), "    }"]
    return "\n".join([*lines, "```\n"])


def is_for_postgresql(key: ForeignKeyConstraint) -> bool:
    """
    Whether PostgreSQL has a foreign key.
    """
    return bool(key.info.get("only", "postgresql") == "postgresql")


def relation(key: ForeignKeyConstraint) -> str:
    """
    One foreign key; what may be NULL refers to at most one row.
    """
    target = key.elements[0].column.table.name
    at_most = any(column.nullable for column in key.columns)
    label = ", ".join(key.column_keys)
    return f'{target} {"|o" if at_most else "||"}--o{{ {key.table.name} : "{label}"'


def keys(table: Table) -> Iterator[str]:
    """
    The columns that identify a row or refer to another.
    """
    for column in table.c:
        marks = ["PK"] * column.primary_key + ["FK"] * bool(column.foreign_keys)
        if marks:
            yield f"{sql_type(column).split('(')[0]} {column.name} {', '.join(marks)}"


def described(table: Table) -> str:
    """
    A table or view, column by column.
    """
    lines = [f"### {table.name}\n", f"{table.comment}\n", "| column | type | | meaning |"]
    lines.append("| --- | --- | --- | --- |")
    for column in table.c:
        marks = "key " * column.primary_key + "**P**" * bool(column.info.get("personal"))
        meaning = (column.comment or "").replace("|", "\\|")
        lines.append(f"| `{column.name}` | {sql_type(column)} | {marks.strip()} | {meaning} |")
    return "\n".join([*lines, ""])


def sql_type(column: Column[object]) -> str:
    """
    A column's type, as PostgreSQL names it.
    """
    name = column.type.compile(dialect=POSTGRESQL).lower()
    return NAMES.get(name, name)


def function() -> str:
    """
    What `inventory_as_of` returns.
    """
    columns = ", ".join(f"`{name}`" for name in views.AS_OF_COLUMNS)
    return f"{views.AS_OF_COMMENT} Its columns: {columns}.\n"


def enumerations() -> list[type[StrEnum]]:
    """
    The enumerations of the vocabulary, in the order in which they stand there.
    """
    return [
        value
        for value in vars(vocabulary).values()
        if inspect.isclass(value) and issubclass(value, StrEnum) and value is not StrEnum
    ]


def words(enumeration: type[StrEnum]) -> str:
    """
    An enumeration, with the comment that stands beside each word.
    """
    source = inspect.getsource(enumeration)
    meanings = dict(re.findall(r'^    \w+ = "(\w+)"  # (.+)$', source, re.MULTILINE))
    lines = [
        f"### {enumeration.__name__}\n",
        f"{inspect.getdoc(enumeration)}\n",
        "| word | meaning |",
    ]
    lines += ["| --- | --- |", *(f"| `{word}` | {meanings[word]} |" for word in enumeration)]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    PAGE.write_text(dictionary())
    sys.stdout.write(f"{PAGE.name} is up to date.\n")
