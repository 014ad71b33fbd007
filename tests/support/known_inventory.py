"""
A small known inventory, lived through from February to May 2026 in two accounts.

The documentation's queries and reports are answered from it. Its numbers are
those that regulators keep for films.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from support.build import Row, address, number_row
from syncsvc.sandbox import Inventory
from syncsvc.sync.run import run_once

if TYPE_CHECKING:
    from support.build import Clock
    from syncsvc.sandbox import Sandbox
    from syncsvc.sync.progress_and_summary import Summary
    from syncsvc.sync.run_inputs import Job

COUNTRIES = {
    "GB": {"country_code": "44", "country_name": "United Kingdom", "country_iso": "UK"},
    "DE": {"country_code": "49", "country_name": "Germany", "country_iso": "DE"},
    "FR": {"country_code": "33", "country_name": "France", "country_iso": "FR"},
    "US": {"country_code": "1", "country_name": "United States", "country_iso": "US"},
}
LAST_DAY = datetime(2026, 5, 29, 6, tzinfo=UTC)
LONDON = address(
    1,
    name="London office",
    useForEmergencyAddress=True,
    addressLine1="1 Example Street",
    addressPostalCode="EC1A 1AA",
)
BERLIN = address(
    2,
    name="Berlin office",
    useForProofOfAddress=True,
    useForEmergencyAddress=True,
    addressLine1="Beispielweg 2",
    addressCity="Berlin",
    addressRegion="Berlin",
    addressPostalCode="10115",
    addressCountry={"name": "Germany", "iso": "DE"},
)
PARIS = address(
    3,
    name="Paris depot",
    useForProofOfAddress=False,
    useForEmergencyAddress=False,
    addressLine1="3 rue de l'Exemple",
    addressCity="Paris",
    addressRegion="Paris",
    addressPostalCode="75001",
    addressCountry={"name": "France", "iso": "FR"},
)


def known_number(
    place: int,
    country: str,
    e164: str,
    addresses: tuple[Row | None, Row | None] = (None, None),
    **fields: Any,
) -> Row:
    """
    A live number, with its address and its emergency address.
    """
    usual: Row = {
        "number_e164": e164,
        "number": e164[-6:],
        "status": "Active",
        "monthly_charge": "1.25",
        "setup_charge": "0",
        "provisioned": "2025-11-03 09:00:00",
        **COUNTRIES[country],
    }
    row = {**usual, **fields}
    own, emergency = addresses
    details = {
        "status": row["status"],
        "provisioned": row["provisioned"],
        "number_address": own,
        "emergency_number_address": emergency,
    }
    return number_row(place, details, **row)


def first_listing() -> dict[int, Row]:
    """
    What the provider lists on 1 February.
    """
    london, berlin, paris = (LONDON, LONDON), (BERLIN, BERLIN), (PARIS, PARIS)
    rows = (
        known_number(1, "GB", "+442079460001", london, range_name="London"),
        known_number(2, "GB", "+442079460002", london, range_name="London"),
        known_number(
            3,
            "GB",
            "+448081570003",
            range_name="Freephone",
            status="Reserved",
            monthly_charge="0.45",
            provisioned="2026-01-20 10:30:00",
        ),
        known_number(4, "DE", "+493023125004", (BERLIN, None), range_name="Berlin"),
        known_number(5, "DE", "+493023125005", (LONDON, BERLIN), range_name="Berlin"),
        known_number(6, "FR", "+33199000006", paris, range_name="Paris", monthly_charge="2.1"),
        known_number(7, "DE", "+493023125007", berlin, range_name="Berlin", provisioned=""),
        known_number(8, "US", "+12125550108", (None, LONDON), range_name="New York"),
    )
    return dict(enumerate(rows, 1))


def _cancelled(row: Row, stamp: str) -> Row:
    """
    The entry of a number in the cancelled listing.
    """
    kept = {name: value for name, value in row.items() if name != "details"}
    return {**kept, "status": "Cancelled", "cancelled": stamp}


def live_through(job: Job, sandbox: Sandbox, clock: Clock) -> list[Summary]:
    """
    Run on these days over what the provider listed then.
    """
    rows, gone = first_listing(), list[Row]()

    def see(month: int, day: int, account: str = "default", *listed: Row) -> Summary:
        clock.time = datetime(2026, month, day, 6, tzinfo=UTC)
        sandbox.inventory = Inventory(listed or rows.values(), gone)
        return run_once(msgspec.structs.replace(job, account=account))

    runs = [see(2, 1)]
    rows[7] = known_number(
        7,
        "DE",
        "+493023125007",
        (BERLIN, BERLIN),
        range_name="Berlin",
        provisioned="2026-02-11 14:00:00",
    )
    runs.append(see(2, 15))
    rows[5] = {**rows[5], "monthly_charge": "1.5"}
    away = rows.pop(8)
    runs.append(see(3, 9))
    runs.append(see(3, 9, "branch", known_number(101, "GB", "+442079460001", range_name="London")))
    gone = [_cancelled(rows.pop(6), "2026-03-28 12:00:00")]
    rows[9] = known_number(
        9,
        "FR",
        "+33199000009",
        (PARIS, None),
        range_name="Paris",
        status="Reserved",
        provisioned="",
        monthly_charge="2.1",
    )
    runs.append(see(4, 1))
    rows[8] = away
    moved = {**LONDON, "addressLine1": "10 Example Street"}
    for place in (1, 2):
        rows[place]["details"] |= dict.fromkeys(
            ("number_address", "emergency_number_address"), moved
        )
    rows[5]["details"]["number_address"] = moved
    rows[8]["details"]["emergency_number_address"] = moved
    rows[10] = known_number(
        10,
        "FR",
        "+33199000006",
        (PARIS, PARIS),
        range_name="Paris",
        provisioned="2026-04-20 08:00:00",
        monthly_charge="2.1",
    )
    rows[11] = {**rows[10], "uuid": "not a uuid"}
    runs.append(see(5, 1))
    del rows[11]
    runs.append(see(LAST_DAY.month, LAST_DAY.day))
    sandbox.inventory = Inventory([])
    runs.append(run_once(msgspec.structs.replace(job, account="branch")))
    return runs
