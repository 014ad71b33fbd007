"""
The totals of a report's columns, for formats that people read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from syncsvc.reports.report import Column, Row

LABEL = "Total"


def total_row(columns: Sequence[Column], rows: Sequence[Mapping[str, Any]]) -> Row | None:
    """
    Return the sum of each column that has a total, and None in the others.

    The first column has the label, and NULL counts as nothing. Returns None if no column has a
    total, or there are no rows.
    """
    if not rows or not any(column.has_total for column in columns):
        return None
    totals: Row = {
        column.name: sum(row[column.name] or 0 for row in rows) if column.has_total else None
        for column in columns
    }
    return totals | {columns[0].name: LABEL}
