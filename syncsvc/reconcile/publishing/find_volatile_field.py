"""
Find an unknown field that alone changed most numbers, such as a time stamp of the response.

Every change of `extra` writes a history row, so a field that differs in every response writes one
for every number in every run.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import Text, cast, select

from syncsvc.reconcile.temp_tables import planned_changes, planned_numbers
from syncsvc.vocabulary import Event

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sqlalchemy import Connection

LISTED_AT_LEAST = 100
ROWS_AT_ONCE = 1000


class VolatileField(msgspec.Struct, frozen=True):
    """
    An unknown field.

    Attributes:
        name: As `SYNCSVC_IGNORED_FIELDS` has it.
        numbers: How many numbers changed in nothing else.
    """

    name: str
    numbers: int


def find_volatile_field(connection: Connection, found: Mapping[str, int]) -> VolatileField | None:
    """
    Return the unknown field that alone changed more than half of the numbers in this run, if any.

    Args:
        connection: With the run's plan.
        found: What the run counted.
    """
    if found["listed"] < LISTED_AT_LEAST or found["changed"] * 2 <= found["listed"]:
        return None
    for name, numbers in Counter(_lone_fields(connection)).most_common(1):
        if numbers * 2 > found["listed"]:
            return VolatileField(name, numbers)
    return None


def _lone_fields(connection: Connection) -> Iterator[str]:
    """
    Yield the unknown field of each number that changed in no other way.
    """
    query = (
        select(cast(planned_changes.c.changes, Text))
        .join_from(
            planned_changes, planned_numbers, planned_changes.c.uuid == planned_numbers.c.uuid
        )
        .where(planned_numbers.c.event == Event.CHANGED)
    )
    rows = connection.execute(query, execution_options={"yield_per": ROWS_AT_ONCE})
    for changes in map(msgspec.json.decode, rows.scalars()):
        if set(changes) == {"extra"} and (name := lone_difference(**changes["extra"])):
            yield name


def lone_difference(old: Any, new: Any) -> str | None:  # noqa: ANN401 - any JSON values
    """
    Return the name of the only field in which two objects differ; None if there are more.
    """
    before, after = old or {}, new or {}
    names = [name for name in {**before, **after} if not _is_same(name, before, after)]
    if len(names) != 1:
        return None
    [name] = names
    old, new = before.get(name), after.get(name)
    inner = lone_difference(old, new) if isinstance(old, dict) and isinstance(new, dict) else None
    return f"{name}.{inner}" if inner else name


def _is_same(name: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    return name in before and name in after and _text(before[name]) == _text(after[name])


def _text(value: Any) -> bytes:  # noqa: ANN401 - any JSON value
    """
    Return a value as text, in which true is not 1.
    """
    return msgspec.json.encode(value, order="sorted")
