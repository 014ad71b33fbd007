"""
Migrations: they build what the code expects, as often and by as many as it is asked.
"""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import URL, Engine, delete, func, insert, inspect, select, text

import syncsvc
from support import described_schema, standing
from syncsvc.database.engine import open_engine
from syncsvc.database.maintenance import migrate
from syncsvc.errors import SchemaNotCurrent
from syncsvc.schema import views
from syncsvc.schema.tables import (
    account_status,
    addresses,
    metadata,
    number_history,
    numbers,
    sync_rejects,
    sync_runs,
)

if TYPE_CHECKING:
    from sqlalchemy import Connection

ROOT = Path(syncsvc.__file__).parent.parent
MIGRATION_LOCK = 0x73796E63
UPGRADE = (
    "import sys; from sqlalchemy import make_url; "
    "from syncsvc.database.engine import open_engine; "
    "from syncsvc.database.maintenance import migrate; "
    "migrate.upgrade(open_engine(make_url(sys.argv[1])))"
)

NEWER = r"\(9999\) is newer than this version"


@pytest.fixture
def empty(empty_url: URL) -> Engine:
    """
    A database without tables, of each kind.
    """
    return open_engine(empty_url)


def built(engine: Engine) -> dict[str, Any]:
    """
    Every table with columns, keys, checks and indexes, as the database tells them.
    """
    found = {}
    with engine.connect() as connection:
        inspector = inspect(connection)
        for table in [*inspector.get_table_names(), *inspector.get_view_names()]:
            if table != "alembic_version":
                parts: list[list[Any]] = [
                    inspector.get_columns(table),
                    [inspector.get_pk_constraint(table)],
                    inspector.get_foreign_keys(table),
                    inspector.get_check_constraints(table),
                    inspector.get_indexes(table),
                ]
                found[table] = [
                    sorted(json.dumps(each, default=str) for each in part) for part in parts
                ]
    return found


def check(engine: Engine) -> None:
    """
    `alembic check`: fail if the tables are not those of the metadata.
    """
    config = Config(ROOT / "alembic.ini")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.check(config)


def test_the_migrations_build_what_the_code_describes(empty: Engine) -> None:
    """
    Alembic finds nothing to add to a database that was brought up to date.
    """
    migrate.upgrade(empty)

    check(empty)


def test_a_database_from_empty_equals_the_metadata(empty: Engine) -> None:
    """
    Migrations and metadata build the same tables, down to the names of the constraints.
    """
    migrate.upgrade(empty)
    migrated = built(empty)
    migrate.downgrade(empty, "base")
    metadata.create_all(empty)

    described = built(empty)

    assert described == {name: migrated[name] for name in described}
    assert set(metadata.tables) == set(described)


def made(engine: Engine) -> list[tuple[str, ...]]:
    """
    Every view, function and comment, as the database keeps them.
    """
    if engine.dialect.name == "sqlite":
        query = "SELECT name, sql FROM sqlite_master WHERE type = 'view' ORDER BY name"
    else:
        query = """
            SELECT relname, coalesce(attname, ''), coalesce(description, ''),
                CASE WHEN attname IS NULL THEN pg_get_viewdef(c.oid) END
            FROM pg_class c
            LEFT JOIN pg_description d ON d.objoid = c.oid AND d.classoid = 'pg_class'::regclass
            LEFT JOIN pg_attribute a ON attrelid = c.oid AND attnum = objsubid AND attnum > 0
            WHERE relkind = 'v' AND relnamespace = 'public'::regnamespace
            UNION ALL
            SELECT proname, '', obj_description(oid, 'pg_proc'), pg_get_functiondef(oid)
            FROM pg_proc WHERE pronamespace = 'public'::regnamespace
            ORDER BY 1, 2"""
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(query))]


def test_the_migrations_views_are_those_of_the_code(empty: Engine) -> None:
    """
    Views, functions and their comments are made by the migrations as the code describes them.
    """
    migrate.upgrade(empty)
    migrated = made(empty)
    migrate.downgrade(empty, "base")
    described_schema.create_all(empty)

    described = made(empty)

    assert described == migrated
    assert set(views.view_metadata.tables) <= {row[0] for row in described}


def test_a_downgrade_to_base_leaves_nothing(empty: Engine) -> None:
    """
    Taken all the way back, a database holds the migrations' own table and no more.
    """
    migrate.upgrade(empty)

    migrate.downgrade(empty, "base")

    inspector = inspect(empty)
    assert inspector.get_table_names() == ["alembic_version"]
    assert inspector.get_view_names() == []
    with empty.connect() as connection:
        assert migrate.current(connection) is None


STARTS = [datetime(2026, 1, 1, hour, tzinfo=UTC) for hour in range(6)]
RUNS_BEFORE = {
    "alone": ("succeeded", "withheld"),
    "failing": ("withheld", "failed", "crashed", "running"),
    "never": ("failed", "failed"),
}
STATUS = select(*(column for column in views.sync_status.c if "seconds" not in column.name))


def live_before_the_status(connection: Connection) -> None:
    """
    Write runs, numbers, history and rejects of several accounts.
    """
    for account, states in RUNS_BEFORE.items():
        for start, state in zip(STARTS, states, strict=False):
            connection.execute(insert(sync_runs).values(a_run(account, start, state)))
        stamps = dict.fromkeys(["first_seen_at", "changed_at"], STARTS[0])
        for number, lifecycle in enumerate(["live", "cancelled", "live"][: len(states) + 1]):
            of_number = {"account": account, "uuid": f"{number}", "lifecycle": lifecycle}
            runs = {"first_run_id": 1, "changed_run_id": 1}
            row = {**of_number, "number_e164": f"+{number}", **stamps, **runs}
            connection.execute(insert(numbers).values(row))
            event = {"event": "added", "evidence": "listing", "occurred_at_source": "observed"}
            times = dict.fromkeys(["occurred_at", "valid_from"], STARTS[0])
            row = {**of_number, **event, **times, "run_id": 1}
            connection.execute(insert(number_history).values(row))
        run_ids = select(sync_runs.c.id).where(sync_runs.c.account == account).limit(1)
        place = dict.fromkeys(["page", "position"], 1)
        row = {"account": account, "run_id": run_ids.scalar_subquery(), **place}
        connection.execute(insert(sync_rejects).values(**row, reason="It is none.", payload="7"))


def a_run(account: str, start: datetime, state: str) -> dict[str, object]:
    """
    A run of a minute, as a version before would have recorded it.
    """
    end = None if state == "running" else start + timedelta(minutes=1)
    counts = dict.fromkeys(["withheld", "rejected"], 7 if state == "withheld" else 0)
    run = {"account": account, "trigger": "manual", "state": state, "service_version": "1"}
    times = {"started_at": start, "finished_at": end, "recorded_at": end}
    error = "It was told to." if state in {"failed", "crashed"} else None
    return {**run, **times, **counts, "error": error}


def all_rows(engine: Engine) -> list[list[dict[str, Any]]]:
    """
    The rows of the tables with a numbered key, and those of the status.
    """
    tables = (sync_runs, numbers, number_history, sync_rejects)
    queries = [select(table).order_by(*table.primary_key) for table in tables]
    with engine.connect() as connection:
        return [
            [dict(row) for row in connection.execute(query).mappings()]
            for query in [*queries, STATUS.order_by("account")]
        ]


def test_the_status_of_earlier_accounts_is_that_of_their_runs(empty: Engine) -> None:
    """
    The migration keeps all rows, the view says the same, and each account's row agrees with both.
    """
    migrate.upgrade(empty, "0006")
    with empty.begin() as connection:
        live_before_the_status(connection)
    keys, before = built(empty), all_rows(empty)

    migrate.upgrade(empty, "0007")

    assert before == all_rows(empty)
    assert standing.kept(empty) == standing.counted(empty)
    with empty.connect() as connection:
        seconds = connection.execute(select(account_status.c.last_seconds)).scalars().all()
    assert seconds == [60, 60, 60]
    migrate.downgrade(empty, "0006")
    assert before == all_rows(empty)
    assert keys == built(empty)


def test_numbered_rows_go_on_from_the_highest_number(empty: Engine) -> None:
    """
    The key begins with the account on PostgreSQL; runs still number themselves and take rows along.
    """
    migrate.upgrade(empty, "0006")
    with empty.begin() as connection:
        live_before_the_status(connection)
        highest = connection.execute(select(func.max(sync_runs.c.id))).scalar_one()

    migrate.upgrade(empty, "0007")

    with empty.begin() as connection:
        added = insert(sync_runs).values(a_run("alone", STARTS[-1], "failed"))
        assert connection.execute(added.returning(sync_runs.c.id)).scalar_one() == highest + 1
        connection.execute(delete(sync_runs).where(sync_runs.c.account == "alone"))
        left = connection.execute(select(sync_rejects.c.account).distinct()).scalars()
        assert sorted(left) == ["failing", "never"]
    expected = ["account", "id"] if empty.dialect.name == "postgresql" else ["id"]
    for table in ("sync_runs", "number_history", "address_history", "sync_rejects"):
        assert inspect(empty).get_pk_constraint(table)["constrained_columns"] == expected


def test_a_downgrade_can_be_taken_back(empty: Engine) -> None:
    """
    Down and up again leads to the same tables.
    """
    migrate.upgrade(empty)
    before = built(empty)

    migrate.downgrade(empty, "base")
    migrate.upgrade(empty)

    assert before == built(empty)


def test_a_second_upgrade_changes_nothing(engine: Engine) -> None:
    """
    An upgrade of a database that is up to date leaves tables and rows alone.
    """
    before = built(engine)
    stamps = dict.fromkeys(["first_seen_at", "changed_at"], datetime(2024, 7, 15, tzinfo=UTC))
    with engine.begin() as connection:
        connection.execute(insert(addresses).values(account="default", id=1, **stamps))

    migrate.upgrade(engine)

    assert before == built(engine)
    with engine.connect() as connection:
        assert [*connection.execute(select(addresses.c.id)).scalars()] == [1]


def test_an_upgrade_that_fails_leaves_nothing(empty: Engine) -> None:
    """
    All of an upgrade takes effect, or none of it.
    """
    with empty.begin() as connection:
        connection.execute(text("CREATE TABLE number_history (id INTEGER)"))

    with pytest.raises(Exception, match="already exists"):
        migrate.upgrade(empty)

    assert inspect(empty).get_table_names() == ["number_history"]


def waiting(connection: Connection) -> int:
    """
    How many sessions wait for the lock of the migrations.
    """
    query = text(
        "SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = database "
        "WHERE locktype = 'advisory' AND NOT granted AND datname = current_database()"
    )
    return int(connection.execute(query).scalar_one())


@pytest.mark.parametrize("kind", ["postgresql"])
def test_two_hosts_may_upgrade_at_once(empty: Engine, empty_url: URL) -> None:
    """
    Of two upgrades at the same time, the second waits for the first and finds all done.
    """
    url = empty_url.render_as_string(hide_password=False)
    with empty.connect() as connection:
        connection.execute(text(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})"))
        both = [subprocess.Popen([sys.executable, "-c", UPGRADE, url], cwd=ROOT) for _ in range(2)]
        patience = time.monotonic() + 30
        while waiting(connection) < len(both) and time.monotonic() < patience:
            time.sleep(0.02)
        assert len(both) == waiting(connection)
        connection.rollback()

    assert [process.wait(timeout=60) for process in both] == [0, 0]
    check(empty)


def test_the_ddl_is_plain_sql(empty: Engine, empty_url: URL) -> None:
    """
    The printed statements, fed to the database as they are, build what an upgrade builds.
    """
    statements = migrate.ddl(empty_url)
    assert built(empty) == {}

    if empty.dialect.name == "sqlite":
        with closing(sqlite3.connect(str(empty_url.database))) as file:
            file.executescript(statements)
    else:
        dsn = empty_url.set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(dsn, autocommit=True) as session:
            session.execute(statements.encode())

    check(empty)
    with empty.connect() as connection:
        migrate.require_current(connection)


def test_the_ddl_needs_no_database() -> None:
    """
    The statements can be printed if no database can be reached.
    """
    nowhere = URL.create("postgresql+psycopg", "user", "secret", "192.0.2.1", database="x")

    statements = migrate.ddl(nowhere)

    assert "CREATE TABLE numbers" in statements
    assert "COMMENT ON COLUMN numbers.uuid" in statements
    assert "secret" not in statements


def test_a_database_that_is_up_to_date_is_accepted(engine: Engine) -> None:
    """
    A database at the newest revision may be used.
    """
    with engine.connect() as connection:
        migrate.require_current(connection)

        assert migrate.newest() == migrate.current(connection)


def test_a_database_that_was_never_migrated_is_refused(empty: Engine) -> None:
    """
    Whoever starts on an empty database is told which command to run.
    """
    with (
        empty.connect() as connection,
        pytest.raises(SchemaNotCurrent, match=r"no syncsvc tables yet.*`syncsvc migrate`"),
    ):
        migrate.require_current(connection)


def test_a_database_of_another_version_is_refused(engine: Engine) -> None:
    """
    Both revisions are named, and the command to run.
    """
    with engine.connect() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))

        with pytest.raises(SchemaNotCurrent) as caught:
            migrate.require_current(connection)

        connection.rollback()
    for word in ("at 0001", f"needs {migrate.newest()}", "Run `syncsvc migrate`"):
        assert word in str(caught.value)


def test_an_empty_database_is_told_from_one_with_tables(empty: Engine) -> None:
    """
    A database is empty until the first table is there.
    """
    with empty.connect() as connection:
        assert migrate.is_empty(connection)
    migrate.upgrade(empty)
    with empty.connect() as connection:
        assert not migrate.is_empty(connection)


def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """
    An installation of its own, whose package holds the migrations, none so far.
    """
    (tmp_path / "migrations" / "versions").mkdir(parents=True)
    monkeypatch.setattr(
        migrate, "__file__", str(tmp_path / "database" / "maintenance" / "migrate.py")
    )
    return tmp_path / "migrations"


def test_an_installation_without_migrations_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    If the migrations are missing, no database is called current.
    """
    installed(tmp_path, monkeypatch)

    with pytest.raises(SchemaNotCurrent, match="migrations are missing"):
        migrate.newest()


def test_the_migrations_inside_the_package_come_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    An installed package goes by the migrations that it brought along.
    """
    versions = installed(tmp_path, monkeypatch) / "versions"
    (versions / "packed.py").write_text("revision = 'packed'\ndown_revision = None\n")

    assert migrate.newest() == "packed"


def test_a_newer_schema_is_told_as_that(engine: Engine) -> None:
    """
    No command changes a schema that a newer version has made, and each says so.
    """
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    try:
        with pytest.raises(SchemaNotCurrent, match=NEWER):
            migrate.upgrade(engine)
        with engine.connect() as connection:
            with pytest.raises(SchemaNotCurrent, match=NEWER):
                migrate.require_current(connection)
            assert migrate.current(connection) == "9999"
    finally:
        with engine.begin() as connection:
            known = {"known": migrate.newest()}
            connection.execute(text("UPDATE alembic_version SET version_num = :known"), known)


def with_versions(engine: Engine, *revisions: str) -> None:
    """
    Make `alembic_version` name these revisions.
    """
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM alembic_version"))
        for revision in revisions:
            row = {"revision": revision}
            connection.execute(text("INSERT INTO alembic_version VALUES (:revision)"), row)


def refusals(engine: Engine) -> set[str]:
    """
    What an upgrade and a check of the schema say.
    """
    with pytest.raises(SchemaNotCurrent) as upgrading:
        migrate.upgrade(engine)
    with engine.connect() as connection, pytest.raises(SchemaNotCurrent) as checking:
        migrate.require_current(connection)
    return {str(upgrading.value), str(checking.value)}


@pytest.mark.parametrize(
    ("revisions", "named"),
    [((), "no revision"), (("",), "no revision"), (("0001", "0006"), "0001 and 0006")],
)
def test_tables_of_an_unknown_schema_are_left_alone(
    empty: Engine, revisions: tuple[str, ...], named: str
) -> None:
    """
    If `alembic_version` does not name one revision, no command takes the tables for new or old.
    """
    migrate.upgrade(empty)
    with_versions(empty, *revisions)

    [said] = refusals(empty)

    assert f"names {named}, so" in said
    assert "syncsvc migrate" not in said


def test_a_database_without_the_table_of_its_version_is_not_called_new(empty: Engine) -> None:
    """
    A restore that left out `alembic_version` is not answered with "no tables yet".
    """
    migrate.upgrade(empty)
    with empty.begin() as connection:
        connection.execute(text("DROP TABLE alembic_version"))

    [said] = refusals(empty)

    assert "names no revision" in said


@pytest.mark.parametrize("beside", ["0001", migrate.newest()])
def test_a_newer_revision_beside_a_known_one_is_newer(empty: Engine, beside: str) -> None:
    """
    Of several revisions, one that is not known tells that a newer version was here.
    """
    migrate.upgrade(empty)
    with_versions(empty, beside, "9999")

    [said] = refusals(empty)

    assert "(9999) is newer than this version" in said


@pytest.mark.parametrize("symbol", ["head", "heads", "base", "current", "+1", "-1", "000", "@head"])
def test_only_the_whole_name_of_a_revision_is_known(empty: Engine, symbol: str) -> None:
    """
    What Alembic takes for a revision on its command line is none in the database.
    """
    migrate.upgrade(empty)
    with_versions(empty, symbol)

    [said] = refusals(empty)

    assert f"({symbol}) is newer" in said


def test_another_program_s_revision_is_not_called_newer(empty: Engine) -> None:
    """
    A program that migrates with Alembic has a table of the same name in its own database.
    """
    with empty.begin() as connection:
        connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)"))
    with_versions(empty, "3512b954651e")

    [said] = refusals(empty)

    assert "(3512b954651e) is another program's" in said


def test_tables_that_are_not_those_of_their_revision_are_reported(empty: Engine) -> None:
    """
    A migration that meets its own result, or a table less, says so and changes nothing.
    """
    migrate.upgrade(empty)
    with_versions(empty, "0001")
    before = built(empty)

    with pytest.raises(SchemaNotCurrent, match=r"not those of revision 0001.*nothing was changed"):
        migrate.upgrade(empty)

    assert built(empty) == before


@pytest.mark.parametrize("lost", ["VIEW sync_status", "TABLE sync_rejects"])
def test_a_schema_that_lacks_a_part_is_reported(empty: Engine, lost: str) -> None:
    """
    The revision alone does not say that all is there.
    """
    migrate.upgrade(empty)
    with empty.begin() as connection:
        connection.execute(text(f"DROP {lost}"))

    with empty.connect() as connection:
        migrate.require_current(connection)
        with pytest.raises(SchemaNotCurrent, match=f"but lacks {lost.split()[1]}:"):
            migrate.require_whole(connection)


def test_a_whole_schema_lacks_nothing(engine: Engine) -> None:
    """
    All tables and views are found.
    """
    with engine.connect() as connection:
        migrate.require_whole(connection)


@pytest.mark.parametrize("kind", ["sqlite"])
def test_processes_that_create_one_file_wait_for_each_other(empty_url: URL) -> None:
    """
    Several first runs or migrations of one SQLite file all succeed.
    """
    command_line = [sys.executable, "-c", UPGRADE, str(empty_url)]

    several = [subprocess.Popen(command_line) for _ in range(4)]

    assert [process.wait(timeout=120) for process in several] == [0, 0, 0, 0]
    check(open_engine(empty_url))
