"""
Reports of the inventory itself: the numbers, the ranges they are in and the addresses they have.

Each gives the current state, or the state as it was known at a time: then the number's history row
and the addresses' history rows of that time take the place of `numbers` and `addresses`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import and_, case, func, or_, select

from syncsvc.reports.definition.expressions import (
    account_filter,
    exact_sum,
    is_reserved,
    known_at,
    portable_order,
    readable,
)
from syncsvc.reports.definition.report import (
    CHARGE_WITH_TOTAL,
    COUNTRY,
    EVERY_LIFECYCLE,
    NUMBER,
    RANGE,
    REQUIRED,
    STATUS,
    SUM_DIGITS,
    UUID,
    Column,
    Kind,
    Report,
    percent,
)
from syncsvc.schema.tables import address_history, addresses, number_history, numbers
from syncsvc.vocabulary import Lifecycle

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sqlalchemy import ColumnElement, Connection, FromClause, Select, Table
    from sqlalchemy.sql.base import ReadOnlyColumnCollection

    from syncsvc.reports.definition.report import Arguments, Row

ROLES = ("number_address", "emergency_number_address")
ADDRESS_FIELDS = {
    "name": "name",
    "line1": "address_line1",
    "line2": "address_line2",
    "city": "address_city",
    "region": "address_region",
    "postal_code": "address_postal_code",
    "country_iso": "country_iso",
}
PERSONAL_FIELDS = {
    field for field, name in ADDRESS_FIELDS.items() if addresses.c[name].info.get("personal")
}
OF_NUMBER = ("number_e164", "uuid", "country_alpha2", "country_name", "range_code", "range_name")
STATE = ("lifecycle", "status", "monthly_charge", "setup_charge", "provisioned_at", "cancelled_at")
BOTH = "both"
SORTED_UP_TO = 100_000  # numbers; more come as the database finds them


class Source(NamedTuple):
    """
    The tables that a state is read from.

    Attributes:
        rows: Numbers joined with the rows of their state.
        state: The columns of their state.
        since: When a run found that state.
        conditions: Which rows count.
    """

    rows: FromClause
    state: ReadOnlyColumnCollection[str, Any]
    since: ColumnElement[Any]
    conditions: tuple[ColumnElement[bool], ...]


def _source(arguments: Arguments) -> Source:
    """
    Read the current state from `numbers`, and that of another time from `number_history`.
    """
    wanted = account_filter(numbers, arguments)
    if arguments.at is None:
        return Source(numbers, numbers.c, numbers.c.changed_at, (wanted,))
    history = number_history.c
    same = and_(history.account == numbers.c.account, history.uuid == numbers.c.uuid)
    then = known_at(number_history, arguments.at)
    rows = numbers.join(number_history, same)
    return Source(rows, history, history.valid_from, (wanted, then))


def _address(
    arguments: Arguments, role: str, source: Source
) -> tuple[FromClause, ColumnElement[bool]]:
    """
    Return the address of a role, as of the same time, and the condition to join it on.
    """
    table: Table = addresses if arguments.at is None else address_history
    address = table.alias(role)
    key = address.c.id if arguments.at is None else address.c.address_id
    same = and_(address.c.account == numbers.c.account, key == source.state[f"{role}_id"])
    return address, same if arguments.at is None else and_(same, known_at(address, arguments.at))


def _is_small(connection: Connection, arguments: Arguments) -> bool:
    """
    Return whether an account has few numbers, or few are asked for.
    """
    if arguments.limit is not None:
        return True
    some = select(numbers.c.uuid).where(numbers.c.account == arguments.account)
    query = select(func.count()).select_from(some.limit(SORTED_UP_TO + 1).subquery())
    return connection.execute(query).scalar_one() <= SORTED_UP_TO


def _inventory(arguments: Arguments) -> Select[Any]:
    """
    Select numbers with both addresses.
    """
    source = _source(arguments)
    rows, of_addresses = source.rows, []
    for role in ROLES:
        address, same = _address(arguments, role, source)
        rows = rows.outerjoin(address, same)
        of_addresses.append(source.state[f"{role}_id"])
        of_addresses += [
            readable(address.c[name], arguments).label(f"{role}_{field}")
            for field, name in ADDRESS_FIELDS.items()
        ]
    query = select(
        *(numbers.c[name] for name in OF_NUMBER),
        *(source.state[name] for name in STATE),
        numbers.c.first_seen_at,
        source.since.label("valid_from"),
        *of_addresses,
    )
    if arguments.lifecycle != EVERY_LIFECYCLE:
        query = query.where(source.state.lifecycle == arguments.lifecycle)
    return (
        query.select_from(rows)
        .where(*source.conditions)
        .order_by(*portable_order(numbers.c.number_e164, numbers.c.uuid))
    )


def _at_address(arguments: Arguments) -> Select[Any]:
    source = _source(arguments)
    own = source.state.number_address_id == arguments.address
    emergency = source.state.emergency_number_address_id == arguments.address
    role = case((and_(own, emergency), BOTH), (own, ROLES[0]), else_=ROLES[1])
    return (
        select(
            *(numbers.c[name] for name in OF_NUMBER),
            source.state.status,
            role.label("role"),
            source.state.monthly_charge,
            source.state.provisioned_at,
        )
        .select_from(source.rows)
        .where(*source.conditions, source.state.lifecycle == Lifecycle.LIVE, or_(own, emergency))
        .order_by(*portable_order(numbers.c.country_alpha2, numbers.c.number_e164, numbers.c.uuid))
    )


def _utilisation(arguments: Arguments) -> Select[Any]:
    source = _source(arguments)
    live = source.state.lifecycle == Lifecycle.LIVE
    reserved = and_(live, is_reserved(source.state.status))
    charge = source.state.monthly_charge
    groups = [numbers.c[name] for name in ("country_alpha2", "range_code", "range_name")]
    return (
        select(
            *groups,
            _count_if(live).label("numbers"),
            _count_if(and_(live, ~is_reserved(source.state.status))).label("in_use"),
            _count_if(reserved).label("reserved"),
            _count_if(~live).label("cancelled"),
            exact_sum(case((live, charge))).label("monthly_charge"),
            exact_sum(case((reserved, charge))).label("reserved_charge"),
        )
        .select_from(source.rows)
        .where(*source.conditions)
        .group_by(*groups)
        .order_by(*portable_order(*groups))
    )


def _count_if(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.count(case((condition, 1)))


def _with_utilisation(rows: Iterable[Row], _asked: Arguments) -> Iterator[Row]:
    for row in rows:
        yield {**row, "utilisation": percent(row["in_use"], row["numbers"])}


def _address_columns(role: str, whose: str) -> tuple[Column, ...]:
    meanings = {
        "id": (Kind.ID, f"The provider's id of the {whose}; NULL if none."),
        "name": (Kind.TEXT, f"Name of the {whose}."),
        "line1": (Kind.TEXT, "First line."),
        "line2": (Kind.TEXT, "Second line."),
        "city": (Kind.TEXT, "City."),
        "region": (Kind.TEXT, "Region."),
        "postal_code": (Kind.TEXT, "Postal code."),
        "country_iso": (Kind.TEXT, "Country code, as sent."),
    }
    return tuple(
        Column(f"{role}_{field}", kind, meaning, personal=field in PERSONAL_FIELDS)
        for field, (kind, meaning) in meanings.items()
    )


WHOLE_NUMBER = (
    NUMBER,
    UUID,
    COUNTRY,
    Column("country_name", Kind.TEXT, "Country, as the provider names it."),
    Column("range_code", Kind.TEXT, "Range code."),
    RANGE,
)
PROVISIONED = Column("provisioned_at", Kind.MOMENT, "When the provider says it was provisioned.")

REPORTS = (
    Report(
        name="inventory",
        meaning="Every number with its range, status, charges, dates and both addresses.",
        why="The whole inventory as one file, as it is now or, with --at, as it was known then: "
        "for an audit, a migration or a colleague's spreadsheet. Live numbers only, unless "
        "--lifecycle says otherwise; number, range and country are those of now. Sorted by number, "
        "unless there are more than 100,000: then rows come as the database finds them.",
        takes={"at": None, "lifecycle": str(Lifecycle.LIVE), "country": None, "limit": None},
        columns=(
            *WHOLE_NUMBER,
            Column("lifecycle", Kind.TEXT, "live or cancelled."),
            STATUS,
            CHARGE_WITH_TOTAL,
            Column("setup_charge", Kind.AMOUNT, "Set-up charge."),
            PROVISIONED,
            Column("cancelled_at", Kind.MOMENT, "When it was cancelled; NULL while it is live."),
            Column("first_seen_at", Kind.MOMENT, "Start of the run that first saw it."),
            Column("valid_from", Kind.MOMENT, "Start of the run that found this state."),
            *_address_columns(ROLES[0], "address"),
            *_address_columns(ROLES[1], "emergency address"),
        ),
        query=_inventory,
        sorts=_is_small,
    ),
    Report(
        name="range-utilisation",
        meaning="How many live numbers of each range are in use or only reserved, and what the "
        "reserved ones cost.",
        why="Order from a range with reserved numbers last, and return reserved numbers of ranges "
        "that nobody needs. The cancelled ones show which ranges are being given up.",
        takes={"at": None, "country": None},
        columns=(
            COUNTRY,
            Column("range_code", Kind.TEXT, "Range code."),
            RANGE,
            Column("numbers", Kind.NUMBER, "Live numbers.", has_total=True),
            Column("in_use", Kind.NUMBER, "Those that are not reserved.", has_total=True),
            Column("reserved", Kind.NUMBER, "Those with the status Reserved.", has_total=True),
            Column("utilisation", Kind.PERCENT, "Share of the live numbers that is in use."),
            Column("cancelled", Kind.NUMBER, "Numbers that were cancelled.", has_total=True),
            Column(
                "monthly_charge",
                Kind.AMOUNT,
                "Monthly charges of live numbers.",
                has_total=True,
                digits=SUM_DIGITS,
            ),
            Column(
                "reserved_charge",
                Kind.AMOUNT,
                "Those of the reserved numbers.",
                has_total=True,
                digits=SUM_DIGITS,
            ),
        ),
        query=_utilisation,
        finish=_with_utilisation,
    ),
    Report(
        name="numbers-at-address",
        meaning="Live numbers that have this address, as their address, their emergency address "
        "or both.",
        why="For a move or a closed site: these numbers need another address or can be returned. "
        "`inventory` and the compliance reports show the ids of addresses.",
        takes={"address": REQUIRED, "at": None, "country": None, "limit": None},
        columns=(
            *WHOLE_NUMBER,
            STATUS,
            Column("role", Kind.TEXT, "number_address, emergency_number_address or both."),
            CHARGE_WITH_TOTAL,
            PROVISIONED,
        ),
        query=_at_address,
    ),
)
