"""
Where numbers are: for those who answer for emergency calls and proofs of address.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import iso3166
from sqlalchemy import case, func, literal, select, union_all

from syncsvc.reports.dialects import in_order, of_account
from syncsvc.reports.report import Column, Kind, Report
from syncsvc.reports.vocabulary import (
    COUNTRY,
    LEARNT,
    NUMBER,
    RANGE,
    STATUS,
    UUID,
    WHAT,
    since,
    what_changed,
)
from syncsvc.schema.tables import address_history, addresses
from syncsvc.schema.views import live_numbers

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sqlalchemy import Select

    from syncsvc.reports.report import Asked, Row

live = live_numbers.c

ROLES = ("number_address", "emergency_number_address")
ADDRESS_ID = Column("address_id", Kind.NUMBER, "The provider's id of the address; NULL where none.")
ADDRESS_NAME = Column("address_name", Kind.TEXT, "Its name.")
IN_LIVE_USE = Column("numbers", Kind.NUMBER, "Live numbers whose emergency address it is.")
GAP = Column(
    "gap",
    Kind.TEXT,
    "no address: there is none; not flagged: there is one, and the provider does not say that it "
    "serves for this.",
)


def _gaps(asked: Asked, role: str, flag: str) -> Select[Any]:
    """
    Live numbers without an address in this role, or with one that does not serve for it.
    """
    address_id, serves = live[f"{role}_id"], live[f"{role}_{flag}"]
    return (
        select(
            live.number_e164,
            live.uuid,
            live.country_alpha2,
            live.range_name,
            live.status,
            case((address_id.is_(None), "no address"), else_="not flagged").label("gap"),
            address_id.label("address_id"),
            live[f"{role}_name"].label("address_name"),
        )
        .where(of_account(live_numbers, asked), serves.is_not(True))
        .order_by(*in_order(live.country_alpha2, live.number_e164, live.uuid))
    )


def _emergency_gaps(asked: Asked) -> Select[Any]:
    return _gaps(asked, "emergency_number_address", "use_for_emergency_address")


def _proof_gaps(asked: Asked) -> Select[Any]:
    return _gaps(asked, "number_address", "use_for_proof_of_address")


@cache
def _alpha2_of() -> dict[str, str]:
    """
    Country codes that mean another one.
    """
    return {"UK": "GB", **{code.alpha3: code.alpha2 for code in iso3166.countries}}


def _other_country(asked: Asked, role: str) -> Select[Any]:
    """
    Live numbers whose address in this role bears the code of another country.

    Most bear the same one, which is seen without looking through the codes that mean another.
    """
    sent = func.upper(func.trim(live[f"{role}_country_iso"]))
    country = case(_alpha2_of(), value=sent, else_=sent)
    return select(
        live.number_e164,
        live.uuid,
        live.country_alpha2,
        literal(role).label("role"),
        live[f"{role}_id"].label("address_id"),
        live[f"{role}_name"].label("address_name"),
        live[f"{role}_country_iso"].label("address_country_iso"),
        live[f"{role}_country_name"].label("address_country_name"),
    ).where(
        of_account(live_numbers, asked),
        sent != "",
        sent != live.country_alpha2,
        country != live.country_alpha2,
    )


def _country_mismatch(asked: Asked) -> Select[Any]:
    both = union_all(*(_other_country(asked, role) for role in ROLES)).subquery()
    order = (both.c.country_alpha2, both.c.number_e164, both.c.uuid, both.c.role)
    return select(both).order_by(*in_order(*order))


def _shared(asked: Asked) -> Select[Any]:
    address_id = live.emergency_number_address_id
    used = (
        select(address_id.label("address_id"), func.count().label("numbers"))
        .where(of_account(live_numbers, asked), address_id.is_not(None))
        .group_by(address_id)
        .subquery()
    )
    return (
        select(
            used.c.address_id,
            addresses.c.name.label("address_name"),
            addresses.c.address_line1,
            addresses.c.address_city,
            addresses.c.address_postal_code,
            addresses.c.country_iso,
            used.c.numbers,
        )
        .join_from(used, addresses, addresses.c.id == used.c.address_id)
        .where(addresses.c.account == asked.account, used.c.numbers >= asked.at_least)
        .order_by(used.c.numbers.desc(), used.c.address_id)
    )


def _changed_lately(asked: Asked) -> Select[Any]:
    changed = address_history.c
    in_use = (
        select(func.count())
        .where(
            of_account(live_numbers, asked),
            live.emergency_number_address_id == changed.address_id,
        )
        .scalar_subquery()
    )
    lately = (
        select(
            changed.valid_from,
            changed.address_id,
            changed.name.label("address_name"),
            changed.changes,
            in_use.label("numbers"),
        )
        .where(
            changed.account == asked.account,
            changed.event == "changed",
            changed.valid_from >= since(asked),
        )
        .subquery()
    )
    return (
        select(lately)
        .where(lately.c.numbers > 0)
        .order_by(lately.c.valid_from.desc(), lately.c.address_id)
    )


def _told(rows: Iterable[Row], _asked: Asked) -> Iterator[Row]:
    for row in rows:
        yield {**row, "what": what_changed(row["changes"])}


REPORTS = (
    Report(
        name="emergency-address-gaps",
        meaning="Live numbers without an emergency address, or with one that is not flagged for "
        "it.",
        why="A call for help from such a number may reach the emergency services without a place "
        "to go to. Ofcom holds providers to the address where the line is installed (General "
        "Condition A3); 47 CFR 9.11 and 9.16 ask for a registered or dispatchable location of a "
        "VoIP line and of a phone behind a switchboard (RAY BAUM'S Act); Article 109 of Directive "
        "(EU) 2018/1972 for the caller's location with every emergency call.",
        takes={"country": None, "limit": None},
        columns=(NUMBER, UUID, COUNTRY, RANGE, STATUS, GAP, ADDRESS_ID, ADDRESS_NAME),
        query=_emergency_gaps,
    ),
    Report(
        name="proof-of-address-gaps",
        meaning="Live numbers without an address, or with one that does not serve as proof of "
        "address.",
        why="Many numbering plans give geographic numbers only to those who show a local address; "
        "a number without its proof may be taken back. Germany's Bundesnetzagentur ties area "
        "codes to a seat or a line in the area (order 25/2006).",
        takes={"country": None, "limit": None},
        columns=(NUMBER, UUID, COUNTRY, RANGE, STATUS, GAP, ADDRESS_ID, ADDRESS_NAME),
        query=_proof_gaps,
    ),
    Report(
        name="address-country-mismatch",
        meaning="Live numbers of which an address is in another country than the number; UK and "
        "GB are the same.",
        why="An emergency call with an address abroad goes to the wrong control room or to none, "
        "and a proof of address from abroad seldom satisfies a numbering plan that wants a local "
        "one (see proof-of-address-gaps).",
        takes={"country": None, "limit": None},
        columns=(
            NUMBER,
            UUID,
            COUNTRY,
            Column("role", Kind.TEXT, "number_address or emergency_number_address."),
            ADDRESS_ID,
            ADDRESS_NAME,
            Column("address_country_iso", Kind.TEXT, "Country code of the address, as sent."),
            Column("address_country_name", Kind.TEXT, "Its country, as the provider names it."),
        ),
        query=_country_mismatch,
    ),
    Report(
        name="shared-emergency-addresses",
        meaning="Emergency addresses that many live numbers share, the most shared ones first.",
        why="One street address for many numbers is right for one office, and wrong for staff at "
        "home or on several floors: the dispatchable location of 47 CFR 9.16 names the room or "
        "floor where that is needed to find the caller.",
        takes={"at_least": 10, "country": None, "limit": None},
        columns=(
            ADDRESS_ID,
            ADDRESS_NAME,
            Column("address_line1", Kind.TEXT, "First line."),
            Column("address_city", Kind.TEXT, "City."),
            Column("address_postal_code", Kind.TEXT, "Postal code."),
            Column("country_iso", Kind.TEXT, "Country code of the address, as sent."),
            IN_LIVE_USE,
        ),
        query=_shared,
    ),
    Report(
        name="emergency-addresses-changed",
        meaning="Emergency addresses of live numbers that changed lately, newest first.",
        why="Whoever changes one address moves all numbers that share it. Somebody should know "
        "that the people behind them have really moved.",
        takes={"days": 30, "country": None, "limit": None},
        columns=(
            LEARNT,
            ADDRESS_ID,
            ADDRESS_NAME,
            WHAT,
            IN_LIVE_USE,
        ),
        query=_changed_lately,
        finish=_told,
    ),
)
