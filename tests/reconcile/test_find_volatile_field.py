"""
Unknown fields that differ in every response.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from support.build import api_for, number_row
from syncsvc.payloads.extra_fields import IgnoredFields
from syncsvc.reconcile.publishing.find_volatile_field import lone_difference

if TYPE_CHECKING:
    from support.build import Row, Watch

Logs = list[Any]


def rows(count: int, **fields: Any) -> list[Row]:
    """
    Numbers with these fields.
    """
    return [number_row(place, **fields) for place in range(1, count + 1)]


def warnings_of(logs: Logs) -> Logs:
    """
    The warnings about a field.
    """
    return [each for each in logs if each["event"] == "sync.volatile_field"]


def test_a_field_that_differs_in_every_response_is_named(watch: Watch) -> None:
    """
    A run in which it alone changed most numbers names the field and the setting that ignores it.
    """
    watch.see(*rows(100, served_at=1))

    with capture_logs() as logs:
        watch.see(*rows(51, served_at=2), *rows(100, served_at=1)[51:])

    [warning] = warnings_of(logs)
    assert (warning["field"], warning["count"]) == ("served_at", 51)
    assert warning["to_ignore"] == "SYNCSVC_IGNORED_FIELDS=served_at"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (rows(99, served_at=1), rows(99, served_at=2)),
        (rows(100, served_at=1), rows(50, served_at=2) + rows(100, served_at=1)[50:]),
        (rows(100, a=1), rows(100, a=2, status="Active")),
        (rows(100, a=1, b=1), rows(100, a=2, b=2)),
        (rows(100), rows(50, a=2) + rows(100, b=2)[50:]),
        (rows(100), rows(100, status="Active")),
        ([], rows(100, a=1)),
    ],
    ids=["99", "half", "status too", "two fields", "one or the other", "known", "first run"],
)
def test_other_changes_are_not_warned_of(watch: Watch, before: list[Row], after: list[Row]) -> None:
    """
    Few numbers, or changes of more than one field, are no sign of such a field.
    """
    watch.see(*before)

    with capture_logs() as logs:
        watch.see(*after)

    assert warnings_of(logs) == []


def test_an_ignored_field_changes_nothing(watch: Watch) -> None:
    """
    With the field ignored, a run over rows that differ in it alone writes nothing.
    """
    with api_for(watch.sandbox, ignored=IgnoredFields(["details.age", "served_at"])) as api:
        watch.see(*rows(100, served_at=1, details={"age": 1}), api=api)
        with capture_logs() as logs:
            summary = watch.see(*rows(100, served_at=2, details={"age": 2}), api=api)

    assert (summary.changed, summary.unchanged) == (0, 100)
    assert warnings_of(logs) == []
    assert watch.number(1)["extra"] is None


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ({"a": 1}, {"a": 2}, "a"),
        (None, {"a": 1}, "a"),
        ({"a": 1}, None, "a"),
        ({"a": 1, "b": 1}, {"a": True, "b": 1}, "a"),
        ({"a": None}, {}, "a"),
        ({"a": {"b": 1, "c": 1}}, {"a": {"b": 2, "c": 1}}, "a.b"),
        ({"a": {"b": 1, "c": 1}}, {"a": {"b": 2, "c": 2}}, "a"),
        ({"details": {"b": {"c": [1]}}}, {"details": {"b": {"c": [2]}}}, "details.b.c"),
        ({"a": 1, "b": 1}, {"a": 2, "b": 2}, None),
        ({"a": 1}, {"b": 1}, None),
    ],
)
def test_a_lone_difference_is_named_with_dots(old: Any, new: Any, expected: str | None) -> None:
    """
    The name is the one that the setting takes.
    """
    assert expected == lone_difference(old, new)
