"""
Insert staged rows many at a time, into temporary tables that are created for the first of them.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from syncsvc.database.bulk import copy_into
from syncsvc.reconcile.temp_tables import STAGED, create_tables, staged_numbers

if TYPE_CHECKING:
    from sqlalchemy import Connection, Table

ROWS_AT_ONCE = 2_000
UNCHANGED = ("walk", "seq", "rejected", "unchanged", "fingerprint", "uuid")


class RowBuffer:
    """
    Rows on their way into the staged tables.

    Attributes:
        has_tables: The tables are created.
        different: How many rows of numbers were inserted that are not known to be unchanged.
    """

    def __init__(self, connection: Connection) -> None:
        self.has_tables = False
        self.different = 0
        self._connection = connection
        self._unchanged: list[tuple[Any, ...]] = []
        self._rows: defaultdict[Table, list[tuple[Any, ...]]] = defaultdict(list)

    def add(self, table: Table, row: tuple[Any, ...]) -> None:
        """
        Add a row, with a value for each column.
        """
        self._rows[table].append(row)

    def add_unchanged(self, walk: int, seq: int, fingerprint: int | None, uuid: str) -> None:
        """
        Add a row of a number that is as the tables have it.
        """
        self._unchanged.append((walk, seq, False, True, fingerprint, uuid))

    def create_tables(self) -> None:
        """
        Create the tables, unless that has been done.
        """
        if not self.has_tables:
            with self._connection.begin():
                create_tables(self._connection, *STAGED)
            self.has_tables = True

    def flush(self, at_least: int = 1) -> None:
        """
        Insert the rows so far in a transaction, if there are at least this many.
        """
        if sum(map(len, self._rows.values())) + len(self._unchanged) < at_least:
            return
        self.create_tables()
        with self._connection.begin():
            self.insert()

    def insert(self) -> None:
        """
        Insert the rows so far.
        """
        self.different += len(self._rows[staged_numbers])
        copy_into(self._connection, staged_numbers, self._unchanged, UNCHANGED)
        for table, rows in self._rows.items():
            copy_into(self._connection, table, rows)
        self._unchanged.clear()
        self._rows.clear()
