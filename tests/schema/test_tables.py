"""
The tables: documented, named by one convention, and guarded by the database itself.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import Column, Engine, Integer, MetaData, Table, func, inspect, select
from sqlalchemy.exc import IntegrityError, StatementError

from syncsvc.schema import tables
from syncsvc.schema.columns import Money, UtcDateTime, metadata

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

UUID = "7c327e0f-6bce-4b2f-9d5d-9c86e7fa065f"
START = datetime(2024, 7, 15, 12, tzinfo=UTC)
LATER = START + timedelta(minutes=15)
PERSONAL = {
    *(("addresses", name) for name in ("name", "address_line1", "address_line2")),
    *(("addresses", name) for name in ("address_postal_code", "extra")),
    *(("address_history", name) for name in ("name", "address_line1", "address_line2")),
    *(("address_history", name) for name in ("address_postal_code", "extra", "changes")),
    *(("numbers", "extra"), ("number_history", "changes")),
    *(("sync_rejects", "reason"), ("sync_rejects", "payload")),
}
COLUMNS = [column for table in metadata.sorted_tables for column in table.columns]
STATE = (
    "lifecycle status monthly_charge setup_charge provisioned_at cancelled_at number_address_id "
    "emergency_number_address_id"
)
ADDRESS = (
    "name use_for_proof_of_address use_for_emergency_address address_line1 address_line2 "
    "address_city address_region address_postal_code country_name country_iso extra"
)
PUBLIC = {
    "numbers": "account uuid number_e164 number range_code range_name country_code country_name "
    f"country_iso country_alpha2 {STATE} details_status details_provisioned_at extra first_seen_at "
    "changed_at first_run_id changed_run_id",
    "addresses": f"account id {ADDRESS} first_seen_at changed_at",
    "number_history": "id account uuid run_id event occurred_at occurred_at_source evidence "
    f"valid_from valid_to {STATE} changes",
    "address_history": f"id account address_id run_id event valid_from valid_to {ADDRESS} changes",
    "sync_runs": "id account trigger state started_at finished_at walks pages num_results listed "
    "added provisioned cancelled reinstated changed unchanged address_changes rejected withheld "
    "error service_version detail recorded_at",
    "sync_rejects": "id run_id account page position uuid reason payload",
    "withheld_cancellations": "account uuid number_e164 run_id evidence reason",
    "account_status": "account host next_run_at lane failures attention last_run_id last_state "
    "last_started_at last_finished_at last_success_at last_error last_seconds live_numbers "
    "cancelled_numbers withheld rejected",
    "accounts": "account enabled settings credentials labels added_at changed_at",
    "notify_endpoints": "name url events accounts bulk allow_http allow_private signing_keys "
    "enabled disabled_reason added_at changed_at",
    "notify_cursors": "endpoint account run_id history_id run_events wanted_run_id pending_since "
    "attempts next_attempt_at last_error delivered_at",
}
CHECKS = {
    "accounts": {
        *("ck_accounts_account_length", "ck_accounts_settings_object", "ck_accounts_labels_object"),
    },
    "notify_endpoints": {
        "ck_notify_endpoints_name_length",
        "ck_notify_endpoints_events_array",
        "ck_notify_endpoints_accounts_array",
    },
}
WORDS = {
    ("sync_runs", "trigger"): {"manual", "startup", "schedule"},
    ("sync_runs", "state"): {"running", "succeeded", "withheld", "failed", "crashed"},
    ("numbers", "lifecycle"): {"live", "cancelled"},
    ("number_history", "lifecycle"): {"live", "cancelled"},
    ("number_history", "event"): {"added", "provisioned", "cancelled", "reinstated", "changed"},
    ("number_history", "occurred_at_source"): {"provider", "observed"},
    ("number_history", "evidence"): {"listing", "cancelled_listing", "absence"},
    ("address_history", "event"): {"added", "changed"},
    ("withheld_cancellations", "evidence"): {"listing", "cancelled_listing", "absence"},
    ("withheld_cancellations", "reason"): {
        *("guard", "search_failed", "search_limit", "contradicted"),
    },
    ("account_status", "lane"): {"fast", "slow"},
    ("account_status", "last_state"): {"running", "succeeded", "withheld", "failed", "crashed"},
}
OPTIONAL = {("account_status", "last_state")}
VALID: dict[str, dict[str, Any]] = {
    "sync_runs": {
        "account": "default",
        "trigger": "manual",
        "state": "running",
        "started_at": START,
        "service_version": "1",
    },
    "addresses": {"account": "default", "id": 1, "first_seen_at": START, "changed_at": START},
    "numbers": {
        "account": "default",
        "uuid": UUID,
        "number_e164": "+441245123456",
        "lifecycle": "live",
        "first_seen_at": START,
        "changed_at": START,
        "first_run_id": 1,
        "changed_run_id": 1,
    },
    "number_history": {
        "account": "default",
        "uuid": UUID,
        "run_id": 1,
        "event": "added",
        "occurred_at": START,
        "occurred_at_source": "observed",
        "evidence": "listing",
        "valid_from": START,
        "lifecycle": "live",
    },
    "address_history": {
        "account": "default",
        "address_id": 1,
        "run_id": 1,
        "event": "added",
        "valid_from": START,
    },
    "sync_rejects": {
        "run_id": 1,
        "account": "default",
        "page": 1,
        "position": 1,
        "reason": "It is none.",
        "payload": "7",
    },
    "withheld_cancellations": {
        "account": "default",
        "uuid": UUID,
        "number_e164": "+441245123456",
        "run_id": 1,
        "evidence": "absence",
        "reason": "guard",
    },
    "account_status": {"account": "default"},
    "accounts": {
        "account": "default",
        "enabled": True,
        "settings": {},
        "labels": {},
        "added_at": START,
        "changed_at": START,
    },
}


@pytest.fixture
def connection(engine: Engine) -> Iterator[Connection]:
    """
    A connection to a database with a run, an address and a number, all given up at the end.
    """
    with engine.connect() as connection:
        for table in ("addresses", "numbers"):
            add(connection, table)
        yield connection
        connection.rollback()


def add(connection: Connection, table: str, **changed: object) -> None:
    """
    A row of a table, valid but for what is changed.
    """
    connection.execute(metadata.tables[table].insert().values({**VALID[table], **changed}))


def refused(connection: Connection, table: str, **changed: object) -> str:
    """
    What the database says to a row that it does not take.
    """
    with pytest.raises(IntegrityError) as caught, connection.begin_nested():
        add(connection, table, **changed)
    return str(caught.value.orig)


@pytest.mark.parametrize("table", PUBLIC)
def test_the_columns_are_those_that_reports_stand_on(table: str) -> None:
    """
    Each table has exactly the columns that are promised.
    """
    assert sorted(PUBLIC[table].split()) == sorted(metadata.tables[table].columns.keys())


def test_there_are_no_other_tables() -> None:
    """
    Nothing lies in the database that is not promised.
    """
    assert set(PUBLIC) == set(metadata.tables)


@pytest.mark.parametrize("table", metadata.sorted_tables, ids=str)
def test_every_table_has_a_comment(table: Table) -> None:
    """
    Each table says in a sentence what its rows are.
    """
    assert (table.comment or "").endswith(".")


@pytest.mark.parametrize("column", COLUMNS, ids=str)
def test_every_column_has_a_comment(column: Column[Any]) -> None:
    """
    Each column says in a sentence what it holds.
    """
    assert (column.comment or "").endswith(".")


@pytest.mark.parametrize("kind", ["postgresql"])
def test_comments_are_stored_with_the_tables(engine: Engine) -> None:
    """
    On PostgreSQL, the comments are there for whoever looks at the database.
    """
    inspector = inspect(engine)

    for table in metadata.sorted_tables:
        stored = {
            column["name"]: column.get("comment") for column in inspector.get_columns(table.name)
        }
        assert {"text": table.comment} == inspector.get_table_comment(table.name)
        assert {column.name: column.comment for column in table.columns} == stored


def test_personal_columns_are_marked() -> None:
    """
    What may hold a street address is known by name, and nothing else is taken for it.
    """
    marked = {(column.table.name, column.name) for column in COLUMNS if column.info.get("personal")}

    assert marked == PERSONAL


def expected_names(table: Table, kind: str) -> set[str]:
    """
    What the convention calls a table's keys and plain indexes.
    """
    names = {f"pk_{table.name}"}
    names |= {
        f"fk_{table.name}_{'_'.join(key.column_keys)}"
        for key in table.foreign_key_constraints
        if key.info.get("only", kind) == kind
    }
    return names | {
        f"ix_{table.name}_{'_'.join(index.columns.keys())}"
        for index in table.indexes
        if not str(index.name).startswith("uq_") and index.info.get("only", kind) == kind
    }


def test_every_constraint_and_index_is_named_by_the_convention(connection: Connection) -> None:
    """
    In the database itself, each key, check and index has a name that tells kind and table.
    """
    inspector = inspect(connection)

    for table in metadata.sorted_tables:
        checks = {check["name"] for check in inspector.get_check_constraints(table.name)}
        indexes = {index["name"] for index in inspector.get_indexes(table.name)}
        keys = {key["name"] for key in inspector.get_foreign_keys(table.name)}
        keys.add(inspector.get_pk_constraint(table.name)["name"])
        enumerations = {f"ck_{name}_{column}_known" for name, column in WORDS if name == table.name}
        history = table.name.endswith("_history")
        order = {f"ck_{table.name}_valid_in_order"} if history else set()
        opened = {f"uq_{table.name}_open"} if history else set()
        assert enumerations | order | CHECKS.get(table.name, set()) == checks
        assert expected_names(table, connection.dialect.name) | opened == indexes | keys
        assert max(map(len, map(str, checks | indexes | keys))) <= 63


@pytest.mark.parametrize(("table", "column"), WORDS, ids="-".join)
def test_the_database_refuses_unknown_words(
    connection: Connection, table: str, column: str
) -> None:
    """
    An enumeration takes its words and nothing else, no NULL either unless there may be none yet.
    """
    words = WORDS[table, column]
    key = {"uuid": UUID.replace("7", "0")} if table == "numbers" else {}
    if table == "withheld_cancellations":
        add(connection, "sync_runs", id=1)

    for word in words:
        with connection.begin_nested() as savepoint:
            add(connection, table, **{**key, column: word})
            savepoint.rollback()
    for word in ("", "unknown", min(words).upper(), f"{min(words)} "):
        said = refused(connection, table, **{**key, column: word})
        assert f"ck_{table}_{column}_known" in said
    if (table, column) not in OPTIONAL:
        refused(connection, table, **{**key, column: None})


HISTORIES = {"number_history": "uuid", "address_history": "address_id"}


@pytest.mark.parametrize("table", HISTORIES)
def test_one_history_row_is_open(connection: Connection, table: str) -> None:
    """
    A number or address has one open row; any number of closed ones may stand beside it.
    """
    add(connection, table, valid_to=LATER)
    add(connection, table, valid_to=LATER)
    add(connection, table, valid_from=LATER)

    said = refused(connection, table, valid_from=LATER + timedelta(minutes=15))

    assert "unique" in said.lower()
    count = select(func.count()).select_from(metadata.tables[table])
    assert connection.execute(count).scalar_one() == 3


@pytest.mark.parametrize("table", HISTORIES)
def test_a_history_row_ends_no_earlier_than_it_begins(connection: Connection, table: str) -> None:
    """
    A row may be closed at once, but not before.
    """
    add(connection, table, valid_to=START)

    said = refused(connection, table, valid_to=START - timedelta(microseconds=1))

    assert f"ck_{table}_valid_in_order" in said


@pytest.mark.parametrize(
    ("table", "changed"),
    [
        ("number_history", {"uuid": UUID.replace("7", "0")}),
        ("number_history", {"account": "other"}),
        ("address_history", {"address_id": 2}),
        ("numbers", {"account": "other", "number_address_id": 1}),
        ("numbers", {"account": "other", "emergency_number_address_id": 1}),
        ("sync_rejects", {"run_id": 7}),
        ("withheld_cancellations", {"run_id": 7}),
    ],
)
def test_rows_belong_to_rows_of_their_account(
    engine: Engine, connection: Connection, table: str, changed: dict[str, object]
) -> None:
    """
    History needs its number, a number its addresses, a reject its run, all of the same account.
    """
    said = refused(connection, table, **changed)

    assert "foreign key" in said.lower(), engine.dialect.name


def test_two_runs_of_an_account_do_not_start_at_once(connection: Connection) -> None:
    """
    A moment belongs to one run of an account; other accounts are free to take it.
    """
    add(connection, "sync_runs")
    add(connection, "sync_runs", account="other")

    assert "unique" in refused(connection, "sync_runs").lower()


def test_rejects_go_with_their_run(connection: Connection) -> None:
    """
    If a run is deleted, so are its rejects and withheld cancellations; history stays.
    """
    add(connection, "sync_runs", id=5)
    add(connection, "sync_rejects", run_id=5)
    add(connection, "withheld_cancellations", run_id=5)
    add(connection, "number_history", run_id=5)

    connection.execute(tables.sync_runs.delete())

    assert connection.execute(select(tables.sync_rejects)).all() == []
    assert connection.execute(select(tables.withheld_cancellations)).all() == []
    assert [*connection.execute(select(tables.number_history.c.run_id)).scalars()] == [5]


def test_ids_number_themselves(connection: Connection) -> None:
    """
    Rows of a history are numbered in the order in which they were written.
    """
    add(connection, "number_history", valid_to=START)
    add(connection, "number_history")

    query = select(tables.number_history.c.id).order_by(tables.number_history.c.valid_to)
    assert {1, 2} == {*connection.execute(query).scalars()}


def test_unknown_fields_are_json_or_null(connection: Connection) -> None:
    """
    JSON comes back as it was, also with emoji; none is a NULL of SQL, not of JSON.
    """
    extra = {"new": ["\N{GRINNING FACE}", None, 1.5, {"a": True}]}
    add(connection, "numbers", uuid="a", extra=extra)
    table = tables.numbers

    kept = connection.execute(select(table.c.extra).where(table.c.uuid == "a")).scalar_one()
    none = connection.execute(select(table.c.uuid).where(table.c.extra.is_(None))).scalars()

    assert extra == kept
    assert [*none] == [UUID]


moments = Table("moments", MetaData(), Column("id", Integer), Column("moment", UtcDateTime))
amounts = Table("amounts", MetaData(), Column("id", Integer), Column("amount", Money))


@pytest.fixture
def scratch(engine: Engine) -> Engine:
    """
    A database with a table of moments and one of amounts.
    """
    moments.create(engine)
    amounts.create(engine)
    return engine


def through(engine: Engine, column: Column[Any], given: list[Any]) -> list[Any]:
    """
    What comes back of values that were written.
    """
    with engine.connect() as connection:
        rows = [{"id": place, column.name: value} for place, value in enumerate(given)]
        connection.execute(column.table.insert(), rows)
        found = connection.execute(select(column).order_by(column.table.c.id)).scalars().all()
        connection.rollback()
    return list(found)


def test_a_naive_time_is_refused(scratch: Engine) -> None:
    """
    A time without a zone never reaches the database.
    """
    with pytest.raises(StatementError, match="without a zone"):
        through(scratch, moments.c.moment, [START.replace(tzinfo=None)])


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(
        st.none()
        | st.datetimes(
            datetime(1, 1, 2),  # noqa: DTZ001 - hypothesis wants it naive
            datetime(9999, 12, 30),  # noqa: DTZ001 - hypothesis wants it naive
            timezones=st.integers(-840, 840).map(lambda n: timezone(timedelta(minutes=n))),
        ),
        min_size=1,
    )
)
def test_a_time_comes_back_as_the_same_moment_in_utc(
    scratch: Engine, given_moments: list[datetime | None]
) -> None:
    """
    Any moment, in any zone, is kept to the microsecond and comes back in UTC.
    """
    found = through(scratch, moments.c.moment, given_moments)

    assert given_moments == found
    assert {UTC} >= {moment.tzinfo for moment in found if moment}


def test_times_are_in_order_whatever_their_zone(scratch: Engine) -> None:
    """
    The database compares moments, not the figures of their local times.
    """
    east = START.astimezone(timezone(timedelta(hours=9)))
    with scratch.connect() as connection:
        connection.execute(
            moments.insert(), [{"id": 1, "moment": east}, {"id": 2, "moment": LATER}]
        )
        newest = connection.execute(select(func.max(moments.c.moment))).scalar_one()
        before = connection.execute(select(moments.c.id).where(moments.c.moment < LATER)).scalars()

        assert (newest, [*before]) == (LATER, [1])


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@example([None, *(Decimal(n).scaleb(-4) for n in (0, 1, -1, 10**12 - 1, 1 - 10**12))])
@given(
    st.lists(
        st.none() | st.integers(1 - 10**12, 10**12 - 1).map(lambda n: Decimal(n).scaleb(-4)),
        min_size=1,
    )
)
def test_money_is_exact(scratch: Engine, given_amounts: list[Decimal | None]) -> None:
    """
    Any amount of numeric(12,4) comes back to the last digit, with 4 places.
    """
    found = through(scratch, amounts.c.amount, given_amounts)

    assert [amount if amount is None else f"{amount:.4f}" for amount in given_amounts] == [
        amount if amount is None else str(amount) for amount in found
    ]


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.integers(1 - 10**12, 10**12 - 1).map(lambda n: Decimal(n).scaleb(-4)))
def test_money_is_found_by_its_amount(scratch: Engine, amount: Decimal) -> None:
    """
    An amount equals itself in the database too.
    """
    with scratch.connect() as connection:
        connection.execute(amounts.insert().values(id=1, amount=amount))
        found = connection.execute(select(amounts.c.id).where(amounts.c.amount == amount))

        assert [*found.scalars()] == [1]


@pytest.mark.parametrize(
    ("changed", "check"),
    [
        ({"account": ""}, "account_length"),
        ({"account": "x" * 101}, "account_length"),
        ({"settings": []}, "settings_object"),
        ({"settings": "page_size"}, "settings_object"),
        ({"labels": 7}, "labels_object"),
    ],
)
def test_the_row_of_an_account_has_a_name_and_objects(
    connection: Connection, changed: dict[str, object], check: str
) -> None:
    """
    Settings and labels of an account are JSON objects, and its name has 1 to 100 characters.
    """
    add(connection, "accounts", account="x" * 100)

    assert f"ck_accounts_{check}" in refused(connection, "accounts", **changed)
