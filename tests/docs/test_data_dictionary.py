"""
The data dictionary is that of the schema.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sqlalchemy import text

from support.build import NEW_YEAR, number_row
from support.data_dictionary import PAGE, dictionary
from syncsvc import vocabulary
from syncsvc.schema import tables, views

if TYPE_CHECKING:
    from support.build import Clock, Watch

WRITTEN = PAGE.read_text()


def test_the_dictionary_is_up_to_date() -> None:
    """
    docs/data.md is what `make docs` writes.
    """
    assert dictionary() == WRITTEN, "run `make docs`"


def test_every_column_and_word_stands_in_the_dictionary() -> None:
    """
    Nothing that a query may name is left out.
    """
    named = set(re.findall(r"`(\w+)`", WRITTEN))
    columns = {
        column.name
        for each in (tables.metadata, views.view_metadata)
        for table in each.tables.values()
        for column in table.c
    }

    assert columns <= named
    assert {*map(str, vocabulary.Event), *map(str, vocabulary.RunState)} <= named


def test_the_query_as_of_a_moment_runs_as_it_stands(watch: Watch, clock: Clock) -> None:
    """
    The documented query gives what was live at the moment it names, on both databases.
    """
    watch.see(number_row(1), number_row(2))
    clock.time = NEW_YEAR.replace(month=4)
    watch.see(number_row(1, status="Cancelled"), number_row(3))
    [query] = re.findall(r"```sql\n(.+?)```", WRITTEN, re.DOTALL)

    with watch.engine.connect() as connection:
        rows = connection.execute(text(query)).all()

    assert [number_row(place)["number_e164"] for place in (1, 2)] == [row[1] for row in rows]
