"""
Generate telephone numbers and addresses, as the provider's JSON has them.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable

Row = dict[str, Any]

CHARGES = ("0", "0.3", "0.45", "1", "1.25", "2.5", "7.125", "12")
EARLIEST = datetime(2016, 1, 1, tzinfo=UTC)
SECONDS_OF_STAMPS = 8 * 365 * 86400
BOTH_ADDRESSES = ("number_address", "emergency_number_address")
EXAMPLE_ADDRESS: Row = {
    "id": 1,
    "name": "Main office",
    "useForProofOfAddress": True,
    "useForEmergencyAddress": False,
    "addressLine1": "7800 Alexander Road",
    "addressLine2": "",
    "addressCity": "London",
    "addressRegion": "London",
    "addressPostalCode": "NW2 1AA",
    "addressCountry": {"name": "United Kingdom", "iso": "GB"},
}


@dataclass(frozen=True, kw_only=True)
class Country:
    """
    The part of a country's numbering plan that generated numbers need.
    """

    code: str
    name: str
    iso: str  # as the provider writes it in a number
    alpha2: str  # as the provider writes it in an address
    digits: int  # range code and local number together
    postal_code: str
    ranges: dict[str, str]  # range code to range name


COUNTRIES = (
    Country(
        code="44",
        name="United Kingdom",
        iso="UK",
        alpha2="GB",
        digits=10,
        postal_code="NW2 1AA",
        ranges={"1245": "Chelmsford", "20": "London", "161": "Manchester", "800": "Freephone"},
    ),
    Country(
        code="49",
        name="Germany",
        iso="DE",
        alpha2="DE",
        digits=10,
        postal_code="10115",
        ranges={"30": "Berlin", "89": "München"},
    ),
    Country(
        code="33",
        name="France",
        iso="FR",
        alpha2="FR",
        digits=9,
        postal_code="75001",
        ranges={"1": "Paris", "4": "Lyon"},
    ),
    Country(
        code="1",
        name="United States",
        iso="US",
        alpha2="US",
        digits=10,
        postal_code="10001",
        ranges={"212": "New York", "312": "Chicago"},
    ),
    Country(
        code="353",
        name="Ireland",
        iso="IE",
        alpha2="IE",
        digits=9,
        postal_code="D02 XY45",
        ranges={"1": "Dublin", "21": "Cork"},
    ),
)


def stamp(moment: datetime) -> str:
    """
    Write a time as the provider does, without a zone.
    """
    return moment.strftime("%Y-%m-%d %H:%M:%S")


def example_row() -> Row:
    """
    Return the one row of the provider's documented response.
    """
    emergency = EXAMPLE_ADDRESS | {
        "id": 2,
        "name": "Other Main office",
        "useForProofOfAddress": False,
        "useForEmergencyAddress": True,
        "addressLine1": "7801 Alexander Road",
    }
    return {
        "uuid": "7c327e0f-6bce-4b2f-9d5d-9c86e7fa065f",
        "number_e164": "+441245123456",
        "number": "123456",
        "range_code": "1245",
        "range_name": "Chelmsford",
        "country_code": "44",
        "country_name": "United Kingdom",
        "country_iso": "UK",
        "monthly_charge": 0.3,
        "setup_charge": 0,
        "status": "Reserved",
        "details": {
            "status": "Reserved",
            "provisioned": "2018-11-12 14:21:48",
            "cancelled": "",
            "number_address": dict(EXAMPLE_ADDRESS),
            "emergency_number_address": emergency,
        },
        "provisioned": "2016-01-03 17:48:59",
    }


class Generator:
    """
    Generates numbers and addresses, the same ones for the same seed.
    """

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.addresses: list[Row] = []
        self._used: set[str] = set()

    def adopt(self, rows: Iterable[Any]) -> None:
        """
        Adopt the addresses and numbers of existing rows.
        """
        known = {}
        for row in rows:
            if isinstance(row, dict):
                self._used.add(str(row.get("number_e164")))
                known.update({str(found.get("id")): found for found in addresses_of(row)})
        self.addresses.extend(known.values())

    def add_addresses(self, count: int) -> None:
        """
        Make more addresses for the numbers to share.
        """
        taken = [found["id"] for found in self.addresses if isinstance(found.get("id"), int)]
        first = max(taken, default=0) + 1
        self.addresses.extend(self._address(each) for each in range(first, first + count))

    def number(self, provisioned: str) -> Row:
        """
        Make a number that was provisioned at the time given, or "" for unknown.
        """
        if not self.addresses:
            self.add_addresses(2)
        status = self.chance.choice(("Reserved", "Reserved", "Reserved", "Active"))
        return {
            "uuid": str(uuid.UUID(int=self.chance.getrandbits(128), version=4)),
            **self._numbering(),
            "monthly_charge": self.charge(),
            "setup_charge": self.charge(),
            "status": status,
            "details": {
                "status": status,
                "provisioned": provisioned,
                "cancelled": "",
                "number_address": self._maybe(self.chance.choice(self.addresses), 0.9),
                "emergency_number_address": self._maybe(self.chance.choice(self.addresses), 0.7),
            },
            "provisioned": provisioned,
        }

    def old_number(self) -> Row:
        """
        Make a number from years ago, its stamps as uneven as the provider's.
        """
        row = self.number(self._old_stamp())
        match self.chance.choices(("plain", "missing", "blank", "two"), (16, 1, 1, 2))[0]:
            case "missing":
                del row["provisioned"]
                row["details"]["provisioned"] = ""
            case "blank":
                row["provisioned"] = row["details"]["provisioned"] = ""
            case "two":
                row["details"]["provisioned"] = self._old_stamp()
        return row

    def charge(self, other_than: object = None) -> str | float:
        """
        Draw a charge, as a JSON string or number.
        """
        text = self.chance.choice([each for each in CHARGES if each != str(other_than)])
        value: str | float = self.chance.choice((text, json.loads(text)))
        return value

    def _numbering(self) -> Row:
        country = self.chance.choice(COUNTRIES)
        range_code = self.chance.choice(list(country.ranges))
        local = self._unused_local(country, range_code)
        return {
            "number_e164": f"+{country.code}{range_code}{local}",
            "number": local,
            "range_code": range_code,
            "range_name": country.ranges[range_code],
            "country_code": country.code,
            "country_name": country.name,
            "country_iso": country.iso,
        }

    def _unused_local(self, country: Country, range_code: str) -> str:
        length = country.digits - len(range_code)
        while True:
            local = str(self.chance.randrange(10 ** (length - 1), 10**length))
            e164 = f"+{country.code}{range_code}{local}"
            if e164 not in self._used:
                self._used.add(e164)
                return local

    def _address(self, number: int) -> Row:
        country = self.chance.choice(COUNTRIES)
        city = self.chance.choice([name for name in country.ranges.values() if name != "Freephone"])
        return {
            "id": number,
            "name": f"Office {number}",
            "useForProofOfAddress": self.chance.choice((True, False)),
            "useForEmergencyAddress": self.chance.choice((True, False)),
            "addressLine1": f"{self.chance.randint(1, 999)} Station Road",
            "addressLine2": "",
            "addressCity": city,
            "addressRegion": city,
            "addressPostalCode": country.postal_code,
            "addressCountry": {"name": country.name, "iso": country.alpha2},
        }

    def _old_stamp(self) -> str:
        return stamp(EARLIEST + timedelta(seconds=self.chance.randrange(SECONDS_OF_STAMPS)))

    def _maybe(self, address: Row, share: float) -> Row | None:
        return address if self.chance.random() < share else None


def addresses_of(row: object) -> list[Row]:
    """
    Return the addresses in a row's details.
    """
    details = row.get("details") if isinstance(row, dict) else None
    if not isinstance(details, dict):
        return []
    found = (details.get(key) for key in BOTH_ADDRESSES)
    return [address for address in found if isinstance(address, dict)]
