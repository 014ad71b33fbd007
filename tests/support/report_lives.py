"""
What a few accounts may live through, and what reports are asked about it.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import msgspec
from hypothesis import strategies as st

from support.build import Row, address, number_row, uuid_at
from syncsvc.sandbox import Inventory
from syncsvc.sync.run import run_once

if TYPE_CHECKING:
    from support.build import Clock
    from syncsvc.sandbox import Sandbox
    from syncsvc.sync.run_inputs import Job

ACCOUNTS = ("default", "branch")
PLACES = 5
SINCE = datetime(2025, 3, 1, 6, tzinfo=UTC)
COUNTRIES = ("UK", "GB", "DE", "DEU", "XX", None)
STAMPS = ("", "2024-12-24 10:00:00", "2025-03-20 10:00:00", "2025-05-01 00:00:00")
VARIANTS = (
    {"status": "Reserved", "monthly_charge": "0.1", "provisioned": ""},
    {"status": " reserved ", "monthly_charge": "0.2", "provisioned": STAMPS[1]},
    {"status": "Active", "monthly_charge": "99999999.9999", "provisioned": STAMPS[2]},
    {"status": None, "monthly_charge": None, "provisioned": STAMPS[3]},
)

seen = st.fixed_dictionaries(
    {
        "variant": st.integers(0, len(VARIANTS) - 1),
        "own": st.none() | st.integers(1, 3),
        "emergency": st.none() | st.integers(1, 3),
    }
)
days = st.fixed_dictionaries(
    {
        "account": st.sampled_from(ACCOUNTS),
        "pause": st.integers(0, 40),
        "seen": st.lists(st.none() | seen, min_size=PLACES, max_size=PLACES),
        "told_gone": st.booleans(),
        "lines": st.integers(0, 1),
    }
)


def listed(place: int, what: Row, lines: int) -> Row:
    """
    The row of a number; some have the E.164 of another one, and addresses change in all at once.
    """

    def of(number: int | None) -> Row | None:
        if number is None:
            return None
        iso = COUNTRIES[number]
        return address(
            number,
            useForProofOfAddress=number != 1,
            useForEmergencyAddress=(True, None, False)[number - 1],
            addressLine1=f"{lines} Alexander Road",
            addressCountry={"name": "Somewhere", "iso": iso},
        )

    fields = VARIANTS[what["variant"]]
    details = {
        "status": fields["status"],
        "provisioned": fields["provisioned"],
        "number_address": of(what["own"]),
        "emergency_number_address": of(what["emergency"]),
    }
    country = COUNTRIES[place]
    return number_row(
        place,
        details,
        **fields,
        number_e164=f"+4412450000{place % 3:02d}",
        number=f"0000{place % 3:02d}",
        country_iso=country,
        country_name=f"Country {country}",
        range_name=f"Range {place % 2}",
    )


def live(job: Job, sandbox: Sandbox, clock: Clock, lives: list[Row]) -> None:
    """
    One run for each of these days.
    """
    clock.time = SINCE
    known: dict[str, dict[int, Row]] = {account: {} for account in ACCOUNTS}
    for day in lives:
        now = clock.pass_by(days=day["pause"], hours=7)
        base = 0 if day["account"] == "default" else 1000
        rows = {
            place: listed(place, what, day["lines"]) | {"uuid": uuid_at(base + place)}
            for place, what in enumerate(day["seen"])
            if what
        }
        before = known[day["account"]]
        gone = [_entry(row, now) for place, row in before.items() if place not in rows]
        sandbox.inventory = Inventory(rows.values(), gone if day["told_gone"] else [])
        run_once(msgspec.structs.replace(job, account=day["account"]))
        before.update(rows)


def _entry(row: Row, now: datetime) -> Row:
    stamp = f"{now - timedelta(days=2):%Y-%m-%d %H:%M:%S}"
    kept = {name: value for name, value in row.items() if name != "details"}
    return {**kept, "status": "Cancelled", "cancelled": stamp}


def questions(now: datetime) -> list[Row]:
    """
    What each report is told: its defaults, then every parameter it takes.
    """
    return [
        {},
        {"country": "GB", "days": 30, "months": 3, "at_least": 1},
        {"at": now - timedelta(days=60), "days": 3650, "months": 40, "at_least": 2, "limit": 2},
        {"at": SINCE + timedelta(days=40), "country": "DE", "hours": 1},
        {"since": SINCE + timedelta(days=10), "until": now - timedelta(days=10)},
        {"until": now - timedelta(days=20), "days": 20, "lifecycle": "all", "address": 2},
        {"start": SINCE + timedelta(days=20), "month": now.date().replace(day=1)},
        {
            "start": SINCE + timedelta(hours=30),
            "end": now - timedelta(days=15),
            "month": date(2025, 4, 1),
            "limit": 3,
        },
    ]
