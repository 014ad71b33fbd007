from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import product, zip_longest
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from support.build import Row, profile, uuid_at
from support.histories import pasts, write
from support.report_answers import Answers, Tables, defaults
from support.report_lives import days, live, questions
from syncsvc import clock
from syncsvc.errors import ReportUsageError
from syncsvc.reports import REPORTS, Arguments, Kind, find_report, inventory, read_arguments
from syncsvc.reports.definition.totals import total_row
from syncsvc.sandbox import Fault
from syncsvc.sync.run import run_once

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection, Engine

    from support.build import Clock
    from support.histories import Past
    from syncsvc.sandbox import Sandbox
    from syncsvc.sync.run_inputs import Job

pytestmark = pytest.mark.neighbour
OF_KIND = {
    Kind.TEXT: str,
    Kind.NUMBER: int,
    Kind.ID: int,
    Kind.AMOUNT: Decimal,
    Kind.DAYS: Decimal,
    Kind.PERCENT: Decimal,
    Kind.MOMENT: datetime,
    Kind.MONTH: date,
}
UNSAID = {"value", "says", "charges"}  # words of trust and of the invoice
NOON = datetime(2026, 5, 29, 12, tzinfo=UTC)

few = settings(profile, max_examples=max(1, profile.max_examples // 12))


@pytest.mark.timeout(1200)  # all reports over all examples, on a busy machine
@settings(few, phases=[Phase.generate])  # one that fails is small as it is
@given(st.lists(days, min_size=1, max_size=6))
def test_every_report_is_as_plain_python_works_it_out(
    engine: Engine,
    job: Job,
    sandbox: Sandbox,
    clock: Clock,
    wipe: Callable[[], None],
    lives: list[Row],
) -> None:
    """
    Whatever was lived through, each report answers what the rows of the history say, in its order.
    """
    wipe()
    live(job, sandbox, clock, lives)
    account = lives[-1]["account"]
    tables = Tables(engine)

    with engine.connect() as connection:
        for told, (name, report) in product(questions(clock.time), REPORTS.items()):
            if name == "accounts":
                continue  # it has the neighbour's row; test_every_account works it out
            taken = {key: value for key, value in told.items() if key in report.takes}
            arguments = Arguments(account=account, now=clock.time, **{**defaults(report), **taken})
            expected = Answers(tables, arguments).to(name)
            for right, row in zip_longest(expected, answered(connection, name, arguments)):
                assert right is not None, (name, row)
                known = row.keys() - UNSAID
                assert {key: row[key] for key in known} == {key: right[key] for key in known}, name


@few
@given(pasts, st.integers(0, 20))
def test_an_invoice_is_what_counting_day_by_day_gives(
    engine: Engine, wipe: Callable[[], None], some: list[Past], ago: int
) -> None:
    """
    However odd the stamps are, an invoice of any month is a count of days, and ranges add up to it.
    """
    wipe()
    now = clock.now()
    write(engine, some, now - timedelta(days=400))
    month = now.date().replace(day=1)
    for _ in range(ago):
        month = (month - timedelta(days=1)).replace(day=1)
    told: Row = {"now": now, "month": month}

    expected = Answers(Tables(engine), Arguments(account="default", **told))
    bills = ask(engine, "invoice", **told)

    for right, bill in zip_longest(expected.to("invoice"), bills):
        known = bill.keys() - {"charges"}
        assert {key: bill[key] for key in known} == {key: right[key] for key in known}
    by_range = total_row(
        REPORTS["invoice-by-range"].columns, ask(engine, "invoice-by-range", **told)
    )
    whole = total_row(REPORTS["invoice"].columns, bills)
    for name in ("days_live", "pro_rata", "full_amount", "setup_charge"):
        assert (by_range or {}).get(name) == (whole or {}).get(name)


def ask(engine: Engine, name: str, arguments: Arguments | None = None, **told: Any) -> list[Row]:
    """
    The documented columns of a report's rows, from the default account at noon unless told.
    """
    usual = {"account": "default", "now": NOON, **defaults(REPORTS[name]), **told}
    with engine.connect() as connection:
        return answered(connection, name, arguments or Arguments(**usual))


def answered(connection: Connection, name: str, arguments: Arguments) -> list[Row]:
    """
    The documented columns of a report's rows.
    """
    report = REPORTS[name]
    rows = report.rows(connection, arguments)
    return [{column.name: row[column.name] for column in report.columns} for row in rows]


def test_every_row_has_the_columns_that_its_report_tells(known_inventory: Engine) -> None:
    """
    No report leaves out a column that it documents or gives another kind of value on a database.
    """
    for name, report in REPORTS.items():
        told = {"days": 30 if name == "reserved-numbers" else 365, "at_least": 2}
        taken: Row = {key: told[key] for key in told if key in report.takes}
        taken |= {"account": "branch"} if name == "withheld" else {}
        rows = ask(known_inventory, name, **taken)
        assert rows, name
        for column in report.columns:
            found = {type(row[column.name]) for row in rows} - {type(None)}
            assert found <= {OF_KIND[column.kind]}, (name, column.name)


@pytest.mark.parametrize(
    "name", ["spend-by-country", "spend-by-range", "spend-by-status", "range-utilisation"]
)
def test_parts_add_up_to_the_total(known_inventory: Engine, name: str) -> None:
    """
    However the live numbers are divided, numbers and charges add up to the same.
    """
    total = total_row(REPORTS[name].columns, ask(known_inventory, name))

    assert total is not None
    assert (total["numbers"], total["monthly_charge"]) == (9, Decimal("12.4"))


def test_the_inventory_of_a_day_is_what_was_known_then(known_inventory: Engine) -> None:
    """
    A number that was cancelled since is there, with its address of then; its parts are the spend's.
    """
    then = datetime(2026, 3, 31, 23, 59, 59, tzinfo=UTC)
    before, after = ask(known_inventory, "inventory", at=then), ask(known_inventory, "inventory")

    assert "+33199000006" in {row["number_e164"] for row in before}
    assert "00000000-0000-4000-8000-000000000006" not in {row["uuid"] for row in after}
    lines = [
        {row["number_address_line1"] for row in rows if row["number_address_id"] == 1}
        for rows in (before, after)
    ]
    assert lines == [{"1 Example Street"}, {"10 Example Street"}]
    for rows, at in ((before, then), (after, None)):
        spend = ask(known_inventory, "spend-by-country", at=at)
        assert sum(row["monthly_charge"] for row in rows) == sum(
            row["monthly_charge"] for row in spend
        )
        assert len(rows) == sum(row["numbers"] for row in spend)


@pytest.mark.parametrize(("month", "day"), [(2, 28), (3, 31), (4, 30)])
def test_differences_add_up_to_that_of_the_spend(
    known_inventory: Engine, month: int, day: int
) -> None:
    """
    The numbers' differences of a month are those of the spend at its two ends.
    """
    start = datetime(2026, month, 1, tzinfo=UTC)
    end = datetime(2026, month, day, 23, 59, 59, tzinfo=UTC)
    spend = [
        sum(row["monthly_charge"] for row in ask(known_inventory, "spend-by-country", at=at))
        for at in (start, end)
    ]

    changes = ask(known_inventory, "changes", start=start, end=end)

    assert sum(row["monthly_difference"] for row in changes) == spend[1] - spend[0]


def test_an_invoice_says_which_charge_each_day_has(known_inventory: Engine) -> None:
    """
    A charge that rose on the 9th counts from then on, and nothing after the day of a cancellation.
    """
    bills = {row["uuid"]: row for row in ask(known_inventory, "invoice", month=date(2026, 3, 1))}
    risen, cancelled = bills[uuid_at(5)], bills[uuid_at(6)]

    assert risen["charges"] == "1.2500 (1-8), 1.5000 (9-31)"
    assert (risen["days_live"], str(risen["pro_rata"]), str(risen["full_amount"])) == (
        31,
        "1.4355",
        "1.5000",
    )
    assert (cancelled["days_live"], cancelled["charges"]) == (28, "2.1000 (1-28)")
    assert str(cancelled["pro_rata"]) == "1.8968"


def test_a_large_inventory_is_whole_but_not_sorted(
    known_inventory: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Above the number up to which it is sorted, the inventory has the same rows; a limit sorts them.
    """
    whole = ask(known_inventory, "inventory")
    monkeypatch.setattr(inventory, "SORTED_UP_TO", 1)

    unsorted = ask(known_inventory, "inventory")

    assert sorted(unsorted, key=lambda row: (row["number_e164"], row["uuid"])) == whole
    assert ask(known_inventory, "inventory", limit=3) == whole[:3]


def test_uk_and_gb_are_one_country(known_inventory: Engine) -> None:
    """
    A number that the provider puts into UK is at home at an address in GB.
    """
    found = {row["number_e164"] for row in ask(known_inventory, "address-country-mismatch")}

    assert found == {"+493023125005", "+12125550108"}


def test_as_of_tells_what_was_known_then(known_inventory: Engine) -> None:
    """
    A cancellation that was learnt of later does not change what was known before.
    """
    learnt = datetime(2026, 4, 1, 6, tzinfo=UTC)
    just_before = learnt - timedelta(microseconds=1)

    before = ask(known_inventory, "spend-by-country", at=just_before, country="FR")
    after = ask(known_inventory, "spend-by-country", at=learnt, country="FR")

    assert [(row["numbers"], str(row["monthly_charge"])) for row in (*before, *after)] == [
        (1, "2.1000"),
        (1, "2.1000"),
    ]
    assert "+33199000006" in {
        row["number_e164"] for row in ask(known_inventory, "cancelled-numbers")
    }


def test_a_failed_run_is_not_to_be_trusted(
    known_inventory: Engine, job: Job, sandbox: Sandbox, clock: Clock
) -> None:
    """
    After a run that failed, and too long after the last success, trust says so.
    """
    clock.pass_by(days=2)
    sandbox.inject(Fault(kind="status", status=400, times=50))
    run_once(job)

    verdicts = {
        row["check"]: row["verdict"] for row in ask(known_inventory, "trust", now=clock.time)
    }

    assert {check: verdict for check, verdict in verdicts.items() if verdict != "ok"} == {
        "last success": "wrong",
        "last run": "wrong",
    }


def test_an_account_without_a_success_is_not_to_be_trusted(
    engine: Engine, job: Job, sandbox: Sandbox, clock: Clock
) -> None:
    """
    If no run has ever published, trust says nothing of a listing.
    """
    sandbox.inject(Fault(kind="status", status=400, times=50))
    run_once(job)

    checks = {row["check"]: row["verdict"] for row in ask(engine, "trust", now=clock.time)}

    assert checks == {"last success": "wrong", "last run": "wrong", "history": "ok"}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], {"at": None, "country": None}),
        (["--at", "2026-03-31"], {"at": datetime(2026, 3, 31, 23, 59, 59, 999999, tzinfo=UTC)}),
        (["--at=2026-03-31T12:00"], {"at": datetime(2026, 3, 31, 12, tzinfo=UTC)}),
        (["--at=2026-03-31T12:00+02:00"], {"at": datetime(2026, 3, 31, 10, tzinfo=UTC)}),
        (["--country", "uk"], {"country": "GB"}),
    ],
)
def test_parameters_are_read(words: list[str], expected: Row) -> None:
    """
    A day is told by its end, a time without a zone is UTC, and UK is GB.
    """
    arguments = read_arguments(REPORTS["spend-by-country"], words, "default", NOON)

    assert expected == {name: getattr(arguments, name) for name in expected}


@pytest.mark.parametrize(
    ("words", "start", "end"),
    [
        ([], NOON - timedelta(days=90), None),
        (["--since", "2026-03-01"], datetime(2026, 3, 1, tzinfo=UTC), None),
        (
            ["--since=2026-03-01T12:00", "--until=2026-03-31"],
            datetime(2026, 3, 1, 12, tzinfo=UTC),
            datetime(2026, 3, 31, 23, 59, 59, 999999, tzinfo=UTC),
        ),
        (
            ["--until", "2026-03-31T12:00Z", "--days", "7"],
            datetime(2026, 3, 24, 12, tzinfo=UTC),
            datetime(2026, 3, 31, 12, tzinfo=UTC),
        ),
    ],
)
def test_a_time_to_look_at(words: list[str], start: datetime, end: datetime | None) -> None:
    """
    It begins with the first day and ends with the last one, or lasts N days until its end or now.
    """
    arguments = read_arguments(REPORTS["cancelled-numbers"], words, "default", NOON)

    assert (arguments.window_start, arguments.until) == (start, end)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--days", "0"], "--days '0' is not a whole number from 1 to 36,500."),
        (["--days", "9" * 5000], "is not a whole number"),
        (["--days"], "--days needs a value."),
        (["--day", "3"], "it takes no --day. Did you mean --days?"),
        (["3"], "unexpected argument '3'."),
        (["--country", "Atlantis"], "--country 'Atlantis' is not an ISO 3166-1 code such as GB."),
        (["--limit", "-1"], "--limit '-1' is not a whole number"),
        (["--days", "3", "--since", "2026-03-01"], "give --days or --since, not both."),
        (["--since=2026-03-01", "--until=2026-02-28"], "--since is later than --until."),
        (["--until", "soon"], "--until 'soon' is not a date such as 2026-03-31"),
    ],
)
def test_a_parameter_that_a_report_does_not_take(words: list[str], complaint: str) -> None:
    """
    The refusal says what is wrong, and what the report takes.
    """
    with pytest.raises(ReportUsageError) as refused:
        read_arguments(REPORTS["cancelled-numbers"], words, "default", NOON)

    assert complaint in str(refused.value)
    assert "It takes --days N (90), --since DATE, --until DATE, --country CODE, --limit N." in str(
        refused.value
    )


@pytest.mark.parametrize(
    ("name", "words", "complaint"),
    [
        ("inventory", ["--lifecycle", "dead"], "'dead' is not one of live, cancelled, all."),
        ("numbers-at-address", [], "it needs --address. It takes --address ID (required), --at"),
        ("numbers-at-address", ["--address", "0"], "'0' is not a whole number from 1 to"),
        ("changes", ["--to", "2026-03-31"], "it needs --from. It takes --from DATE (required), "),
        ("changes", ["--from=2026-03-31", "--to=2026-03-31"], "--from is not earlier than --to."),
        ("invoice", ["--month", "March"], "'March' is not a month such as 2026-03."),
        ("invoice", ["--month", "2026-06"], "--month is in the future; it is 2026-05."),
    ],
)
def test_a_choice_and_what_is_needed_are_named(name: str, words: list[str], complaint: str) -> None:
    """
    A word that is no choice is answered with all of them, and a missing parameter by its name.
    """
    with pytest.raises(ReportUsageError) as refused:
        read_arguments(REPORTS[name], words, "default", NOON)

    assert complaint in str(refused.value)


@pytest.mark.parametrize(
    "text", ["2026-02-30", "yesterday", "9999-12-31", "0001-01-01T00:00+14:00"]
)
def test_a_date_that_is_none(text: str) -> None:
    """
    What is no date, or beyond the calendar, is refused with an example.
    """
    with pytest.raises(ReportUsageError, match="a date such as 2026-03-31"):
        read_arguments(REPORTS["spend-by-range"], ["--at", text], "default", NOON)


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("spned", "spend-by-country"),
        ("Came_Back", "came-back"),
        ("emergency", "emergency-address-gaps"),
        ("trsut", "trust"),
    ],
)
def test_the_nearest_report_is_named(name: str, near: str) -> None:
    """
    A name that is none is answered with the one most like it.
    """
    with pytest.raises(ReportUsageError, match=f"Did you mean {near}?"):
        find_report(name)
