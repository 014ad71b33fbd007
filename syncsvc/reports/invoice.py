"""
Reports that work out a month's invoice, for those who check the carrier's.

Carriers count differently, so this is how it is counted here. A day, in UTC, counts if the number
was live at any time in it, going by when things occurred. Its charge is the one known at the end of
that day, or the first one known. The pro-rata amount is the sum of the days' charges divided by the
days of the month, rounded half-even to 4 places for each number; the full amount is the charge of
the last day that counts. An unknown charge counts as zero.
"""

from __future__ import annotations

from bisect import bisect_right
from calendar import monthrange
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import Text, and_, bindparam, literal, or_, select, text

from syncsvc.reports.dialects import account_filter, portable_order
from syncsvc.reports.report import (
    COUNTRY,
    NUMBER,
    RANGE,
    SUM_DIGITS,
    UUID,
    Column,
    Kind,
    Report,
)
from syncsvc.schema.columns import CENT, UtcDateTime
from syncsvc.schema.live_periods import SPELLS
from syncsvc.schema.tables import number_history, numbers
from syncsvc.vocabulary import Event, Source

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sqlalchemy import Select, Subquery

    from syncsvc.reports.report import Arguments, Row

ZERO = Decimal("0.0000")
MOMENT = timedelta(microseconds=1)
ARRIVALS = (Event.PROVISIONED, Event.REINSTATED)
HOW_IT_COUNTS = (
    "A day, in UTC, counts if the number was live at any time in it, by when things occurred; its "
    "charge is the one known at the end of that day, or the first one known. Pro rata is the sum "
    "of the days' charges divided by the days of the month; in full is the charge of the last day. "
    "Carriers count differently: compare with the one that yours uses."
)


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


def _month(arguments: Arguments) -> Month:
    first = arguments.invoice_month
    length = monthrange(first.year, first.month)[1]
    month = Month(first, arguments.now, length)
    return month._replace(end=min(month.next_month, arguments.now))


def _spells(arguments: Arguments, month: Month) -> Subquery:
    """
    Select when the account's numbers were live, of what touches the month.
    """
    query = text(
        f"WITH {SPELLS} SELECT account, uuid, began, ended FROM spells "  # noqa: S608 - no values
        "WHERE account = :account AND began < :month_end "
        "AND (ended IS NULL OR ended > :month_start)"
    )
    bound = query.bindparams(
        bindparam("account", arguments.account, Text),
        bindparam("month_end", month.end, UtcDateTime),
        bindparam("month_start", month.start, UtcDateTime),
    )
    return bound.columns(account=Text, uuid=Text, began=UtcDateTime, ended=UtcDateTime).subquery(
        "live_spells"
    )


def _live_in_month(arguments: Arguments) -> Select[Any]:
    """
    Select each number's times of being live, each with every state that may count in the month.

    These are the states from the month's start on: one that was learnt of later may have the first
    charge that is known at all.
    """
    month = _month(arguments)
    live, history = _spells(arguments, month), number_history.c
    spells = live.c
    counts = or_(
        history.valid_to.is_(None),
        history.valid_to > month.start,
        history.occurred_at >= month.start,
    )
    keys = [numbers.c[name] for name in ("country_alpha2", "range_name", "number_e164", "uuid")]
    names = ("id", "valid_from", "monthly_charge", "setup_charge", "event", "occurred_at")
    return (
        select(
            *keys,
            spells.began,
            spells.ended,
            *(history[name] for name in names),
            history.occurred_at_source,
        )
        .select_from(numbers)
        .join(live, and_(spells.account == numbers.c.account, spells.uuid == numbers.c.uuid))
        .join(
            number_history,
            and_(history.account == numbers.c.account, history.uuid == numbers.c.uuid, counts),
        )
        .where(account_filter(numbers, arguments), literal(month.start < month.end))
        .order_by(*portable_order(*keys), spells.began, history.valid_from, history.id)
    )


def _by_number(rows: Iterable[Row], arguments: Arguments) -> Iterator[Row]:
    month = _month(arguments)
    for _, lines in groupby(rows, lambda row: row["uuid"]):
        yield _bill(list(lines), month)


def _by_range(rows: Iterable[Row], arguments: Arguments) -> Iterator[Row]:
    """
    Add up the numbers of each range, which follow one another.
    """
    bills = _by_number(rows, arguments)
    for (country, name), of_range in groupby(bills, _range_of):
        found = list(of_range)
        yield {
            "month": found[0]["month"],
            "country_alpha2": country,
            "range_name": name,
            "numbers": len(found),
            "days_live": sum(bill["days_live"] for bill in found),
            **{
                column.name: sum((bill[column.name] or ZERO for bill in found), ZERO)
                for column in AMOUNTS
            },
        }


def _range_of(bill: Row) -> tuple[str | None, str | None]:
    return bill["country_alpha2"], bill["range_name"]


def _bill(lines: Sequence[Row], month: Month) -> Row:
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


MONTH = Column("month", Kind.MONTH, "The month, by its first day (UTC).")
AMOUNTS = (
    Column(
        "pro_rata",
        Kind.AMOUNT,
        "The days' charges, divided by the days of the month.",
        has_total=True,
        digits=SUM_DIGITS,
    ),
    Column(
        "full_amount",
        Kind.AMOUNT,
        "The charge of the last day on which it was live, in full.",
        has_total=True,
        digits=SUM_DIGITS,
    ),
    Column(
        "setup_charge",
        Kind.AMOUNT,
        "Set-up charge, if the provider says that it was provisioned in the month.",
        has_total=True,
        digits=SUM_DIGITS,
    ),
)
DAYS_LIVE = Column("days_live", Kind.NUMBER, "Days on which it was live.", has_total=True)

REPORTS = (
    Report(
        name="invoice",
        meaning="What each number that was live in a month costs: pro rata, in full, and to set "
        "up.",
        why=f"To check the carrier's invoice number by number. {HOW_IT_COUNTS}",
        takes={"month": None, "country": None, "limit": None},
        columns=(
            MONTH,
            COUNTRY,
            RANGE,
            NUMBER,
            UUID,
            DAYS_LIVE,
            Column("charges", Kind.TEXT, "The charge of each day, as amount (days of the month)."),
            *AMOUNTS,
        ),
        query=_live_in_month,
        finish=_by_number,
        regroups=True,
    ),
    Report(
        name="invoice-by-range",
        meaning="What the numbers that were live in a month cost, by country and range.",
        why=f"To check the lines of the carrier's invoice. {HOW_IT_COUNTS}",
        takes={"month": None, "country": None},
        columns=(
            MONTH,
            COUNTRY,
            RANGE,
            Column("numbers", Kind.NUMBER, "Numbers that were live in the month.", has_total=True),
            DAYS_LIVE,
            *AMOUNTS,
        ),
        query=_live_in_month,
        finish=_by_range,
        regroups=True,
    ),
)
