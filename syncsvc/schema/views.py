"""
The views for reports: the meaning of each column, and the statements that create them.

Each view is a `Table` here, so that queries over it return dates, decimals and aware times. They
have a `MetaData` of their own, because migrations create them from the statements of
`view_queries`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, Column, Date, MetaData, Table
from sqlalchemy.dialects import postgresql

from syncsvc.schema import view_queries
from syncsvc.schema.columns import Money, UtcDateTime, account_column
from syncsvc.schema.sql_fragments import FRAGMENTS
from syncsvc.schema.tables import TRACKED_COLUMNS, addresses, number_history, numbers, sync_runs
from syncsvc.schema.view_queries import ADDRESS_FIELDS, OF_NUMBER, ROLES

if TYPE_CHECKING:
    from collections.abc import Iterator


view_metadata = MetaData()


def _as(name: str, column: Column[Any], comment: str = "") -> Column[Any]:
    """
    Copy a table's column for a view.
    """
    return Column(name, column.type, comment=comment or column.comment, info=dict(column.info))


def _same(table: Table, *names: str) -> Iterator[Column[Any]]:
    """
    Copy a table's columns under their own names.
    """
    return (_as(name, table.c[name]) for name in names or table.c.keys())


def _of_addresses() -> Iterator[Column[Any]]:
    """
    The columns of both addresses of a number.
    """
    whose = {"number_address": "Of its address", "emergency_number_address": "Of its emergency one"}
    for role in ROLES:
        for name, column in ADDRESS_FIELDS.items():
            original = addresses.c[column]
            comment = f"{whose[role]}: {original.comment}"
            yield _as(f"{role}_{name}", original, comment)


def _live_numbers(name: str, comment: str) -> Table:
    return Table(name, view_metadata, *_same(numbers), *_of_addresses(), comment=comment)


def _month(comment: str) -> Column[Any]:
    return Column("month", Date, comment=f"{comment} First day of the month, UTC.")


def _count(name: str, comment: str) -> Column[int]:
    return Column(name, BigInteger, comment=comment)


live_numbers = _live_numbers(
    "live_numbers", "One row for each live number, with both of its addresses."
)

number_changes = Table(
    "number_changes",
    view_metadata,
    *_same(number_history),
    *_same(numbers, *OF_NUMBER),
    comment="One row for each change of a number, with what people know the number by. Number, "
    "range and country are those of now.",
)

monthly_charges = Table(
    "monthly_charges",
    view_metadata,
    account_column(),
    *_same(numbers, "country_alpha2", "country_name", "range_name"),
    _count("numbers", "Live numbers."),
    Column(
        "monthly_charge",
        Money,
        comment="Their cost per month, summed exactly; a charge that is not known counts as "
        "nothing.",
    ),
    comment="What the live numbers cost a month, by account, country and range.",
)

inventory_by_month = Table(
    "inventory_by_month",
    view_metadata,
    _month("Told by its end, or by now if it is the current month."),
    account_column(),
    _as("country_alpha2", numbers.c.country_alpha2),
    _count("numbers", "Numbers that were live then, going by when things occurred."),
    Column(
        "monthly_charge",
        Money,
        comment="Their cost per month, summed exactly, at the charges known then; before a "
        "charge was known, at the first one known. One that is not known counts as nothing.",
    ),
    comment="What was live at the end of each month, by account and country, from the month in "
    "which the country's first number went live. The country is the number's of now.",
)

churn_by_month = Table(
    "churn_by_month",
    view_metadata,
    _month("When things occurred."),
    account_column(),
    _as("country_alpha2", numbers.c.country_alpha2),
    _count("added", "Numbers first seen, not provisioned yet."),
    _count("provisioned", "Numbers provisioned, or given another provisioned timestamp."),
    _count("reinstated", "Numbers live again after they were cancelled."),
    _count("cancelled", "Numbers cancelled."),
    comment="What happened in each month, by account and country; months in which nothing did "
    "have no row. The country is the number's of now.",
)

numbers_without_emergency_address = _live_numbers(
    "numbers_without_emergency_address",
    "One row for each live number without an address registered with the emergency services.",
)

numbers_without_proof_of_address = _live_numbers(
    "numbers_without_proof_of_address", "One row for each live number without an address."
)

sync_status = Table(
    "sync_status",
    view_metadata,
    account_column(),
    _as("last_run_id", sync_runs.c.id, "The account's last run."),
    _as("last_run_state", sync_runs.c.state),
    _as("last_run_started_at", sync_runs.c.started_at, "Start of the last run. UTC."),
    Column(
        "last_success_at",
        UtcDateTime,
        comment="End of the last run that published, cancellations withheld or not, by the clock "
        "of its machine; runs from a clock that was ahead are left out. NULL if there is none. "
        "UTC.",
    ),
    _count("seconds_since_success", "Whole seconds since then; NULL if there was none."),
    _count("live_numbers", "Numbers that are live."),
    _count("cancelled_numbers", "Numbers that are cancelled."),
    _as("withheld", sync_runs.c.withheld, "Cancellations that the last run did not accept."),
    _as("rejected", sync_runs.c.rejected, "Rows that the last run could not read."),
    comment="How each account stands, also one whose runs have only ever failed.",
)

AS_OF_COLUMNS = (
    "account",
    "uuid",
    *OF_NUMBER,
    *TRACKED_COLUMNS,
    "valid_from",
    "valid_to",
)
AS_OF_COMMENT = (
    "The inventory as it was known at a moment, cancelled numbers too: one row for each number "
    "that had been seen, as it stood then. Number, range and country are those of now."
)


def statements(dialect: str) -> list[str]:
    """
    Return the statements that create every view, in the order of their dependencies.

    Args:
        dialect: `postgresql` or `sqlite`.
    """
    made = [
        f"CREATE VIEW {view.name} AS\n{getattr(view_queries, view.name)(FRAGMENTS[dialect])}"
        for view in view_metadata.tables.values()
    ]
    return [*made, as_of(), *comments()] if dialect == "postgresql" else made


def as_of() -> str:
    """
    Return the statement that creates `inventory_as_of`.
    """
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call] # SQLAlchemy has it so
    types = {name: number_changes.c[name].type.compile(dialect) for name in AS_OF_COLUMNS}
    returned = ", ".join(f"{name} {type_}" for name, type_ in types.items())
    selected = ", ".join(f"c.{name}" for name in AS_OF_COLUMNS)
    return f"""CREATE FUNCTION inventory_as_of(moment timestamptz) RETURNS TABLE ({returned})
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
  SELECT {selected}
  FROM number_changes c
  WHERE c.valid_from <= moment AND (c.valid_to IS NULL OR c.valid_to > moment);
END"""  # noqa: S608 - names of ours


def comments() -> Iterator[str]:
    """
    Yield the COMMENT statements of each view, column and function.
    """
    for view in view_metadata.tables.values():
        yield from commented("VIEW", view)
    yield f"COMMENT ON FUNCTION inventory_as_of(timestamptz) IS {_quoted(AS_OF_COMMENT)}"


def commented(kind: str, view: Table) -> Iterator[str]:
    """
    Yield the COMMENT statements of a view, of this kind, and of its columns.
    """
    yield f"COMMENT ON {kind} {view.name} IS {_quoted(view.comment)}"
    for column in view.c:
        yield f"COMMENT ON COLUMN {view.name}.{column.name} IS {_quoted(column.comment)}"


def _quoted(text: str | None) -> str:
    return "'" + (text or "").replace("'", "''") + "'"
