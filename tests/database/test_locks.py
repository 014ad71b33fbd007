"""
Which of several workers leads.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
from filelock import FileLock
from sqlalchemy import event, make_url, text
from structlog.testing import capture_logs

from support.build import Watch, number_row
from syncsvc.database import locks
from syncsvc.database.engine import open_engine
from syncsvc.database.locks import LeaderLock
from syncsvc.errors import ConfigurationError, DatabaseUnavailable, RunInProgress

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Engine

HOLD = """
import sys, time
from sqlalchemy import make_url
from syncsvc.database.engine import open_engine
from syncsvc.database.locks import LeaderLock
lead = LeaderLock(open_engine(make_url(sys.argv[1])), "default")
print(lead.acquire(), flush=True)
time.sleep(60)
"""


@pytest.fixture
def leads(engine: Engine) -> Iterator[tuple[LeaderLock, LeaderLock]]:
    """
    The claims of two workers to one account.
    """
    first, second = LeaderLock(engine, "default"), LeaderLock(engine, "default")
    yield first, second
    first.release()
    second.release()


def are_both_acquired(one: Engine, other: Engine) -> bool:
    """
    Whether the lock of a run is acquired over one engine, and at the same time over the other.
    """
    with one.connect() as first, other.connect() as second, locks.run_lock(first, "default"):
        try:
            with locks.run_lock(second, "default"):
                return True
        except RunInProgress:
            return False


def test_one_leads_and_the_other_does_not(leads: tuple[LeaderLock, LeaderLock]) -> None:
    """
    The first to ask leads, as often as it asks; the second does not.
    """
    first, second = leads

    assert [lead.acquire() for lead in (first, second, first, second)] == [True, False, True, False]


def test_who_lets_go_is_followed(leads: tuple[LeaderLock, LeaderLock]) -> None:
    """
    The lead is free again once its holder has let go, and letting go twice is harmless.
    """
    first, second = leads
    first.acquire()
    first.release()
    first.release()

    assert (second.acquire(), first.acquire()) == (True, False)


def test_one_release_is_enough(leads: tuple[LeaderLock, LeaderLock]) -> None:
    """
    However often the leader has acquired the lock, releasing it once frees it.
    """
    first, second = leads

    assert [first.acquire() for _ in range(3)] == [True, True, True]
    first.release()
    assert second.acquire()


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
def test_the_leaders_session_is_in_no_transaction(
    engine: Engine, leads: tuple[LeaderLock, LeaderLock]
) -> None:
    """
    It lasts as long as the worker, and an open transaction would keep VACUUM from its work.
    """
    others = text(
        "SELECT state FROM pg_stat_activity WHERE datname = current_database()"
        " AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
    )
    states: list[str] = []
    for _ in range(3):
        assert leads[0].acquire()
        with engine.connect() as connection:
            states += connection.execute(others).scalars().all()

    assert set(states) == {"idle"}


def test_accounts_have_leads_of_their_own(
    engine: Engine, leads: tuple[LeaderLock, LeaderLock]
) -> None:
    """
    Who leads one account leaves the others free.
    """
    other = LeaderLock(engine, "other")

    assert (leads[0].acquire(), other.acquire()) == (True, True)
    other.release()


def test_a_run_needs_no_lead(watch: Watch, leads: tuple[LeaderLock, LeaderLock]) -> None:
    """
    `syncsvc sync` works beside a worker that leads.
    """
    leads[0].acquire()

    assert watch.see(number_row()).state == "succeeded"


@pytest.mark.parametrize("account", ["default.worker", "worker:default", "default"])
def test_a_run_of_no_account_takes_the_lead(
    engine: Engine, leads: tuple[LeaderLock, LeaderLock], account: str
) -> None:
    """
    The lock of a run is never that of a lead, whatever the accounts are called.
    """
    with engine.connect() as connection, locks.run_lock(connection, account):
        assert leads[0].acquire()


def test_the_lead_is_free_after_its_holder_was_killed(engine: Engine) -> None:
    """
    A process that dies leaves the lead behind.
    """
    url = engine.url.render_as_string(hide_password=False)
    lead = LeaderLock(engine, "default")
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, url], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "True\n"
        assert not lead.acquire()
        holder.kill()
        holder.wait()

    while not lead.acquire():  # PostgreSQL notices in its own time
        pass
    lead.release()


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
def test_a_lost_session_is_a_lost_lead(
    engine: Engine, leads: tuple[LeaderLock, LeaderLock]
) -> None:
    """
    A leader whose session has ended notices when it is asked, and may lead again.
    """
    first, second = leads
    first.acquire()
    with engine.begin() as connection:
        connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )
    while not second.acquire():
        pass

    with capture_logs() as logs:
        assert not first.acquire()
    assert [line["event"] for line in logs] == ["worker.session_lost"]
    assert "terminating connection" in logs[0]["error"]


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
def test_a_lost_session_can_be_released(engine: Engine) -> None:
    """
    A leader that ends after its session was closed ends without an error, and may lead again.
    """
    drivers: list[Any] = []
    event.listen(engine, "connect", lambda driver, _: drivers.append(driver))
    lead = LeaderLock(engine, "default")
    assert lead.acquire()
    drivers[-1].close()

    lead.release()

    assert lead.acquire()
    lead.release()


@pytest.mark.parametrize("kind", ["postgresql"])
def test_two_schemas_of_one_database_have_locks_of_their_own(engine: Engine) -> None:
    """
    Two installations in two schemas of one database never wait for each other.
    """
    with engine.connect() as first, engine.connect() as second:
        second.exec_driver_sql("CREATE SCHEMA staging")
        second.exec_driver_sql("CREATE TABLE staging.sync_runs (id bigint)")
        second.exec_driver_sql("SET search_path = staging")

        assert locks.lock_key(first, "default") != locks.lock_key(second, "default")
        second.rollback()


@pytest.mark.parametrize("kind", ["sqlite"])
def test_one_file_under_two_names_has_one_lock(engine: Engine, tmp_path: Path) -> None:
    """
    A symlink and a relative path lead to the lock of the file that they name.
    """
    (tmp_path / "link.db").symlink_to(tmp_path / "syncsvc.db")
    link = open_engine(make_url(f"sqlite:///{tmp_path}/link.db"))
    odd = open_engine(make_url(f"sqlite:///{tmp_path}/../{tmp_path.name}/syncsvc.db"))

    for other in (link, odd):
        assert not are_both_acquired(engine, other)


@pytest.mark.parametrize("kind", ["sqlite"])
@pytest.mark.parametrize(
    ("account", "file"),
    [
        ("default", "default"),
        ("Company A/B", "Company%20A%2FB"),
        ("a" * 150, "a" * 150),
        ("a" * 151, hashlib.blake2b(b"a" * 151).hexdigest()),
        ("ü" * 76, hashlib.blake2b("ü".encode() * 76).hexdigest()),
    ],
)
def test_a_lock_file_is_named_after_the_account(
    engine: Engine, tmp_path: Path, account: str, file: str
) -> None:
    """
    It lies beside the database; a name that is too long for a file system is replaced by a hash.
    """
    assert locks.lock_path(engine, account) == tmp_path / f"syncsvc.db.{file}"


@pytest.mark.parametrize("kind", ["sqlite"])
def test_a_file_with_hard_links_is_refused(engine: Engine, tmp_path: Path) -> None:
    """
    SQLite can't tell that two hard links are one file, so that no run uses one of them.
    """
    (tmp_path / "other.db").hardlink_to(tmp_path / "syncsvc.db")

    with (
        engine.connect() as connection,
        pytest.raises(
            ConfigurationError, match=r"hard link;.*\. Remove the others, or use symlinks\.$"
        ),
        locks.run_lock(connection, "default"),
    ):
        raise AssertionError("it was locked")


@pytest.mark.parametrize("kind", ["sqlite"])
@pytest.mark.parametrize("user", [0, 1000])
def test_a_lock_file_belongs_to_the_owner_of_the_database(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, user: int
) -> None:
    """
    A run by root leaves a new lock file that the service's own user can open, once.
    """
    given: list[tuple[Path, int, int]] = []
    monkeypatch.setattr(os, "geteuid", lambda: user)
    monkeypatch.setattr(os, "chown", lambda path, user, group: given.append((path, user, group)))
    owner = (tmp_path / "syncsvc.db").stat()
    lock = tmp_path / "syncsvc.db.default.lock"

    for _ in range(2):
        with engine.connect() as connection, locks.run_lock(connection, "default"):
            assert given == ([(lock, owner.st_uid, owner.st_gid)] if user == 0 else [])
        lock.touch()  # some systems remove the file with the lock


@pytest.mark.parametrize("kind", ["sqlite"])
def test_a_lock_file_that_root_can_not_give_away_is_locked_all_the_same(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    If the file system knows no owners, a run by root is done, and keeps others out.
    """

    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "chown", refuse)
    assert not are_both_acquired(engine, engine)


def test_nobody_waits_for_a_lock(
    engine: Engine, leads: tuple[LeaderLock, LeaderLock], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A run beside another one, and a worker beside the leader, are refused at once.
    """

    def wait(_seconds: float) -> None:
        raise AssertionError("it waits")

    assert leads[0].acquire()
    with engine.connect() as one, engine.connect() as two, locks.run_lock(one, "default"):
        monkeypatch.setattr(time, "sleep", wait)
        assert not leads[1].acquire()
        with pytest.raises(RunInProgress), locks.run_lock(two, "default"):
            raise AssertionError("both hold it")
        monkeypatch.undo()


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (IsADirectoryError(21, "Is a directory", "/data/x.lock"), "/data/x.lock .*: Is a dir"),
        (OSError(30, "Read-only file system", "/data/x.lock"), "/data/x.lock .*: Read-only file"),
        (OSError(37, "No locks available"), "default.*: No locks available"),
        (OSError("odd"), "default.*: odd"),
        (NotImplementedError("no flock here"), "default.*: no flock here"),
    ],
)
@pytest.mark.parametrize("kind", ["sqlite"])
def test_a_lock_file_that_can_not_be_used_is_named(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, failure: Exception, said: str
) -> None:
    """
    Whatever the file system refuses, the run and the worker name the file and the reason.
    """

    def refuse(*_: object, **__: object) -> None:
        raise failure

    monkeypatch.setattr(FileLock, "acquire", refuse)
    with (
        engine.connect() as connection,
        pytest.raises(DatabaseUnavailable, match=said),
        locks.run_lock(connection, "default"),
    ):
        raise AssertionError("it was locked")
    with pytest.raises(DatabaseUnavailable, match=said):
        LeaderLock(engine, "default").acquire()


@pytest.mark.parametrize("kind", ["sqlite"])
def test_a_lock_file_that_can_not_be_opened_is_named(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Whose lock file is in the way, and what to do, is one sentence each.
    """

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", "/data/syncsvc.db.default.lock")

    monkeypatch.setattr(FileLock, "acquire", refuse)
    with (
        engine.connect() as connection,
        pytest.raises(
            DatabaseUnavailable,
            match=r"lock file /data/.*\. Give it to the user .*chown.* while nothing runs\.$",
        ),
        locks.run_lock(connection, "default"),
    ):
        raise AssertionError("it was locked")
    with pytest.raises(DatabaseUnavailable, match="chown"):
        LeaderLock(engine, "default").acquire()


@pytest.mark.parametrize("kind", ["postgresql"])
def test_no_file_is_in_the_way_of_a_leader_on_postgresql(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A file that happens to be called like the database, even one with hard links, means nothing.
    """
    monkeypatch.chdir(tmp_path)
    file = tmp_path / str(engine.url.database)
    file.touch()
    (tmp_path / "other").hardlink_to(file)
    lead = LeaderLock(engine, "default")

    assert lead.acquire()
    lead.release()
