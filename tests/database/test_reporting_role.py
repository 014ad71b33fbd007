"""
The role that may read: it reads what it should, and neither writes nor reads anything else.
"""

from __future__ import annotations

import json
import re
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import URL, Engine, select, text
from sqlalchemy.exc import DBAPIError

from support.build import address, number_row
from support.report_answers import NEEDED
from syncsvc.database.engine import open_engine
from syncsvc.database.maintenance import migrate
from syncsvc.reports import PARAMETERS, REPORTS
from syncsvc.reports.definition.report import REQUIRED
from syncsvc.schema import tables, views
from syncsvc.schema.tables import metadata

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.build import Result, Watch


URL_OF = "SELECT url FROM notify_endpoints"
SEALED = "SELECT credentials FROM accounts"
READABLE = [*metadata.tables, *views.view_metadata.tables]
WITHOUT = [
    "SELECT address_line1 FROM addresses",
    "SELECT name, address_line2, address_postal_code FROM addresses",
    "SELECT * FROM addresses",
    "SELECT address_line1 FROM address_history",
    "SELECT changes FROM address_history",
    "SELECT extra FROM addresses",
    "SELECT extra FROM numbers",
    "SELECT changes FROM number_history",
    "SELECT changes FROM number_changes",
    "SELECT payload FROM sync_rejects",
    "SELECT reason FROM sync_rejects",
    "SELECT number_address_line1 FROM live_numbers",
    "SELECT emergency_number_address_postal_code FROM live_numbers",
    "SELECT l FROM live_numbers l",
    "SELECT number_address_name FROM numbers_without_emergency_address",
    "SELECT emergency_number_address_line2 FROM numbers_without_proof_of_address",
    "TABLE numbers_without_proof_of_address",
]
STILL = [
    "SELECT count(*) FROM live_numbers WHERE number_address_city = 'London'",
    "SELECT number_address_country_iso, emergency_number_address_region FROM live_numbers",
    "SELECT id, address_city, use_for_emergency_address FROM addresses",
    "SELECT uuid, event, monthly_charge FROM number_changes",
    "SELECT count(*) FROM sync_rejects",
    "SELECT * FROM inventory_as_of(now())",
    "SELECT * FROM inventory_by_month",
    "SELECT * FROM sync_status",
]
WRITES = [
    "INSERT INTO addresses (account, id, first_seen_at, changed_at) VALUES ('x', 9, now(), now())",
    "UPDATE numbers SET status = 'mine'",
    "UPDATE live_numbers SET status = 'mine'",
    "DELETE FROM number_history",
    "DELETE FROM sync_runs",
    "TRUNCATE sync_rejects",
    "CREATE TABLE mine (id int)",
    "CREATE VIEW mine AS SELECT 1",
    "CREATE SCHEMA mine",
    "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "DROP TABLE sync_rejects",
    "ALTER TABLE numbers ADD mine int",
    "CREATE INDEX mine ON numbers (status)",
    "LOCK TABLE numbers",
    "SELECT 1 FROM numbers FOR UPDATE",
    "SELECT nextval('sync_runs_id_seq')",
    "SET ROLE postgres",
]
REFUSALS = ("permission denied", "must be owner", "cannot update view")
DASHBOARD = Path(__file__).parents[2] / "deploy" / "grafana" / "syncsvc-inventory.json"
names = count(1)


@pytest.fixture
def kind() -> str:
    """
    The only kind of database that knows roles.
    """
    return "postgresql"


@pytest.fixture
def database(empty_url: URL) -> URL:
    """
    A migrated database of its own, since roles and grants are not emptied with the tables.
    """
    migrate.upgrade(open_engine(empty_url))
    return empty_url


@pytest.fixture
def owner(database: URL) -> Engine:
    """
    The user that owns the tables.
    """
    return open_engine(database)


@contextmanager
def role_named(owner: Engine, name: str) -> Iterator[str]:
    """
    A role that may log in and was given nothing.
    """
    quoted = '"' + name.replace('"', '""') + '"'
    run(owner, f"CREATE ROLE {quoted} LOGIN")
    yield name
    run(owner, f"DROP OWNED BY {quoted}")
    run(owner, f"DROP ROLE {quoted}")


@pytest.fixture
def role(owner: Engine) -> Iterator[str]:
    """
    A role with a name that has to be quoted.
    """
    with role_named(owner, f'reader-{next(names)} "R&D" 100% :x') as name:
        yield name


def run(engine: Engine, statement: str) -> list[tuple[object, ...]]:
    """
    Carry a statement out as it is, and give the rows that it has.
    """
    with engine.begin() as connection:
        driver = connection.connection.driver_connection
        assert driver is not None
        found = driver.execute(statement)
        return list(found.fetchall()) if found.description else []


def refused(engine: Engine, statements: list[str]) -> list[str]:
    """
    Those of the statements that the database refuses for want of a right.
    """
    left = []
    for statement in statements:
        try:
            with engine.begin() as connection:
                connection.exec_driver_sql(statement)
        except DBAPIError as exc:
            if any(word in str(exc) for word in REFUSALS):
                left.append(statement)
    return left


def as_role(database: URL, role: str) -> Engine:
    """
    The database as the role sees it.
    """
    return open_engine(database.set(username=role))


@pytest.fixture
def grant(cli: Callable[..., Result], database: URL, role: str) -> Callable[..., Result]:
    """
    Call `syncsvc migrate --reporting-role`.
    """
    url = database.render_as_string(hide_password=False)

    def call(*flags: str) -> Result:
        return cli("migrate", "--database-url", url, "--reporting-role", role, *flags)

    return call


def test_a_role_without_grants_reads_nothing(database: URL, role: str) -> None:
    """
    What a role may read comes from the grants alone.
    """
    statements = [f"TABLE {name}" for name in READABLE]

    assert statements == refused(as_role(database, role), statements)


def test_the_role_reads_every_table_and_view(
    grant: Callable[..., Result], database: URL, role: str
) -> None:
    """
    With addresses, all columns but sealed secrets can be read, and the function called.
    """
    result = grant()

    reader = as_role(database, role)
    assert (result.code, result.err) == (0, "")
    assert refused(reader, [f"TABLE {name}" for name in READABLE]) == [
        "TABLE accounts",
        "TABLE notify_endpoints",
    ]
    assert refused(reader, ["SELECT account, settings, labels FROM accounts", SEALED, URL_OF]) == [
        SEALED,
        URL_OF,
    ]
    assert refused(reader, ["SELECT * FROM inventory_as_of(now())", *WITHOUT]) == []
    with reader.connect() as connection:
        migrate.require_current(connection)


@pytest.mark.parametrize("flags", [[], ["--without-addresses"]], ids=["with", "without"])
def test_the_role_can_change_nothing(
    grant: Callable[..., Result], database: URL, role: str, flags: list[str]
) -> None:
    """
    No statement that writes, creates, drops, locks or grants is let through.
    """
    grant(*flags)

    assert refused(as_role(database, role), WRITES) == WRITES


def test_addresses_can_be_kept_from_the_role(
    grant: Callable[..., Result], database: URL, role: str
) -> None:
    """
    Street lines, names, postal codes and whatever else may hold them can't be read; all else can.
    """
    result = grant("--without-addresses")

    reader = as_role(database, role)
    assert "except street addresses" in result.out
    assert refused(reader, WITHOUT) == WITHOUT
    assert refused(reader, STILL) == []


def test_each_personal_column_is_kept_and_no_other(
    grant: Callable[..., Result], database: URL, role: str
) -> None:
    """
    Column by column, a role without addresses reads what is neither personal nor sealed.
    """
    grant("--without-addresses")
    columns = [
        column
        for each in (tables.metadata, views.view_metadata)
        for table in each.tables.values()
        for column in table.c
    ]

    kept = refused(as_role(database, role), [str(select(column)) for column in columns])

    hidden = [column for column in columns if {"personal", "sealed"} & column.info.keys()]
    assert kept == [str(select(column)) for column in hidden]


def test_no_street_is_read_from_rows_that_hold_it(watch: Watch, cli: Callable[..., Result]) -> None:
    """
    Whatever a role without addresses may select, a street that a run has stored is not in it.
    """
    url = watch.engine.url
    street = "1 Secret Mews"
    watch.see(
        number_row(1, number_address=address(1, addressLine1=street), site={"street": street}),
        number_row(2, number_address=address(2), number_e164=None, site={"street": street}),
    )
    watch.see(number_row(1, number_address=address(1, addressLine1=f"{street}, left")))
    with role_named(watch.engine, f"outsider{next(names)}") as name:
        shown = url.render_as_string(hide_password=False)
        cli("migrate", "--database-url", shown, "--reporting-role", name, "--without-addresses")
        reader = as_role(url, name)
        allowed = run(
            reader,
            "SELECT table_name, string_agg(quote_ident(column_name), ', ') "
            "FROM information_schema.columns WHERE table_schema = 'public' GROUP BY table_name",
        )
        found = {
            table: str(run(reader, f"SELECT {some} FROM {table}"))  # noqa: S608 - no input
            for table, some in allowed
        }

    assert set(READABLE) <= set(found)
    assert [table for table, rows in found.items() if "Secret" in rows] == []
    assert "London" in found["live_numbers"]


def test_a_second_call_takes_back_what_the_first_gave(
    grant: Callable[..., Result], owner: Engine, database: URL, role: str
) -> None:
    """
    Without addresses after with, the addresses are gone, of later tables too; and the other way.
    """
    reader = as_role(database, role)
    later = ["SELECT * FROM later"]

    grant()
    grant("--without-addresses")
    grant("--without-addresses")
    run(owner, "CREATE TABLE later (id int)")
    assert refused(reader, WITHOUT) == WITHOUT
    assert later == refused(reader, later)

    grant()
    grant()
    run(owner, "DROP TABLE later")
    run(owner, "CREATE TABLE later (id int)")
    assert refused(reader, [*WITHOUT, *later]) == []


def test_a_role_that_could_write_anyway_is_refused(
    grant: Callable[..., Result], owner: Engine, database: URL, role: str
) -> None:
    """
    If PUBLIC or another role lets it do more than read, nothing is granted, and it is said what.
    """
    run(owner, "GRANT UPDATE (status) ON numbers TO PUBLIC")
    run(owner, "GRANT SELECT (address_line1) ON addresses TO PUBLIC")
    run(owner, "GRANT CREATE ON SCHEMA public TO PUBLIC")

    result = grant("--without-addresses")

    assert result.code == 2
    for word in (
        "it can create tables",
        "it can write to numbers",
        "it can read addresses.address_line1",
    ):
        assert word in result.err
    assert refused(as_role(database, role), ["SELECT * FROM sync_runs"]) != []


def test_the_owner_is_no_reporting_role(
    cli: Callable[..., Result], owner: Engine, database: URL, role: str
) -> None:
    """
    Neither a superuser nor the tables' owner is taken for a role that only reads.
    """
    url = database.render_as_string(hide_password=False)
    quoted = '"' + role.replace('"', '""') + '"'
    run(owner, f"ALTER TABLE sync_rejects OWNER TO {quoted}")

    of_superuser = cli("migrate", "--database-url", url, "--reporting-role", "postgres")
    of_owner = cli("migrate", "--database-url", url, "--reporting-role", role)

    assert (of_superuser.code, of_owner.code) == (2, 2)
    assert "superuser" in of_superuser.err
    assert "the owner of sync_rejects" in of_owner.err


def test_a_role_that_is_not_there_is_named(cli: Callable[..., Result], empty_url: URL) -> None:
    """
    The error says how the role is made, and nothing is migrated.
    """
    url = empty_url.render_as_string(hide_password=False)

    result = cli("migrate", "--database-url", url, "--reporting-role", 'no"body')

    assert result.code == 2
    assert 'CREATE ROLE "no""body" LOGIN;' in result.err
    with open_engine(empty_url).connect() as connection:
        assert migrate.is_empty(connection)


def test_the_function_finds_its_view_on_any_path(
    grant: Callable[..., Result], database: URL, role: str
) -> None:
    """
    The inventory as of a moment can be asked for wherever the caller's search path leads.
    """
    grant()
    with as_role(database, role).begin() as connection:
        connection.execute(text("SET LOCAL search_path = pg_temp"))

        rows = connection.execute(text("SELECT * FROM public.inventory_as_of(now())")).all()

    assert rows == []


def test_sqlite_has_no_roles(cli: Callable[..., Result], tmp_path: Path) -> None:
    """
    A role asked for on SQLite is a usage error, and makes no file.
    """
    file = tmp_path / "none.db"

    result = cli("migrate", "--database-url", f"sqlite:///{file}", "--reporting-role", "reader")

    assert result.code == 2
    assert "SQLite has no roles" in result.err
    assert not file.exists()


@pytest.mark.parametrize(
    "flags",
    [
        ["--without-addresses"],
        ["--reporting-role", "reader", "--check"],
        ["--reporting-role", "reader", "--sql"],
    ],
    ids=" ".join,
)
def test_flags_that_do_not_go_together_are_refused(
    cli: Callable[..., Result], flags: list[str]
) -> None:
    """
    A flag that would be ignored is a usage error.
    """
    result = cli("migrate", *flags)

    assert result.code == 2
    assert flags[-1] in result.err


@pytest.fixture
def outsider(known_inventory: Engine, cli: Callable[..., Result]) -> Iterator[Engine]:
    """
    The known inventory as a role without addresses sees it.
    """
    url = known_inventory.url
    with role_named(known_inventory, f"outsider{next(names)}") as name:
        shown = url.render_as_string(hide_password=False)
        cli("migrate", "--database-url", shown, "--reporting-role", name, "--without-addresses")
        reader = as_role(url, name)
        yield reader
        reader.dispose()


@pytest.mark.parametrize("name", REPORTS)
def test_every_report_answers_a_role_without_addresses(
    outsider: Engine, known_inventory: Engine, cli: Callable[..., Result], name: str
) -> None:
    """
    It has the rows and columns of the owner's answer, but for personal ones, which a note names.
    """
    report = REPORTS[name]
    needed = [
        f"{PARAMETERS[each].flag}={NEEDED[each]}"
        for each, value in report.takes.items()
        if value is REQUIRED
    ]
    words = ["report", name, "--format", "json", *needed]
    personal = [column.name for column in report.columns if column.personal]

    owners, outsiders = (
        cli(*words, "--database-url", engine.url.render_as_string(hide_password=False))
        for engine in (known_inventory, outsider)
    )

    assert outsiders.code == 0
    assert json.loads(outsiders.out) == [
        {key: value for key, value in row.items() if key not in personal}
        for row in json.loads(owners.out)
    ]
    note = f"Left out, as this database user may not read addresses: {', '.join(personal)}."
    assert (note in outsiders.err) == bool(personal)
    assert "Left out" not in owners.err


@pytest.mark.usefixtures("known_inventory")
def test_the_page_answers_a_role_without_addresses(
    outsider: Engine, cli: Callable[..., Result], tmp_path: Path
) -> None:
    """
    The page is made without what may not be read, and says so.
    """
    url = outsider.url.render_as_string(hide_password=False)

    result = cli("report", "--html", str(tmp_path / "page.html"), "--database-url", url)

    page = (tmp_path / "page.html").read_text()
    assert (result.code, result.err) == (0, "")
    assert "may not read addresses" in page
    assert "London office" not in page
    assert "address name" not in page


def test_the_dashboard_answers_a_role_without_addresses(outsider: Engine) -> None:
    """
    No panel of the inventory's dashboard needs a column that may have an address.
    """
    board = json.loads(DASHBOARD.read_text())
    queries = [
        re.sub(r"\$__timeFilter\(\w+\)", "true", target["rawSql"])
        .replace("$__timeGroupAlias(occurred_at, '1d')", "date_trunc('day', occurred_at)")
        .replace("$account", "'default'")
        for panel in board["panels"]
        for target in panel["targets"]
    ]

    assert len(queries) > 5
    assert refused(outsider, queries) == []
