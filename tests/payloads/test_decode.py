"""
From the provider's bytes to records and rejects: what is read, from where, and what is refused.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from syncsvc.country_alpha2 import alpha2
from syncsvc.errors import ProviderUnavailable
from syncsvc.payloads.decode_page import read_page
from syncsvc.payloads.records import Address, Number, Page, Reject, Unchanged

if TYPE_CHECKING:
    from datetime import tzinfo

UUID = "7c327e0f-6bce-4b2f-9d5d-9c86e7fa065f"
E164 = "+441245123456"
DEEP = "[" * 100_000 + "]" * 100_000
EXAMPLE: dict[str, Any] = {
    "uuid": UUID,
    "number_e164": E164,
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
        "number_address": {
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
        },
        "emergency_number_address": None,
    },
    "provisioned": "2016-01-03 17:48:59",
}
MAIN_OFFICE = Address(
    id=1,
    name="Main office",
    use_for_proof_of_address=True,
    use_for_emergency_address=False,
    address_line1="7800 Alexander Road",
    address_line2="",
    address_city="London",
    address_region="London",
    address_postal_code="NW2 1AA",
    country_name="United Kingdom",
    country_iso="GB",
    extra=None,
)
ADDRESS_FIELDS = ("number_address", "emergency_number_address")
TEXT_FIELDS = (
    "number",
    "range_code",
    "range_name",
    "country_code",
    "country_name",
    "country_iso",
    "status",
)


def row(**fields: object) -> str:
    """
    A row with uuid, number and whatever else is given.
    """
    return json.dumps({"uuid": UUID, "number_e164": E164, **fields})


def raw_row(fragment: str) -> str:
    """
    A row with members that stand just so in the text.
    """
    return f'{{"uuid":"{UUID}","number_e164":"{E164}",{fragment}}}'


def body(*rows: str, rest: str = "") -> bytes:
    """
    A page of rows.
    """
    return f'{{"numbers":[{",".join(rows)}]{rest}}}'.encode()


def read(text: str, zone: tzinfo = UTC) -> Number | Reject:
    """
    What one row is read as.
    """
    [found] = read_page(body(text), zone).rows
    assert not isinstance(found, Unchanged)
    return found


def number(text: str, zone: tzinfo = UTC) -> Number:
    """
    The number that a row is read as.
    """
    found = read(text, zone)
    assert isinstance(found, Number), found
    return found


def reject(text: str) -> Reject:
    """
    The reject that a row is read as.
    """
    found = read(text)
    assert isinstance(found, Reject), found
    return found


def test_the_documented_example_is_read_whole() -> None:
    """
    Every field of the provider's own example has its place.
    """
    page = read_page(body(json.dumps(EXAMPLE), rest=',"num_results":1,"paginates":false'), UTC)

    expected = Number(
        uuid=UUID,
        number_e164=E164,
        number="123456",
        range_code="1245",
        range_name="Chelmsford",
        country_code="44",
        country_name="United Kingdom",
        country_iso="UK",
        country_alpha2="GB",
        lifecycle="live",
        status="Reserved",
        monthly_charge=Decimal("0.3000"),
        setup_charge=Decimal("0.0000"),
        provisioned_at=datetime(2016, 1, 3, 17, 48, 59, tzinfo=UTC),
        cancelled_at=None,
        number_address_id=1,
        emergency_number_address_id=None,
        details_status="Reserved",
        details_provisioned_at=datetime(2018, 11, 12, 14, 21, 48, tzinfo=UTC),
        extra=None,
        addresses=(MAIN_OFFICE,),
    )
    assert Page(rows=[expected], num_results=1, paginates=False) == page


def test_every_value_is_in_the_field_of_its_name() -> None:
    """
    No field of `Number`, which is built by position, has the value of another one.
    """
    texts = {name: name for name in TEXT_FIELDS if name != "country_iso"}
    details = {
        "status": "details_status",
        "provisioned": "2016-01-02 00:00:00",
        "cancelled": "2016-01-03 00:00:00",
        "number_address": {"id": 7},
        "emergency_number_address": {"id": 8},
    }
    amounts = {"monthly_charge": 1, "setup_charge": 2}
    provisioned = "2016-01-01 00:00:00"

    found = number(
        row(
            **texts,
            **amounts,
            country_iso="UK",
            provisioned=provisioned,
            details=details,
            extra_field=True,
        )
    )

    assert {name: name for name in texts} == {name: getattr(found, name) for name in texts}
    assert (found.country_iso, found.country_alpha2) == ("UK", "GB")
    assert (found.monthly_charge, found.setup_charge) == (Decimal(1), Decimal(2))
    days = (found.provisioned_at, found.details_provisioned_at, found.cancelled_at)
    assert [day.day if day else None for day in days] == [1, 2, 3]
    assert (found.number_address_id, found.emergency_number_address_id) == (7, 8)
    assert (found.details_status, found.lifecycle) == ("details_status", "live")
    assert found.extra == '{"extra_field":true}'


def test_a_row_needs_uuid_and_number_only() -> None:
    """
    Any other field may be missing, or null, and both mean the same.
    """
    names = [*TEXT_FIELDS, "monthly_charge", "setup_charge", "provisioned", "cancelled"]
    nulls = dict.fromkeys([*names, "details", *ADDRESS_FIELDS])
    inner = dict.fromkeys(["status", "provisioned", "cancelled", *ADDRESS_FIELDS])

    bare = number(row())

    assert (
        bare.uuid,
        bare.number_e164,
        bare.lifecycle,
        bare.addresses,
    ) == (UUID, E164, "live", ())
    told = {"uuid", "number_e164", "lifecycle", "addresses"}
    assert {None} == {getattr(bare, name) for name in bare.__struct_fields__ if name not in told}
    assert bare == number(row(**nulls))
    assert bare == number(row(details=inner))
    assert bare == number(row(details={}))


@pytest.mark.parametrize("missing", ["uuid", "number_e164"])
@pytest.mark.parametrize("value", ["missing", None, "", [], {}, True, "7" * 65])
def test_a_row_without_uuid_or_number_is_a_reject(missing: str, value: object) -> None:
    """
    A number can't be kept without its key and its number.
    """
    fields: dict[str, object] = {"uuid": UUID, "number_e164": E164, missing: value}
    if value == "missing":
        del fields[missing]

    found = reject(json.dumps(fields))

    assert missing in found.reason
    assert (UUID if missing == "number_e164" else None) == found.uuid


@pytest.mark.parametrize("length", [1, 64])
def test_a_number_has_at_most_64_characters(length: int) -> None:
    """
    The longest number that an index can hold on every database is read.
    """
    sent = "\N{ARABIC-INDIC DIGIT THREE}" * length

    assert number(row(number_e164=sent)).number_e164 == sent


@pytest.mark.parametrize("blank", [" ", "\t\n", "\u3000"])
def test_a_blank_number_is_a_reject(blank: str) -> None:
    """
    A number of spaces is none.
    """
    assert reject(row(number_e164=blank)).reason == "number_e164: it is blank"


def test_a_uuid_has_one_spelling() -> None:
    """
    A uuid is kept in lower case, in a number and in a reject.
    """
    assert number(row(uuid=UUID.upper())).uuid == UUID
    assert reject(row(uuid=UUID.upper(), number=True)).uuid == UUID


@pytest.mark.parametrize("field", ADDRESS_FIELDS)
@pytest.mark.parametrize("place", ["row", "details"])
def test_addresses_are_read_in_both_places(field: str, place: str) -> None:
    """
    An address may stand in the number, as documented, or in its details, as in the example.
    """
    sent = {field: EXAMPLE["details"]["number_address"]}

    found = number(row(**sent) if place == "row" else row(details=sent))

    assert found.addresses == (MAIN_OFFICE,)
    assert {field: 1} == {
        name: getattr(found, f"{name}_id")
        for name in ADDRESS_FIELDS
        if getattr(found, f"{name}_id") is not None
    }


@pytest.mark.parametrize("field", ADDRESS_FIELDS)
def test_the_numbers_own_address_comes_first(field: str) -> None:
    """
    If both places hold an address, the number's own is taken; if its own is null, the other.
    """
    both = number(row(**{field: {"id": 1}}, details={field: {"id": 2}}))
    inner = number(row(**{field: None}, details={field: {"id": 2}}))

    assert [address.id for address in both.addresses] == [1]
    assert [address.id for address in inner.addresses] == [2]


def test_a_number_may_have_two_addresses() -> None:
    """
    Both addresses are told apart, number's first.
    """
    found = number(row(details={"number_address": {"id": 1}, ADDRESS_FIELDS[1]: {"id": 2}}))

    assert [address.id for address in found.addresses] == [1, 2]
    assert (found.number_address_id, found.emergency_number_address_id) == (1, 2)


def test_status_is_read_in_both_places() -> None:
    """
    The number's own status comes first; that of the details is kept beside it.
    """
    both = number(row(status="Active", details={"status": "Reserved"}))
    inner = number(row(details={"status": "Reserved"}))

    assert (both.status, both.details_status) == ("Active", "Reserved")
    assert (inner.status, inner.details_status) == ("Reserved", "Reserved")


def test_provisioned_is_read_in_both_places() -> None:
    """
    The number's own stamp comes first, unless it is blank; that of the details is kept beside it.
    """
    early, late = "2016-01-03 17:48:59", "2018-11-12 14:21:48"
    both = number(row(provisioned=early, details={"provisioned": late}))
    inner = number(row(provisioned="", details={"provisioned": late}))
    own = number(row(provisioned=early, details={"provisioned": ""}))

    years = [
        [stamp and stamp.year for stamp in (found.provisioned_at, found.details_provisioned_at)]
        for found in (both, inner, own)
    ]
    assert years == [[2016, 2018], [2018, 2018], [2016, None]]


def test_cancelled_is_read_in_both_places() -> None:
    """
    A stamp of the details comes first, then one of the number; neither decides on its own.
    """
    early, late = "2016-01-03 17:48:59", "2018-11-12 14:21:48"
    both = number(row(cancelled=early, details={"cancelled": late}))
    inner = number(row(details={"cancelled": late}))
    own = number(row(cancelled=early, details={"cancelled": ""}))

    assert [found.lifecycle for found in (both, inner, own)] == ["live"] * 3
    stamps = [found.cancelled_at for found in (both, inner, own)]
    assert [stamp and stamp.year for stamp in stamps] == [2018, 2018, 2016]


def test_of_two_cancelled_stamps_one_from_before_the_provisioning_gives_way() -> None:
    """
    The stamp of the details comes first, unless it is too early and the number's own is not.
    """
    both = {"cancelled": "2018-11-12 14:21:48", "details": {"cancelled": "1970-01-01 00:00:00"}}

    found = [
        number(row(provisioned=each, **both))
        for each in ("2016-01-03 17:48:59", "", "2020-01-01 00:00:00")
    ]

    assert [each.cancelled_at and each.cancelled_at.year for each in found] == [2018, 1970, 1970]


@pytest.mark.parametrize("status", ["Cancelled", "cancelled", "CANCELLED", " Cancelled "])
@pytest.mark.parametrize("place", ["row", "details"])
def test_the_status_cancelled_means_cancelled(status: str, place: str) -> None:
    """
    A number whose status says so is cancelled, in any case, also without a stamp.
    """
    found = number(row(status=status) if place == "row" else row(details={"status": status}))

    assert ("cancelled", None, status) == (found.lifecycle, found.cancelled_at, found.status)


@pytest.mark.parametrize("status", ["", "Reserved", "Cancelling", "Not cancelled", "Canceled"])
def test_no_other_status_means_cancelled(status: str) -> None:
    """
    A status that the service does not know leaves the number live.
    """
    assert number(row(status=status)).lifecycle == "live"


@pytest.mark.parametrize("blank", ["", None, "missing", "0000-00-00 00:00:00", " "])
@pytest.mark.parametrize("place", ["row", "details"])
def test_every_form_of_a_blank_stamp_means_none(blank: str | None, place: str) -> None:
    """
    Empty, null, missing and zeros all mean that it has not happened.
    """
    stamps = {} if blank == "missing" else {"provisioned": blank, "cancelled": blank}

    found = number(row(**stamps) if place == "row" else row(details=stamps))

    expected = ("live", None, None, None)
    assert expected == (
        found.lifecycle,
        found.provisioned_at,
        found.cancelled_at,
        found.details_provisioned_at,
    )


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("2024-07-15 12:00:00", datetime(2024, 7, 15, 11, tzinfo=UTC)),
        ("2024-01-15 12:00:00", datetime(2024, 1, 15, 12, tzinfo=UTC)),
        ("2024-07-15T12:00:00Z", datetime(2024, 7, 15, 12, tzinfo=UTC)),
        ("2024-07-15T12:00:00+05:30", datetime(2024, 7, 15, 6, 30, tzinfo=UTC)),
    ],
)
def test_every_stamp_is_read_in_the_zone_given(sent: str, expected: datetime) -> None:
    """
    All stamps of a row go by the provider's zone, summer time included, or by their own.
    """
    stamps = {"provisioned": sent, "cancelled": sent}

    outer = number(row(**stamps), ZoneInfo("Europe/London"))
    inner = number(row(details=stamps), ZoneInfo("Europe/London"))

    assert [expected] * 5 == [
        outer.provisioned_at,
        outer.cancelled_at,
        inner.provisioned_at,
        inner.cancelled_at,
        inner.details_provisioned_at,
    ]


@pytest.mark.parametrize("field", ["monthly_charge", "setup_charge"])
@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("0.3", "0.3000"),
        ('"0.3"', "0.3000"),
        ("0", "0.0000"),
        ("1e2", "100.0000"),
        ("-0.0", "0.0000"),
        ("-1.5", "-1.5000"),
        ("0.00025", "0.0002"),
        ("0.00015", "0.0002"),
        ("2.67500000000000000001", "2.6750"),
        ("99999999.9999", "99999999.9999"),
        ('"-99999999.9999"', "-99999999.9999"),
        ("12345678.12345", "12345678.1234"),
        ("12345678.123450000000000000001", "12345678.1235"),
        ("0e999", "0.0000"),
    ],
)
def test_charges_are_exact_decimals(field: str, sent: str, expected: str) -> None:
    """
    A charge is read digit by digit, as text or as a number, and never through a binary float.
    """
    assert expected == str(getattr(number(raw_row(f'"{field}":{sent}')), field))


@pytest.mark.parametrize("field", ["monthly_charge", "setup_charge"])
@pytest.mark.parametrize(
    "sent",
    [
        "100000000",
        "99999999.99995",
        '"100000000"',
        "1e400",
        "-1e400",
        "1e99999999999999999999",
        '"1e400"',
        '"NaN"',
        '"Infinity"',
        '"1_000"',
        '"1,5"',
        '" 1"',
        '"\\ud800"',
        "true",
        "false",
        "[]",
        "{}",
        "9" * 400,
        pytest.param("9" * 5000, id="5000 digits"),
        pytest.param(DEEP, id="deep"),
    ],
)
def test_a_charge_that_is_no_amount_makes_a_reject(field: str, sent: str) -> None:
    """
    What is no decimal within numeric(12,4) costs the row, and no more than the row.
    """
    assert reject(raw_row(f'"{field}":{sent}')).uuid == UUID


@pytest.mark.parametrize(
    ("sent", "expected"), [(True, True), (False, False), (0, False), (1, True)]
)
@pytest.mark.parametrize("name", ["useForProofOfAddress", "useForEmergencyAddress"])
def test_flags_are_booleans_or_0_or_1(name: str, sent: object, *, expected: bool) -> None:
    """
    A flag of an address comes out as a boolean, whichever way it was sent.
    """
    [address] = number(row(number_address={"id": 1, name: sent})).addresses

    flags = (address.use_for_proof_of_address, address.use_for_emergency_address)
    assert {expected, None} == set(flags)


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (2**63 - 1, 2**63 - 1),
        (-(2**63), -(2**63)),
        (str(2**63 - 1), 2**63 - 1),
        (str(-(2**63)), -(2**63)),
        ("0012", 12),
    ],
)
def test_ids_reach_to_both_ends_of_64_bits(sent: object, expected: int) -> None:
    """
    An address id may be any integer within 64 bits, as number or as text.
    """
    assert expected == number(row(number_address={"id": sent})).number_address_id


@pytest.mark.parametrize("nothing", [[], False, None], ids=json.dumps)
def test_an_object_may_be_nothing_as_php_sends_it(nothing: object) -> None:
    """
    `[]` and `false` in place of an object are the same as null.
    """
    without = number(row(details=nothing, **dict.fromkeys(ADDRESS_FIELDS, nothing)))
    inside = number(row(details=dict.fromkeys(ADDRESS_FIELDS, nothing)))
    [address] = number(row(number_address={"id": 1, "addressCountry": nothing})).addresses

    assert number(row()) == without == inside
    assert (address.country_name, address.country_iso, address.extra) == (None, None, None)


@pytest.mark.parametrize("field", ["monthly_charge", "setup_charge"])
def test_an_amount_may_be_nothing_as_php_sends_it(field: str) -> None:
    """
    An empty text in place of a charge is the same as null.
    """
    assert number(row()) == number(row(**{field: ""}))


@pytest.mark.parametrize("name", ["useForProofOfAddress", "useForEmergencyAddress"])
def test_a_flag_may_be_nothing_as_php_sends_it(name: str) -> None:
    """
    An empty text in place of a flag is the same as null.
    """
    found = number(row(number_address={"id": 1, name: ""}))

    assert number(row(number_address={"id": 1})) == found


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("441245000001", "441245000001"),
        ("0", "0"),
        ("-7", "-7"),
        ("12345678901234567890123", "12345678901234567890123"),
        ("12.50", "12.50"),
        ("1e3", "1000"),
        ("1E-7", "0.0000001"),
    ],
)
def test_a_number_in_place_of_text_is_its_digits(sent: str, expected: str) -> None:
    """
    Every text may come as a number: those of the row, of its details and of its addresses.
    """
    names = ("number_e164", *TEXT_FIELDS)
    rows = ",".join(f'"{name}":{sent}' for name in names)
    country = f'"addressCountry":{{"name":{sent},"iso":{sent}}}'
    lines = f'"name":{sent},"addressLine1":{sent},"addressPostalCode":{sent},{country}'
    text = f'{{"uuid":"{UUID}",{rows},"number_address":{{"id":1,{lines}}}}}'

    found = number(text)
    [address] = found.addresses

    assert {expected} == {getattr(found, name) for name in names}
    told = (address.name, address.address_line1, address.address_postal_code)
    assert {expected} == {*told, address.country_name, address.country_iso}
    assert (found.extra, address.extra) == (None, None)
    assert expected == number(raw_row(f'"details":{{"status":{sent}}}')).details_status


def test_unknown_fields_of_a_repaired_row_are_kept_as_sent() -> None:
    """
    If types other than the documented ones are read, nothing else is read differently.
    """
    found = number(raw_row('"number":1,"new":[],"other":{"a":"","b":1.50},"monthly_charge":"1.5"'))

    assert found.extra == '{"new":[],"other":{"a":"","b":1.50}}'
    assert (found.number, found.monthly_charge) == ("1", Decimal("1.5"))


BAD_ADDRESSES = [
    {},
    {"id": None},
    {"id": 2**63},
    {"id": -(2**63) - 1},
    {"id": str(2**63)},
    {"id": 10**40},
    {"id": 1.5},
    {"id": True},
    {"id": "one"},
    {"id": [1]},
    {"id": 1, "name": True},
    {"id": 1, "useForProofOfAddress": 2},
    {"id": 1, "useForEmergencyAddress": "true"},
    {"id": 1, "useForEmergencyAddress": -1},
    {"id": 1, "addressLine1": ["x"]},
    {"id": 1, "addressCountry": "GB"},
    {"id": 1, "addressCountry": {"iso": True}},
    {"id": 1, "new": 1, "name": True},
    [{"id": 1}],
    "",
    "Main office",
    0,
    7,
    True,
]


@pytest.mark.parametrize("sent", BAD_ADDRESSES, ids=json.dumps)
@pytest.mark.parametrize("field", ADDRESS_FIELDS)
@pytest.mark.parametrize("place", ["row", "details", "details, beside a good one"])
def test_a_row_with_an_address_that_cannot_be_read_is_a_reject(
    sent: object, field: str, place: str
) -> None:
    """
    A fault inside an address costs the row, and the reason names the address, in either place.
    """
    rows = {
        "row": row(**{field: sent}),
        "details": row(details={field: sent}),
        "details, beside a good one": row(**{field: {"id": 1}}, details={field: sent}),
    }

    found = reject(rows[place])

    assert found.reason.startswith(field)
    assert found.uuid == UUID


@pytest.mark.parametrize(
    "fields",
    [
        *({name: True} for name in TEXT_FIELDS),
        *({name: []} for name in TEXT_FIELDS),
        {"provisioned": "soon"},
        {"provisioned": 1451843339},
        {"provisioned": "0000-01-01 00:00:00"},
        {"cancelled": "soon"},
        {"cancelled": False},
        {"details": [[]]},
        {"details": True},
        {"details": 0},
        {"details": ""},
        {"details": "none"},
        {"details": {"status": False}},
        {"details": {"provisioned": "soon"}},
        {"details": {"cancelled": "soon"}},
        {"details": {"cancelled": 0}},
        {"cancelled": "soon", "details": {"cancelled": "2016-01-03 17:48:59"}},
        {"provisioned": "2016-01-03 17:48:59", "details": {"provisioned": "soon"}},
        {"new": 1, "status": True},
        {"new": 1, "details": {"new": 1, "status": True}},
    ],
    ids=json.dumps,
)
def test_a_row_with_a_field_that_cannot_be_read_is_a_reject(fields: dict[str, object]) -> None:
    """
    Nothing is guessed: a field of the wrong kind costs the row, and the reason names the field.
    """
    found = reject(row(**fields))

    wrong = [name for name in fields if name != "new"]
    assert found.uuid == UUID
    assert any(name in found.reason for name in wrong)


@pytest.mark.parametrize(
    "sent", ["null", "7", "1.5", "true", '"text"', "[]", "[[]]", f'["{UUID}"]']
)
def test_a_row_that_is_no_object_is_a_reject(sent: str) -> None:
    """
    A list may hold anything; what is no object is kept as it is, without a uuid.
    """
    found = reject(sent)

    assert (None, sent) == (found.uuid, found.payload)
    assert "Expected `object`" in found.reason


def test_a_reject_costs_no_neighbour() -> None:
    """
    The other rows of a page are read, in their order, whatever one of them holds.
    """
    faults = ["7", row(number=True), raw_row('"new":"\\ud800"'), raw_row(f'"new":{DEEP}')]

    for fault in faults:
        page = read_page(
            body(row(number="1"), fault, row(number="2"), rest=',"num_results":3'), UTC
        )

        assert page.num_results == 3
        first, middle, last = page.rows
        assert isinstance(middle, Reject)
        assert ("1", fault, "2") == (
            getattr(first, "number", None),
            middle.payload,
            getattr(last, "number", None),
        )


@pytest.mark.parametrize(
    "text",
    [
        raw_row('"number" : true ,\n "é" : "\\u00e9\\/" , "status":"x","status":"y"'),
        raw_row('"monthly_charge":1e400'),
        raw_row('"number":"\\udfff"'),
        raw_row('"\\ud800":1'),
        '{"numbers": 7 }',
    ],
)
def test_the_payload_of_a_reject_is_as_sent(text: str) -> None:
    """
    A reject keeps the row's text to the last space and escape.
    """
    assert text == reject(text).payload


@pytest.mark.parametrize(
    "text",
    [
        f'{{"number":"\\ud800","uuid":"{UUID}"}}',
        f'{{"a":{DEEP},"uuid":"{UUID}","number_e164":"1"}}',
        f'{{"uu\\u0069d":"{UUID}","number_e164":true}}',
        f'{{"uuid":"{UUID.replace("7", chr(92) + "u0037")}","number_e164":true}}',
        f'{{"uuid":7,"uuid":"{UUID}","number_e164":true}}',
    ],
    ids=range(5),
)
def test_a_uuid_is_read_from_a_reject_where_possible(text: str) -> None:
    """
    The number that a reject stands for is known, however hard the rest is to read.
    """
    assert reject(text).uuid == UUID


@pytest.mark.parametrize(
    "text",
    [
        '{"uuid":"7c327e0f","number_e164":"1"}',
        '{"uuid":"\\ud800","number_e164":"1"}',
        f'{{"uuid":{DEEP}}}',
        f'{{"inner":{{"uuid":"{UUID}"}}}}',
        f'{{"UUID":"{UUID}"}}',
        f'[{{"uuid":"{UUID}"}}]',
        f'"{UUID}"',
        "{}",
    ],
    ids=range(8),
)
def test_no_uuid_is_made_up_for_a_reject(text: str) -> None:
    """
    If the row's own uuid can't be read, the reject has none.
    """
    assert reject(text).uuid is None


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("UK", "GB"),
        ("GB", "GB"),
        ("gb", "GB"),
        ("GBR", "GB"),
        ("DEU", "DE"),
        ("XX", None),
        ("", None),
        (None, None),
    ],
)
def test_a_country_is_kept_as_sent_with_its_iso_code(
    sent: str | None, expected: str | None
) -> None:
    """
    What was sent stays; ISO 3166-1 alpha-2 stands beside it if it is known.
    """
    found = number(row(country_iso=sent))

    assert (sent, expected) == (found.country_iso, found.country_alpha2)


def test_unknown_fields_are_kept() -> None:
    """
    New fields of number, details, address and its country are kept where they were, as sent.
    """
    address = {"id": 1, "floor": 2, "addressCountry": {"iso": "GB", "code": "826"}}
    details = {"status": "x", "tags": [{"b": 1, "a": None}], "number_address": address}
    found = number(row(details=details, new="\N{GRINNING FACE}", number="1"))

    assert found.extra == '{"details":{"tags":[{"a":null,"b":1}]},"new":"😀"}'
    assert [a.extra for a in found.addresses] == ['{"addressCountry":{"code":"826"},"floor":2}']
    assert (found.number, found.status, found.addresses[0].country_iso) == ("1", "x", "GB")


def test_unknown_fields_keep_every_digit() -> None:
    """
    Numbers in unknown fields are kept digit by digit.
    """
    sent = '{"a":1.10,"b":12345678901234567890.12345678901234567890,"c":100000000000000000000}'

    assert f'{{"new":{sent}}}' == number(raw_row(f'"new":{sent}')).extra


@pytest.mark.parametrize("sent", ["null", "{}", "[]", '""', "0", "false"])
def test_unknown_fields_count_even_where_they_are_empty(sent: str) -> None:
    """
    An unknown field that is null or empty is still one that was sent.
    """
    assert f'{{"new":{sent}}}' == number(raw_row(f'"new":{sent}')).extra


@pytest.mark.parametrize("sent", ["1e400", "-1e309", "1e-4000", "1e99999999999999999999"])
def test_a_number_beyond_what_can_be_kept_makes_a_reject(sent: str) -> None:
    """
    An unknown field with a number that no database keeps costs the row.
    """
    assert "beyond what can be stored" in reject(raw_row(f'"new":[{sent}]')).reason


def test_the_order_of_fields_does_not_matter() -> None:
    """
    The same content in another order is the same number, unknown fields included.
    """
    fields = {**EXAMPLE, "new": {"b": [1, {"d": 1, "c": 2}], "a": 2}, "other": 1}

    def turned(value: object) -> object:
        if isinstance(value, dict):
            return {key: turned(value[key]) for key in reversed(value)}
        return [turned(item) for item in value] if isinstance(value, list) else value

    assert number(json.dumps(fields)) == number(json.dumps(turned(fields)))


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("\\u0000", "\ufffd"),
        ("a\\u0000\\u0000b", "a\ufffd\ufffdb"),
        ("\\\\u0000", "\\u0000"),
        ("\\\\\\u0000", "\\\ufffd"),
        ("\\\\\\\\u0000", "\\\\u0000"),
        ("\\u00000", "\ufffd0"),
    ],
)
def test_nul_becomes_the_replacement_character(sent: str, expected: str) -> None:
    """
    No database keeps a NUL; an escaped backslash before u0000 is none and stays.
    """
    found = number(raw_row(f'"number":"{sent}","new":"{sent}"'))

    assert expected == found.number
    assert {"new": expected} == json.loads(found.extra or "")


def test_nul_becomes_the_replacement_character_in_a_reject() -> None:
    """
    The payload of a reject can be stored as well.
    """
    found = reject(raw_row('"number":true,"name":"\\u0000"'))

    assert raw_row('"number":true,"name":"\\ufffd"') == found.payload


@pytest.mark.parametrize(
    "text", ["", " ", "\N{GRINNING FACE}", "x" * 10_000, "\u0300\u202e\ufeff", "'; --", '"\\/\b\t']
)
@pytest.mark.parametrize("ensure_ascii", [True, False])
def test_text_is_kept_as_sent(text: str, *, ensure_ascii: bool) -> None:
    """
    Text is not trimmed, cut, cleaned or normalised, whether it was escaped or not.
    """
    fields = {**dict.fromkeys(TEXT_FIELDS, text), "number_address": {"id": 1, "name": text}}
    sent = json.dumps({"uuid": UUID, "number_e164": E164, **fields}, ensure_ascii=ensure_ascii)

    found = number(sent)

    assert {text} == {getattr(found, name) for name in TEXT_FIELDS}
    assert text == found.addresses[0].name


def test_half_a_surrogate_pair_makes_a_reject_that_says_so() -> None:
    """
    Text that is not Unicode costs its row, with a reason for people.
    """
    assert "half a surrogate pair" in reject(raw_row('"number":"\\ud83d"')).reason


def test_deep_nesting_makes_a_reject_that_says_so() -> None:
    """
    A row that no parser opens costs its row, with a reason for people.
    """
    assert reject(raw_row(f'"new":{DEEP}')).reason == "It is nested too deeply."


@pytest.mark.parametrize("fault", ["", ',"new":"\\ud800"', f',"new":{DEEP}'], ids=range(3))
@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("", (None, None)),
        (',"num_results":7,"paginates":true', (7, True)),
        (',"num_results":"7","paginates":0', (7, False)),
        (',"num_results":null,"paginates":null', (None, None)),
        (',"num_results":-1,"paginates":"yes"', (None, None)),
        (',"num_results":[],"paginates":{}', (None, None)),
        (',"num_results":1e400,"paginates":"\\ud800"', (None, None)),
        (f',"num_results":{"9" * 5000},"paginates":{DEEP}', (None, None)),
    ],
)
def test_the_envelope_is_read_where_it_can_be(
    sent: str, expected: tuple[int | None, bool | None], fault: str
) -> None:
    """
    Size and flag of a page are read, or not known, also if the page holds a fault.
    """
    page = read_page(body(row(), rest=sent + fault), UTC)

    assert (1, *expected) == (len(page.rows), page.num_results, page.paginates)


def test_an_empty_page_has_no_rows() -> None:
    """
    A page past the end may be empty, and is a page.
    """
    assert read_page(b' {"numbers" : [ ] } \n', UTC) == Page([], None, None)


@pytest.mark.parametrize("fault", ["", ',"new":"\\ud800"', f',"new":{DEEP}'], ids=range(3))
def test_a_list_with_gaps_is_an_object_with_integer_keys(fault: str) -> None:
    """
    The rows of a page that PHP sends as an object are read in their order.
    """
    rows = f'"3":{row(number="1")},"1":{row(number="2")},"-1":{row(number="3")}'

    page = read_page(f'{{"numbers":{{{rows}}},"num_results":3{fault}}}'.encode(), UTC)

    assert [getattr(found, "number", None) for found in page.rows] == ["1", "2", "3"]
    assert page.num_results == 3


def test_a_fault_in_a_list_with_gaps_costs_one_row() -> None:
    """
    A row that the parser refuses is a reject there, too.
    """
    fault = raw_row(f'"new":{DEEP}')
    rows = f'"0":{row(number="1")},"2":{fault}'

    first, second = read_page(f'{{"numbers":{{{rows}}}}}'.encode(), UTC).rows

    assert isinstance(first, Number)
    assert isinstance(second, Reject)


@pytest.mark.parametrize("sent", [b'{"numbers":{}}', b'{"numbers" : { } }'])
def test_an_object_without_keys_is_an_empty_page(sent: bytes) -> None:
    """
    PHP may send an empty list as an object, too.
    """
    assert read_page(sent, UTC) == Page([], None, None)


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b" ",
        b"null",
        b"7",
        b"[]",
        b"{}",
        b'"numbers"',
        b'{"error":"busy"}',
        b'{"numbers":null}',
        b'{"numbers":{"a":{}}}',
        b'{"numbers":{"0":{},"1.5":{}}}',
        b'{"numbers":{"0":{},"":{}}}',
        b'{"numbers":false}',
        b'{"numbers":""}',
        b'{"numbers":"[]"}',
        b'{"Numbers":[]}',
        b"<html><body>502 Bad Gateway</body></html>",
        b'{"numbers":[]',
        b'{"numbers":[',
        b'{"numbers":[]}}',
        b'{"numbers":[]} {"numbers":[]}',
        b'{"numbers":[],}',
        b'{"numbers":[1,]}',
        b'{"numbers":[,1]}',
        b'{"numbers":[1 2]}',
        b'{"numbers":[NaN]}',
        b'{"numbers":[{"monthly_charge":NaN}]}',
        b'{"numbers":[{"monthly_charge":Infinity}]}',
        b'{"numbers":[-Infinity]}',
        b'{"numbers":[],"num_results":NaN}',
        b'{"numbers":[01]}',
        b'{"numbers":[+1]}',
        b'{"numbers":[.5]}',
        b'{"numbers":[5.]}',
        b'{"numbers":[0x1F]}',
        b'{"numbers":[True]}',
        b"{'numbers':[]}",
        b"{numbers:[]}",
        b'{"numbers":[]/* all */}',
        b'{"numbers":["\n"]}',
        b'{"numbers":["\x00"]}',
        b'{"numbers":["\\x41"]}',
        b'{"numbers":["\\u00"]}',
        b'{"numbers":[]}\x00',
        b'{"numbers":["\xff"]}',
        b'{"numbers":["\xed\xa0\x80"]}',
        b'{"numbers":["\xc3"]}',
        b'\xef\xbb\xbf{"numbers":[]}',
        '{"numbers":[]}'.encode("utf-16"),
        '{"numbers":[]}'.encode("utf-16-le"),
        '{"numbers":[]}'.encode("utf-32"),
        b'{"numbers":["\\ud800",NaN]}',
        b'{"numbers":["\\ud800",]}',
        b'{"numbers":["\\ud800"]',
        b'{"numbers":{"a":"\\ud800"}}',
        b'{"number":["\\ud800"]}',
        f'{{"numbers":[{DEEP}'.encode(),
        f'{{"numbers":[{DEEP},NaN]}}'.encode(),
        f'{{"numbers":{{"a":{DEEP}}}}}'.encode(),
        DEEP.encode(),
    ],
    ids=lambda sent: ascii(sent[:40]),
)
def test_a_body_that_is_no_page_is_no_answer(sent: bytes) -> None:
    """
    What is not JSON by RFC 8259, or has no list of numbers, fails the page, to be asked for again.
    """
    with pytest.raises(ProviderUnavailable, match="not a JSON object with a list `numbers`") as no:
        read_page(sent, UTC)

    assert no.value.reason == "not_a_page"


def test_a_body_cut_off_anywhere_is_no_answer() -> None:
    """
    Wherever the connection ended, half a page is never taken for a whole one.
    """
    whole = body(json.dumps(EXAMPLE), raw_row('"new":"\\ud800"'), rest=',"num_results":2')

    for length in range(len(whole)):
        with pytest.raises(ProviderUnavailable):
            read_page(whole[:length], UTC)


# What the provider may send, made up.

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
MAYBE_TEXT = st.none() | TEXT
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from([*EXAMPLE, "id", "addressCountry"]), inner, max_size=4)
        | st.dictionaries(st.text(), inner, max_size=4)
    ),
    max_leaves=8,
)
EXTRA = st.dictionaries(
    TEXT.map("new{}".format), st.none() | st.booleans() | st.integers() | TEXT, max_size=2
)
STAMPS = st.none() | st.datetimes(
    datetime(1, 1, 2),  # noqa: DTZ001 - hypothesis wants it naive
    datetime(9999, 12, 30),  # noqa: DTZ001 - hypothesis wants it naive
    timezones=st.just(UTC),
)
AMOUNTS = st.none() | st.integers(-(10**12) + 1, 10**12 - 1).map(lambda n: Decimal(n).scaleb(-4))
FLAGS = st.none() | st.booleans()


def canonical(extra: dict[str, Any]) -> str | None:
    """
    Unknown fields as they are kept.
    """
    return msgspec.json.encode(extra, order="sorted").decode() if extra else None


@st.composite
def addresses(draw: st.DrawFn) -> Address | None:
    """
    An address, or none.
    """
    if draw(st.booleans()):
        return None
    texts = {
        name: draw(MAYBE_TEXT)
        for name in Address.__struct_fields__
        if name.startswith(("name", "address_", "country_"))
    }
    return Address(
        id=draw(st.integers(-(2**63), 2**63 - 1)),
        use_for_proof_of_address=draw(FLAGS),
        use_for_emergency_address=draw(FLAGS),
        extra=canonical(draw(EXTRA)),
        **texts,
    )


@st.composite
def numbers(draw: st.DrawFn) -> Number:
    """
    A number as it may be read.
    """
    status, details_status = draw(MAYBE_TEXT), draw(MAYBE_TEXT)
    provisioned, details_provisioned = draw(STAMPS), draw(STAMPS)
    cancelled_at = draw(STAMPS)
    status = details_status if status is None else status
    cancelled = (status or "").strip().casefold() == "cancelled"
    both = draw(addresses()), draw(addresses())
    iso = draw(MAYBE_TEXT | st.sampled_from(["UK", "GB", "deu"]))
    texts = {name: draw(MAYBE_TEXT) for name in TEXT_FIELDS[:5]}
    return Number(
        uuid=str(draw(st.uuids())),
        number_e164=draw(TEXT.filter(lambda text: text and not text.isspace())),
        country_iso=iso,
        country_alpha2=alpha2(iso),
        lifecycle="cancelled" if cancelled else "live",
        status=status,
        monthly_charge=draw(AMOUNTS),
        setup_charge=draw(AMOUNTS),
        provisioned_at=provisioned or details_provisioned,
        cancelled_at=cancelled_at,
        number_address_id=both[0].id if both[0] else None,
        emergency_number_address_id=both[1].id if both[1] else None,
        details_status=details_status,
        details_provisioned_at=details_provisioned,
        extra=canonical(draw(EXTRA)),
        addresses=tuple(address for address in both if address),
        **texts,
    )


def shuffled(draw: st.DrawFn, members: dict[str, Any]) -> str:
    """
    An object with its members, each JSON text already, in any order; known nulls may be left out.
    """
    kept = [
        name
        for name in members
        if members[name] != "null" or name.startswith("new") or draw(st.booleans())
    ]
    order = draw(st.permutations(kept))
    return "{" + ",".join(f"{json.dumps(name)}:{members[name]}" for name in order) + "}"


def rendered_stamp(draw: st.DrawFn, stamp: datetime | None) -> str:
    """
    A time in one of the forms in which it may come.
    """
    if stamp is None:
        return json.dumps(draw(st.sampled_from([None, "", "0000-00-00 00:00:00"])))
    local = stamp.astimezone(timezone(timedelta(minutes=draw(st.integers(-600, 600)))))
    return json.dumps(draw(st.sampled_from([str(stamp.replace(tzinfo=None)), local.isoformat()])))


def rendered_amount(draw: st.DrawFn, amount: Decimal | None) -> str:
    """
    An amount as number or as text.
    """
    plain = "null" if amount is None else f"{amount:f}"
    return plain if amount is None or draw(st.booleans()) else f'"{plain}"'


def extra_members(extra: str | None) -> dict[str, str]:
    """
    Unknown fields, each as JSON text.
    """
    return {name: json.dumps(value) for name, value in json.loads(extra or "{}").items()}


def rendered_address(draw: st.DrawFn, address: Address) -> str:
    """
    An address as the provider may send it.
    """
    flags = (address.use_for_proof_of_address, address.use_for_emergency_address)
    country = {"name": json.dumps(address.country_name), "iso": json.dumps(address.country_iso)}
    sent = [flag if flag is None or draw(st.booleans()) else int(flag) for flag in flags]
    return shuffled(
        draw,
        {
            "id": draw(st.sampled_from([str(address.id), f'"{address.id}"'])),
            "name": json.dumps(address.name),
            "useForProofOfAddress": json.dumps(sent[0]),
            "useForEmergencyAddress": json.dumps(sent[1]),
            "addressLine1": json.dumps(address.address_line1),
            "addressLine2": json.dumps(address.address_line2),
            "addressCity": json.dumps(address.address_city),
            "addressRegion": json.dumps(address.address_region),
            "addressPostalCode": json.dumps(address.address_postal_code),
            "addressCountry": shuffled(draw, country),
            **extra_members(address.extra),
        },
    )


@st.composite
def sent_numbers(draw: st.DrawFn) -> tuple[Number, str]:
    """
    A number, and a row that says it in one of the ways there are.
    """
    sent = draw(numbers())
    outer: dict[str, str] = {}
    inner = {
        "status": json.dumps(sent.details_status),
        "provisioned": rendered_stamp(draw, sent.details_provisioned_at),
    }
    draw(st.sampled_from([outer, inner]))["cancelled"] = rendered_stamp(draw, sent.cancelled_at)
    if sent.provisioned_at != sent.details_provisioned_at or draw(st.booleans()):
        outer["provisioned"] = rendered_stamp(draw, sent.provisioned_at)
    if sent.status != sent.details_status or draw(st.booleans()):
        outer["status"] = json.dumps(sent.status)
    left = [*sent.addresses]
    for field in ADDRESS_FIELDS:
        if getattr(sent, f"{field}_id") is not None:
            place = draw(st.sampled_from([outer, inner]))
            place[field] = rendered_address(draw, left.pop(0))
    for name in ["uuid", "number_e164", *TEXT_FIELDS[:-1]]:
        outer[name] = json.dumps(getattr(sent, name), ensure_ascii=draw(st.booleans()))
    for name in ["monthly_charge", "setup_charge"]:
        outer[name] = rendered_amount(draw, getattr(sent, name))
    outer["details"] = shuffled(draw, inner)
    return sent, shuffled(draw, {**outer, **extra_members(sent.extra)})


@given(st.lists(sent_numbers(), max_size=2))
def test_whatever_is_sent_is_read_back(sent: list[tuple[Number, str]]) -> None:
    """
    A number sent in any of the ways there are is read as that number.
    """
    page = read_page(body(*[text for _, text in sent]), UTC)

    assert [expected for expected, _ in sent] == page.rows


@given(st.lists(JSON, max_size=4), JSON)
@example([EXAMPLE], None)
def test_any_json_is_read_or_rejected(sent: list[object], other: object) -> None:
    """
    Whatever JSON stands in the list becomes a number or a reject, whatever stands beside the list.
    """
    rows = [json.dumps(value) for value in sent]
    value = json.dumps(other)
    rest = f',"more":{value},"num_results":{value},"paginates":{value}'

    page = read_page(body(*rows, rest=rest), UTC)

    assert len(rows) == len(page.rows)
    for text, found in zip(rows, page.rows, strict=True):
        if isinstance(found, Reject) and "\\u0000" not in text:
            assert text == found.payload


@given(st.sampled_from([*EXAMPLE, "cancelled", *ADDRESS_FIELDS, "new"]), JSON, st.booleans())
def test_any_json_in_any_field_is_read_or_rejected(
    name: str,
    value: object,
    inside: bool,
) -> None:
    """
    Whatever JSON stands in a field, the row becomes a number, or a reject whose uuid is known.
    """
    details = {**EXAMPLE["details"], name: value}
    text = json.dumps({**EXAMPLE, "details": details} if inside else {**EXAMPLE, name: value})

    found = read(text)

    assert isinstance(found, Number | Reject)
    assert name == "uuid" or found.uuid == UUID


def is_rfc_8259(text: str) -> bool:
    """
    What the standard library says, without its extensions.
    """

    def refuse(constant: str) -> None:
        raise ValueError(constant)

    try:
        json.loads(text, parse_constant=refuse)
    except ValueError:
        return False
    return True


@given(
    st.integers(0, 2**16),
    st.sampled_from([*'{}[],:" \\/-+.0123456789eEutnfalrs\n\t\f\0', "\\u0", "NaN", "\\ud800"]),
    st.integers(0, 2),
)
def test_a_body_with_a_slip_is_a_page_only_where_it_is_json(at: int, slip: str, cut: int) -> None:
    """
    A page with something put in, taken out or replaced anywhere is read only if it is JSON still.
    """
    whole = body(json.dumps(EXAMPLE), row(new=[1.5, -2e3]), rest=',"num_results":2').decode()
    at %= len(whole)
    text = whole[:at] + slip + whole[at + cut :]

    try:
        read_page(text.encode(), UTC)
    except ProviderUnavailable:
        return
    assert is_rfc_8259(text)


@given(st.binary())
def test_any_bytes_are_a_page_or_no_answer(sent: bytes) -> None:
    """
    No body breaks the reader in another way than the one that is retried.
    """
    with pytest.raises(ProviderUnavailable):
        read_page(sent, UTC)


def test_a_charge_too_small_to_keep_is_nothing() -> None:
    """
    A tiny charge is rounded to 4 places like any other, as number and as text.
    """
    number = read_page(
        body(
            '{"uuid":"7c327e0f-6bce-4b2f-9d5d-9c86e7fa065f","number_e164":"+1",'
            '"monthly_charge":1e-400,"setup_charge":"1e-400"}'
        ),
        UTC,
    ).rows[0]

    assert isinstance(number, Number)
    assert (Decimal("0.0000"), Decimal("0.0000")) == (number.monthly_charge, number.setup_charge)


def test_a_blank_status_gives_way_to_the_one_in_details() -> None:
    """
    A number whose own status is blank is cancelled if its details say so.
    """
    number = read_page(
        body(
            '{"uuid":"7c327e0f-6bce-4b2f-9d5d-9c86e7fa065f","number_e164":"+1",'
            '"status":"","details":{"status":"Cancelled"}}'
        ),
        UTC,
    ).rows[0]

    assert isinstance(number, Number)
    assert (number.status, number.lifecycle) == ("", "cancelled")
