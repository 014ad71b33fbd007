"""
Single values: what each kind accepts, in which form it comes out, and what is refused.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncsvc.payloads import values

if TYPE_CHECKING:
    from datetime import tzinfo

LONDON = ZoneInfo("Europe/London")
NEW_YORK = ZoneInfo("America/New_York")
TOKYO = ZoneInfo("Asia/Tokyo")
UUID = "7c327e0f-6bce-4b2f-9d5d-9c86e7fa065f"
MOST = Decimal("99999999.9999")


def utc(*parts: int) -> datetime:
    """
    A moment in UTC.
    """
    year, month, day, *rest = parts
    return datetime(year, month, day, *rest, tzinfo=UTC)  # type: ignore[misc, arg-type] # no tzinfo among the parts


@pytest.mark.parametrize("sent", [UUID, UUID.upper(), UUID.title()])
def test_a_uuid_comes_out_in_lower_case(sent: str) -> None:
    """
    One number has one spelling of its uuid, whatever case it was sent in.
    """
    assert values.uuid(sent) == UUID


@pytest.mark.parametrize(
    "sent",
    ["", "x", UUID[:-1], UUID + "0", UUID.replace("-", ""), f"{{{UUID}}}", f" {UUID}", f"{UUID}\n"],
)
def test_what_is_no_uuid_is_refused(sent: str) -> None:
    """
    Nothing but the usual form with hyphens is a uuid.
    """
    with pytest.raises(ValueError, match=r"^uuid: '.*' is not a UUID$"):
        values.uuid(sent)


def test_a_long_value_is_cut_in_an_error() -> None:
    """
    An error repeats the beginning of a value only, and in ASCII.
    """
    assert values.quoted("é" + "a" * 10_000) == "'\\xe9" + "a" * 55 + "…"
    assert values.quoted("short") == "'short'"


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (0, "0.0000"),
        (7, "7.0000"),
        (-7, "-7.0000"),
        (Decimal("0.3"), "0.3000"),
        (Decimal("1E+2"), "100.0000"),
        ("0.3", "0.3000"),
        ("+1", "1.0000"),
        (".5", "0.5000"),
        ("5.", "5.0000"),
        ("1e2", "100.0000"),
        ("1E-400", "0.0000"),
        ("0e999999999", "0.0000"),
        ("-0.00001", "0.0000"),
        ("007.10", "7.1000"),
        ("99999999.9999", "99999999.9999"),
        ("-99999999.9999", "-99999999.9999"),
        ("99999999.99994999", "99999999.9999"),
    ],
)
def test_an_amount_has_four_places(sent: object, expected: str) -> None:
    """
    An amount may come as text or as a number, and comes out with 4 places and no negative zero.
    """
    assert expected == str(values.amount("monthly_charge", sent))


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("0.00005", "0.0000"),
        ("0.00015", "0.0002"),
        ("0.00025", "0.0002"),
        ("-0.00015", "-0.0002"),
        ("0.000050000000000000000000000000000000000001", "0.0001"),
    ],
)
def test_an_amount_is_rounded_half_even(sent: str, expected: str) -> None:
    """
    Half a unit goes to the even neighbour; anything more goes up, however little it is.
    """
    assert expected == str(values.amount("monthly_charge", sent))


@pytest.mark.parametrize(
    "sent",
    [
        " ",
        " 1",
        "1 ",
        "1\n",
        "free",
        "NaN",
        "sNaN",
        "Infinity",
        "-Infinity",
        "1_000",
        "1,5",
        "0x10",
        "1e400",
        "1e9999999999",
        "\N{ARABIC-INDIC DIGIT THREE}",
        "100000000",
        "99999999.99995",
        "-100000000",
        "9" * 10_000,
        10**8,
        10**40,
        Decimal("Infinity"),
        Decimal("1e400"),
        True,
        False,
        0.5,
        [],
        {},
    ],
)
def test_what_is_no_amount_is_refused(sent: object) -> None:
    """
    An amount is a finite decimal within numeric(12,4), and the error names field and limits.
    """
    with pytest.raises(ValueError, match=r"^setup_charge: .* \(numeric\(12,4\)\)$"):
        values.amount("setup_charge", sent)


def test_no_amount_stays_none() -> None:
    """
    A charge that is not given is not made up.
    """
    assert values.amount("monthly_charge", None) is None
    assert values.amount("monthly_charge", "") is None


@given(st.integers(-(10**12) + 1, 10**12 - 1))
def test_every_amount_within_the_limits_is_kept_exactly(units: int) -> None:
    """
    Whatever numeric(12,4) can hold is read to the last digit, as text and as a number.
    """
    amount = Decimal(units).scaleb(-4)

    assert amount == values.amount("monthly_charge", str(amount))
    assert amount == values.amount("monthly_charge", amount)


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-MOST, max_value=MOST))
def test_rounding_never_moves_an_amount_by_more_than_half_a_unit(amount: Decimal) -> None:
    """
    An amount with more places is off by half of the last kept one at most.
    """
    rounded = values.amount("monthly_charge", amount)

    assert rounded is not None
    assert abs(rounded - amount) <= Decimal("0.00005")


@pytest.mark.parametrize(
    "sent",
    [
        None,
        "",
        " ",
        "\t \n",
        "0000-00-00 00:00:00",
        "0000-00-00",
        "0000-00-00 00:00",
        "0000-00-00T00:00:00Z",
        "0000-00-00T00:00:00+00:00",
        "0000-00-00 00:00:00.000000",
        "-0001-11-30",
        "-0001-11-30 00:00:00",
        "-0001-11-30T00:00:00+00:00",
        "-0001-11-30T00:00:00-00:01",
    ],
)
def test_every_blank_time_is_none(sent: str | None) -> None:
    """
    The provider's ways to say "never" all mean the same.
    """
    assert values.moment("cancelled", sent, UTC) is None


@pytest.mark.parametrize(
    ("sent", "zone", "expected"),
    [
        ("2016-01-03 17:48:59", UTC, utc(2016, 1, 3, 17, 48, 59)),
        ("2016-01-03 17:48:59", TOKYO, utc(2016, 1, 3, 8, 48, 59)),
        ("2016-01-03 17:48:59", timezone(timedelta(hours=-5)), utc(2016, 1, 3, 22, 48, 59)),
        ("2024-01-15 12:00:00", LONDON, utc(2024, 1, 15, 12)),
        ("2024-07-15 12:00:00", LONDON, utc(2024, 7, 15, 11)),
        ("2024-10-27 00:59:59", LONDON, utc(2024, 10, 26, 23, 59, 59)),
        ("2024-10-27 02:00:00", LONDON, utc(2024, 10, 27, 2)),
        ("0001-01-01 00:00:00", UTC, utc(1, 1, 1)),
        ("9999-12-31 23:59:59", UTC, utc(9999, 12, 31, 23, 59, 59)),
        ("0001-01-01 09:18:59", TOKYO, utc(1, 1, 1)),
        ("2024-02-29 00:00:00", UTC, utc(2024, 2, 29)),
    ],
)
def test_a_documented_time_is_in_the_providers_zone(
    sent: str, zone: tzinfo, expected: datetime
) -> None:
    """
    A time without a zone is one of the provider's zone, summer time included, and comes out in UTC.
    """
    found = values.moment("provisioned", sent, zone)

    assert expected == found
    assert found is not None
    assert UTC is found.tzinfo


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("2024-10-27 01:30:00", utc(2024, 10, 27, 0, 30)),
        ("2024-03-31 01:30:00", utc(2024, 3, 31, 1, 30)),
    ],
)
def test_an_hour_that_comes_twice_or_never_still_has_one_reading(
    sent: str, expected: datetime
) -> None:
    """
    A time repeated in autumn is its first one, one skipped in spring goes by the winter's offset.
    """
    assert expected == values.moment("provisioned", sent, LONDON)


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("2024-07-15T12:00:00Z", utc(2024, 7, 15, 12)),
        ("2024-07-15t12:00:00z", utc(2024, 7, 15, 12)),
        ("2024-07-15 12:00:00+00:00", utc(2024, 7, 15, 12)),
        ("2024-07-15T12:00:00-00:00", utc(2024, 7, 15, 12)),
        ("2024-07-15T12:00:00+05:30", utc(2024, 7, 15, 6, 30)),
        ("2024-07-15T12:00:00+0530", utc(2024, 7, 15, 6, 30)),
        ("2024-07-15T12:00:00-03", utc(2024, 7, 15, 15)),
        ("20240715T120000Z", utc(2024, 7, 15, 12)),
        ("2024-W29-1T12:00:00Z", utc(2024, 7, 15, 12)),
        ("2024-07-15T12:00Z", utc(2024, 7, 15, 12)),
        ("2024-07-15T12:00:00.5Z", utc(2024, 7, 15, 12, 0, 0, 500_000)),
        ("2024-07-15T12:00:00,123456Z", utc(2024, 7, 15, 12, 0, 0, 123_456)),
        ("2024-07-15T12:00:00.123456789Z", utc(2024, 7, 15, 12, 0, 0, 123_456)),
    ],
)
def test_the_zone_of_a_time_itself_wins(sent: str, expected: datetime) -> None:
    """
    An ISO 8601 time that bears a zone means what it says, whatever the provider's zone is.
    """
    assert expected == values.moment("provisioned", sent, NEW_YORK)


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("2024-07-15T12:00:00", utc(2024, 7, 15, 16)),
        ("2024-07-15", utc(2024, 7, 15, 4)),
        ("20240715", utc(2024, 7, 15, 4)),
    ],
)
def test_iso_8601_without_a_zone_is_in_the_providers_zone(sent: str, expected: datetime) -> None:
    """
    An ISO 8601 time or date that bears no zone is one of the provider's.
    """
    assert expected == values.moment("provisioned", sent, NEW_YORK)


@pytest.mark.parametrize(
    ("sent", "zone"),
    [
        ("yesterday", UTC),
        ("2016-13-01 00:00:00", UTC),
        ("2023-02-29 00:00:00", UTC),
        ("2016-01-03 25:00:00", UTC),
        ("2016-01-03 17:60:00", UTC),
        ("2016-12-31 23:59:60", UTC),
        ("0000-01-01 00:00:00", UTC),
        ("0000-00-00 00:00:01", UTC),
        ("0000-00-01", UTC),
        ("-0001-11-29 00:00:00", UTC),
        ("-0001-11-30 12:00:00", UTC),
        ("10000-01-01 00:00:00", UTC),
        ("1451843339", UTC),
        ("03.01.2016 17:48:59", UTC),
        ("2016-01-03 17:48:59 ", UTC),
        (" 2016-01-03 17:48:59", UTC),
        ("2016-01-03 17:48:59 UTC", UTC),
        ("2016-01-03T17:48:59+24:00", UTC),
        ("2016-01-03\N{SNOWMAN}17:48:59", UTC),
        ("\N{ARABIC-INDIC DIGIT TWO}016-01-03 17:48:59", UTC),
        ("0001-01-01 00:00:00", TOKYO),
        ("9999-12-31 23:59:59", NEW_YORK),
        ("0001-01-01T00:00:00+01:00", UTC),
        ("9999-12-31T23:59:59-01:00", UTC),
    ],
)
def test_what_is_no_time_is_refused(sent: str, zone: tzinfo) -> None:
    """
    A time that does not exist, or lies beyond years 1 to 9999 in UTC, is an error naming its field.
    """
    with pytest.raises(ValueError, match=r"^provisioned: '.*' is not a time such as"):
        values.moment("provisioned", sent, zone)


@given(
    st.datetimes(timezones=st.sampled_from([UTC, LONDON, NEW_YORK, TOKYO]), allow_imaginary=False)
)
def test_every_time_written_with_its_offset_is_read_back(stamp: datetime) -> None:
    """
    A time in ISO 8601 with its offset is read as the same moment, or refused at the calendar's end.
    """
    try:
        expected = stamp.astimezone(UTC)
    except OverflowError:
        with pytest.raises(ValueError, match="is not a time"):
            values.moment("provisioned", stamp.isoformat(), NEW_YORK)
    else:
        assert expected == values.moment("provisioned", stamp.isoformat(), NEW_YORK)


@given(st.datetimes())
def test_every_time_without_a_zone_is_read_in_the_zone_given(stamp: datetime) -> None:
    """
    The documented form keeps every second of years 1 to 9999.
    """
    assert stamp.replace(tzinfo=UTC) == values.moment("provisioned", f"{stamp!s}", UTC)


@given(st.text())
def test_no_text_breaks_the_reading_of_a_time(sent: str) -> None:
    """
    Any text at all is a moment in UTC, blank, or refused in the one documented way.
    """
    found = complaint = None
    try:
        found = values.moment("provisioned", sent, TOKYO)
    except ValueError as exc:
        complaint = str(exc)

    assert found is None or UTC is found.tzinfo
    assert complaint is None or complaint.startswith("provisioned: ")


@pytest.mark.parametrize(
    ("sent", "expected"), [(None, None), (True, True), (False, False), (0, False), (1, True)]
)
def test_a_flag_is_a_boolean_or_0_or_1(sent: int | None, expected: object) -> None:
    """
    A flag comes out as a boolean, or as None if it was not given.
    """
    assert expected is values.flag("use", sent)


@pytest.mark.parametrize("sent", [2, -1, 10**30])
def test_what_is_no_flag_is_refused(sent: int) -> None:
    """
    No other number is a flag.
    """
    with pytest.raises(ValueError, match=r"^use: .* is neither true, false, 0 nor 1$"):
        values.flag("use", sent)


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (1, 1),
        (0, 0),
        (-1, -1),
        ("1", 1),
        ("+1", 1),
        ("-1", -1),
        ("007", 7),
        (2**63 - 1, 2**63 - 1),
        (-(2**63), -(2**63)),
        (str(2**63 - 1), 2**63 - 1),
        (str(-(2**63)), -(2**63)),
    ],
)
def test_an_id_is_an_integer_within_64_bits(sent: int | str, expected: int) -> None:
    """
    An id may come as a number or as text, up to both ends of 64 bits.
    """
    assert expected == values.identity("number_address.id", sent)


@pytest.mark.parametrize(
    "sent",
    [
        None,
        "",
        " 1",
        "1.0",
        "1e3",
        "1_0",
        "one",
        "\N{ARABIC-INDIC DIGIT THREE}",
        2**63,
        -(2**63) - 1,
        str(2**63),
        str(-(2**63) - 1),
        "9" * 40,
        "9" * 10_000,
    ],
)
def test_what_is_no_id_is_refused(sent: int | str | None) -> None:
    """
    An id beyond 64 bits, or none, is an error naming its field.
    """
    with pytest.raises(ValueError, match=r"^number_address\.id: .* not an integer within 64 bits$"):
        values.identity("number_address.id", sent)


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (0, 0),
        (1234, 1234),
        ("1234", 1234),
        (2**63 - 1, 2**63 - 1),
        (2**63, None),
        (-1, None),
        ("-1", None),
        (True, None),
        (Decimal("1234.0"), 1234),
        (Decimal("1.2E+3"), 1200),
        (Decimal("0.5"), None),
        (Decimal("-1.0"), None),
        (Decimal("1E+300"), None),
        (1.0, None),
        ("many", None),
        (None, None),
        ([], None),
        ({}, None),
    ],
)
def test_a_count_is_a_size_or_not_known(sent: object, expected: int | None) -> None:
    """
    A size that is none is not known, and no error.
    """
    found = values.result_count(sent)

    assert (type(expected), expected) == (type(found), found)


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (True, True),
        (False, False),
        (1, True),
        (0, False),
        (2, None),
        (1.0, None),
        ("true", None),
        (None, None),
        ([], None),
        ({}, None),
    ],
)
def test_a_yes_or_no_is_one_or_not_known(sent: object, expected: object) -> None:
    """
    A flag of the envelope that is none is not known, and no error.
    """
    assert expected is values.yes_or_no(sent)
