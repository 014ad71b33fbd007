"""
The database: one run of an account at a time, in time, and failures that tell no secrets.
"""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import URL, Engine, bindparam, make_url, select, text
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, OperationalError
from structlog.testing import capture_logs

import syncsvc
from support.build import Watch, number_row
from syncsvc import clock
from syncsvc.database import locks, runs, transactions
from syncsvc.database.engine import open_engine
from syncsvc.errors import (
    ConfigurationError,
    DatabaseUnavailable,
    DeadlineExceeded,
    RunInProgress,
    SyncError,
)
from syncsvc.schema.tables import addresses, sync_runs
from syncsvc.vocabulary import Trigger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(syncsvc.__file__).parent.parent
SECRET = "hunter2-never-show-this"
NOT_CONNECTED = "Can't connect to the database (SYNCSVC_DATABASE_URL):"
HOLDER = """
import sys
from sqlalchemy import make_url
from syncsvc.database import runs
from syncsvc.database.engine import open_engine
from syncsvc.database.locks import run_lock
from syncsvc.vocabulary import Trigger

with open_engine(make_url(sys.argv[1])).connect() as connection:
    with run_lock(connection, "default"):
        runs.begin(connection, "default", Trigger.MANUAL)
        connection.commit()
        print("held", flush=True)
        sys.stdin.read()
"""
ENDLESS = {
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) "
    "SELECT count(*) FROM n",
    "postgresql": "SELECT pg_sleep(60)",
}
LONG = {
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 500000) "
    "SELECT count(*) FROM n",
    "postgresql": "SELECT pg_sleep(0.1)",
}


@contextmanager
def holder(engine: Engine) -> Iterator[subprocess.Popen[str]]:
    """
    Another process that runs for the account `default`.
    """
    url = engine.url.render_as_string(hide_password=False)
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, url],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def begin(engine: Engine, account: str = "default") -> None:
    """
    Note a run as under way.
    """
    with engine.begin() as connection:
        runs.begin(connection, account, Trigger.MANUAL)


def hold(engine: Engine, account: str = "default") -> None:
    """
    Take the lock for a moment.
    """
    with engine.connect() as connection, locks.run_lock(connection, account):
        pass


def until(deadline: float) -> Callable[[], float]:
    """
    The time left of some seconds from now on.
    """
    ends_at = time.monotonic() + deadline
    return lambda: ends_at - time.monotonic()


def count(engine: Engine) -> int:
    """
    How many runs there are.
    """
    with engine.connect() as connection:
        return len(connection.execute(select(sync_runs.c.id)).all())


def test_a_second_run_is_refused_with_the_name_of_the_first(engine: Engine) -> None:
    """
    Whoever comes second learns which run holds the lock, where, and since when.
    """
    with holder(engine) as process, engine.connect() as other:
        [run] = other.execute(select(sync_runs.c.id, sync_runs.c.started_at)).all()
        other.rollback()

        with pytest.raises(RunInProgress) as caught:
            hold(engine)

    assert str(caught.value) == (
        f"Another run of account 'default' is in progress: run {run.id} on "
        f"{socket.gethostname()}, process {process.pid}, since "
        f"{run.started_at:%Y-%m-%d %H:%M:%S} UTC. Retry when it has finished."
    )


def test_the_lock_is_free_after_its_holder_was_killed(engine: Engine) -> None:
    """
    A holder that died without a word never blocks the next run.
    """
    with holder(engine) as process:
        process.kill()
        process.wait()

        patience = until(10)
        while patience() > 0:
            try:
                hold(engine)
            except RunInProgress:  # PostgreSQL notices the lost connection a moment later
                time.sleep(0.02)
            else:
                break

        hold(engine)


def test_a_run_that_has_just_begun_is_not_named(engine: Engine) -> None:
    """
    Between the lock and its row in the table, a run can't be told, nor is one that has ended.
    """
    begin(engine)
    with engine.begin() as connection:
        connection.execute(sync_runs.update().values(state="failed"))

    with (
        engine.connect() as connection,
        locks.run_lock(connection, "default"),
        pytest.raises(RunInProgress, match=r"run of account 'default' has just started\."),
    ):
        hold(engine)


def test_a_run_that_does_not_say_where_it_is_is_still_named(engine: Engine) -> None:
    """
    If host and process are not on record, run and time are told.
    """
    begin(engine)
    with engine.begin() as connection:
        connection.execute(sync_runs.update().values(detail=None))

    with (
        engine.connect() as connection,
        locks.run_lock(connection, "default"),
        pytest.raises(RunInProgress, match=r"run 1 on an unknown host, process unknown, since"),
    ):
        hold(engine)


def test_of_runs_that_never_ended_the_last_is_named(engine: Engine) -> None:
    """
    An earlier one, which crashed, is not the one that holds the lock.
    """
    begin(engine)
    begin(engine)

    with (
        engine.connect() as connection,
        locks.run_lock(connection, "default"),
        pytest.raises(RunInProgress, match=r"run 2 on"),
    ):
        hold(engine)


@pytest.mark.parametrize("other", ["other", "Default", "default ", "../default", "ü/%2F", "", "."])
def test_other_accounts_are_not_disturbed(engine: Engine, other: str) -> None:
    """
    Runs of other accounts, whatever their names, go on beside it, and are not taken for it.
    """
    begin(engine, other)

    with engine.connect() as connection, locks.run_lock(connection, "default"):
        hold(engine, other)
        with pytest.raises(RunInProgress, match="just started"):
            hold(engine)


def test_the_lock_is_free_after_release(engine: Engine) -> None:
    """
    A run that ended, well or badly, lets the next one in.
    """
    hold(engine)
    hold(engine)
    with (
        pytest.raises(ZeroDivisionError),
        engine.connect() as connection,
        locks.run_lock(connection, "default"),
    ):
        raise ZeroDivisionError
    hold(engine)


def test_the_lock_is_free_although_its_session_goes_on(engine: Engine) -> None:
    """
    It is released, not left for the session's end.
    """
    with engine.connect() as connection:
        with locks.run_lock(connection, "default"):
            pass
        hold(engine)


def test_the_lock_outlives_transactions(engine: Engine) -> None:
    """
    A run may commit and roll back as often as it likes, and still holds the lock.
    """
    with engine.connect() as connection, locks.run_lock(connection, "default"):
        runs.begin(connection, "default", Trigger.MANUAL)
        connection.commit()
        connection.execute(text("SELECT 1"))
        connection.rollback()

        with pytest.raises(RunInProgress):
            hold(engine)


def test_a_transaction_left_open_does_not_keep_the_lock(engine: Engine) -> None:
    """
    A run that fails in the middle of a transaction, even a broken one, gives the lock back.
    """

    def break_off() -> None:
        with engine.connect() as connection, locks.run_lock(connection, "default"):
            runs.begin(connection, "default", Trigger.MANUAL)
            connection.execute(text("SELECT nonsense FROM nowhere"))

    with pytest.raises(DBAPIError):
        break_off()

    hold(engine)
    assert count(engine) == 0


@pytest.mark.parametrize("kind", ["postgresql"])
def test_a_lost_session_is_logged_and_holds_no_lock(engine: Engine) -> None:
    """
    If the server ended the session, the lock went with it, and its release is no failure.
    """
    with capture_logs() as logs, engine.connect() as connection:
        with locks.run_lock(connection, "default"):
            process = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
            with engine.connect() as other:
                other.execute(text("SELECT pg_terminate_backend(:id, 5000)"), {"id": process})
        hold(engine)

    assert [(entry["event"], entry["log_level"], entry["error"]) for entry in logs] == [
        ("lock.session_lost", "warning", "OperationalError")
    ]


def test_a_transaction_that_ends_in_time_takes_effect(engine: Engine) -> None:
    """
    What is published in time is there for everybody.
    """
    with engine.connect() as connection, transactions.publishing(connection, until(60)):
        runs.begin(connection, "default", Trigger.MANUAL)

    assert count(engine) == 1


def test_a_transaction_that_ends_too_late_does_not_take_effect(engine: Engine) -> None:
    """
    If time runs out between statements, nothing is published.
    """
    left = [60.0]

    def publish() -> None:
        with engine.connect() as connection, transactions.publishing(connection, lambda: left[0]):
            runs.begin(connection, "default", Trigger.MANUAL)
            left[0] = 0.0

    with pytest.raises(DeadlineExceeded, match="it was publishing"):
        publish()

    assert count(engine) == 0


@pytest.mark.parametrize("left", [0.0, -5.0])
def test_a_transaction_that_begins_too_late_does_not_take_effect(
    engine: Engine, left: float
) -> None:
    """
    If time is up already, nothing is published.
    """

    def publish() -> None:
        with engine.connect() as connection, transactions.publishing(connection, lambda: left):
            runs.begin(connection, "default", Trigger.MANUAL)

    with pytest.raises(DeadlineExceeded):
        publish()

    assert count(engine) == 0


def test_a_statement_that_outlives_the_deadline_is_ended(engine: Engine) -> None:
    """
    A statement under way is given up when time runs out, and nothing is published.
    """
    began = time.monotonic()

    def publish() -> None:
        with engine.connect() as connection, transactions.publishing(connection, until(0.2)):
            runs.begin(connection, "default", Trigger.MANUAL)
            connection.execute(text(ENDLESS[engine.dialect.name]))

    with pytest.raises(DeadlineExceeded) as caught:
        publish()

    assert time.monotonic() - began < 20
    assert isinstance(caught.value.__cause__, DBAPIError)
    assert count(engine) == 0


def test_the_deadline_ends_with_the_transaction(engine: Engine) -> None:
    """
    A later statement on the same connection may take its time.
    """
    with engine.connect() as connection:
        deadline = until(0.05)
        with pytest.raises(DeadlineExceeded), transactions.publishing(connection, deadline):
            connection.execute(text(ENDLESS[engine.dialect.name]))

        connection.execute(text(LONG[engine.dialect.name]))

        assert deadline() < 0


def test_a_failure_in_time_stays_what_it_is(engine: Engine) -> None:
    """
    A statement that the database refuses is no matter of time.
    """

    def publish() -> None:
        with engine.connect() as connection, transactions.publishing(connection, until(60)):
            runs.begin(connection, "default", Trigger.MANUAL)
            run = {"id": 1, "account": "default", "trigger": "manual"}
            connection.execute(sync_runs.insert().values(run))

    with pytest.raises(IntegrityError):
        publish()

    assert count(engine) == 0


@pytest.mark.parametrize("kind", ["postgresql"])
@pytest.mark.parametrize(
    ("left", "expected"),
    [(1.2341, "1235ms"), (365 * 86400.0, "2147483647ms")],
)
def test_postgresql_is_given_the_time_that_is_left(
    engine: Engine, left: float, expected: str
) -> None:
    """
    The statement's time is what is left, rounded up, and within what PostgreSQL accepts.
    """
    times = iter([left, 60.0])

    with engine.connect() as connection, transactions.publishing(connection, lambda: next(times)):
        given = connection.execute(
            text("SELECT setting || unit FROM pg_settings WHERE name = 'statement_timeout'")
        ).scalar_one()

    assert expected == given


@pytest.mark.parametrize("kind", ["sqlite"])
def test_sqlite_takes_the_write_lock_at_the_beginning(engine: Engine) -> None:
    """
    Who publishes is sure to be the only writer from the start; readers go on reading.
    """
    begin(engine)
    with engine.connect() as connection, transactions.publishing(connection, until(60)):
        with engine.connect() as other:
            other.exec_driver_sql("PRAGMA busy_timeout = 0")
            with pytest.raises(OperationalError, match="locked"):
                other.execute(sync_runs.delete())
        assert count(engine) == 1


@pytest.mark.parametrize("kind", ["sqlite"])
def test_sqlite_leaves_the_write_lock_alone_otherwise(engine: Engine) -> None:
    """
    Other transactions that only read keep no writer waiting.
    """
    with engine.connect() as connection:
        connection.execute(select(sync_runs)).all()
        with engine.connect() as other, other.begin():
            other.exec_driver_sql("PRAGMA busy_timeout = 0")
            other.execute(sync_runs.delete())


@pytest.mark.parametrize("kind", ["sqlite"])
def test_sqlite_is_prepared(engine: Engine) -> None:
    """
    Each connection waits for other writers, leaves readers alone and minds foreign keys.
    """
    with engine.connect() as connection:
        found = [
            connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("busy_timeout", "journal_mode", "foreign_keys")
        ]

    assert found == [30_000, "wal", 1]


@pytest.mark.parametrize("kind", ["postgresql"])
def test_postgresql_is_told_who_connects(engine: Engine) -> None:
    """
    The server shows the service's name, and talks of times in UTC.
    """
    with engine.connect() as connection:
        found = [
            connection.exec_driver_sql(f"SHOW {name}").scalar_one()
            for name in ("application_name", "timezone")
        ]

    assert found == ["syncsvc", "UTC"]


def test_no_connection_is_kept(engine: Engine) -> None:
    """
    A connection is closed after its use, so that none goes stale between runs.
    """
    with engine.connect() as connection:
        driver = connection.connection.driver_connection
        assert driver is not None

    with pytest.raises(Exception, match="closed"):
        driver.execute("SELECT 1")


def test_a_failure_keeps_the_drivers_words(engine: Engine) -> None:
    """
    What the driver said is told in one line, with its failure as the cause.
    """
    with (
        pytest.raises(DatabaseUnavailable) as caught,
        transactions.translated(),
        engine.connect() as connection,
    ):
        connection.execute(text("SELECT nonsense\nFROM nowhere"))

    headline = "The database reported an error: "
    cause = caught.value.__cause__
    assert isinstance(cause, DBAPIError)
    assert str(caught.value).startswith(headline)
    assert "nowhere" in str(caught.value).removeprefix(headline)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "changed",
    [{"trigger": SECRET}, {"trigger": None, "error": SECRET}, {"id": 1, "account": "default"}],
)
def test_a_failure_shows_no_values(engine: Engine, changed: dict[str, object]) -> None:
    """
    What a refused row held stays out of the message: it may end in logs and on the status page.
    """
    begin(engine)
    row = {"account": SECRET, "trigger": "manual", "state": "failed", "service_version": SECRET}
    values = {**row, "started_at": clock.now(), **changed}

    with (
        pytest.raises(DatabaseUnavailable) as caught,
        transactions.translated(),
        engine.begin() as connection,
    ):
        connection.execute(sync_runs.insert().values(values))

    assert "constraint" in str(caught.value)
    assert SECRET not in str(caught.value)


def test_a_failure_of_many_rows_shows_no_values(engine: Engine) -> None:
    """
    Nor are the values shown if many rows are written at once.
    """
    statement = text("INSERT INTO nowhere VALUES (:name)").bindparams(bindparam("name"))

    with engine.connect() as connection, pytest.raises(DBAPIError) as caught:
        connection.execute(statement, [{"name": SECRET}] * 3)

    assert SECRET not in str(caught.value)
    assert SECRET not in str(transactions.translation(caught.value))


@pytest.mark.parametrize("kind", ["postgresql"])
@pytest.mark.parametrize("changed", [{"port": 1}, {"username": "nobody"}, {"database": "nowhere"}])
def test_a_failure_to_connect_shows_no_password(engine: Engine, changed: dict[str, object]) -> None:
    """
    A database that can't be reached is told without the password.
    """
    url = engine.url.set(password=SECRET)
    wrong = open_engine(url.set(**changed))  # type: ignore[arg-type] # a part of a URL

    with pytest.raises(DatabaseUnavailable) as caught, transactions.translated():
        wrong.connect()

    assert str(caught.value).startswith(f"{NOT_CONNECTED} connection to server ")
    assert "\n" not in str(caught.value)
    assert SECRET not in f"{caught.value!r} {caught.value.__cause__} {wrong!r}"


@pytest.mark.parametrize(
    ("part", "reason", "code"),
    [
        ("127.0.0.1:1", "connection to server at", DatabaseUnavailable),
        ("/?host=127.0.0.1:1&host=127.0.0.1:1", "connection to server at", DatabaseUnavailable),
        ("[::1]:1", "connection to server at", DatabaseUnavailable),
        ("/db?host=/nowhere", "connection to server on socket", DatabaseUnavailable),
        ("nowhere", "failed to resolve host 'nowhere'", DatabaseUnavailable),
        ("127.0.0.1:99999", 'invalid port number: "99999"', ConfigurationError),
        ("127.0.0.1/?sslmode=strict", "invalid sslmode value", ConfigurationError),
        ("127.0.0.1/?service=nope", 'definition of service "nope"', ConfigurationError),
        ("127.0.0.1/?hostaddr=nope", "could not parse network address", ConfigurationError),
        ("127.0.0.1/?connect_timeout=long", "bad value for connect_timeout", ConfigurationError),
    ],
)
def test_why_there_is_no_connection_is_one_line(
    monkeypatch: pytest.MonkeyPatch, part: str, reason: str, code: type[SyncError]
) -> None:
    """
    A server out of reach is a failure of the database, a wrong option one of its URL.
    """
    monkeypatch.setattr(socket, "getaddrinfo", _no_such_host)
    engine = open_engine(make_url(f"postgresql+psycopg://u:{SECRET}@{part}"))

    with (
        pytest.raises(code, match=re.escape(f"{NOT_CONNECTED} {reason}")) as caught,
        transactions.translated(),
    ):
        engine.connect()

    assert "\n" not in str(caught.value)
    assert SECRET not in str(caught.value)


def _no_such_host(*_words: object, **_options: object) -> None:
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


def test_a_file_that_cannot_be_opened_is_told(tmp_path: Path) -> None:
    """
    A directory in the place of the file is a failure like any other.
    """
    with pytest.raises(DatabaseUnavailable, match="unable to open"), transactions.translated():
        open_engine(make_url(f"sqlite:///{tmp_path}")).connect()


def test_a_misuse_of_sqlalchemy_is_no_failure_of_the_database() -> None:
    """
    What never reached the driver is a bug, and keeps its name.
    """
    with pytest.raises(ArgumentError), transactions.translated():
        raise ArgumentError("no such\noption")


def test_other_failures_pass_untouched() -> None:
    """
    What is no matter of the database keeps its name.
    """
    with pytest.raises(ZeroDivisionError), transactions.translated():
        raise ZeroDivisionError


def test_nothing_is_opened_before_its_use(tmp_path: Path) -> None:
    """
    An engine alone makes no file.
    """
    open_engine(make_url(f"sqlite:///{tmp_path}/new.db"))

    assert [*tmp_path.iterdir()] == []


def test_a_refused_row_leaves_the_connection_usable(engine: Engine) -> None:
    """
    After a failure and its rollback, work goes on.
    """
    with engine.connect() as connection:
        with pytest.raises(DatabaseUnavailable), transactions.translated():
            connection.execute(addresses.insert().values(account="default", id=1))
        connection.rollback()

        assert connection.execute(select(addresses)).all() == []


SERVER_SETTINGS = {
    "datestyle": "'German, DMY'",
    "intervalstyle": "'sql_standard'",
    "bytea_output": "'escape'",
    "client_encoding": "'LATIN1'",
    "transform_null_equals": "on",
    "extra_float_digits": "-10",
    "default_transaction_isolation": "'serializable'",
    "timezone": "'Asia/Kolkata'",
    "statement_timeout": "'200ms'",
    "lock_timeout": "'200ms'",
    "idle_session_timeout": "'1s'",
    "idle_in_transaction_session_timeout": "'1s'",
}


@pytest.fixture
def _odd_server(engine: Engine) -> Iterator[None]:
    """
    A database whose own settings are none that a run would choose.
    """
    name = engine.url.database
    with engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        for setting, value in SERVER_SETTINGS.items():
            connection.exec_driver_sql(f"ALTER DATABASE {name} SET {setting} = {value}")
        yield
        connection.exec_driver_sql(f"ALTER DATABASE {name} RESET ALL")


@pytest.mark.parametrize("kind", ["postgresql"])
@pytest.mark.usefixtures("_odd_server")
def test_no_setting_of_the_server_reaches_a_session(engine: Engine) -> None:
    """
    Times are read as they were written, and no time-out of the server ends a waiting run.
    """
    with engine.connect() as connection:
        shown = {
            name: connection.exec_driver_sql(f"SHOW {name}").scalar_one()
            for name in SERVER_SETTINGS
        }
        connection.rollback()
        time.sleep(1.2)  # longer than both idle time-outs
        now = connection.exec_driver_sql("SELECT now()").scalar_one()

    assert now.tzinfo is not None
    assert shown == {
        "datestyle": "ISO, YMD",
        "intervalstyle": "postgres",
        "bytea_output": "hex",
        "client_encoding": "UTF8",
        "transform_null_equals": "off",
        "extra_float_digits": "1",
        "default_transaction_isolation": "read committed",
        "timezone": "UTC",
        **dict.fromkeys([name for name in SERVER_SETTINGS if name.endswith("_timeout")], "0"),
    }


@pytest.mark.parametrize(
    ("encoding", "locale"), [("SQL_ASCII", "C"), ("LATIN1", "C"), ("EUC_JP", "C")]
)
def test_an_encoding_that_loses_text_is_refused_by_name(
    postgresql_server: URL, encoding: str, locale: str
) -> None:
    """
    Only UTF8 keeps every text that the provider sends, so that anything else is refused.
    """
    name = f"encoded_{encoding.lower()}"
    with open_engine(postgresql_server).connect() as admin:
        admin.execution_options(isolation_level="AUTOCOMMIT")
        admin.exec_driver_sql(
            f"CREATE DATABASE {name} ENCODING '{encoding}' LC_COLLATE '{locale}' "
            f"LC_CTYPE '{locale}' TEMPLATE template0"
        )
        try:
            with pytest.raises(ConfigurationError, match=f"{encoding}; syncsvc needs UTF8"):
                open_engine(postgresql_server.set(database=name)).connect()
        finally:
            admin.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def set_for_database(engine: Engine) -> Iterator[Callable[[str, str], None]]:
    """
    Sets something for the sessions of this database, until the test ends.
    """
    with engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        database = engine.url.database

        def change(name: str, value: str) -> None:
            connection.exec_driver_sql(f"ALTER DATABASE {database} SET {name} = {value}")

        yield change
        connection.exec_driver_sql(f"ALTER DATABASE {database} RESET ALL")


@pytest.mark.parametrize("kind", ["postgresql"])
@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII", "WIN1252"])
def test_text_of_every_script_passes_whatever_the_clients_encoding(
    watch: Watch, set_for_database: Callable[[str, str], None], encoding: str
) -> None:
    """
    The session's encoding is UTF8, also if the server proposes one that has no such letters.
    """
    set_for_database("client_encoding", encoding)

    watch.see(number_row(range_name="Łódź 東京"))

    assert watch.number()["range_name"] == "Łódź 東京"


@pytest.mark.parametrize("kind", ["postgresql"])
@pytest.mark.parametrize("search_path", ["''", "nowhere", "pg_catalog, public"])
def test_a_search_path_without_a_schema_is_refused(
    engine: Engine, set_for_database: Callable[[str, str], None], search_path: str
) -> None:
    """
    Tables would be created nowhere, or next to PostgreSQL's own; the message names the setting.
    """
    set_for_database("search_path", search_path)

    with pytest.raises(ConfigurationError, match="search_path"):
        engine.connect()


@pytest.mark.parametrize("kind", ["postgresql"])
def test_a_server_that_only_reads_says_what_to_do(
    watch: Watch, set_for_database: Callable[[str, str], None]
) -> None:
    """
    A frozen database stays frozen, and the failure names the setting.
    """
    set_for_database("default_transaction_read_only", "on")

    with pytest.raises(DatabaseUnavailable, match=r"accepts no writes.*default_transaction"):
        watch.see(number_row())
