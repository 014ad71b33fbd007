"""
The script that divides the large tables by account.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from support.build import Watch, number_row, rows_of
from support.catalogue import schema_of
from syncsvc.schema.tables import number_history, numbers
from syncsvc.sync.run_inputs import Job

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

    from syncsvc.provider.client import NumberApi
    from syncsvc.sandbox import Sandbox

SCRIPT = Path(__file__).parents[2] / "deploy" / "postgresql" / "partition.sql"
TABLES = ("addresses", "numbers", "address_history", "number_history")
PARTITIONS = 16


@pytest.fixture
def watch(own_database: Engine, sandbox: Sandbox, api: NumberApi) -> Watch:
    """
    Runs into a database of their own.
    """
    deadline = timedelta(minutes=5)
    return Watch(Job(engine=own_database, api=api, account="default", deadline=deadline), sandbox)


def divide(connection: Connection) -> None:
    """
    Execute the script, as psql would.
    """
    connection.exec_driver_sql(SCRIPT.read_text().replace("%", "%%"))


def without_partitions(schema: list[tuple[str, ...]]) -> set[tuple[str, ...]]:
    """
    A schema but for the partitions, and for columns, of which partitioned tables have no kind.
    """
    parts = {f"{table}_{number:02}" for table in TABLES for number in range(PARTITIONS)}
    return {
        tuple(word.replace(" ON ONLY ", " ON ") for word in each)
        for each in schema
        if each[0] != "column" and not any(part in word for part in parts for word in each)
    }


def test_a_divided_database_has_the_same_schema(own_database: Engine) -> None:
    """
    Every key, index, trigger, comment and view is there again, and each table has 16 partitions.
    """
    with own_database.begin() as connection:
        before = schema_of(connection)
        divide(connection)
        after = schema_of(connection)
        counts = connection.execute(
            text("SELECT inhparent::regclass::text, count(*) FROM pg_inherits GROUP BY 1")
        )
        parts = {name: count for name, count in counts if name in TABLES}

    assert without_partitions(after) == without_partitions(before)
    assert parts == dict.fromkeys(TABLES, PARTITIONS)


def test_runs_work_in_a_divided_database(own_database: Engine, watch: Watch) -> None:
    """
    A first run, one without changes and one with a cancellation leave what they always do.
    """
    with own_database.begin() as connection:
        divide(connection)
    found = [
        watch.see(*map(number_row, places), account=account)
        for account in ("one", "two")
        for places in ([1, 2, 3], [1, 2, 3], [2, 3])
    ]

    assert {summary.state for summary in found} == {"succeeded"}
    assert [summary.cancelled for summary in found] == [0, 0, 1] * 2
    assert len(rows_of(own_database, numbers, account="two")) == 3
    assert len(rows_of(own_database, number_history, account="two")) == 4


def test_a_database_with_rows_is_not_divided(own_database: Engine, watch: Watch) -> None:
    """
    The script says so and leaves everything unchanged.
    """
    watch.see(number_row(1))
    with own_database.begin() as connection, pytest.raises(DBAPIError, match="numbers has rows"):
        divide(connection)

    assert len(rows_of(own_database, numbers)) == 1
