"""
Values that break databases, all the way from the provider's JSON to the tables.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from support.build import Row, address, number_row, published, rows_of, uuid_at
from syncsvc.sandbox import Fault
from syncsvc.schema.tables import addresses, numbers, sync_rejects

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from support.build import Watch

# Repeated text is compressed before it enters an index, and fits. This is not.
INCOMPRESSIBLE = Random(4).randbytes(10_000).hex()  # noqa: S311 - no secret
TEXTS = {
    "NUL": "a\0b\0",
    "white space": "\ttab\nnewline\r\n\v\f ",
    "backslashes": r"\N \. \\ \t C:\new \u0041",
    "quotes": """ ' '' " "" ` $$ """,
    "SQL": "'); DROP TABLE numbers; --",
    "placeholders": "%s %(name)s :name ? {0} ${x}",
    "emoji": "\N{TELEPHONE RECEIVER}\N{FAMILY}\N{ZERO WIDTH JOINER}\N{MAN}",
    "random": INCOMPRESSIBLE,
    "long": "x\N{GRINNING FACE}" * 5_000,
    "marks": "\u202e\u0300\ufeff\uffff\ufffd\u2028\u0085",
    "control characters": "\x01\x1b[31m\x7f\x08",
    "empty": "",
    "blank": "  ",
    "the word NULL": "NULL",
    "the end of COPY": "\\.",
    "JSON": '{"a": [1, null]}',
}
NUMBER_TEXTS = (
    *("number", "range_code", "range_name", "country_code", "country_name", "country_iso"),
    "status",
)
ADDRESS_TEXTS = {
    "name": "name",
    "addressLine1": "address_line1",
    "addressLine2": "address_line2",
    "addressCity": "address_city",
    "addressRegion": "address_region",
    "addressPostalCode": "address_postal_code",
}
MUCH: tuple[object, ...] = ("100000000", 99999999.99995, "-1e8", 10**30, [], {})
HUGE: tuple[object, ...] = (2**63, -(2**63) - 1, "9" * 40, 1.5, None)
BEYOND: list[Row] = [
    *(
        {"monthly_charge": sent}
        for sent in ("NaN", "Infinity", "-Infinity", "1e400", "sNaN", "0x1")
    ),
    *({"setup_charge": sent} for sent in MUCH),
    *({"provisioned": sent} for sent in ("0000-01-01 00:00:00", "0001-01-01T00:00:00+01:00")),
    *({"cancelled": sent} for sent in ("9999-12-31T23:59:59-01:00", "10000-01-01 00:00:00", 0)),
    *({"number_address": address(sent)} for sent in HUGE),
    {"number_address": address(1, addressLine1=["x"])},
    {"emergency_number_address": address(1, useForEmergencyAddress="yes")},
    {"number_e164": "\t"},
    {"number_e164": "4" * 65},
    {"number_e164": INCOMPRESSIBLE[:3_000]},
]
EXTREMES: list[tuple[Row, str, Any]] = [
    ({"monthly_charge": "99999999.9999"}, "monthly_charge", Decimal("99999999.9999")),
    ({"monthly_charge": "-99999999.99994999"}, "monthly_charge", Decimal("-99999999.9999")),
    ({"monthly_charge": "1e-400"}, "monthly_charge", Decimal(0)),
    ({"setup_charge": "0.00005"}, "setup_charge", Decimal(0)),
    ({"setup_charge": "0.00015"}, "setup_charge", Decimal("0.0002")),
    ({"provisioned": "0001-01-01 00:00:00"}, "provisioned_at", datetime(1, 1, 1, tzinfo=UTC)),
    (
        {"provisioned": "9999-12-31 23:59:59"},
        "provisioned_at",
        datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC),
    ),
    ({"number_address": address(2**63 - 1)}, "number_address_id", 2**63 - 1),
    ({"number_address": address(str(-(2**63)))}, "number_address_id", -(2**63)),
]


def with_text(place: int, text: str) -> Row:
    """
    A number with one text wherever the provider may send one.
    """
    everywhere = dict.fromkeys(ADDRESS_TEXTS, text) | {"floor": text}
    return number_row(
        place,
        {"status": text, "note": text},
        number_e164=text[:64] if text.strip() else "+44",
        number_address=address(place, addressCountry={"name": text, "iso": text}, **everywhere),
        label=text,
        **{f"key {text}": {text: text}},
        **dict.fromkeys(NUMBER_TEXTS, text),
    )


def test_every_text_stands_in_the_tables_as_sent(watch: Watch, engine: Engine) -> None:
    """
    Whatever a text holds, each of its characters is kept, NUL as U+FFFD, and a second run agrees.
    """
    sent = dict(enumerate(TEXTS.values(), 1))
    first = watch.see(*(with_text(place, text) for place, text in sent.items()))
    tables = published(engine)
    second = watch.run()

    assert (first.state, first.rejected, first.listed) == ("succeeded", 0, len(TEXTS))
    assert (second.unchanged, published(engine)) == (len(TEXTS), tables)
    for place, text in sent.items():
        kept = text.replace("\0", "\N{REPLACEMENT CHARACTER}")
        number = watch.number(place)
        expected = dict.fromkeys((*NUMBER_TEXTS, "details_status"), kept)
        assert expected == {name: number[name] for name in expected}
        unknown = {"details": {"note": kept}, "label": kept, f"key {kept}": {kept: kept}}
        assert unknown == number["extra"]
        (found,) = rows_of(engine, addresses, id=place)
        expected = dict.fromkeys((*ADDRESS_TEXTS.values(), "country_name", "country_iso"), kept)
        assert expected == {name: found[name] for name in expected}
        assert {"floor": kept} == found["extra"]


def test_a_number_of_any_text_can_disappear(watch: Watch) -> None:
    """
    A run in which numbers with such texts are missing ends, whatever a search for them makes of it.
    """
    rows = [with_text(place, text) for place, text in enumerate(TEXTS.values(), 1)]
    watch.see(*rows)

    summary = watch.see(number_row(len(rows) + 1))

    assert (summary.state in {"succeeded", "withheld"}, summary.listed) == (True, 1)
    assert summary.cancelled + summary.withheld == len(rows)


def test_every_value_beyond_the_columns_is_a_reject(watch: Watch, engine: Engine) -> None:
    """
    What no column can hold is kept with its row, and the rest of the listing is published.
    """
    bad = [number_row(place, **fields) for place, fields in enumerate(BEYOND, 10)]
    summary = watch.see(number_row(1), *bad)

    assert (summary.state, summary.listed, summary.rejected) == ("succeeded", 1, len(bad))
    kept = [(row["uuid"], json.loads(row["payload"])) for row in rows_of(engine, sync_rejects)]
    assert kept == [(row["uuid"], row) for row in bad]
    assert len(rows_of(engine, numbers)) == 1
    assert rows_of(engine, addresses) == []


@pytest.mark.parametrize(
    "spoilt",
    [
        r'"label": "\ud800"',
        r'"range_name": "\udc00\ud800"',
        f'"label": {"[" * 100_000}{"]" * 100_000}',
        '"label": 1e400',
        '"monthly_charge": 1e400',
    ],
    ids=["half a pair", "a pair the wrong way", "nesting", "a huge number", "a huge charge"],
)
def test_what_python_cannot_write_as_json_is_a_reject_too(
    watch: Watch, engine: Engine, spoilt: str
) -> None:
    """
    A row that JSON allows and no database holds costs neither its page nor the run.
    """
    row = f'{{"uuid": "{uuid_at(2)}", "number_e164": "+44", {spoilt}}}'
    page = f'{{"numbers": [{json.dumps(number_row(1))}, {row}], "num_results": 2}}'
    watch.sandbox.inject(Fault(kind="body", endpoint="numbers", status=200, body=page.encode()))
    summary = watch.run()

    assert (summary.state, summary.listed, summary.rejected) == ("succeeded", 1, 1)
    (reject,) = rows_of(engine, sync_rejects)
    assert (reject["uuid"], reject["payload"]) == (uuid_at(2), row)


def test_the_extremes_of_the_columns_are_kept(watch: Watch) -> None:
    """
    The largest, smallest and most finely rounded values come back as they were sent.
    """
    summary = watch.see(*(number_row(n, **fields) for n, (fields, *_) in enumerate(EXTREMES)))
    again = watch.run()

    assert (summary.rejected, again.unchanged) == (0, len(EXTREMES))
    for place, (_fields, column, value) in enumerate(EXTREMES):
        assert value == watch.number(place)[column], column
