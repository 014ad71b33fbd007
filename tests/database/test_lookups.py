"""
Find a number by what people write, and by what it was called before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.build import Watch, number_row
from syncsvc.errors import UnknownNumber
from syncsvc.reports import find_numbers

if TYPE_CHECKING:
    from sqlalchemy import Engine

SPELLINGS = ["+441245123456", "441245123456", "00441245123456", "+44 1245 123456", "44-1245-123456"]


def found(engine: Engine, wanted: str) -> list[str]:
    """
    What a search finds, by E.164.
    """
    with engine.connect() as connection:
        return [row["number_e164"] for row in find_numbers(connection, "default", wanted)]


@pytest.mark.parametrize("sent", SPELLINGS)
@pytest.mark.parametrize("wanted", SPELLINGS)
def test_any_spelling_finds_any_other(watch: Watch, engine: Engine, sent: str, wanted: str) -> None:
    """
    The same digits are the same number, however the provider and the reader write them.
    """
    watch.see(number_row(1, number_e164=sent), number_row(2))

    assert found(engine, wanted) == [sent]


def test_a_number_is_found_by_what_it_was_before(watch: Watch, engine: Engine) -> None:
    """
    A uuid that has another number now is found by each one that it had.
    """
    watch.see(number_row(1, number_e164="+441245000001"), number_row(2))
    watch.see(number_row(1, number_e164="+441245000009"), number_row(2))

    assert found(engine, "441245 000001") == ["+441245000009"]


@pytest.mark.parametrize("wanted", ["", "+", "00", "+4412450000", "nobody", "%"])
def test_what_nobody_had_is_not_found(watch: Watch, engine: Engine, wanted: str) -> None:
    """
    A part of a number, or none, finds nothing.
    """
    watch.see(number_row(1, number_e164="+441245000001"))

    with pytest.raises(UnknownNumber):
        found(engine, wanted)
