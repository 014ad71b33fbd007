"""
Reports about addresses, for those responsible for emergency calls and proofs of address.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import structs
from sqlalchemy import case, func, literal, select, union_all

from syncsvc.country_alpha2 import alpha2_by_other_code
from syncsvc.reports.definition.expressions import (
    account_filter,
    in_window,
    portable_order,
    readable,
)
from syncsvc.reports.definition.report import (
    COUNTRY,
    NUMBER,
    RANGE,
    STATUS,
    UUID,
    VALID_FROM,
    WHAT_CHANGED,
    WINDOW,
    Column,
    Kind,
    Report,
    with_changes_as_text,
)
from syncsvc.schema.tables import address_history, addresses
from syncsvc.schema.views import live_numbers

if TYPE_CHECKING:
    from sqlalchemy import Select

    from syncsvc.reports.definition.report import Arguments

live = live_numbers.c

ROLES = ("number_address", "emergency_number_address")
ADDRESS_ID = Column("address_id", Kind.ID, "The provider's id of the address; NULL if none.")
ADDRESS_NAME = Column("address_name", Kind.TEXT, "Name of the address.", personal=True)
IN_LIVE_USE = Column("numbers", Kind.NUMBER, "Live numbers with this emergency address.")
GAP = Column(
    "gap",
    Kind.TEXT,
    "no address: there is none; not flagged: the provider does not mark the address as usable for "
    "this.",
)
GAP_COLUMNS = (NUMBER, UUID, COUNTRY, RANGE, STATUS, GAP, ADDRESS_ID, ADDRESS_NAME)


def _gaps(arguments: Arguments, role: str, flag: str) -> Select[Any]:
    """
    Live numbers without an address in this role, or with one that is not marked as usable for it.
    """
    address_id, usable = live[f"{role}_id"], live[f"{role}_{flag}"]
    return (
        select(
            live.number_e164,
            live.uuid,
            live.country_alpha2,
            live.range_name,
            live.status,
            case((address_id.is_(None), "no address"), else_="not flagged").label("gap"),
            address_id.label("address_id"),
            readable(live[f"{role}_name"], arguments).label("address_name"),
        )
        .where(account_filter(live_numbers, arguments), usable.is_not(True))
        .order_by(*portable_order(live.country_alpha2, live.number_e164, live.uuid))
    )


def _emergency_gaps(arguments: Arguments) -> Select[Any]:
    return _gaps(arguments, "emergency_number_address", "use_for_emergency_address")


def _proof_gaps(arguments: Arguments) -> Select[Any]:
    return _gaps(arguments, "number_address", "use_for_proof_of_address")


def _other_country(arguments: Arguments, role: str) -> Select[Any]:
    """
    Live numbers whose address in this role has the code of another country.

    Most have the same code, so that is compared first; the list of other codes is long.
    """
    sent = func.upper(func.trim(live[f"{role}_country_iso"]))
    country = case(alpha2_by_other_code(), value=sent, else_=sent)
    return select(
        live.number_e164,
        live.uuid,
        live.country_alpha2,
        literal(role).label("role"),
        live[f"{role}_id"].label("address_id"),
        readable(live[f"{role}_name"], arguments).label("address_name"),
        live[f"{role}_country_iso"].label("address_country_iso"),
        live[f"{role}_country_name"].label("address_country_name"),
    ).where(
        account_filter(live_numbers, arguments),
        sent != "",
        sent != live.country_alpha2,
        country != live.country_alpha2,
    )


def _country_mismatch(arguments: Arguments) -> Select[Any]:
    both = union_all(*(_other_country(arguments, role) for role in ROLES)).subquery()
    order = (both.c.country_alpha2, both.c.number_e164, both.c.uuid, both.c.role)
    return select(both).order_by(*portable_order(*order))


def _shared(arguments: Arguments) -> Select[Any]:
    address_id = live.emergency_number_address_id
    used = (
        select(address_id.label("address_id"), func.count().label("numbers"))
        .where(account_filter(live_numbers, arguments), address_id.is_not(None))
        .group_by(address_id)
        .subquery()
    )
    return (
        select(
            used.c.address_id,
            readable(addresses.c.name, arguments).label("address_name"),
            readable(addresses.c.address_line1, arguments),
            addresses.c.address_city,
            readable(addresses.c.address_postal_code, arguments),
            addresses.c.country_iso,
            used.c.numbers,
        )
        .join_from(used, addresses, addresses.c.id == used.c.address_id)
        .where(addresses.c.account == arguments.account, used.c.numbers >= arguments.at_least)
        .order_by(used.c.numbers.desc(), used.c.address_id)
    )


def _recently_changed(arguments: Arguments) -> Select[Any]:
    history = address_history.c
    in_use = (
        select(func.count())
        .where(
            account_filter(live_numbers, arguments),
            live.emergency_number_address_id == history.address_id,
        )
        .scalar_subquery()
    )
    recent = (
        select(
            history.valid_from,
            history.address_id,
            readable(history.name, arguments).label("address_name"),
            readable(history.changes, arguments),
            in_use.label("numbers"),
        )
        .where(
            history.account == arguments.account,
            history.event == "changed",
            in_window(history.valid_from, arguments),
        )
        .subquery()
    )
    return (
        select(recent)
        .where(recent.c.numbers > 0)
        .order_by(recent.c.valid_from.desc(), recent.c.address_id)
    )


REPORTS = (
    Report(
        name="emergency-address-gaps",
        meaning="Live numbers without an emergency address, or with one that is not flagged for "
        "emergency calls.",
        why="An emergency call from such a number may reach the emergency services without a "
        "location. Ofcom requires the address where the line is installed (General "
        "Condition A3); 47 CFR 9.11 and 9.16 require a registered or dispatchable location of a "
        "VoIP line and of a phone behind a switchboard (RAY BAUM'S Act); Article 109 of Directive "
        "(EU) 2018/1972 requires the caller's location with every emergency call.",
        takes={"country": None, "limit": None},
        columns=GAP_COLUMNS,
        query=_emergency_gaps,
    ),
    Report(
        name="proof-of-address-gaps",
        meaning="Live numbers without an address, or with one that is not flagged as proof of "
        "address.",
        why="Many numbering plans give geographic numbers only to those who show a local address; "
        "a number without its proof may be withdrawn. Germany's Bundesnetzagentur requires a "
        "business address or a line in the code's area (order 25/2006).",
        takes={"country": None, "limit": None},
        columns=GAP_COLUMNS,
        query=_proof_gaps,
    ),
    Report(
        name="address-country-mismatch",
        meaning="Live numbers with an address in another country than the number's; UK and GB are "
        "the same.",
        why="An emergency call with an address abroad goes to the wrong control room or to none, "
        "and a proof of address from abroad rarely satisfies a numbering plan that requires a "
        "local one (see proof-of-address-gaps).",
        takes={"country": None, "limit": None},
        columns=(
            NUMBER,
            UUID,
            COUNTRY,
            Column("role", Kind.TEXT, "number_address or emergency_number_address."),
            ADDRESS_ID,
            ADDRESS_NAME,
            Column("address_country_iso", Kind.TEXT, "Country code of the address, as sent."),
            Column(
                "address_country_name",
                Kind.TEXT,
                "Country of the address, as the provider names it.",
            ),
        ),
        query=_country_mismatch,
    ),
    Report(
        name="shared-emergency-addresses",
        meaning="Emergency addresses that several live numbers share, the most shared ones first.",
        why="One street address for many numbers is right for one office, and wrong for staff at "
        "home or on several floors: the dispatchable location of 47 CFR 9.16 includes the room or "
        "floor if that is needed to find the caller.",
        takes={"at_least": 10, "country": None, "limit": None},
        columns=(
            ADDRESS_ID,
            ADDRESS_NAME,
            Column("address_line1", Kind.TEXT, "First line of the address.", personal=True),
            Column("address_city", Kind.TEXT, "City."),
            Column("address_postal_code", Kind.TEXT, "Postal code.", personal=True),
            Column("country_iso", Kind.TEXT, "Country code of the address, as sent."),
            structs.replace(IN_LIVE_USE, has_total=True),
        ),
        query=_shared,
    ),
    Report(
        name="emergency-addresses-changed",
        meaning="Emergency addresses of live numbers that changed in the last N days, newest "
        "first.",
        why="A change of one address moves all numbers that share it. Check that their users "
        "have really moved.",
        takes={"days": 30, **WINDOW, "country": None, "limit": None},
        columns=(
            VALID_FROM,
            ADDRESS_ID,
            ADDRESS_NAME,
            WHAT_CHANGED,
            IN_LIVE_USE,
        ),
        query=_recently_changed,
        finish=with_changes_as_text,
    ),
)
