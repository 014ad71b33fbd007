"""
The numbers that the simulated provider lists, and how they change.

Rows are plain dicts, as in the provider's JSON. A row, and an address in it, is
never changed in place but replaced, so that earlier listings stay unchanged.
"""

from __future__ import annotations

import random
import re
import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

from syncsvc.sandbox.generator import (
    BOTH_ADDRESSES,
    Generator,
    Row,
    addresses_of,
    example_row,
    stamp,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


def utc_now() -> datetime:
    """
    The current time in UTC.
    """
    return datetime.fromtimestamp(time.time(), tz=UTC)


class Inventory:
    """
    The numbers of one account: the live listing and the cancelled one.

    One lock guards every method; `rows` and `cancelled` may be read and replaced.
    """

    def __init__(
        self,
        rows: Iterable[Any] = (),
        cancelled: Iterable[Any] = (),
        *,
        seed: int = 1,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self.rows: list[Any] = list(rows)
        self.cancelled: list[Any] = list(cancelled)
        self._clock = clock
        self._random = random.Random(seed)  # noqa: S311 - made-up numbers, no cryptography
        self._lazy_generator: Generator | None = None
        self._former: dict[str, Row] = {}
        self._lock = threading.RLock()

    @classmethod
    def seeded(cls, size: int, seed: int = 1, *, clock: Callable[[], datetime] = utc_now) -> Self:
        """
        Make an inventory of this many numbers, the same one for the same seed.
        """
        made = cls(seed=seed, clock=clock)
        generator = made._generator()
        generator.add_addresses(size // 20 + 2)
        made.rows = [generator.old_number() for _ in range(size)]
        return made

    @classmethod
    def example(cls, *, clock: Callable[[], datetime] = utc_now) -> Self:
        """
        Return the inventory of the provider's documented response.
        """
        return cls([example_row()], clock=clock)

    def listing(
        self, *, cancelled: bool = False, digits: str | None = None, shuffled: bool = False
    ) -> list[Any]:
        """
        Return the current rows: all, or those whose number contains the digits.
        """
        with self._lock:
            rows = list(self.cancelled if cancelled else self.rows)
            if shuffled:
                self._random.shuffle(rows)
        return rows if digits is None else [row for row in rows if contains(row, digits)]

    def provision(self, count: int = 1) -> list[Row]:
        """
        Add new numbers, each at a random place.
        """
        with self._lock:
            now = stamp(self._clock())
            made = [self._generator().number(now) for _ in range(count)]
            for row in made:
                self._insert(row)
            return made

    def cancel(self, count: int = 1) -> list[Row]:
        """
        Move random live numbers to the cancelled listing.
        """
        with self._lock:
            chosen = self._some(self.rows, count)
            places = set(chosen)
            entries = [self._cancelled_entry(self.rows[place]) for place in chosen]
            self.rows = [row for place, row in enumerate(self.rows) if place not in places]
            self.cancelled = self.cancelled + entries
            return entries

    def reinstate(self, count: int = 1) -> list[Row]:
        """
        Move random numbers back from the cancelled listing, provisioned again.
        """
        with self._lock:
            chosen = self._some(self.cancelled, count)
            places = set(chosen)
            rows = [self._live_again(self.cancelled[place]) for place in chosen]
            kept = enumerate(self.cancelled)
            self.cancelled = [entry for place, entry in kept if place not in places]
            for row in rows:
                self._insert(row)
            return rows

    def edit(self, count: int = 1) -> list[Row]:
        """
        Change random live numbers: a charge, the content of an address, or which address.

        The content of an address changes in every number that has its id.
        """
        with self._lock:
            chosen = self._some(self.rows, count)
            for place in chosen:
                self._random.choice((self._recharge, self._rewrite, self._move))(place)
            return [self.rows[place] for place in chosen]

    def step(self, changes: int = 5) -> None:
        """
        Make a random mix of changes, as a business does over time.
        """
        with self._lock:
            ways = (self.provision, self.reinstate, self.cancel, self.cancel, self.edit, self.edit)
            for _ in range(changes):
                if not self._random.choice(ways)():
                    self.provision()

    def shuffle(self) -> None:
        """
        Put the live listing into another order.
        """
        with self._lock:
            rows = list(self.rows)
            self._random.shuffle(rows)
            self.rows = rows

    def _generator(self) -> Generator:
        if self._lazy_generator is None:
            self._lazy_generator = Generator(self._random)
            self._lazy_generator.adopt([*self.rows, *self.cancelled])
        return self._lazy_generator

    def _some(self, rows: list[Any], count: int) -> list[int]:
        places = [place for place, row in enumerate(rows) if uuid_of(row) is not None]
        return self._random.sample(places, min(count, len(places)))

    def _insert(self, row: Row) -> None:
        self.rows.insert(self._random.randint(0, len(self.rows)), row)

    def _cancelled_entry(self, row: Row) -> Row:
        self._former[row["uuid"]] = row
        kept = {key: value for key, value in row.items() if key != "details"}
        return kept | {
            "status": "Cancelled",
            "provisioned": row.get("provisioned") or "",
            "cancelled": stamp(self._clock()),
        }

    def _live_again(self, entry: Row) -> Row:
        row = {key: value for key, value in entry.items() if key != "cancelled"}
        former = self._former.pop(entry["uuid"], {"status": "Reserved"})
        now = stamp(self._clock())
        details: Row = {"number_address": None, "emergency_number_address": None}
        if isinstance(former.get("details"), dict):
            details |= former["details"]
        details |= {"status": former.get("status"), "provisioned": now, "cancelled": ""}
        return row | {"status": former.get("status"), "details": details, "provisioned": now}

    def _recharge(self, place: int) -> None:
        row = self.rows[place]
        charge = self._generator().charge(other_than=row.get("monthly_charge"))
        self.rows[place] = row | {"monthly_charge": charge}

    def _rewrite(self, place: int) -> None:
        found = addresses_of(self.rows[place])
        if not found:
            self._recharge(place)
            return
        old = self._random.choice(found)
        changed = old | {"addressLine2": f"Unit {self._random.getrandbits(32)}"}
        self.rows = [readdressed(row, changed) for row in self.rows]
        generator = self._generator()
        generator.addresses = [changed if same(each, old) else each for each in generator.addresses]

    def _move(self, place: int) -> None:
        row = self.rows[place]
        details = row.get("details")
        if not isinstance(details, dict):
            self._recharge(place)
            return
        if not self._generator().addresses:
            self._generator().add_addresses(2)
        current = details.get("emergency_number_address")
        choices = [None, *self._generator().addresses]
        other = self._random.choice([each for each in choices if not same(each, current)])
        self.rows[place] = row | {"details": details | {"emergency_number_address": other}}


def uuid_of(row: object) -> str | None:
    """
    Return a row's uuid, if it has one.
    """
    found = row.get("uuid") if isinstance(row, dict) else None
    return found if isinstance(found, str) else None


def contains(row: object, digits: str) -> bool:
    """
    Return whether the row's number contains the digits, one after the other.
    """
    number = row.get("number_e164") if isinstance(row, dict) else None
    if not isinstance(number, str) or digits in number:
        return isinstance(number, str)
    return not number[1:].isdecimal() and digits in re.sub("[^0-9]", "", number)


def same(one: object, other: object) -> bool:
    """
    Return whether two addresses have the same id, or are both none.
    """
    if isinstance(one, dict) and isinstance(other, dict):
        return bool(one.get("id") == other.get("id"))
    return one is other


def readdressed(row: object, address: Row) -> object:
    """
    Return the row with this address in place of its older content.
    """
    if not any(same(found, address) for found in addresses_of(row)) or not isinstance(row, dict):
        return row
    details = row["details"]
    new = {key: address for key in BOTH_ADDRESSES if same(details.get(key), address)}
    return row | {"details": details | new}
