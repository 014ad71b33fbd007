"""
Count what a number costs in a month.

Carriers count differently, so this is how it is counted here. A day, in UTC, counts if the number
was live at any time in it, going by when things occurred. Its charge is the one known at the end of
that day, or the first one known. The pro-rata amount is the sum of the days' charges divided by the
days of the month, rounded half-even to 4 places for each number; the full amount is the charge of
the last day that counts. An unknown charge counts as zero.
"""

from __future__ import annotations

from bisect import bisect_right
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from syncsvc.schema.columns import CENT
from syncsvc.vocabulary import Event, Source

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from syncsvc.reports.definition.report import Row

ZERO = Decimal("0.0000")
MOMENT = timedelta(microseconds=1)
ARRIVALS = (Event.PROVISIONED, Event.REINSTATED)


class Month(NamedTuple):
    """
    The month of an invoice.

    Attributes:
        first: Its first day.
        end: Its end, or now while it is running.
        length: Its number of days.
    """

    first: date
    end: datetime
    length: int

    @property
    def start(self) -> datetime:
        """
        Its first moment.
        """
        return datetime.combine(self.first, time.min, UTC)

    @property
    def next_month(self) -> datetime:
        """
        The moment after its last, whether or not it is running.
        """
        return self.start + timedelta(days=self.length)


class Days(NamedTuple):
    """
    Days of a month that follow one another, from the first to the last, and their charge.
    """

    first: int
    last: int
    charge: Decimal | None


def bill(lines: Sequence[Row], month: Month) -> Row:
    """
    Work out what a number costs, from its times of being live, each with all of its states.
    """
    first = lines[0]
    states = [line for line in lines if line["began"] == first["began"]]
    spells = [(line["began"], line["ended"]) for line in lines if line["id"] == first["id"]]
    days = list(_charged_days(_live_days(spells, month), states, month))
    charged = sum((_length(each) * (each.charge or ZERO) for each in days), ZERO)
    return {
        **first,
        "month": month.first,
        "days_live": sum(map(_length, days)),
        "charges": ", ".join(map(_as_text, days)),
        "pro_rata": (charged / month.length).quantize(CENT),
        "full_amount": days[-1].charge,
        "setup_charge": _setup_charge(states, month),
    }


def _length(days: Days) -> int:
    return days.last - days.first + 1


def _as_text(days: Days) -> str:
    charge = "unknown" if days.charge is None else f"{days.charge:.4f}"
    until = "" if days.first == days.last else f"-{days.last}"
    return f"{charge} ({days.first}{until})"


def _live_days(
    spells: Sequence[tuple[datetime, datetime | None]], month: Month
) -> Iterator[tuple[int, int]]:
    """
    Yield the first and last days of times of being live, so that no day comes twice.
    """
    counted = 0
    for began, ended in spells:
        until = month.end if ended is None else min(ended, month.end)
        first = max(max(began, month.start).day, counted + 1)
        last = (until - MOMENT).day
        if first <= last:
            yield first, last
            counted = last


def _charged_days(
    live: Iterable[tuple[int, int]], states: Sequence[Row], month: Month
) -> Iterator[Days]:
    """
    Divide the days at which a number was live by their charges.
    """
    begins, charges = _charges(states, month)
    for first, last in live:
        day = first
        while day <= last:
            place = bisect_right(begins, day) - 1
            until = last if place + 1 == len(begins) else min(begins[place + 1] - 1, last)
            yield Days(day, until, charges[place])
            day = until + 1


def _charges(states: Sequence[Row], month: Month) -> tuple[list[int], list[Decimal | None]]:
    """
    Return the days at which a charge begins to count, and these charges.

    The first one, which counts from before the month, is the one known when the month begins, or
    else the first one that is known at all.
    """
    known = (state["monthly_charge"] for state in states)
    begins, charges = [0], [next((each for each in known if each is not None), None)]
    for state in states:
        since = state["valid_from"]
        if since >= month.next_month:
            break
        day = 0 if since < month.start else since.day
        if day == begins[-1]:
            charges[-1] = state["monthly_charge"]
        elif state["monthly_charge"] != charges[-1]:
            begins.append(day)
            charges.append(state["monthly_charge"])
    return begins, charges


def _setup_charge(states: Sequence[Row], month: Month) -> Decimal | None:
    """
    Return the set-up charge of a number that the provider says was provisioned in the month.
    """
    for state in states:
        told = state["event"] in ARRIVALS and state["occurred_at_source"] == Source.PROVIDER
        if told and month.start <= state["occurred_at"] < month.end:
            charge: Decimal | None = state["setup_charge"]
            return charge
    return None
