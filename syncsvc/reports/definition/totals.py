"""
The totals of a report's columns, for formats that people read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from syncsvc.reports.definition.report import Column, Row

LABEL = "Total"


class RunningTotals:
    """
    The totals of rows that are seen once, one after the other.
    """

    def __init__(self, columns: Sequence[Column]) -> None:
        self._columns = columns
        self._sums: dict[str, Any] = {each.name: 0 for each in columns if each.has_total}
        self._any = False

    def add(self, row: Mapping[str, Any]) -> None:
        """
        Add a row; NULL counts as nothing.
        """
        self._any = True
        for name in self._sums:
            self._sums[name] += row[name] or 0

    def row(self) -> Row | None:
        """
        Return the sum of each column that has a total, and None in the others.

        The first column has the label. Returns None if no column has a total, or there were no
        rows.
        """
        if not (self._any and self._sums):
            return None
        sums = {column.name: self._sums.get(column.name) for column in self._columns}
        return sums | {self._columns[0].name: LABEL}


def total_row(columns: Sequence[Column], rows: Iterable[Mapping[str, Any]]) -> Row | None:
    """
    Return the totals of these rows, as `RunningTotals.row` does.
    """
    totals = RunningTotals(columns)
    for row in rows:
        totals.add(row)
    return totals.row()
