"""
What people and machines see of a fleet: a summary, a list, one account, and bounded metrics.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client import generate_latest
from sqlalchemy import func, insert
from werkzeug.test import Client

from support.build import NEW_YEAR
from syncsvc import clock
from syncsvc.accounts.standing import Standing
from syncsvc.database import transactions
from syncsvc.fleet import overview
from syncsvc.fleet.metrics import FleetMetrics
from syncsvc.fleet.running_accounts import RunningAccounts
from syncsvc.fleet.status_page import FleetPages, SlotsInUse
from syncsvc.schema.tables import account_status, accounts
from syncsvc.settings.settings import Settings
from syncsvc.vocabulary import Lane
from syncsvc.worker import web

if TYPE_CHECKING:
    from sqlalchemy import Engine

FINE = {"last_state": "succeeded", "last_finished_at": NEW_YEAR, "last_success_at": NEW_YEAR}
HOUR = timedelta(hours=1)
STATES: dict[str, dict[str, Any]] = {
    "fine": {**FINE, "next_run_at": func.now() + HOUR, "live_numbers": 5, "cancelled_numbers": 2},
    "late": {**FINE, "next_run_at": func.now() - HOUR, "live_numbers": 1},
    "withheld": {**FINE, "next_run_at": func.now() + HOUR, "withheld": 7},
    "failing": {
        "last_state": "failed",
        "last_finished_at": NEW_YEAR,
        "failures": 3,
        "last_error": "The provider's host is down.",
        "next_run_at": func.now() + HOUR,
    },
}


@pytest.fixture(params=[pytest.param("postgresql", id="server")])
def kind(request: pytest.FixtureRequest) -> str:
    """
    A fleet's database.
    """
    return str(request.param)


def add(engine: Engine, *names: str, enabled: bool = True, **status: Any) -> None:
    """
    Add accounts, with a status if any is given.
    """
    rows = [{"account": name, "enabled": enabled, "settings": {}, "labels": {}} for name in names]
    times = {"added_at": NEW_YEAR, "changed_at": NEW_YEAR}
    with engine.begin() as connection:
        connection.execute(insert(accounts).values([{**row, **times} for row in rows]))
        if status:
            each = [{"account": name, **status} for name in names]
            connection.execute(insert(account_status).values(each))


def read(engine: Engine) -> overview.Overview:
    """
    How the accounts stand.
    """
    with transactions.short_read(engine) as connection:
        return overview.read(connection, Settings())


def client(engine: Engine, **down: bool) -> Client:
    """
    A browser at the pages.
    """
    slots = [SlotsInUse(Lane.FAST, 2, 6), SlotsInUse(Lane.SLOW, 0, 2)]
    pages = FleetPages(engine, lambda: read(engine), lambda: slots, lambda: down)
    return Client(
        web.Pages(
            is_progressing=lambda: True,
            readiness=lambda: pytest.fail("nobody asks"),
            registry=FleetMetrics().registry,
            status=pages.summary,
            further={"/accounts": pages.accounts, "/accounts/<path:name>": pages.account},
        )
    )


@pytest.fixture
def every_state(engine: Engine) -> Engine:
    """
    A database with an account in each state, named after it.
    """
    for name, status in STATES.items():
        add(engine, name, **status)
    add(engine, "never")
    add(engine, "paused", enabled=False, **STATES["late"])
    return engine


def test_the_summary_counts_each_state(every_state: Engine) -> None:
    """
    Each account is counted once, and those that need a look are listed, worst first.
    """
    found = read(every_state)
    page = client(every_state).get("/").text

    assert found.counts() == dict.fromkeys(
        ["ok", "late", "withheld", "failing", "never", "paused"], 1
    )
    assert [each.account for each in found.need_a_look()] == ["failing", "late", "withheld"]
    places = [page.index(f">{name}</a></th>") for name in ("failing", "late", "withheld")]
    assert places == sorted(places)
    assert ">paused</a></th>" not in page
    assert "2 of 6 fast slots in use" in page


def test_only_accounts_that_wait_are_due(every_state: Engine) -> None:
    """
    A paused account is never late; the lag is that of the one that has waited longest.
    """
    found = read(every_state)

    assert found.due() == 1
    assert HOUR <= found.lag() < 2 * HOUR
    assert found.oldest_success() == NEW_YEAR


def test_an_empty_fleet_says_what_to_do(engine: Engine) -> None:
    """
    Without accounts the page names the command that adds one.
    """
    page = client(engine).get("/")

    assert page.status_code == 200
    assert "syncsvc accounts add NAME" in page.text
    assert read(engine).lag() == timedelta()


def test_hosts_that_are_down_are_named(every_state: Engine) -> None:
    """
    The page names the hosts that this worker finds to be down.
    """
    page = client(every_state, **{"https://a.example": True, "https://b.example": False})

    assert "Hosts that are down: https://a.example." in page.get("/").text


def test_the_list_goes_on_where_it_ended(engine: Engine) -> None:
    """
    A hundred accounts a page, by name, each once.
    """
    names = [f"account-{number:03}" for number in range(250)]
    add(engine, *names)
    browser, path, seen = client(engine), "/accounts", list[str]()
    while path:
        page = browser.get(path).text
        seen += [name for name in names if f">{name}</a></th>" in page]
        after = page.partition("after=")[2].partition('"')[0]
        path = f"/accounts?after={after}" if after else ""

    assert seen == names


def test_accounts_are_found_by_name_and_state(every_state: Engine) -> None:
    """
    A part of the name in any case, and the state, narrow the list down.
    """
    browser = client(every_state)
    by_name, by_state, none = (
        browser.get(f"/accounts?{query}").text
        for query in ("q=FAIL", "state=late", "q=fail&state=late")
    )

    assert ">failing</a></th>" in by_name
    assert ">late</a></th>" not in by_name
    assert ">late</a></th>" in by_state
    assert "</a></th>" not in none
    assert browser.get("/accounts?state=odd").status_code == 404


def test_a_page_with_a_form_is_not_renewed_under_the_reader(every_state: Engine) -> None:
    """
    The summary and an account renew themselves; the list would take away what is being typed.
    """
    browser = client(every_state)
    pages = {path: browser.get(path) for path in ("/", "/accounts", "/accounts/fine")}
    renewed = {path: 'http-equiv="refresh"' in page.text for path, page in pages.items()}

    assert {page.status_code for page in pages.values()} == {200}
    assert renewed == {"/": True, "/accounts": False, "/accounts/fine": True}


def test_one_account_has_a_page(every_state: Engine) -> None:
    """
    It says how the account stands; an account that does not exist has none.
    """
    browser = client(every_state)
    page = browser.get("/accounts/failing")

    assert page.status_code == 200
    assert "Failures in a row: 3." in page.text
    assert browser.get("/accounts/absent").status_code == 404


def test_a_page_goes_by_the_accounts_own_schedule(engine: Engine) -> None:
    """
    An account that runs once a day is not out of date after some hours.
    """
    ended_at = clock.now() - timedelta(hours=7)
    ran = {"last_run_id": 1, "last_success_at": ended_at}
    add(engine, "hourly", "daily", **{**STATES["fine"], **ran})
    with engine.begin() as connection:
        own = {"schedule": "1d"}
        daily = accounts.c.account == "daily"
        connection.execute(accounts.update().where(daily).values(settings=own))
    browser = client(engine)

    assert "out of date" in browser.get("/accounts/hourly").text
    assert "out of date" not in browser.get("/accounts/daily").text


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "a/b ../c?d#e%f", 'q"uote', "ñ 名"])
def test_any_name_is_shown_and_found(engine: Engine, name: str) -> None:
    """
    Names are text: no part of one becomes markup or another address.
    """
    add(engine, name, **STATES["failing"])
    browser = client(engine)
    page = browser.get("/").text
    link = page.partition('<th scope="row"><a href="')[2].partition('"')[0]

    assert "<script>" not in page
    assert browser.get(f"/{link}").status_code == 200


def test_without_the_database_the_pages_say_so(engine: Engine) -> None:
    """
    Every page shows the error.
    """
    lost = engine.url.set(port=1)
    from syncsvc.database.engine import open_engine  # noqa: PLC0415

    browser = client(open_engine(lost))
    for path in ("/", "/accounts", "/accounts/one"):
        page = browser.get(path)
        assert page.status_code == 200
        assert "no database" in page.text


def test_the_page_of_ten_thousand_accounts_is_small(engine: Engine) -> None:
    """
    However many accounts there are and fail, the page stays below 100 KB.
    """
    for start in range(0, 10_000, 1000):
        names = [f"account-{number:05}" for number in range(start, start + 1000)]
        add(engine, *names, **STATES["failing" if start < 3000 else "fine"])
    page = client(engine).get("/")

    assert len(page.data) < 100_000
    assert "2,950 more" in page.text


def test_series_are_bounded(engine: Engine) -> None:
    """
    A thousand accounts of which 300 fail make fewer than 1,500 series; the others are counted.
    """
    add(engine, *(f"failing-{number:03}" for number in range(300)), **STATES["failing"])
    add(engine, *(f"fine-{number:03}" for number in range(700)), **STATES["fine"])
    metrics = FleetMetrics()
    metrics.add_process()
    metrics.add_accounts(lambda: read(engine), 100)
    metrics.add_worker(
        RunningAccounts(), {Lane.FAST: 6, Lane.SLOW: 2}, lambda: {f"h{n}": False for n in range(99)}
    )
    text = generate_latest(metrics.registry).decode()
    series = [line for line in text.splitlines() if not line.startswith("#")]

    assert len(series) < 1500
    assert 'syncsvc_accounts{state="failing"} 300.0' in series
    assert 'syncsvc_numbers{lifecycle="live"} 3500.0' in series
    assert "syncsvc_metrics_accounts_left_out 200.0" in series
    assert sum(line.startswith("syncsvc_account_failures{") for line in series) == 100
    assert sum(line.startswith("syncsvc_host_down{") for line in series) == 20
    assert 'syncsvc_fleet_slots{lane="fast",state="free"} 6.0' in series


def test_metrics_go_on_without_the_database(engine: Engine) -> None:
    """
    Those of the process stay; those that are read from the tables are left out.
    """
    from syncsvc.database.engine import open_engine  # noqa: PLC0415

    metrics = FleetMetrics()
    lost = open_engine(engine.url.set(port=1))
    metrics.add_accounts(lambda: read(lost), 100)
    metrics.run_ended("succeeded", 1.5, {"added": 2})
    text = generate_latest(metrics.registry).decode()

    assert 'syncsvc_runs_total{state="succeeded"} 1.0' in text
    assert "syncsvc_run_duration_seconds_count 1.0" in text
    assert "syncsvc_accounts{" not in text


def test_the_overview_is_read_now_and_then(engine: Engine) -> None:
    """
    Many questions at once read the tables once.
    """
    reads: list[overview.Overview] = []

    def count() -> overview.Overview:
        reads.append(read(engine))
        return reads[-1]

    kept, fresh = overview.CachedOverview(count, 60), overview.CachedOverview(count, 0)
    first = [kept(), kept()]
    second = [fresh(), fresh()]

    assert first[0] is first[1]
    assert second[0] is not second[1]
    assert len(reads) == 3


@pytest.mark.parametrize("how", list(Standing))
def test_every_standing_has_a_place(every_state: Engine, how: Standing) -> None:
    """
    Each state has its accounts in the list, and a colour or none.
    """
    name = "fine" if how is Standing.OK else how.value
    page = client(every_state).get(f"/accounts?state={how}").text

    assert page.count("</a></th>") == 1
    assert f">{name}</a></th>" in page
