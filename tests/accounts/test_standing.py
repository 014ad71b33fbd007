from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from support.build import NEW_YEAR, Clock
from syncsvc.accounts import rows, standing
from syncsvc.accounts.rows import Account
from syncsvc.accounts.standing import Standing
from syncsvc.schema.tables import account_status
from syncsvc.settings.settings import Settings

if TYPE_CHECKING:
    from sqlalchemy import Engine

QUARTER = timedelta(minutes=15)
FINE = {
    "last_finished_at": NEW_YEAR,
    "failures": 0,
    "attention": None,
    "withheld": 0,
    "next_run_at": NEW_YEAR,
}


def stands(
    *,
    now: timedelta = timedelta(),
    interval: timedelta = QUARTER,
    enabled: bool = True,
    **status: Any,
) -> Standing:
    """
    How an account stands so long after it was due.
    """
    return standing.standing(
        enabled=enabled, status=FINE | status, interval=interval, now=NEW_YEAR + now
    )


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ({}, "ok"),
        ({"next_run_at": None, "now": timedelta(days=1)}, "ok"),
        ({"now": QUARTER}, "ok"),
        ({"now": QUARTER + timedelta(microseconds=1)}, "late"),
        ({"interval": timedelta(seconds=5), "now": timedelta(seconds=60)}, "ok"),
        ({"interval": timedelta(seconds=5), "now": timedelta(seconds=61)}, "late"),
        ({"withheld": 1, "now": timedelta(days=1)}, "withheld"),
        ({"failures": 1, "withheld": 1}, "failing"),
        ({"attention": "Refused.", "withheld": 1}, "failing"),
        ({"last_finished_at": None, "failures": 1}, "never"),
        ({"enabled": False, "last_finished_at": None, "failures": 1}, "paused"),
    ],
)
def test_of_several_states_the_first_counts(what: dict[str, Any], expected: str) -> None:
    """
    The order is paused, never, failing, withheld, late, ok; late is over an interval and a minute.
    """
    assert stands(**what) == expected


def test_an_account_that_never_ran_has_no_status() -> None:
    """
    Without a row in account_status, an account never ran.
    """
    found = standing.standing(enabled=True, status=None, interval=QUARTER, now=NEW_YEAR)

    assert found == "never"


@pytest.mark.parametrize("kind", ["sqlite"])
def test_each_account_is_late_by_its_own_interval(engine: Engine, clock: Clock) -> None:
    """
    The interval is that of the row's schedule, of a crontab the shortest gap, else the process's.
    """
    schedules = {"hourly": "1h", "nightly": "0 3 * * *", "usual": None, "wrong": "often"}
    with engine.begin() as connection:
        for name, schedule in schedules.items():
            settings = {"schedule": schedule} if schedule else {}
            rows.add(connection, Account(name=name, settings=settings))
            connection.execute(account_status.insert().values(account=name, **FINE))
    found = {}
    with engine.connect() as connection:
        for hours in (0.2, 0.5, 2, 25):
            clock.time = NEW_YEAR + timedelta(hours=hours)
            found[hours] = {
                listed.account.name
                for listed in standing.every(connection, Settings())
                if listed.standing == Standing.LATE
            }

    assert found == {
        0.2: set(),
        0.5: {"usual", "wrong"},
        2: {"hourly", "usual", "wrong"},
        25: {*schedules},
    }
