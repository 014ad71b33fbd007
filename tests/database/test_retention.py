"""
Pruning: what is old enough goes, and nothing else that the tables say changes.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import insert, or_, select

from support import standing
from support.build import NEW_YEAR, Row, address, number_row, profile, rows_of, uuid_at
from support.histories import after, pasts, write
from syncsvc.clock import now
from syncsvc.database import locks
from syncsvc.database.maintenance import retention
from syncsvc.schema import views
from syncsvc.schema.tables import number_history, sync_rejects, sync_runs

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import URL, Engine

    from support.build import Clock, Result, Watch
    from support.histories import Past

KEY = ("month", "account", "country_alpha2")


@pytest.fixture
def prune(cli: Callable[..., Result], engine: Engine) -> Callable[..., Result]:
    """
    Call `syncsvc prune`.
    """
    url = engine.url.render_as_string(hide_password=False)
    return lambda *flags: cli("prune", "--database-url", url, *flags)


def known_at(engine: Engine, moment: datetime) -> list[Row]:
    """
    The inventory as it was known at a moment.
    """
    history = number_history.c
    open_then = or_(history.valid_to.is_(None), history.valid_to > moment)
    query = select(number_history).where(history.valid_from <= moment, open_then)
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(query.order_by(history.id)).mappings()]


def by_month(engine: Engine, view: Any, since: datetime) -> dict[tuple[Any, ...], Row]:
    """
    Of a view by month, the rows that are not empty and of months from some time on.

    A month of the inventory is told by its end, one of events by all of it.
    """
    told: dict[tuple[Any, ...], Row] = {}
    with engine.connect() as connection:
        for row in connection.execute(select(view)).mappings():
            day = datetime.combine(row["month"], datetime.min.time(), UTC)
            at = after(row["month"]) if "numbers" in row else day
            if at > since and any(row[name] for name in row if name not in KEY):
                told[tuple(row[name] for name in KEY)] = dict(row)
    return told


@profile
@given(pasts, st.integers(0, 400))
def test_what_is_told_of_the_kept_time_stays_as_it_is(
    engine: Engine, wipe: Callable[[], None], some: list[Past], days: int
) -> None:
    """
    As-of answers, month ends and events of the kept time are the same before and after.
    """
    wipe()
    write(engine, some, now() - timedelta(days=400))
    cutoff = now() - timedelta(days=days)
    moments = [cutoff, *(cutoff + timedelta(days=days * part / 4) for part in range(1, 5))]

    def told() -> list[Any]:
        return [
            *(known_at(engine, moment) for moment in moments),
            by_month(engine, views.inventory_by_month, cutoff),
            by_month(engine, views.churn_by_month, cutoff),
        ]

    before = told()
    with engine.begin() as connection:
        for account in ("default", "other"):
            for table, conditions in retention.superseded(account, cutoff, None).items():
                retention.remove(connection, table, conditions)

    assert before == told()


def test_closed_rows_go_and_open_ones_stay(
    watch: Watch, clock: Clock, prune: Callable[..., Result]
) -> None:
    """
    Of numbers and addresses, the rows that were superseded before the kept time are removed.
    """
    for charge in (1, 2, 3):
        changing = number_row(1, monthly_charge=charge, number_address=address(1, name=f"{charge}"))
        watch.see(changing, number_row(2))
        clock.pass_by(days=10)

    result = prune("--keep-history", "20d")

    assert (result.code, result.err) == (0, "")
    assert "number_history: 1 rows from before 2026-01-11 00:00 were removed." in result.out
    assert "address_history: 1 rows" in result.out
    assert [int(row["monthly_charge"]) for row in watch.history(1)] == [2, 3]
    assert [row["name"] for row in watch.address_history(1)] == ["2", "3"]
    assert watch.events(2) == ["provisioned"]


def test_a_row_goes_only_when_its_end_is_out_of_the_kept_time(
    watch: Watch, clock: Clock, prune: Callable[..., Result]
) -> None:
    """
    A row that was the newest one for a microsecond of the kept time stays.
    """
    watch.see(number_row(1))
    clock.pass_by(days=10)
    watch.see(number_row(1, status="Active"))

    clock.pass_by(days=30, microseconds=-1)
    prune("--keep-history", "30d")
    assert watch.events(1) == ["provisioned", "changed"]

    clock.pass_by(microseconds=1)
    prune("--keep-history", "30d")
    assert watch.events(1) == ["changed"]


def test_a_stamp_ahead_keeps_its_own_numbers_rows_only(
    watch: Watch, clock: Clock, prune: Callable[..., Result]
) -> None:
    """
    Its number has the row before, but neither another number nor another account's same number.
    """
    unstamped: Row = {"provisioned": "", "details": {"provisioned": ""}}
    ahead = "2027-01-01 00:00:00"
    watch.see(number_row(1), number_row(2, **unstamped))
    clock.pass_by(days=1)
    watch.see(number_row(1, provisioned=ahead), account="other")
    watch.see(number_row(1, status="Active"), number_row(2, provisioned=ahead))
    began = rows_of(watch.engine, number_history, uuid=uuid_at(2))[-1]["valid_from"]
    clock.time = began + timedelta(days=9)

    prune("--keep-history", "9d")

    mine = rows_of(watch.engine, number_history, account="default")
    assert [(row["uuid"], row["event"]) for row in mine] == [
        (uuid_at(2), "added"),
        (uuid_at(1), "changed"),
        (uuid_at(2), "provisioned"),
    ]


def report(result: Result) -> Row:
    """
    The JSON object that a command printed last.
    """
    found: Row = json.loads(result.out[result.out.index("{\n") :])
    return found


def test_a_dry_run_counts_what_a_real_one_removes(
    watch: Watch, clock: Clock, prune: Callable[..., Result]
) -> None:
    """
    The same figures are printed, and nothing is removed.
    """
    for status in ("Active", "Reserved", "Active"):
        watch.see(number_row(1, status=status))
        clock.pass_by(days=1)
    flags = ("--keep-history", "1d", "--keep-runs", "1d", "--json")

    planned = report(prune(*flags, "--dry-run"))
    assert 3 == len(watch.history(1)) == len(rows_of(watch.engine, sync_runs))
    done = report(prune(*flags))

    expected = {"number_history": 2, "address_history": 0, "sync_runs": 2}
    assert {"account": "default", "dry_run": True, **expected} == planned
    assert {"account": "default", "dry_run": False, **expected} == done
    assert 1 == len(watch.history(1)) == len(rows_of(watch.engine, sync_runs))


def add_runs(engine: Engine, *runs: tuple[str, int], account: str = "default") -> None:
    """
    Write runs of these states, so many days after New Year.
    """
    with engine.begin() as connection:
        for state, days in runs:
            at = NEW_YEAR + timedelta(days=days)
            values = {"account": account, "trigger": "manual", "state": state, "started_at": at}
            ended = None if state == "running" else at + timedelta(minutes=1)
            values |= {"finished_at": ended, "service_version": "1"}
            connection.execute(insert(sync_runs).values(values))
        standing.fill(connection)


def test_the_runs_that_tell_how_an_account_stands_are_kept(
    engine: Engine, clock: Clock, prune: Callable[..., Result]
) -> None:
    """
    However old, the last run, the last that ended and the last that published stay on record.
    """
    clock.pass_by(days=1000)
    add_runs(engine, ("succeeded", 1), ("withheld", 2), ("failed", 3), ("crashed", 4))
    add_runs(engine, ("running", 5))
    told = views.sync_status.c
    status = select(told.last_run_id, told.last_run_state, told.last_success_at)

    with engine.connect() as connection:
        before = connection.execute(status).all()
    prune("--keep-runs", "1d")
    with engine.connect() as connection:
        after_it = connection.execute(status).all()

    assert before == after_it
    kept = [row["state"] for row in rows_of(engine, sync_runs)]
    assert kept == ["withheld", "crashed", "running"]


def test_a_run_that_began_with_the_kept_time_stays(
    engine: Engine, clock: Clock, prune: Callable[..., Result]
) -> None:
    """
    Runs are removed if they began before it.
    """
    add_runs(engine, *(("succeeded", day) for day in (1, 2, 3)))
    clock.pass_by(days=10)

    prune("--keep-runs", "8d")

    assert [row["id"] for row in rows_of(engine, sync_runs)] == [2, 3]


def test_a_run_with_rejects_on_record_is_kept(
    watch: Watch, clock: Clock, prune: Callable[..., Result]
) -> None:
    """
    Rows that could not be read are kept for a time of their own, and their run with them.
    """
    watch.see(number_row(1, number_e164=None))
    clock.pass_by(days=1)
    watch.see(number_row(1))
    clock.pass_by(days=1)
    watch.see(number_row(1))
    clock.pass_by(days=50)

    prune("--keep-runs", "1d")

    assert [row["id"] for row in rows_of(watch.engine, sync_runs)] == [1, 3]
    assert len(rows_of(watch.engine, sync_rejects)) == 1


def test_another_account_is_left_alone(
    engine: Engine, clock: Clock, prune: Callable[..., Result]
) -> None:
    """
    Only the rows of the account that was named are removed.
    """
    clock.pass_by(days=1000)
    for account in ("default", "other"):
        add_runs(engine, ("succeeded", 1), ("succeeded", 2), account=account)

    prune("--keep-runs", "1d", "--account", "other")

    accounts = [row["account"] for row in rows_of(engine, sync_runs)]
    assert accounts == ["default", "default", "other"]


def test_nothing_is_pruned_while_a_run_is_under_way(
    engine: Engine, prune: Callable[..., Result]
) -> None:
    """
    The account's lock is held by one at a time; a dry run needs none.
    """
    with engine.connect() as connection, locks.run_lock(connection, "default"):
        pruned = prune("--keep-history", "7y")
        planned = prune("--keep-history", "7y", "--dry-run")

    assert (pruned.code, planned.code) == (4, 0)


def test_runs_go_on_after_pruning(watch: Watch, clock: Clock, prune: Callable[..., Result]) -> None:
    """
    The run after a pruning finds nothing new in a listing that is as it was.
    """
    for charge in (1, 2):
        watch.see(number_row(1, monthly_charge=charge, number_address=address(1)))
        clock.pass_by(days=10)
    prune("--keep-history", "1d", "--keep-runs", "1d")

    summary = watch.run()

    assert (summary.state, summary.unchanged, summary.address_changes) == ("succeeded", 1, 0)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("", "--keep-history"),
        ("--keep-history 7", "'7' is not a length of time"),
        ("--keep-history 6m", "'6m' is not a length of time"),
        ("--keep-history 0d", "'0d' is too short: it must be at least 1d"),
        ("--keep-runs 12h", "'12h' is not a length of time"),
        ("--keep-runs 9999y", "'9999y' is too long"),
        ("--keep-runs -1d", "'-1d' is not a length of time"),
        ("--keep-runs ٣d", "'٣d' is not a length of time"),
        ("--keep-history 7y --keep-runs 999999d9", "'999999d9' is not a length of time"),
    ],
)
def test_what_to_keep_has_to_be_said_clearly(
    cli: Callable[..., Result], flags: str, said: str
) -> None:
    """
    Neither nothing, nor a time that might be minutes, nor one beyond the calendar is taken.
    """
    result = cli("prune", *flags.split())

    assert result.code == 2
    assert said in result.err
    assert "7y" in result.err


@pytest.mark.parametrize(
    ("now", "length", "expected"),
    [
        ("2026-11-25", "7y", "2019-11-25"),
        ("2024-02-29", "1y", "2023-02-28"),
        ("2024-02-29", "4y", "2020-02-28"),
        ("2026-03-01", "90d", "2025-12-01"),
        ("2026-03-01", " 1d ", "2026-02-28"),
    ],
)
def test_years_are_those_of_the_calendar(now: str, length: str, expected: str) -> None:
    """
    Seven years back is the same day seven years ago, leap days or not.
    """
    back = retention.back_from(datetime.fromisoformat(now), length)

    assert back == datetime.fromisoformat(expected)


def test_a_database_that_is_not_current_is_left_alone(
    cli: Callable[..., Result], empty_url: URL
) -> None:
    """
    Pruning needs the newest schema, and says how to get it.
    """
    url = empty_url.render_as_string(hide_password=False)

    result = cli("prune", "--keep-runs", "1d", "--database-url", url)

    assert result.code == 2
    assert "syncsvc migrate" in result.err
