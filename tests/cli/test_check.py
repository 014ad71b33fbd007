"""
`syncsvc check` finds what would fail a run, and says what to do.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import func, select, text

from syncsvc import clock
from syncsvc.database import sqlite_file
from syncsvc.database.locks import run_lock
from syncsvc.sandbox import Inventory, Sandbox
from syncsvc.schema.tables import sync_runs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Engine

    from support.build import Result

ROLE = "check_worker"


@pytest.fixture
def doctor(
    engine: Engine, sandbox: Sandbox, cli: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Result]:
    """
    Call `syncsvc check` on a migrated database and the simulated provider.
    """
    sandbox.reset(Inventory.seeded(10))
    monkeypatch.setenv("SYNCSVC_API_URL", sandbox.url)
    monkeypatch.setenv("SYNCSVC_API_TOKEN", sandbox.token)
    url = engine.url.render_as_string(hide_password=False)
    monkeypatch.setenv("SYNCSVC_DATABASE_URL", url)
    return lambda *words: cli("check", *words)


@pytest.fixture
def worker_url(engine: Engine) -> Iterator[str]:
    """
    The database's URL for a role that may read and write every table, and nothing else.
    """
    execute(
        engine,
        f"CREATE ROLE {ROLE} LOGIN",
        f"REVOKE ALL ON DATABASE {engine.url.database} FROM PUBLIC",
        f"GRANT CONNECT ON DATABASE {engine.url.database} TO {ROLE}",
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {ROLE}",
    )
    yield engine.url.set(username=ROLE).render_as_string(hide_password=False)
    execute(
        engine,
        f"DROP OWNED BY {ROLE} CASCADE",
        f"DROP ROLE {ROLE}",
        f"GRANT CONNECT, TEMPORARY ON DATABASE {engine.url.database} TO PUBLIC",
    )


def execute(engine: Engine, *statements: str) -> None:
    """
    Execute statements as the database's owner.
    """
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))


@pytest.fixture
def server_is(engine: Engine) -> Iterator[Callable[[str, str], None]]:
    """
    Lets a function of PostgreSQL, such as `version`, return what another server's returns.
    """
    with engine.connect() as connection:  # opened while the server is what it is
        connection.execution_options(isolation_level="AUTOCOMMIT")
        database = engine.url.database
        made: list[str] = []

        def pose(function: str, value: str) -> None:
            made.append(function)
            connection.exec_driver_sql(
                f"CREATE FUNCTION public.{function}() RETURNS text RETURN '{value}'"
            )
            connection.exec_driver_sql(
                f"ALTER DATABASE {database} SET search_path = public, pg_catalog"
            )

        yield pose
        connection.exec_driver_sql(f"ALTER DATABASE {database} RESET ALL")
        for function in made:
            connection.exec_driver_sql(f"DROP FUNCTION public.{function}()")


def failures(result: Result) -> dict[str, str]:
    """
    The failed lines, by subject.
    """
    lines = [line.split(maxsplit=2) for line in result.out.splitlines()]
    return {subject: says for mark, subject, says in lines if mark == "FAILED"}


def test_a_rehearsal_leaves_nothing_behind(doctor: Callable[..., Result], engine: Engine) -> None:
    """
    On a database in order all is well, and no row is there afterwards.
    """
    result = doctor()

    with engine.connect() as connection:
        rows = connection.execute(select(func.count()).select_from(sync_runs)).scalar_one()
    assert (result.code, rows, failures(result)) == (0, 0, {})


def test_a_run_in_progress_is_no_fault(doctor: Callable[..., Result], engine: Engine) -> None:
    """
    While a run holds the lock, the rehearsal is left out.
    """
    with engine.connect() as connection, run_lock(connection, "default"):
        result = doctor()

    assert result.code == 0
    assert "left out. Another run of account 'default'" in result.out


@pytest.mark.parametrize("kind", ["postgresql"])
def test_a_role_without_temporary_tables_is_found(
    doctor: Callable[..., Result], worker_url: str, engine: Engine
) -> None:
    """
    What the role lacks is named, and with it the check succeeds.
    """
    without = doctor("--database-url", worker_url)
    execute(engine, f"GRANT TEMPORARY ON DATABASE {engine.url.database} TO {ROLE}")
    complete = doctor("--database-url", worker_url)
    execute(engine, f"REVOKE INSERT ON number_history FROM {ROLE}")
    partly = doctor("--database-url", worker_url)

    assert (without.code, complete.code, partly.code) == (1, 0, 1), complete.out
    assert "Grant TEMPORARY on the database" in failures(without)["rehearsal"]
    assert "can't write to number_history" in failures(partly)["rehearsal"]


@pytest.mark.parametrize("kind", ["postgresql"])
def test_a_database_that_only_reads_is_found(
    doctor: Callable[..., Result], worker_url: str, engine: Engine
) -> None:
    """
    A role or a server that is set to read only fails the rehearsal.
    """
    execute(engine, f"ALTER ROLE {ROLE} SET default_transaction_read_only = on")

    assert "accepts no writes" in failures(doctor("--database-url", worker_url))["rehearsal"]


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        ("sqlite", "dropped"),  # SQLite can't disable triggers
        ("postgresql", "disabled"),
        ("postgresql", "replica"),
        ("postgresql", "dropped"),
    ],
)
def test_triggers_that_do_not_fire_are_found(
    doctor: Callable[..., Result], engine: Engine, kind: str, what: str
) -> None:
    """
    Missing triggers, disabled ones, and a session in which none fires are found.
    """
    name = engine.url.database
    broken, *mended = {
        ("sqlite", "dropped"): ["DROP TRIGGER numbers_updated"],
        ("postgresql", "disabled"): [
            "ALTER TABLE numbers DISABLE TRIGGER numbers_updated",
            "ALTER TABLE numbers ENABLE TRIGGER numbers_updated",
        ],
        ("postgresql", "replica"): [
            f"ALTER DATABASE {name} SET session_replication_role = replica",
            f"ALTER DATABASE {name} RESET session_replication_role",
        ],
        ("postgresql", "dropped"): [
            "ALTER TRIGGER numbers_updated ON numbers RENAME TO gone",
            "ALTER TRIGGER gone ON numbers RENAME TO numbers_updated",
        ],
    }[kind, what]
    execute(engine, broken)
    try:
        result = doctor()
    finally:
        execute(engine, *mended)

    assert result.code == 1
    assert "numbers_updated" in failures(result)["triggers"]


@pytest.mark.parametrize(("ahead", "word"), [(600, "ahead of"), (-600, "behind")])
def test_a_clock_that_is_off_is_found(
    doctor: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, ahead: int, word: str
) -> None:
    """
    This machine's clock is compared with the provider's, and with the database server's.
    """
    moment = datetime.now(tz=UTC) + timedelta(seconds=ahead)  # noqa: TID251 - the true time
    monkeypatch.setattr(clock, "now", lambda: moment)

    result = doctor()

    assert result.code == 1
    assert word in failures(result)["clock"]


def test_a_proxy_for_plain_http_is_named(
    doctor: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The line names the proxy that sees the token, without its password.
    """
    monkeypatch.setenv("SYNCSVC_API_URL", "http://numbers.example")
    monkeypatch.setenv("SYNCSVC_API_ALLOW_HTTP", "true")
    monkeypatch.setenv("http_proxy", "http://user:geheim@127.0.0.1:9")

    result = doctor()

    assert "through the proxy 127.0.0.1:9, which can read the token" in result.out
    assert "geheim" not in result.out


@pytest.mark.parametrize("kind", ["sqlite"])
def test_a_directory_without_rights_is_found(
    doctor: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A SQLite file of one's own that can't be written fails; somebody else's is for reading.
    """
    monkeypatch.setattr(sqlite_file, "is_read_only", lambda _path: True)
    own = doctor()
    monkeypatch.setattr("os.geteuid", lambda: 12345)
    others = doctor()

    assert "Give both to the user who runs syncsvc" in failures(own)["files"]
    assert others.code == 0
    assert "this user only reads the database" in others.out


@pytest.mark.parametrize("kind", ["postgresql"])
@pytest.mark.parametrize("command", ["check", "sync", "migrate", "runs"])
def test_cockroachdb_is_refused_by_name(
    cli: Callable[..., Result],
    doctor: Callable[..., Result],
    server_is: Callable[[str, str], None],
    command: str,
) -> None:
    """
    Its advisory locks lock nothing, so every command that connects to it says so and does nothing.
    """
    assert doctor().code == 0
    server_is("version", "CockroachDB CCL v25.3.1 (x86_64-pc-linux-gnu, built 2025/09/01)")
    result = cli(command)
    said = " ".join((result.out + result.err).split())

    assert result.code == (1 if command == "check" else 2)
    assert "is CockroachDB. Its advisory locks lock nothing" in said
    assert "Use PostgreSQL." in said
    assert "Traceback" not in said


@pytest.mark.parametrize("kind", ["postgresql"])
@pytest.mark.parametrize(
    ("function", "value", "name"),
    [
        ("version", "PostgreSQL 15.2-YB-2025.1.0.0-b0 on x86_64-pc-linux-gnu", "YugabyteDB"),
        ("citus_version", "Citus 13.0.3 on x86_64-pc-linux-gnu", "Citus"),
    ],
)
def test_servers_that_are_not_tested_are_told_as_that(
    cli: Callable[..., Result],
    doctor: Callable[..., Result],
    server_is: Callable[[str, str], None],
    function: str,
    value: str,
    name: str,
) -> None:
    """
    Servers that speak PostgreSQL's protocol are used, with a word that nobody has tested it.
    """
    server_is(function, value)
    checked, migrated = doctor(), cli("migrate")

    assert (checked.code, migrated.code) == (0, 0)
    assert f"{name} is not tested with syncsvc" in " ".join(checked.out.split())
    assert "migrate.untested_server" in migrated.err
    assert name in migrated.err
