"""
Listings and searches that contradict each other, for tests of the evidence.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from support.build import Row, number_row
from syncsvc.sandbox import Inventory
from syncsvc.sandbox.inventory import contains

if TYPE_CHECKING:
    from collections.abc import Iterable

    from support.build import Watch
    from syncsvc.sandbox import Sandbox
    from syncsvc.sync.progress_and_summary import Summary

GONE_AT = "2025-06-01 12:00:00"
GONE = datetime(2025, 6, 1, 12, tzinfo=UTC)
UNREADABLE: Row = {"monthly_charge": "x"}


class Split(Inventory):
    """
    A provider whose search finds other numbers than its listing shows.
    """

    def __init__(
        self, rows: Iterable[Row], cancelled: Iterable[Row] = (), found: Iterable[Any] = ()
    ) -> None:
        """
        Take what each of the three shows; a search finds what is listed, too.
        """
        super().__init__(rows, cancelled)
        self.found = list(found)

    def listing(
        self, *, cancelled: bool = False, digits: str | None = None, shuffled: bool = False
    ) -> list[Any]:
        """
        Show the listings as they are, and what only a search finds.
        """
        rows = super().listing(cancelled=cancelled, digits=digits, shuffled=shuffled)
        return rows + [row for row in self.found if digits is not None and contains(row, digits)]


class Blind(Inventory):
    """
    A provider whose search finds what it will, whatever digits it is given.
    """

    found: tuple[Any, ...] = ()

    def listing(
        self, *, cancelled: bool = False, digits: str | None = None, shuffled: bool = False
    ) -> list[Any]:
        """
        Show the listings as they are.
        """
        if digits is not None:
            return list(self.found)
        return super().listing(cancelled=cancelled, shuffled=shuffled)


def live(count: int, first: int = 1) -> list[Row]:
    """
    So many live numbers, from this place on.
    """
    return [number_row(place) for place in range(first, first + count)]


def entry(place: int = 1, **fields: Any) -> Row:
    """
    An entry of the cancelled listing.
    """
    row = number_row(place, **{"status": "Cancelled", "cancelled": GONE_AT, **fields})
    return {key: value for key, value in row.items() if key != "details"}


def show(
    watch: Watch,
    rows: Iterable[Any],
    cancelled: Iterable[Any] = (),
    found: Iterable[Any] = (),
    **options: Any,
) -> Summary:
    """
    Run over these listings, with a search that finds more.
    """
    watch.sandbox.inventory = Split(rows, cancelled, found)
    return watch.run(**options)


def searches(sandbox: Sandbox) -> list[str]:
    """
    The digits that were searched for, in order.
    """
    return sorted(each.query["search"] for each in sandbox.requests if "search" in each.query)
