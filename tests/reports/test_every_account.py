from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert, update

from support.build import NEW_YEAR, Row, profile
from support.report_answers import STATUS, Answers, Tables, defaults
from support.report_lives import ACCOUNTS, days, live, questions
from syncsvc.clock import now
from syncsvc.reports import REPORTS, Arguments, every_account
from syncsvc.schema.tables import account_status, accounts

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Engine

    from support.build import Clock
    from syncsvc.sandbox import Sandbox
    from syncsvc.sync.run_inputs import Job

UNSAID = {"value", "says", "charges"}  # words of trust and of the invoice
OF_ALL = {name: report for name, report in REPORTS.items() if not report.every_account}
CURRENCIES = (None, "EUR", "CHF")
NO_ROW: Row = {"settings": {}}

few = settings(profile, max_examples=max(1, profile.max_examples // 12))
own = st.fixed_dictionaries(
    {
        "enabled": st.booleans(),
        "settings": st.fixed_dictionaries(
            {}, optional={"currency": st.sampled_from(CURRENCIES[1:]), "schedule": st.just("30d")}
        ),
    }
)
rows_of_accounts = st.dictionaries(st.sampled_from(("A never", "über", *ACCOUNTS)), own)


def add(engine: Engine, found: dict[str, Row]) -> None:
    """
    Make these the accounts of a fleet.
    """
    times = {"labels": {}, "added_at": NEW_YEAR, "changed_at": NEW_YEAR}
    with engine.begin() as connection:
        for name, row in found.items():
            connection.execute(insert(accounts).values(account=name, **row, **times))


def covered(engine: Engine, found: dict[str, Row]) -> list[str]:
    """
    The accounts that have to be covered, by code point.
    """
    with engine.connect() as connection:
        ran = connection.execute(account_status.select()).mappings()
        return sorted(found or [row["account"] for row in ran])


@pytest.fixture
def begin(
    engine: Engine, job: Job, sandbox: Sandbox, clock: Clock, wipe: Callable[[], None]
) -> Callable[[list[Row], dict[str, Row]], list[str]]:
    """
    Let accounts live through days, and return the names of those that have to be covered.
    """

    def beginning(lives: list[Row], found: dict[str, Row]) -> list[str]:
        wipe()
        live(job, sandbox, clock, lives)
        add(engine, found)
        return covered(engine, found)

    return beginning


def over_all(engine: Engine, name: str, arguments: Arguments) -> list[Row]:
    """
    The columns of a report's rows over all accounts.
    """
    report = REPORTS[name]
    with engine.connect() as connection:
        found = every_account.coverage(connection, arguments.currency)
        columns = every_account.columns(report, arguments, found)
        rows = every_account.rows(report, connection, arguments, found.accounts)
        return [{column.name: row[column.name] for column in columns} for row in rows]


@settings(few, phases=[Phase.generate])  # one that fails is small as it is
@given(
    st.lists(days, min_size=1, max_size=5),
    rows_of_accounts,
    st.sampled_from(CURRENCIES),
    st.integers(0, 7),
)
def test_the_rows_of_all_accounts_are_those_of_each(
    engine: Engine,
    begin: Callable[[list[Row], dict[str, Row]], list[str]],
    lives: list[Row],
    found: dict[str, Row],
    currency: str | None,
    which: int,
) -> None:
    """
    Every report over all accounts has, account by account, the rows that plain Python works out.
    """
    firsts = [
        {"account": name, "currency": found.get(name, NO_ROW)["settings"].get("currency", currency)}
        for name in begin(lives, found)
    ]
    assert firsts

    told, tables = questions(now())[which], Tables(engine)
    for name, report in OF_ALL.items():
        taken = {key: value for key, value in told.items() if key in report.takes}
        asked = {"now": now(), "currency": currency, **defaults(report), **taken}
        expected = [
            {**row, **first}
            for first in firsts
            for row in Answers(tables, Arguments(account=first["account"], **asked)).to(name)
        ]
        answered = over_all(engine, name, Arguments(account="all", **asked))
        assert len(answered) == len(expected), name
        for right, row in zip(expected, answered, strict=True):
            known = row.keys() - UNSAID
            assert {key: row[key] for key in known} == {key: right[key] for key in known}, name


DAY = timedelta(days=1)
states = st.fixed_dictionaries(
    {
        "failures": st.sampled_from((0, 0, 2)),
        "attention": st.sampled_from((None, None, "Renew the token.")),
        "withheld": st.sampled_from((0, 0, 3)),
        "next_run_at": st.none() | st.integers(-40, 1).map(lambda n: NEW_YEAR + n * DAY),
    }
)


asked_of_accounts = st.fixed_dictionaries(
    {
        "limit": st.sampled_from((None, None, 1)),
        "currency": st.sampled_from(CURRENCIES),
        "schedule": st.sampled_from(("15m", "1s")),
    }
)


@settings(few, phases=[Phase.generate])
@given(
    st.lists(days, min_size=1, max_size=3),
    rows_of_accounts,
    st.lists(states, min_size=2, max_size=2),
    asked_of_accounts,
)
def test_a_row_for_each_account_is_as_plain_python_works_it_out(
    engine: Engine,
    begin: Callable[[list[Row], dict[str, Row]], list[str]],
    lives: list[Row],
    found: dict[str, Row],
    stands: list[Row],
    asked: Row,
) -> None:
    """
    The report `accounts` has the state, the counts and the cost of each account, in order.
    """
    covered = begin(lives, found)
    with engine.begin() as connection:
        for account, stand in zip(ACCOUNTS, stands, strict=True):
            mine = account_status.c.account == account
            connection.execute(update(account_status).where(mine).values(**stand, host="h"))
    arguments = Arguments(account="default", now=NEW_YEAR, **asked)

    names = ["account", "state", "monthly_charge", "currency", *STATUS]
    with engine.connect() as connection:
        answered = list(REPORTS["accounts"].rows(connection, arguments))

    expected = Answers(Tables(engine), arguments).to("accounts")
    assert [row["account"] for row in answered] == covered[: asked["limit"]]
    assert [{name: row[name] for name in names} for row in answered] == [
        {name: row[name] for name in names} for row in expected
    ]
    assert {column.name for column in REPORTS["accounts"].columns} == set(names)


def test_no_report_has_a_column_of_that_name_already() -> None:
    """
    The account and the currency that come first hide no column of a report.
    """
    hidden = {every_account.ACCOUNT.name, every_account.CURRENCY.name}

    assert [
        name
        for name, report in OF_ALL.items()
        if hidden & {column.name for column in report.columns}
    ] == []


def test_memory_does_not_grow_with_the_accounts(known_inventory: Engine) -> None:
    """
    An account's rows are read when they are asked for, and not before those of the one before it.
    """
    read: list[str] = []
    report = REPORTS["inventory"]

    def query(arguments: Arguments) -> Any:
        read.append(arguments.account)
        return report.query(arguments)

    watched = msgspec.structs.replace(report, query=query)
    arguments = Arguments(account="all", now=NEW_YEAR, **defaults(report))
    with known_inventory.connect() as connection:
        found = every_account.coverage(connection, None)
        rows = every_account.rows(watched, connection, arguments, found.accounts)
        first = next(rows)
        before = list(read)
        rest = list(rows)

    assert (first["account"], before) == ("branch", ["branch"])
    assert {row["account"] for row in rest} == {"default"}
    assert read == ["branch", "default"]
