"""
Find a number by what people write, and by what it was called before.
"""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select, update

from support.build import Watch, number_row
from syncsvc import clock
from syncsvc.database import runs
from syncsvc.database.account_and_run_queries import set_gauges
from syncsvc.database.number_lookup import find_numbers
from syncsvc.errors import UnknownNumber
from syncsvc.metrics import Metrics
from syncsvc.schema.tables import sync_runs
from syncsvc.schema.views import sync_status
from syncsvc.vocabulary import Trigger

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection, Engine

SPELLINGS = ["+441245123456", "441245123456", "00441245123456", "+44 1245 123456", "44-1245-123456"]


def found(engine: Engine, wanted: str) -> list[str]:
    """
    What a search finds, by E.164.
    """
    with engine.connect() as connection:
        return [row["number_e164"] for row in find_numbers(connection, "default", wanted)]


@pytest.mark.parametrize("sent", SPELLINGS)
def test_any_spelling_finds_any_other(watch: Watch, engine: Engine, sent: str) -> None:
    """
    The same digits are the same number, however the provider and the reader write them.
    """
    watch.see(number_row(1, number_e164=sent), number_row(2))

    assert {wanted: found(engine, wanted) for wanted in SPELLINGS} == {
        wanted: [sent] for wanted in SPELLINGS
    }


@pytest.mark.parametrize("wanted", ["01245 123456", "1245123456", "+44 (0)1245 123456"])
def test_a_national_number_is_found(watch: Watch, engine: Engine, wanted: str) -> None:
    """
    People leave the country code out, or write the zero that it replaces.
    """
    watch.see(number_row(1, number_e164="+441245123456"), number_row(2))
    watch.see(number_row(1, number_e164="+441245999999"), number_row(2))

    assert found(engine, wanted) == ["+441245999999"]
    assert found(engine, "01245 999999") == ["+441245999999"]


@pytest.mark.parametrize("form", ["{}", "{{{}}}", "urn:uuid:{}", " {} "])
@pytest.mark.parametrize("upper", [False, True])
@pytest.mark.parametrize("dashes", [False, True])
def test_a_uuid_is_found_in_any_of_its_forms(
    watch: Watch, engine: Engine, form: str, upper: bool, dashes: bool
) -> None:
    """
    Other programs write a uuid in braces, as a URN, in capitals or without dashes.
    """
    row = number_row(1, number_e164="+441245123456")
    watch.see(row, number_row(2))
    uuid = row["uuid"] if dashes else row["uuid"].replace("-", "")

    assert found(engine, form.format(uuid.upper() if upper else uuid)) == ["+441245123456"]


@pytest.mark.parametrize("wanted", ["\udcff", "+44\udcff", "", "+", "%", "{", "0" * 5000])
def test_what_is_no_number_is_not_known(watch: Watch, engine: Engine, wanted: str) -> None:
    """
    Whatever is asked for, also bytes that are not UTF-8, the answer is that it is not known.
    """
    watch.see(number_row(1))

    with pytest.raises(UnknownNumber):
        found(engine, wanted)


def test_a_number_is_found_by_what_it_was_before(watch: Watch, engine: Engine) -> None:
    """
    A uuid that has another number now is found by each one that it had.
    """
    watch.see(number_row(1, number_e164="+441245000001"), number_row(2))
    watch.see(number_row(1, number_e164="+441245000009"), number_row(2))

    assert found(engine, "441245 000001") == ["+441245000009"]


@pytest.mark.parametrize(
    "wanted", ["", "+", "00", "+4412450000", "000001", "1245", "44", "nobody", "%"]
)
def test_what_nobody_had_is_not_found(watch: Watch, engine: Engine, wanted: str) -> None:
    """
    A part of a number, or none, finds nothing.
    """
    watch.see(number_row(1, number_e164="+441245000001"))

    with pytest.raises(UnknownNumber):
        found(engine, wanted)


real_now = clock.now
AHEAD = timedelta(days=3650)


def run_now(connection: Connection, *, published: bool) -> None:
    """
    A run that starts and ends now by the clock as it is set.
    """
    run = runs.begin(connection, "default", Trigger.MANUAL)
    if published:
        runs.finish(connection, run, {}, {})
    else:
        runs.fail(connection, run, {}, "The provider did not answer.")


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch, engine: Engine) -> Callable[..., None]:
    """
    Does a run so long after now by its machine's clock.
    """

    def run(later: timedelta, *, published: bool = True) -> None:
        monkeypatch.setattr("syncsvc.clock.now", lambda: real_now() + later)
        with engine.begin() as connection:
            run_now(connection, published=published)

    return run


def shown(engine: Engine) -> tuple[float, int | None]:
    """
    The age of the last success in seconds, as the metric and as the view have it.
    """
    metrics = Metrics("default")
    with engine.connect() as connection:
        set_gauges(connection, "default", metrics)
        age = connection.execute(select(sync_status.c.seconds_since_success)).scalar_one()
    [line] = [
        line
        for line in metrics.text().splitlines()
        if line.startswith("syncsvc_last_success_timestamp_seconds{")
    ]
    return time.time() - float(line.split()[-1]), age


def test_the_last_success_is_dated_by_the_real_clock(
    engine: Engine, at: Callable[..., None]
) -> None:
    """
    After one run ten years ahead, the age of the next success is what it is.
    """
    at(AHEAD)
    at(timedelta(hours=-2))

    gauge, view = shown(engine)

    assert view is not None
    assert (round(gauge / 60), round(view / 60)) == (120, 120)


def test_a_success_in_the_future_does_not_count(engine: Engine, at: Callable[..., None]) -> None:
    """
    If only failures follow the run that was ahead, the success before it is the last one.
    """
    at(timedelta(hours=-3))
    at(AHEAD)
    at(timedelta(0), published=False)

    gauge, view = shown(engine)

    assert view is not None
    assert (round(gauge / 60), round(view / 60)) == (180, 180)


def test_if_every_success_is_in_the_future_none_is_known(
    engine: Engine, at: Callable[..., None]
) -> None:
    """
    The alert on the age fires, rather than wait for that future.
    """
    at(AHEAD)

    gauge, view = shown(engine)

    assert round(gauge) == round(time.time())
    assert view is None


def test_runs_of_the_version_before_count_by_their_end(
    engine: Engine, at: Callable[..., None]
) -> None:
    """
    Rows without the real time count with the time they have.
    """
    at(timedelta(hours=-1))
    with engine.begin() as connection:
        connection.execute(update(sync_runs).values(recorded_at=None))

    gauge, view = shown(engine)

    assert view is not None
    assert (round(gauge / 60), round(view / 60)) == (60, 60)
