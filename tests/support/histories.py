"""
Histories of numbers that a test makes up, and what the views have to say of them, in plain Python.

The rows keep the contract's rules of events; what they say of times is as odd as a provider may
be. The figures are worked out number by number and moment by moment, without any SQL.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

from hypothesis import strategies as st
from sqlalchemy import insert, select

from support.build import NEIGHBOUR, uuid_at
from syncsvc.schema.tables import number_history, numbers

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sqlalchemy import Engine

Row = dict[str, Any]
Key = tuple[date, str, str | None]

COUNTRIES = ("GB", "GB", "DE", None)
ACCOUNTS = ("default", "default", "other")
CHARGES = (Decimal("0.3000"), Decimal("0.1000"), Decimal("99999999.9999"), Decimal(0), None)
LIVE_STEPS = ("changed", "changed", "provisioned", "cancelled")
GONE_STEPS = ("changed", "reinstated")


class Step(NamedTuple):
    """
    What one run sees of one number.

    Attributes:
        days: From the run before.
        choice: Which of the events that can follow.
        stamp: The provider's time, in days from the first run; None if it gives none.
        at_edge: Whether that time is the start of its month, and a microsecond before it.
    """

    days: int
    choice: int
    stamp: int | None
    at_edge: int
    charge: Decimal | None


class Past(NamedTuple):
    """
    One number from its first run on.
    """

    account: str
    country: str | None
    first: int
    steps: list[Step]


steps = st.builds(
    Step,
    days=st.integers(1, 50),
    choice=st.integers(0, 3),
    stamp=st.none() | st.integers(-500, 500),
    at_edge=st.integers(0, 2),
    charge=st.sampled_from(CHARGES),
)
pasts = st.lists(
    st.builds(
        Past,
        account=st.sampled_from(ACCOUNTS),
        country=st.sampled_from(COUNTRIES),
        first=st.integers(0, 60),
        steps=st.lists(steps, min_size=1, max_size=6),
    ),
    max_size=5,
)


def write(engine: Engine, some: Iterable[Past], since: datetime) -> None:
    """
    Put the numbers and their histories into a database that has none.

    Args:
        since: When the first run of all began.
    """
    with engine.begin() as connection:
        for place, past in enumerate(some):
            rows = [*_rows(past, place, since)]
            connection.execute(insert(numbers).values(_number(past, rows)))
            for row in rows:
                connection.execute(insert(number_history).values(row))


def _rows(past: Past, place: int, since: datetime) -> Iterator[Row]:
    """
    The history of one number, in the order in which runs write it.
    """
    state: Row = {"lifecycle": None, "provisioned_at": None, "cancelled_at": None}
    run = since + timedelta(days=past.first)
    written: list[Row] = []
    for step in past.steps:
        run += timedelta(days=step.days)
        for event, stamp in _events(step, state, since):
            _follow(state, event, stamp, run)
            written.append(
                {
                    "account": past.account,
                    "uuid": uuid_at(place),
                    "run_id": 1,
                    "event": event,
                    "occurred_at": stamp or run,
                    "occurred_at_source": "provider" if stamp else "observed",
                    "evidence": "listing",
                    "valid_from": run,
                    "monthly_charge": step.charge,
                    "changes": {} if written else None,
                    **state,
                }
            )
    ends = [row["valid_from"] for row in written[1:]]
    return (row | {"valid_to": end} for row, end in zip(written, [*ends, None], strict=True))


def _events(step: Step, state: Row, since: datetime) -> list[tuple[str, datetime | None]]:
    """
    What a run writes of a number in this state, and the provider's time of it.
    """
    stamp = _moment(step, since)
    match state["lifecycle"]:
        case None if step.choice == 3:
            born = [] if stamp is None else [("provisioned", stamp)]
            return [*born, ("cancelled", None if step.at_edge else stamp)]
        case None:
            return [("provisioned" if stamp else "added", stamp)]
        case "live":
            event = LIVE_STEPS[step.choice]
            event = "changed" if event == "provisioned" and stamp is None else event
        case _:
            event = GONE_STEPS[step.choice % 2]
            if stamp and stamp <= state["cancelled_at"]:
                stamp = None
    return [(event, None if event == "changed" else stamp)]


def _moment(step: Step, since: datetime) -> datetime | None:
    if step.stamp is None:
        return None
    moment = since + timedelta(days=step.stamp)
    if step.at_edge:
        moment = moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return moment - timedelta(microseconds=1) if step.at_edge == 2 else moment


def _follow(state: Row, event: str, stamp: datetime | None, run: datetime) -> None:
    if event == "cancelled":
        state |= {"lifecycle": "cancelled", "cancelled_at": stamp or run}
    elif event != "changed":
        told = stamp or (None if event == "added" else state["provisioned_at"])
        state |= {"lifecycle": "live", "provisioned_at": told, "cancelled_at": None}


def _number(past: Past, rows: list[Row]) -> Row:
    first, last = rows[0], rows[-1]
    kept = ("account", "uuid", "lifecycle", "provisioned_at", "cancelled_at", "monthly_charge")
    return {
        **{name: last[name] for name in kept},
        "number_e164": f"+44{last['uuid'][-6:]}",
        "country_alpha2": past.country,
        "first_seen_at": first["valid_from"],
        "changed_at": last["valid_from"],
        "first_run_id": 1,
        "changed_run_id": 1,
    }


class Told:
    """
    What a database's own history tells, worked out in plain Python, but for the neighbour's.
    """

    def __init__(self, engine: Engine, now: datetime) -> None:
        """
        Read all of it.
        """
        self.now = now
        with engine.connect() as connection:
            query = (
                select(number_history)
                .where(number_history.c.account != NEIGHBOUR)
                .order_by(
                    number_history.c.account,
                    number_history.c.uuid,
                    number_history.c.valid_from,
                    number_history.c.id,
                )
            )
            rows = [dict(row) for row in connection.execute(query).mappings()]
            countries = select(numbers.c.account, numbers.c.uuid, numbers.c.country_alpha2)
            self.country = {(row[0], row[1]): row[2] for row in connection.execute(countries)}
        self.histories = {
            key: list(some)
            for key, some in groupby(rows, lambda row: (row["account"], row["uuid"]))
        }

    def inventory(self) -> dict[Key, tuple[int, Decimal]]:
        """
        Numbers and charges at each month's end, from each country's first month on.
        """
        found: dict[Key, tuple[int, Decimal]] = {}
        groups = defaultdict(list)
        for key, rows in self.histories.items():
            groups[key[0], self.country[key]].append((rows, spells(rows)))
        for (account, country), members in groups.items():
            begun = [s[0] for _, some in members for s in some if s[0] <= self.now]
            for month in months(min(begun, default=None), self.now):
                end = min(after(month) - timedelta(microseconds=1), self.now)
                live = [rows for rows, some in members if is_live(some, end)]
                cost = sum((charge(rows, end) or Decimal(0) for rows in live), Decimal(0))
                found[month, account, country] = (len(live), cost)
        return found

    def churn(self) -> dict[Key, dict[str, int]]:
        """
        Events by month.
        """
        found: dict[Key, Counter[str]] = defaultdict(Counter)
        for key, rows in self.histories.items():
            for row in rows:
                if row["event"] != "changed":
                    month = row["occurred_at"].date().replace(day=1)
                    found[month, key[0], self.country[key]][row["event"]] += 1
        words = ("added", "provisioned", "reinstated", "cancelled")
        return {key: {word: counted[word] for word in words} for key, counted in found.items()}


def spells(rows: list[Row]) -> list[tuple[datetime, datetime | None]]:
    """
    When a number was live, by when things occurred, in the order in which we learnt of them.
    """
    found: list[tuple[datetime, datetime | None]] = []
    begun: datetime | None = None
    ended: datetime | None = None
    for place, row in enumerate(rows):
        at = row["occurred_at"]
        if row["event"] == "cancelled":
            if begun and begun < at:
                found.append((begun, at))
            begun, ended = None, max(at, ended or at)
        elif row["lifecycle"] == "live" and (row["event"] != "changed" or place == 0):
            if row["event"] == "changed":  # what came before was pruned
                at = min(at, row["provisioned_at"] or at)
            earliest = min(at, begun or at)
            begun = max(earliest, ended or earliest)
    return [*found, (begun, None)] if begun else found


def is_live(some: list[tuple[datetime, datetime | None]], at: datetime) -> bool:
    """
    Whether one of a number's spells holds a moment.
    """
    return any(begun <= at and (ended is None or at < ended) for begun, ended in some)


def charge(rows: list[Row], at: datetime) -> Decimal | None:
    """
    What was known then of a number's charge; before it was known at all, the first one known.
    """
    then = [row["monthly_charge"] for row in rows if row["valid_from"] <= at]
    known = [row["monthly_charge"] for row in rows if row["monthly_charge"] is not None]
    return then[-1] if then else next(iter(known), None)


def months(first: datetime | None, now: datetime) -> Iterator[date]:
    """
    The first days of all months from a moment's to that of now.
    """
    if first is not None:
        month = first.date().replace(day=1)
        while month <= now.date():
            yield month
            month = after(month).date()


def after(month: date) -> datetime:
    """
    The start of the next month.
    """
    return datetime(month.year + month.month // 12, month.month % 12 + 1, 1, tzinfo=UTC)
