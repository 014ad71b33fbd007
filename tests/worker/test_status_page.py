"""
The status page: true, safe, and readable in a real browser.
"""

from __future__ import annotations

import os
import re
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import make_url

from support.build import NEW_YEAR, number_row
from support.processes import free_port
from syncsvc.database.engine import open_engine
from syncsvc.metrics import Metrics
from syncsvc.sandbox import Fault, Inventory
from syncsvc.worker.scheduled_run import Readiness
from syncsvc.worker.status_page import StatusPage, WorkerState, age
from syncsvc.worker.web import Pages, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page
    from sqlalchemy import Engine

    from support.build import Clock, Watch

HOSTILE = '<script>document.title="caught"</script>"\'&amp;'
PICTURES = os.environ.get("PICTURES")  # a folder to leave screenshots in
SIZES = {"desktop": (1280, 800), "phone": (360, 740)}
READY = Readiness(ready=True, account="default", role="leader", problems=[])


def now(**changes: Any) -> WorkerState:
    """
    A worker that is well.
    """
    usual = {
        "account": "default",
        "role": "leader",
        "last_result": "Run 3 withheld: 90 listed, 30 withheld.",
        "is_failing": False,
        "interval": timedelta(minutes=15),
        "next_run": NEW_YEAR + timedelta(minutes=45),
        "is_progressing": True,
    }
    return WorkerState(**{**usual, **changes})


def page_of(engine: Engine, **changes: Any) -> str:
    """
    The page over a database.
    """
    return StatusPage(lambda: engine, lambda: now(**changes))()


@contextmanager
def opened(chromium: Browser, engine: Engine, **look: Any) -> Iterator[tuple[Page, list[str]]]:
    """
    The page in a browser, and what went wrong there.
    """
    metrics = Metrics("default")
    pages = Pages(
        is_progressing=lambda: True,
        readiness=lambda: READY,
        registry=metrics.registry,
        status=StatusPage(lambda: engine, now),
    )
    port = free_port()
    wrong: list[str] = []
    with serving(pages, "127.0.0.1", port), chromium.new_page(**look) as page:
        page.on("console", lambda said: wrong.append(said.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("requestfailed", lambda request: wrong.append(request.url))
        page.goto(f"http://127.0.0.1:{port}/")
        yield page, wrong


@pytest.fixture
def lively(watch: Watch, clock: Clock) -> Engine:
    """
    Three runs of an inventory that changes, the last of them withheld.
    """
    inventory = Inventory.seeded(120, seed=7, clock=clock)
    watch.sandbox.inventory = inventory
    watch.run()
    clock.pass_by(minutes=15)
    inventory.provision(2)
    inventory.edit(3)
    inventory.cancel(2)
    watch.run()
    clock.pass_by(minutes=15)
    watch.sandbox.inventory = Inventory(inventory.rows[:90])
    watch.run(cancelled_listing="off")
    clock.pass_by(minutes=2)
    return watch.engine


def test_it_shows_what_the_tables_say(lively: Engine) -> None:
    """
    Accounts, counts, the last runs and changes, and how to deal with what is withheld.
    """
    page = page_of(lively)

    assert "needs a look" in page
    assert page.count('<th scope="row">') == 3
    assert "2 min ago" in page
    assert re.search(
        r"agreed with the provider, except that cancellations of \d+ live numbers", page
    )
    assert "syncsvc sync --allow-mass-cancel --account default" in page


def test_it_says_why_a_run_failed(watch: Watch) -> None:
    """
    A failing account shows its error, and when the tables were last right.
    """
    watch.see(number_row())
    watch.sandbox.inject(Fault(kind="html", status=200, times=10))
    watch.run()

    page = page_of(watch.engine)

    assert "failing" in page
    assert "the tables agreed with the provider." in page
    assert "syncsvc check" not in page
    assert "Run 2 failed:" in page


def test_it_shows_every_account(watch: Watch) -> None:
    """
    One page tells of all accounts in the database.
    """
    watch.see(number_row())
    watch.see(number_row(), account="it's another")

    page = page_of(watch.engine)

    assert "Account default" in page
    assert "Account it&#39;s another" in page


@pytest.mark.parametrize(
    ("minutes", "word"), [(29, "up to date"), (31, "out of date"), (7 * 24 * 60, "out of date")]
)
def test_an_old_success_is_out_of_date(watch: Watch, clock: Clock, minutes: int, word: str) -> None:
    """
    After two intervals of the schedule without a success, as the alert says, no account is green.
    """
    watch.see(number_row())
    clock.pass_by(minutes=minutes)

    page = page_of(watch.engine)

    assert f">{word}</span>" in page
    assert ("verdict ok" in page) == (word == "up to date")


def test_another_accounts_limit_is_an_hour(watch: Watch, clock: Clock) -> None:
    """
    The schedule of another account is not known here: the limit is that of timers.
    """
    watch.see(number_row(), account="other")
    clock.pass_by(minutes=59)
    in_time = page_of(watch.engine)
    clock.pass_by(minutes=2)

    assert "up to date" in in_time
    assert "out of date" in page_of(watch.engine)


def test_the_workers_own_account_comes_first(watch: Watch) -> None:
    """
    Whatever the other accounts are called, a failing one of its own is seen before them.
    """
    watch.see(number_row(), account="account of before")
    watch.sandbox.inject(Fault(kind="html", status=200, times=10))
    watch.run()

    page = page_of(watch.engine, is_failing=True, last_result="Run 2 failed: …")

    assert page.index("Account default") < page.index("Account account of before")
    assert page.index("badge wrong") < page.index("badge ok")
    assert '<span class="badge wrong">failing</span> Run 2 failed' in page


def test_rows_that_could_not_be_read_are_no_agreement(watch: Watch) -> None:
    """
    What was not published is named beside the success.
    """
    watch.see(number_row(), number_row(2, uuid="none"))

    assert "agreed with the provider, except that 1 row could not be read." in page_of(watch.engine)


def test_a_success_in_the_future_is_no_success(watch: Watch, clock: Clock) -> None:
    """
    A run under a clock that was ahead makes no account green.
    """
    clock.pass_by(days=4000)
    watch.see(number_row())
    clock.pass_by(days=-4000)

    page = page_of(watch.engine)

    assert "The runs that published are dated in the future: a clock was ahead." in page
    assert "verdict ok" not in page


def test_it_says_what_the_worker_waits_for(watch: Watch) -> None:
    """
    Before the first run, standing by, and stuck: each is said.
    """
    assert "no run yet" in page_of(watch.engine)
    assert "Role: standby" in page_of(watch.engine, role="standby")
    assert "stuck" in page_of(watch.engine, is_progressing=False)


def test_a_database_that_is_away_is_told(tmp_path: Path) -> None:
    """
    The page is there without its database, and says what to do.
    """
    missing = open_engine(make_url(f"sqlite:///{tmp_path}/none/syncsvc.db"))

    page = page_of(missing)

    assert "unable to open database file" in page
    assert "syncsvc check" in page


def test_the_providers_text_stays_text(watch: Watch) -> None:
    """
    Nothing that the provider or an operator wrote becomes markup.
    """
    watch.see(number_row(number_e164=HOSTILE), account=HOSTILE)
    watch.see(number_row(number_e164=HOSTILE, status=HOSTILE), account=HOSTILE)

    page = page_of(watch.engine, account=HOSTILE, last_result=HOSTILE)

    assert "<script" not in page
    assert page.count("&lt;script&gt;") >= 4


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_readable_in_a_browser(
    lively: Engine, chromium: Browser, size: str, scheme: str
) -> None:
    """
    On a desk and on a telephone, by day and by night: nothing fails, and nothing sticks out.
    """
    width, height = SIZES[size]
    look = {"viewport": {"width": width, "height": height}, "color_scheme": scheme}
    with opened(chromium, lively, **look) as (page, wrong):
        wide = page.evaluate("document.documentElement.scrollWidth")
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        if PICTURES:
            page.screenshot(path=Path(PICTURES) / f"status-{size}-{scheme}.png")

    assert wrong == []
    assert wide <= width
    assert (ground == "rgb(17, 21, 28)") == (scheme == "dark")


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
def test_it_works_without_scripts(lively: Engine, chromium: Browser) -> None:
    """
    The page has no script, and everything on it is there without one.
    """
    with opened(chromium, lively, java_script_enabled=False) as (page, wrong):
        assert page.locator("h1").count() == 1
        assert page.get_by_role("table").count() == 2

    assert wrong == []


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
def test_hostile_text_does_nothing_in_a_browser(watch: Watch, chromium: Browser) -> None:
    """
    A browser shows what the provider wrote and executes none of it.
    """
    watch.see(number_row(number_e164=HOSTILE))
    with opened(chromium, watch.engine) as (page, wrong):
        assert page.title() == "default · syncsvc"
        assert page.get_by_text(HOSTILE).count() >= 1

    assert wrong == []


@pytest.mark.parametrize(
    ("length", "said"),
    [
        (timedelta(0), "0 s"),
        (timedelta(seconds=-5), "0 s"),
        (timedelta(seconds=59.9), "59 s"),
        (timedelta(minutes=61, seconds=5), "1 h 1 min"),
        (timedelta(days=2, seconds=5), "2 d 5 s"),
    ],
)
def test_a_length_of_time_is_told_in_two_units(length: timedelta, said: str) -> None:
    """
    Nobody needs the seconds of days.
    """
    assert said == age(length)
