"""
After a first load, indexes, keys and foreign keys are those that the migrations made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import event, select, text
from structlog.testing import capture_logs

from support.build import number_row
from syncsvc.schema.tables import number_history, numbers

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from support.build import Row, Watch

ROWS = [number_row(place) for place in (1, 2, 3)]
CATALOGUE = {
    "sqlite": "SELECT type, name, sql FROM sqlite_master ORDER BY type, name",
    "postgresql": """
        SELECT 'constraint', conrelid::regclass || '.' || conname,
            pg_get_constraintdef(oid) || CASE WHEN convalidated THEN '' ELSE ' NOT VALID' END
        FROM pg_constraint WHERE connamespace = 'public'::regnamespace
        UNION ALL
        SELECT 'index', indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
        ORDER BY 1, 2, 3""",
}


def schema_of(engine: Engine) -> list[tuple[str, ...]]:
    """
    Every index, key and constraint with its definition.
    """
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(CATALOGUE[engine.dialect.name]))]


def schema_changes(engine: Engine) -> list[str]:
    """
    The statements that a session from now on runs to change the schema of `numbers`.
    """
    found: list[str] = []

    def listen(_connection: object, _cursor: object, statement: str, *_more: object) -> None:
        words = statement.split()
        if words[0] in {"CREATE", "DROP", "ALTER"} and "TEMPORARY" not in words:
            found.append(statement)

    event.listen(engine, "before_cursor_execute", listen)
    return found


def test_a_first_load_puts_the_schema_back(watch: Watch, engine: Engine) -> None:
    """
    The first load drops indexes and recreates all of them; the second run touches none.
    """
    before = schema_of(engine)
    first = schema_changes(engine)
    watch.see(*ROWS)
    second = schema_changes(engine)
    watch.see(*ROWS[:2])

    dropped = [each for each in first if "ix_number_history_run_id" in each]
    assert [each.split()[0] for each in dropped] == ["DROP", "CREATE"]
    assert [each for each in second if "staged" not in each] == []
    assert schema_of(engine) == before


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_an_interrupted_first_load_leaves_the_schema(
    watch: Watch, engine: Engine, error: type[BaseException]
) -> None:
    """
    If it fails when the rows are there but the indexes are not, all is rolled back.
    """
    before = schema_of(engine)

    def fail(_connection: object, _cursor: object, statement: str, *_more: object) -> None:
        if statement.startswith("CREATE INDEX ix_number_history"):
            raise error

    event.listen(engine, "before_cursor_execute", fail)
    try:
        assert watch.see(*ROWS).state == "failed"
    except KeyboardInterrupt:
        assert error is KeyboardInterrupt
    event.remove(engine, "before_cursor_execute", fail)

    assert watch.last_run()["state"] == "failed"
    assert ("ZeroDivisionError" in watch.last_run()["error"]) == (error is ZeroDivisionError)
    assert schema_of(engine) == before
    assert watch.see(*ROWS).state == "succeeded"
    assert schema_of(engine) == before


def test_the_unique_open_row_is_enforced_after_a_first_load(watch: Watch, engine: Engine) -> None:
    """
    A second open history row of a number is refused, as in an empty database.
    """
    watch.see(*ROWS)
    (row,) = watch.history(1)
    copy: Row = {name: value for name, value in row.items() if name != "id"}

    with pytest.raises(Exception, match=r"(?i)unique"), engine.begin() as connection:
        connection.execute(number_history.insert().values(copy))


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)  # SQLite has no table locks
def test_beside_an_open_reader_a_first_load_keeps_the_indexes(watch: Watch, engine: Engine) -> None:
    """
    If somebody is reading the table the run does not wait for the lock, and loads all the same.
    """
    before = schema_of(engine)
    with engine.connect() as reader, capture_logs() as logs:
        reader.execute(select(numbers)).all()
        summary = watch.see(*ROWS)

    assert summary.state == "succeeded"
    assert "sync.first_load_keeps_indexes" in [each["event"] for each in logs]
    assert schema_of(engine) == before
