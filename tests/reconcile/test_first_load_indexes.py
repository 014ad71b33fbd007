"""
After a first load, indexes, keys and foreign keys are those that the migrations made.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event, select
from sqlalchemy.schema import CreateTable
from structlog.testing import capture_logs

from support.build import number_row
from support.catalogue import schema_of
from syncsvc.schema.tables import number_history, numbers

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

    from support.build import Row, Watch

ROWS = [number_row(place) for place in (1, 2, 3)]


@pytest.fixture
def migrated(engine: Engine, request: pytest.FixtureRequest) -> list[tuple[str, ...]]:
    """
    The schema of an empty, migrated database.
    """
    if engine.dialect.name == "postgresql":
        found: list[tuple[str, ...]] = request.getfixturevalue("migrated_schema")
        return found
    return now_in(engine)


def now_in(engine: Engine) -> list[tuple[str, ...]]:
    """
    The schema of a database as it is now.
    """
    with engine.connect() as connection:
        return schema_of(connection)


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


def updates(engine: Engine) -> list[str]:
    """
    Which of the two tables that a first load fills are updated from now on.
    """
    found: list[str] = []

    def listen(_connection: object, _cursor: object, statement: str, *_more: object) -> None:
        words = statement.split()
        if words[0] == "UPDATE" and words[1] in {"numbers", "number_history"}:
            found.append(words[1])

    event.listen(engine, "before_cursor_execute", listen)
    return found


def how_it_may_join(engine: Engine) -> list[tuple[str, tuple[str, ...]]]:
    """
    Each statement from now on, and whether PostgreSQL may merge or nest loops for it.
    """
    found: list[tuple[str, tuple[str, ...]]] = []
    query = "SELECT current_setting('enable_mergejoin'), current_setting('enable_nestloop')"

    def listen(_connection: object, cursor: Any, statement: str, *_more: object) -> None:
        with cursor.connection.cursor() as beside:
            found.append((statement, beside.execute(query).fetchone()))

    event.listen(engine, "before_cursor_execute", listen)
    return found


def names_dropped(statements: list[str]) -> set[str]:
    """
    The names of the indexes that statements drop.
    """
    return {each.split()[-1] for each in statements if each.split()[:2] == ["DROP", "INDEX"]}


def is_index(kind: str, name: str) -> bool:
    """
    Whether an object is an index of numbers or their history, other than that of a key.
    """
    own = ("ix_numbers_", "ix_number_history_", "uq_number_history_")
    return kind == "index" and name.startswith(own)


def test_a_first_load_puts_the_schema_back(
    watch: Watch, engine: Engine, migrated: list[tuple[str, ...]]
) -> None:
    """
    The first load drops indexes and recreates all of them; the second run touches none.
    """
    first = schema_changes(engine)
    watch.see(*ROWS)
    after_first = now_in(engine)
    second = schema_changes(engine)
    watch.see(*ROWS[:2])

    dropped = [each for each in first if "ix_number_history_run_id" in each]
    assert [each.split()[0] for each in dropped] == ["DROP", "CREATE"]
    assert names_dropped(first) == {name for kind, name, *_ in migrated if is_index(kind, name)}
    assert [each for each in second if "staged" not in each] == []
    assert after_first == migrated
    assert now_in(engine) == migrated


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)  # SQLite keeps its keys
def test_after_a_first_load_the_code_still_describes_the_keys(
    watch: Watch, engine: Engine, migrated: list[tuple[str, ...]]
) -> None:
    """
    Tables that are created from the description later in the same process have all of theirs.
    """
    watch.see(*ROWS)

    for table in (numbers, number_history):
        keys = {
            name.removeprefix(f"{table.name}.")
            for kind, name, definition, *_ in migrated
            if kind == "constraint"
            and name.startswith(f"{table.name}.")
            and definition.startswith(("PRIMARY KEY", "FOREIGN KEY"))
        }
        described = str(CreateTable(table).compile(engine))
        assert len(keys) > 1
        assert [key for key in keys if key not in described] == []


def test_a_first_load_looks_for_no_number_that_it_had(watch: Watch, engine: Engine) -> None:
    """
    Nothing is updated and no history closed; the next run does both for a number that changed.
    """
    first = updates(engine)
    watch.see(*ROWS)
    touched_first = [*first]
    watch.see(number_row(1, status="Active"), *ROWS[1:])

    assert touched_first == []
    assert first == ["numbers", "number_history"]


def test_another_accounts_first_load_touches_no_index(watch: Watch, engine: Engine) -> None:
    """
    If any account has a number, others read and write beside it, and keep their indexes.
    """
    watch.see(*ROWS, account="other")
    changes = schema_changes(engine)
    watch.see(*ROWS)

    assert [each for each in changes if "staged" not in each] == []


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
@pytest.mark.parametrize(
    "moment", ["INSERT INTO number_history", "CREATE INDEX ix_number_history_run_id"]
)
def test_an_interrupted_first_load_leaves_the_schema(
    watch: Watch,
    engine: Engine,
    migrated: list[tuple[str, ...]],
    error: type[BaseException],
    moment: str,
) -> None:
    """
    If it fails when indexes or rows are not there, all is rolled back.
    """

    def fail(_connection: object, _cursor: object, statement: str, *_more: object) -> None:
        if statement.startswith(moment):
            raise error

    event.listen(engine, "before_cursor_execute", fail)
    try:
        assert watch.see(*ROWS).state == "failed"
    except KeyboardInterrupt:
        assert error is KeyboardInterrupt
    event.remove(engine, "before_cursor_execute", fail)

    assert watch.last_run()["state"] == "failed"
    assert ("ZeroDivisionError" in watch.last_run()["error"]) == (error is ZeroDivisionError)
    assert now_in(engine) == migrated
    assert watch.see(*ROWS).state == "succeeded"
    assert now_in(engine) == migrated


def test_a_first_load_that_the_database_refuses_reports_its_cause(
    watch: Watch, engine: Engine, migrated: list[tuple[str, ...]]
) -> None:
    """
    The run's error is the statement that failed, not one about indexes that are not there.
    """

    def spoil(connection: Connection, _cursor: object, statement: str, *_more: object) -> None:
        if statement.startswith("INSERT INTO number_history"):
            connection.exec_driver_sql("SELECT * FROM no_such_table")

    event.listen(engine, "before_cursor_execute", spoil)
    summary = watch.see(*ROWS)
    event.remove(engine, "before_cursor_execute", spoil)

    assert summary.state == "failed"
    assert "no_such_table" in str(summary.error)
    assert now_in(engine) == migrated


def test_the_unique_open_row_is_enforced_after_a_first_load(watch: Watch, engine: Engine) -> None:
    """
    A second open history row of a number is refused, as in an empty database.
    """
    watch.see(*ROWS)
    (row,) = watch.history(1)
    copy: Row = {name: value for name, value in row.items() if name != "id"}

    with pytest.raises(Exception, match=r"(?i)unique"), engine.begin() as connection:
        connection.execute(number_history.insert().values(copy))


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)  # SQLite has no such settings
def test_only_the_keys_are_checked_by_hash_alone(watch: Watch, engine: Engine) -> None:
    """
    What the transaction executes after them may join in any way, as it may in a later run.
    """
    settings = how_it_may_join(engine)
    watch.see(*ROWS)
    watch.see(*ROWS[:2])

    found = {each for statement, each in settings if "FOREIGN KEY" in statement}
    others = [
        each
        for statement, each in settings
        if statement.startswith(("SELECT", "INSERT", "UPDATE", "DELETE"))
    ]
    assert found == {("off", "off")}
    assert set(others) == {("on", "on")}


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)  # SQLite has no table locks
def test_beside_an_open_reader_a_first_load_keeps_the_indexes(
    watch: Watch, engine: Engine, migrated: list[tuple[str, ...]]
) -> None:
    """
    If somebody is reading the table the run does not wait for the lock, and loads all the same.
    """
    with engine.connect() as reader, capture_logs() as logs:
        reader.execute(select(numbers)).all()
        summary = watch.see(*ROWS, deadline=timedelta(seconds=20))  # it would wait for as long

    assert summary.state == "succeeded"
    (kept,) = [each for each in logs if each["event"] == "sync.first_load_keeps_indexes"]
    assert kept["error"] == "LockNotAvailable"
    assert now_in(engine) == migrated
    changes = schema_changes(engine)
    assert watch.see(*ROWS[:2]).cancelled == 1
    assert [each for each in changes if "staged" not in each] == []
