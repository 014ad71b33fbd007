"""
Put the records of a walk aside, in temporary tables beside the real ones.

A temporary table lives in the run's own session, is not logged, and is gone
with it. Nothing of it is seen by anybody else, so that pages may be staged as
they come while the tables stay as they were.

A row of the listing whose uuid can be read is staged even where the rest of
it can't: it is a reject, but its number is not absent.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import msgspec
import psycopg
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
    delete,
    distinct,
    exists,
    func,
    insert,
    not_,
    or_,
    select,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.schema import CreateTable

from syncsvc import db
from syncsvc.records import Address, Number, Page, Reject
from syncsvc.schema import addresses, numbers
from syncsvc.vocabulary import Lifecycle

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import Connection

NUMBER_FIELDS = tuple(field for field in Number.__struct_fields__ if field != "addresses")
ADDRESS_FIELDS = Address.__struct_fields__
ADDRESSES_REMEMBERED = 10_000  # so that one that stands in many numbers is staged once

JsonText = Text().with_variant(JSONB(), "postgresql")  # JSON that is written as text

temporary = MetaData()


def as_staged(column: Column[Any]) -> Column[Any]:
    """
    A column of a real table as a temporary one has it.
    """
    return Column(column.name, JsonText if column.name == "extra" else column.type)


staged_numbers = Table(
    "staged_numbers",
    temporary,
    Column("walk", Integer, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("rejected", Boolean, nullable=False),
    *(as_staged(numbers.c[name]) for name in NUMBER_FIELDS),
    prefixes=["TEMPORARY"],
)
staged_numbers_by_uuid = Index("ix_staged_numbers_uuid", staged_numbers.c.uuid)

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
    *(as_staged(numbers.c[name]) for name in NUMBER_FIELDS),
    prefixes=["TEMPORARY"],
)
staged_cancelled_by_uuid = Index("ix_staged_cancelled_uuid", staged_cancelled.c.uuid)

LISTED = (staged_numbers, staged_addresses, staged_rejects)
OF_A_SEARCH = 0  # in the place of a walk's number
BEFORE_ALL_WALKS = -(2**40)  # so that an address in an old cancellation never wins


class Stage:
    """
    The temporary tables of one run, and what was put into them.

    Rows are numbered as they come, so that of two rows for one number the
    later page's is the one that counts.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._walk = 0
        self._seq = self._address_seq = 0
        self._known_addresses: dict[int, Address] = {}
        with connection.begin():
            for table in (*LISTED, staged_cancelled):
                connection.execute(CreateTable(table))

    def begin_walk(self) -> None:
        """
        Number what comes now as another walk.
        """
        self._walk += 1
        self._known_addresses.clear()

    def add(self, page: Page, index: int) -> None:
        """
        Put one page of the listing aside.
        """
        read: list[tuple[Any, ...]] = []
        found: list[tuple[Any, ...]] = []
        rejects: list[tuple[Any, ...]] = []
        for position, row in enumerate(page.rows, 1):
            self._seq += 1
            if isinstance(row, Number):
                values = msgspec.structs.astuple(row)
                read.append((self._walk, self._seq, False, *values[:-1]))
                found += self._new_addresses(row.addresses)
                continue
            rejects.append((self._walk, self._seq, index, position, *msgspec.structs.astuple(row)))
            if row.uuid is not None:
                read.append((self._walk, self._seq, True, *_blank(row)))
        self._copy({staged_numbers: read, staged_addresses: found, staged_rejects: rejects})

    def add_found(self, rows: Iterable[Number | Reject]) -> None:
        """
        Put rows aside that a search found, though the listing does not hold them.
        """
        self._walk = OF_A_SEARCH
        told = [_prefixed(row, "search") if isinstance(row, Reject) else row for row in rows]
        self.add(Page(rows=told, num_results=None, paginates=None), index=0)

    def add_cancelled(self, page: Page, index: int) -> None:
        """
        Put one page of the cancelled listing aside.
        """
        read: list[tuple[Any, ...]] = []
        found: list[tuple[Any, ...]] = []
        rejects: list[tuple[Any, ...]] = []
        for position, row in enumerate(page.rows, 1):
            self._seq += 1
            if isinstance(row, Reject):
                said = (row.uuid, f"cancelled listing: {row.reason}", row.payload)
                rejects.append((self._walk, self._seq, index, position, *said))
                continue
            if says_it_is_live(row):
                continue
            gone = msgspec.structs.replace(row, lifecycle=Lifecycle.CANCELLED.value)
            read.append((self._seq, *msgspec.structs.astuple(gone)[:-1]))
            for address in row.addresses:
                seq = BEFORE_ALL_WALKS + self._seq
                found.append((0, seq, _content(address), *msgspec.structs.astuple(address)))
        self._copy({staged_cancelled: read, staged_addresses: found, staged_rejects: rejects})

    def settle_cancelled(self) -> None:
        """
        Leave the latest row of each number in the cancelled listing.
        """
        with self._connection.begin():
            staged_cancelled_by_uuid.create(self._connection)
            _keep_latest_of(self._connection, staged_cancelled)

    def _copy(self, rows: dict[Table, list[tuple[Any, ...]]]) -> None:
        with self._connection.begin():
            for table, some in rows.items():
                copy_into(self._connection, table, some)

    def distinct_rows(self) -> int:
        """
        How many distinct numbers the walk under way has read, rejects included.

        A reject without a readable uuid is one of its own.
        """
        of_walk = staged_numbers.c.walk == self._walk
        nameless = and_(staged_rejects.c.walk == self._walk, staged_rejects.c.uuid.is_(None))
        with self._connection.begin():
            known = self._connection.execute(
                select(func.count(distinct(staged_numbers.c.uuid))).where(of_walk)
            ).scalar_one()
            return known + count(self._connection, staged_rejects, nameless)

    def settle(self, *, complete: bool) -> None:
        """
        Leave one row for a number: of the proved walk, else the latest of all walks.
        """
        with self._connection.begin():
            staged_numbers_by_uuid.create(self._connection)
            if complete:
                self._keep_last_walk()
            else:
                self._keep_latest()
            if self._connection.dialect.name == "postgresql":
                self._connection.exec_driver_sql("ANALYZE staged_numbers, staged_addresses")

    def _keep_last_walk(self) -> None:
        for table in LISTED if self._walk > 1 else ():
            self._connection.execute(delete(table).where(table.c.walk < self._walk))

    def _keep_latest(self) -> None:
        _keep_latest_of(self._connection, staged_numbers)
        still_rejected = select(staged_numbers.c.seq).where(staged_numbers.c.rejected)
        nameless = staged_rejects.c.uuid.is_(None)
        outdated = or_(
            and_(nameless, staged_rejects.c.walk < self._walk),
            and_(not_(nameless), staged_rejects.c.seq.not_in(still_rejected)),
        )
        self._connection.execute(delete(staged_rejects).where(outdated))

    def _new_addresses(self, found: Iterable[Address]) -> Iterable[tuple[Any, ...]]:
        """
        The addresses that differ from what was staged last under their ids.
        """
        for address in found:
            if self._known_addresses.get(address.id) == address:
                continue
            if len(self._known_addresses) >= ADDRESSES_REMEMBERED:
                self._known_addresses.clear()
            self._known_addresses[address.id] = address
            self._address_seq += 1
            values = msgspec.structs.astuple(address)
            yield (self._walk, self._address_seq, _content(address), *values)


def says_it_is_live(row: Number | Reject) -> bool:
    """
    Whether an entry of the cancelled listing contradicts it: another status, and no stamp.

    A host that answers with its usual listing there would else cancel what that listing misses.
    """
    if isinstance(row, Reject) or row.lifecycle == Lifecycle.CANCELLED:
        return False
    return bool(row.status and not row.status.isspace())


def _content(address: Address) -> str:
    """
    Equal for addresses with equal content.
    """
    return hashlib.blake2b(msgspec.json.encode(address), digest_size=16).hexdigest()


def _keep_latest_of(connection: Connection, table: Table) -> None:
    later = table.alias("later")
    superseded = exists().where(later.c.uuid == table.c.uuid, later.c.seq > table.c.seq)
    connection.execute(delete(table).where(superseded))


def _prefixed(row: Reject, source: str) -> Reject:
    """
    A reject that says where it stood, where that was not the listing.
    """
    return msgspec.structs.replace(row, reason=f"{source}: {row.reason}")


def _blank(row: Reject) -> tuple[Any, ...]:
    """
    A reject in the place of its number: the uuid and nothing else.
    """
    return (row.uuid, *(None for _ in NUMBER_FIELDS[1:]))


def count(connection: Connection, table: Table, *conditions: Any) -> int:  # noqa: ANN401 - SQL expressions
    """
    How many rows of a table meet the conditions.
    """
    return connection.execute(
        select(func.count()).select_from(table).where(*conditions)
    ).scalar_one()


def copy_into(connection: Connection, table: Table, rows: Sequence[tuple[Any, ...]]) -> None:
    """
    Insert many rows, in the order of the table's columns, by the fastest way there is.
    """
    if not rows:
        return
    if connection.dialect.name != "postgresql":
        names = table.c.keys()
        connection.execute(insert(table), [dict(zip(names, row, strict=True)) for row in rows])
        return
    driver = connection.connection.driver_connection
    assert driver is not None  # noqa: S101 - the connection is open
    columns = ", ".join(table.c.keys())
    try:
        with driver.cursor().copy(f"COPY {table.name} ({columns}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
    except psycopg.Error as exc:  # SQLAlchemy knows nothing of COPY
        raise db.translation(exc) from exc
