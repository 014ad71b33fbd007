"""
All temporary tables of a run, in the order in which they are filled.

The listings are staged, the evidence for cancellations is collected, and the
plan is worked out in them. A temporary table belongs to the run's session: it
is not logged, nobody else sees it, and it ends with the session.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    and_,
    bindparam,
    delete,
    exists,
    func,
    not_,
    text,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.schema import CreateIndex, CreateTable

from syncsvc.payloads.records import Address, Number
from syncsvc.reconcile.statement_cache import ACCOUNT, built, has_rows
from syncsvc.schema.columns import UtcDateTime
from syncsvc.schema.tables import addresses, numbers
from syncsvc.vocabulary import Lifecycle

if TYPE_CHECKING:
    from sqlalchemy import BindParameter, ColumnElement, Connection, Delete, Dialect

NUMBER_FIELDS = tuple(field for field in Number.__struct_fields__ if field != "addresses")
ADDRESS_FIELDS = Address.__struct_fields__

IS_LIVE = and_(numbers.c.account == ACCOUNT, numbers.c.lifecycle == Lifecycle.LIVE)

JsonText = Text().with_variant(JSONB(), "postgresql")  # JSON that is written as text

# Which temporary tables a session has; a run that is rolled back takes those with it that it made.
TABLES_OF_SESSION = """
SELECT 'pg_temp.' || quote_ident(relname) FROM pg_class
WHERE relnamespace = pg_my_temp_schema() AND relkind = 'r'"""
HAS_TABLES = "temporary tables"  # a note with the session
DIALECTS: dict[str, Dialect] = {
    "postgresql": postgresql.dialect(),  # type: ignore[no-untyped-call] # SQLAlchemy has it so
    "sqlite": sqlite.dialect(),
}

temporary = MetaData()


def as_staged(column: Column[Any]) -> Column[Any]:
    """
    Return a column of a temporary table like that of a real one.
    """
    return Column(column.name, JsonText if column.name == "extra" else column.type)


staged_numbers = Table(
    "staged_numbers",
    temporary,
    Column("walk", Integer, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("rejected", Boolean, nullable=False),
    Column("unchanged", Boolean, nullable=False),  # then only the uuid is set
    Column("fingerprint", BigInteger),
    *(as_staged(numbers.c[name]) for name in NUMBER_FIELDS),
    prefixes=["TEMPORARY"],
)
staged_numbers_by_uuid = Index(
    "ix_staged_numbers_uuid", staged_numbers.c.uuid, staged_numbers.c.walk
)

staged_addresses = Table(
    "staged_addresses",
    temporary,
    Column("walk", Integer, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("content", Text, nullable=False),
    *(as_staged(addresses.c[name]) for name in ADDRESS_FIELDS),
    prefixes=["TEMPORARY"],
)

staged_rejects = Table(
    "staged_rejects",
    temporary,
    Column("walk", Integer, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("page", Integer, nullable=False),
    Column("position", Integer, nullable=False),
    Column("uuid", Text),
    Column("reason", Text, nullable=False),
    Column("payload", Text, nullable=False),
    prefixes=["TEMPORARY"],
)

staged_cancelled = Table(
    "staged_cancelled",
    temporary,
    Column("seq", BigInteger, nullable=False),
    Column("strong", Boolean, nullable=False),  # its status is Cancelled
    *(as_staged(numbers.c[name]) for name in NUMBER_FIELDS),
    prefixes=["TEMPORARY"],
)
staged_cancelled_by_uuid = Index("ix_staged_cancelled_uuid", staged_cancelled.c.uuid)

stamped_numbers = Table(
    "stamped_numbers",  # staged rows with a cancelled stamp beside another status
    temporary,
    Column("uuid", Text, nullable=False),
    Column("number_e164", Text, nullable=False),
    Column("was_live", Boolean, nullable=False),
    Column("kind", Text, nullable=False),  # credible, early or ahead
    prefixes=["TEMPORARY"],
)

absent_numbers = Table(
    "absent_numbers",  # live numbers that the listing does not have
    temporary,
    Column("uuid", Text, nullable=False),
    prefixes=["TEMPORARY"],
)

missing_numbers = Table(
    "missing_numbers",  # absent numbers whose absence, or entry, may mean something
    temporary,
    Column("uuid", Text, nullable=False),
    Column("number_e164", Text, nullable=False),
    Column("number", Text),
    Column("entered", Boolean, nullable=False),  # with a recent entry in the cancelled listing
    Column("strong", Boolean, nullable=False),  # whose status is Cancelled
    prefixes=["TEMPORARY"],
)

searched_numbers = Table(
    "searched_numbers",
    temporary,
    Column("uuid", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    prefixes=["TEMPORARY"],
)

withheld_numbers = Table(
    "withheld_numbers",
    temporary,
    Column("uuid", Text, nullable=False),
    Column("number_e164", Text, nullable=False),
    Column("evidence", Text, nullable=False),
    Column("reason", Text, nullable=False),
    prefixes=["TEMPORARY"],
)

credible_cancellations = Table(
    "credible_cancellations",  # of missing numbers, by the cancelled listing
    temporary,
    Column("uuid", Text, nullable=False),
    prefixes=["TEMPORARY"],
)

credible_absences = Table(
    "credible_absences",
    temporary,
    Column("uuid", Text, nullable=False),
    prefixes=["TEMPORARY"],
)

planned_numbers = Table(
    "planned_numbers",
    temporary,
    Column("known", Boolean, nullable=False),
    Column("event", Text, nullable=False),
    Column("evidence", Text, nullable=False),
    Column("stamp", UtcDateTime),  # the provider's time of the event, if any
    *(as_staged(numbers.c[name]) for name in NUMBER_FIELDS),
    prefixes=["TEMPORARY"],
)

planned_addresses = Table(
    "planned_addresses",
    temporary,
    Column("known", Boolean, nullable=False),
    *(as_staged(addresses.c[name]) for name in ADDRESS_FIELDS),
    prefixes=["TEMPORARY"],
)

planned_changes = Table(
    "planned_changes",
    temporary,
    Column("uuid", Text, nullable=False),
    Column("changes", JsonText, nullable=False),
    prefixes=["TEMPORARY"],
)

planned_address_changes = Table(
    "planned_address_changes",
    temporary,
    Column("id", addresses.c.id.type, nullable=False),
    Column("changes", JsonText, nullable=False),
    prefixes=["TEMPORARY"],
)

IS_NAMELESS = staged_rejects.c.uuid.is_(None)  # a reject whose uuid can't be read either

LISTED = (staged_numbers, staged_addresses, staged_rejects)
STAGED = (*LISTED, staged_cancelled)
JUDGED = (
    stamped_numbers,
    searched_numbers,
    withheld_numbers,
    credible_cancellations,
    credible_absences,
)
PLANNED = (planned_numbers, planned_addresses, planned_changes, planned_address_changes)


def create_tables(connection: Connection, *tables: Table) -> None:
    """
    Create those of these temporary tables that the session does not have yet.
    """
    for table in tables:
        connection.exec_driver_sql(built(_creation, table, connection.dialect.name))
    connection.info[HAS_TABLES] = True


def _creation(table: Table, dialect: str) -> str:
    return str(CreateTable(table, if_not_exists=True).compile(dialect=DIALECTS[dialect]))


def empty_tables(connection: Connection) -> None:
    """
    Empty what the last run left in a session that is kept, so that no other account's run sees it.
    """
    if not connection.info.get(HAS_TABLES):
        return
    left = connection.execute(text(TABLES_OF_SESSION)).scalars().all()
    if left:
        connection.exec_driver_sql(f"TRUNCATE {', '.join(left)}")


def prepare_joins(connection: Connection, table: Table, by_uuid: Index) -> None:
    """
    Prepare a staged table for joins: with statistics on PostgreSQL, with an index on SQLite.
    """
    index_on_sqlite(connection, by_uuid)
    if connection.dialect.name == "postgresql" and has_rows(connection, numbers):
        analyze(connection, table.c.uuid, table.c.seq)  # it joins whole tables, and needs no index


def index_on_sqlite(connection: Connection, index: Index) -> None:
    """
    Create the index of a staged table, which PostgreSQL does not need, unless it is there.
    """
    if connection.dialect.name == "sqlite":
        connection.execute(CreateIndex(index, if_not_exists=True))


def analyze(connection: Connection, *columns: Column[Any]) -> None:
    """
    Collect PostgreSQL's statistics of columns of a temporary table, which nothing else does.
    """
    if connection.dialect.name == "postgresql":
        names = ", ".join(column.name for column in columns)
        connection.exec_driver_sql(f"ANALYZE {columns[0].table} ({names})")


def keep_latest_of(connection: Connection, table: Table) -> None:
    """
    Delete all staged rows of a number but the latest.
    """
    connection.execute(built(_delete_superseded, table))


def _delete_superseded(table: Table) -> Delete:
    later = table.alias("later")
    superseded = exists().where(later.c.uuid == table.c.uuid, later.c.seq > table.c.seq)
    return delete(table).where(superseded)


def keep_last_walk(connection: Connection, walk: int) -> None:
    """
    Delete what earlier walks staged.
    """
    for table in LISTED:
        connection.execute(delete(table).where(table.c.walk < walk))


def keep_latest_of_walks(connection: Connection, walk: int) -> None:
    """
    Keep the latest row of each number, and the rejects that still are, up to the last walk.
    """
    keep_latest_of(connection, staged_numbers)
    row = staged_numbers.c
    still_rejected = exists().where(row.seq == staged_rejects.c.seq, row.rejected)
    for outdated in (
        and_(IS_NAMELESS, staged_rejects.c.walk < walk),
        and_(not_(IS_NAMELESS), not_(still_rejected)),
    ):
        connection.execute(delete(staged_rejects).where(outdated))


PARTS: BindParameter[Any] = bindparam("parts", expanding=True)  # some parts


def part_of(uuid: ColumnElement[str]) -> ColumnElement[str]:
    """
    Return the part that has a number's fingerprint, as `payloads.fingerprint.part_of` does.
    """
    return func.substr(uuid, 1, 2)
