"""
The materialised view has the view's rows, each run refreshes it, and no run depends on it.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import URL, Engine, event, select, text
from sqlalchemy.exc import DBAPIError
from structlog.testing import capture_logs

from support.build import number_row, rows_of
from syncsvc import clock
from syncsvc.database import locks
from syncsvc.database.engine import open_engine
from syncsvc.database.maintenance import migrate, monthly_view
from syncsvc.database.maintenance.monthly_view import inventory_by_month_kept
from syncsvc.output import inventory_page
from syncsvc.schema import tables, views

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from support.build import Result, Watch


CHANGED = """
SELECT DATE '2020-01-01' AS month, CAST('default' AS text) AS account, CAST('GB' AS text)
    AS country_alpha2, CAST(1 AS bigint) AS numbers, CAST(0.3 AS numeric) AS monthly_charge"""
READERS = ("with_addresses", "without_addresses")


@pytest.fixture
def kind() -> str:
    """
    The only kind of database that keeps the answer of a view.
    """
    return "postgresql"


@pytest.fixture
def engine(empty_url: URL) -> Engine:
    """
    A migrated database of its own, since what is kept is not emptied with the tables.
    """
    opened = open_engine(empty_url)
    migrate.upgrade(opened)
    return opened


@pytest.fixture
def migrated(
    cli: Callable[..., Result], engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Result]:
    """
    Call `syncsvc migrate`.
    """
    url = engine.url.render_as_string(hide_password=False)
    monkeypatch.setenv("SYNCSVC_DATABASE_URL", url)
    return lambda *flags: cli("migrate", *flags)


@pytest.fixture
def roles(engine: Engine) -> Iterator[tuple[str, ...]]:
    """
    Two roles that were given nothing yet.
    """
    with engine.begin() as connection:
        for role in READERS:
            connection.execute(text(f"CREATE ROLE {role} LOGIN"))
    yield READERS
    with engine.begin() as connection:
        for role in READERS:
            connection.execute(text(f"DROP OWNED BY {role}"))
            connection.execute(text(f"DROP ROLE {role}"))


def of_view(engine: Engine) -> list[tuple[object, ...]]:
    """
    The months as the view works them out.
    """
    with engine.connect() as connection:
        found = connection.execute(select(views.inventory_by_month))
        return sorted((tuple(row) for row in found), key=str)


def kept(engine: Engine) -> list[tuple[object, ...]]:
    """
    The months as they are kept, without the time of that.
    """
    names = views.inventory_by_month.c.keys()
    with engine.connect() as connection:
        found = connection.execute(select(*(inventory_by_month_kept.c[name] for name in names)))
        return sorted((tuple(row) for row in found), key=str)


def refreshed_at(engine: Engine) -> object:
    """
    When the materialised view was last refreshed.
    """
    with engine.connect() as connection:
        return monthly_view.as_of(connection)


def test_each_run_refreshes_the_view(
    migrated: Callable[..., Result], watch: Watch, engine: Engine
) -> None:
    """
    After a run that published, with cancellations withheld or not, they are those of the view.
    """
    watch.see(number_row(1))
    assert migrated("--keep-months").code == 0
    first = kept(engine)
    assert first == of_view(engine)

    watch.see(number_row(1), number_row(2, country_iso=None, country_name=None))
    second = kept(engine)
    withheld = watch.see()

    assert len(first) < len(second)
    assert withheld.state == "withheld"
    assert kept(engine) == of_view(engine)


def test_what_publishes_nothing_refreshes_nothing(
    migrated: Callable[..., Result], watch: Watch, engine: Engine
) -> None:
    """
    A dry run and a failed one leave the months as of the run before.
    """
    migrated("--keep-months")
    watch.see(number_row(1))
    before = refreshed_at(engine)

    planned = watch.see(number_row(2), dry_run=True)
    failed = watch.run(deadline=timedelta(0))

    assert (planned.state, failed.state) == ("planned", "failed")
    assert refreshed_at(engine) == before


def test_it_may_be_asked_for_again(migrated: Callable[..., Result]) -> None:
    """
    A second `migrate --keep-months` changes nothing.
    """
    first = migrated("--keep-months")
    again = migrated("--keep-months")

    assert (first.code, again.code) == (0, 0)
    said = "inventory_by_month_kept is a materialised view; each run refreshes it.\n"
    assert again.out.endswith(said)


def test_a_run_has_published_and_given_its_lock_back_before(
    migrated: Callable[..., Result], watch: Watch, engine: Engine
) -> None:
    """
    While the view is refreshed another run may begin, and its numbers can be read.
    """
    migrated("--keep-months")
    seen: list[tuple[object, ...]] = []

    def look(*of: object) -> None:
        if of[2] == monthly_view.REFRESH:
            with open_engine(engine.url).connect() as other:
                free = text(f"SELECT pg_try_advisory_lock({locks.lock_key(other, 'default')})")
                numbers = text("SELECT count(*) FROM numbers")
                seen.append((other.execute(free).scalar(), other.execute(numbers).scalar()))

    event.listen(engine, "before_cursor_execute", look)
    watch.see(number_row(1))

    assert seen == [(True, 1)]


@pytest.mark.parametrize(
    ("breakage", "error"),
    [
        ("DROP INDEX uq_inventory_by_month_kept", "cannot refresh materialized view"),
        ("ALTER MATERIALIZED VIEW inventory_by_month_kept OWNER TO pg_monitor", "denied"),
    ],
)
def test_a_refresh_that_fails_fails_no_run(
    migrated: Callable[..., Result], watch: Watch, engine: Engine, breakage: str, error: str
) -> None:
    """
    The run has published and says so; a warning tells what to do.
    """
    migrated("--keep-months")
    with engine.begin() as connection:
        connection.execute(text(breakage))

    with capture_logs() as logs:
        summary = watch.see(number_row(1))

    assert summary.state == "succeeded"
    [warning] = [each for each in logs if each["event"] == "sync.monthly_view_not_refreshed"]
    assert error in warning["error"]
    assert warning["run_id"] == summary.run_id
    assert warning["to_do"].startswith("REFRESH MATERIALIZED VIEW CONCURRENTLY")


def test_a_refresh_takes_no_longer_than_the_run_may(
    migrated: Callable[..., Result], engine: Engine
) -> None:
    """
    If somebody locks the months, the wait ends with the time that the run has left.
    """
    migrated("--keep-months")
    with engine.begin() as holder:
        holder.execute(text("REFRESH MATERIALIZED VIEW inventory_by_month_kept"))

        with pytest.raises(DBAPIError, match="statement timeout"):
            monthly_view.refresh(engine, seconds=0.1)


def test_who_interrupts_a_refresh_interrupts_no_run(
    migrated: Callable[..., Result], watch: Watch, engine: Engine
) -> None:
    """
    A signal that ends the refresh leaves the run as it is: published.
    """
    migrated("--keep-months")

    def interrupt(*of: object) -> None:
        if of[2] == monthly_view.REFRESH:
            raise KeyboardInterrupt

    event.listen(engine, "before_cursor_execute", interrupt)
    with capture_logs() as logs:
        summary = watch.see(number_row(1))

    assert summary.state == "succeeded"
    [warning] = [each for each in logs if each["event"] == "sync.monthly_view_not_refreshed"]
    assert warning["error"] == "Interrupted."
    [run_row] = rows_of(engine, tables.sync_runs)
    assert run_row["state"] == "succeeded"


def test_reports_tell_of_when_the_months_are(
    migrated: Callable[..., Result],
    cli: Callable[..., Result],
    watch: Watch,
    engine: Engine,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """
    A report reads the months that are kept, tells the same figures, and says of when they are.
    """
    watch.see(number_row(1))
    capsys.readouterr()  # what the run said
    worked_out = cli("report", "month-end", "--format", "csv")
    migrated("--keep-months")

    as_kept = cli("report", "month-end", "--format", "csv")

    assert as_kept.out == worked_out.out
    assert "As of" not in worked_out.err
    assert f"As of {refreshed_at(engine):%Y-%m-%d %H:%M:%S} UTC" in as_kept.err
    with engine.connect() as connection:
        page = inventory_page.render(connection, "default", None, clock.now())
    assert "Month ends are those kept on" in page


@pytest.mark.parametrize("granted_first", [True, False])
def test_who_may_read_the_view_may_read_the_months(
    migrated: Callable[..., Result],
    engine: Engine,
    roles: tuple[str, ...],
    granted_first: bool,
) -> None:
    """
    A reporting role reads them, whichever came first, and can neither write nor refresh them.
    """
    if not granted_first:
        migrated("--keep-months")
    migrated("--reporting-role", roles[0])
    migrated("--reporting-role", roles[1], "--without-addresses")
    if granted_first:
        migrated("--keep-months")

    for role in roles:
        with open_engine(engine.url.set(username=role)).connect() as connection:
            assert connection.execute(text("TABLE inventory_by_month_kept")).all() == []
            connection.rollback()
            with pytest.raises(DBAPIError, match="denied"):
                connection.execute(text(monthly_view.REFRESH))


def test_a_user_who_may_not_read_them_is_answered_by_the_view(
    migrated: Callable[..., Result], watch: Watch, engine: Engine, roles: tuple[str, ...]
) -> None:
    """
    Months that are kept from somebody are no reason to fail.
    """
    migrated("--keep-months")
    watch.see(number_row(1))

    with open_engine(engine.url.set(username=roles[0])).connect() as connection:
        assert monthly_view.as_of(connection) is None


def test_a_change_of_the_view_makes_the_months_anew(
    migrated: Callable[..., Result], watch: Watch, engine: Engine, roles: tuple[str, ...]
) -> None:
    """
    They don't stand in the way of a migration, and are there after it, for the same readers.
    """
    migrated("--reporting-role", roles[0])
    migrated("--keep-months")
    watch.see(number_row(1))
    with engine.begin() as connection, monthly_view.dropped_during(connection):
        connection.exec_driver_sql(f"CREATE OR REPLACE VIEW inventory_by_month AS {CHANGED}")

    assert kept(engine) == of_view(engine) != []
    with open_engine(engine.url.set(username=roles[0])).connect() as connection:
        assert connection.execute(text("TABLE inventory_by_month_kept")).all()


def test_migrations_go_both_ways_around_the_months(
    migrated: Callable[..., Result], engine: Engine
) -> None:
    """
    They are there after an upgrade if they were before it, and gone with the views.
    """
    migrated("--keep-months")
    head = migrate.newest()

    migrate.downgrade(engine, "0002")
    migrate.upgrade(engine)

    with engine.connect() as connection:
        assert monthly_view.exists(connection)
        assert migrate.current(connection) == head
    migrate.downgrade(engine, "base")
    with engine.connect() as connection:
        assert not monthly_view.exists(connection)


def test_sqlite_keeps_no_months(cli: Callable[..., Result], tmp_path: Path) -> None:
    """
    On SQLite the flag is refused, and nothing is made.
    """
    refused = cli("migrate", "--keep-months", "--database-url", f"sqlite:///{tmp_path}/none.db")

    assert refused.code == 2
    assert "inventory_by_month itself answers" in refused.err
    assert not (tmp_path / "none.db").exists()


@pytest.mark.parametrize("flag", ["--check", "--sql"])
def test_what_only_tells_keeps_nothing(cli: Callable[..., Result], flag: str) -> None:
    """
    Flags that change nothing don't go with one that does.
    """
    refused = cli("migrate", "--keep-months", flag)

    assert refused.code == 2
    assert "--keep-months can't be combined with --check or" in refused.err
