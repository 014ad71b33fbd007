"""
Unknown fields that are not to be stored.
"""

from __future__ import annotations

import json
from datetime import UTC
from typing import TYPE_CHECKING

import pytest

from support.build import address, number_row
from syncsvc.payloads.decode_page import read_page
from syncsvc.payloads.extra_fields import IgnoredFields
from syncsvc.payloads.records import Number

if TYPE_CHECKING:
    from support.build import Row


def read(row: Row, *ignored: str) -> Number:
    """
    The number that a row is read as.
    """
    body = json.dumps({"numbers": [row]}).encode()
    [found] = read_page(body, UTC, ignored=IgnoredFields(ignored)).rows
    assert isinstance(found, Number), found
    return found


@pytest.mark.parametrize(
    ("fields", "ignored", "expected"),
    [
        ({"a": 1, "b": 2}, ["a"], {"b": 2}),
        ({"a": 1, "b": 2}, ["b", "a"], None),
        ({"a": 1, "b": 2}, ["A", "c", "a.b", ""], {"a": 1, "b": 2}),
        ({"meta": {"age": 1, "b": {}}}, ["meta.age"], {"meta": {"b": {}}}),
        ({"meta": {"age": 1}}, ["meta.age"], None),
        ({"meta": {"age": 1}}, ["meta"], None),
        ({"meta": {"age": 1}}, ["age"], {"meta": {"age": 1}}),
        ({"meta": {"x": {"y": 1, "z": 2}}}, ["meta.x.y"], {"meta": {"x": {"z": 2}}}),
        ({"list": [{"age": 1}, 2, [{"age": 3}]]}, ["list.age"], {"list": [{}, 2, [{}]]}),
        ({"a.b": 1, "a": {"b": 2}}, ["a.b"], None),
        ({"a": {}, "b": []}, ["c"], {"a": {}, "b": []}),
        ({"details": {"age": 1}}, ["details.age"], None),
        ({"details": {"age": 1, "new": 2}}, ["details.age"], {"details": {"new": 2}}),
        ({"details": {"age": 1}}, ["age"], {"details": {"age": 1}}),
    ],
)
def test_ignored_fields_are_left_out(fields: Row, ignored: list[str], expected: Row | None) -> None:
    """
    A name leaves out that field and what is in it, and no other.
    """
    extra = read(number_row(1, **fields), *ignored).extra

    assert expected == (None if extra is None else json.loads(extra))


def test_known_fields_are_read_in_any_case() -> None:
    """
    The name of a field that is known leaves nothing out.
    """
    row = number_row(1, number_address=address(1))

    names = [*row, "details.status", "number_address.name", "number_address.addressCountry.iso"]

    assert read(row) == read(row, *names)


@pytest.mark.parametrize("role", ["number_address", "emergency_number_address"])
@pytest.mark.parametrize("place", ["", "details."])
def test_ignored_fields_of_an_address_are_left_out(role: str, place: str) -> None:
    """
    A field of an address is named by the place of its object, and by no other.
    """
    sent = {role: address(1, floor=3, geo={"lat": 1, "lon": 2})}
    row = number_row(1, details=sent) if place else number_row(1, **sent)

    [found] = read(row, f"{place}{role}.geo.lat", f"{place}{role}.floor").addresses
    [other] = read(row, "floor", "geo").addresses

    assert json.loads(found.extra or "") == {"geo": {"lon": 2}}
    assert json.loads(other.extra or "") == {"floor": 3, "geo": {"lat": 1, "lon": 2}}
