"""
A neighbour: another account in the same tables, with the same uuids and address ids.

Its contents differ from whatever a test lists, and all of its texts contain its name. Some of its
runs began with a test's first one, its last one is still running and began long after any test's.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert

from support import standing
from support.build import NEIGHBOUR, NEW_YEAR, uuid_at
from syncsvc.schema.internal_tables import listing_fingerprints, listing_pages
from syncsvc.schema.tables import (
    TRACKED_COLUMNS,
    account_status,
    accounts,
    address_history,
    addresses,
    notify_cursors,
    notify_endpoints,
    number_history,
    numbers,
    sync_rejects,
    sync_runs,
    withheld_cancellations,
)

if TYPE_CHECKING:
    from sqlalchemy import Engine, Table
    from sqlalchemy.engine.interfaces import DBAPICursor

Row = dict[str, Any]
Contents = dict[str, list[tuple[Any, ...]]]

# More live numbers than any test has of its own, and those of other tests' second accounts.
PLACES = [*range(1, 131), *range(1000, 1006)]
ADDRESS_IDS = range(1, 11)
BEGAN = datetime(2025, 3, 1, 6, tzinfo=UTC)  # as in the tests of reports
CANCELLED_AT = datetime(2085, 6, 1, tzinfo=UTC)
LAST = datetime(2090, 1, 1, tzinfo=UTC)
RUNS = [
    (BEGAN, "succeeded"),
    (NEW_YEAR, "withheld"),
    (NEW_YEAR + timedelta(hours=1), "failed"),
    (LAST, "running"),
]
# The ids that a test's own rows get begin with 1. On SQLite they follow the highest there is, so
# the neighbour's are lower than all of them there, and higher on PostgreSQL.
FIRST_ID = {"sqlite": -999, "postgresql": 1_000_000}
TABLES = (
    sync_runs,
    addresses,
    address_history,
    numbers,
    number_history,
    sync_rejects,
    withheld_cancellations,
    listing_fingerprints,
    listing_pages,
    account_status,
    accounts,
    notify_cursors,
)


def move_in(engine: Engine) -> None:
    """
    Insert the neighbour's rows.
    """
    with engine.begin() as connection:
        for table, rows in _rows(FIRST_ID[engine.dialect.name]).items():
            connection.execute(insert(table), rows)
        standing.fill(connection)


def everything(engine: Engine) -> Contents:
    """
    All rows of each table, with the account first, as the driver reads them.
    """
    with engine.connect() as connection:
        cursor = connection.connection.cursor()
        return {table.name: _read(cursor, table) for table in TABLES}


def belongings(contents: Contents) -> Contents:
    """
    The neighbour's rows.
    """
    return {name: [row for row in rows if row[0] == NEIGHBOUR] for name, rows in contents.items()}


def sightings(contents: Contents) -> list[tuple[Any, ...]]:
    """
    The rows of other accounts in which the neighbour's name occurs.
    """
    return [
        row
        for rows in contents.values()
        for row in rows
        if row[0] != NEIGHBOUR and NEIGHBOUR in str(row)
    ]


def _read(cursor: DBAPICursor, table: Table) -> list[tuple[Any, ...]]:
    keys = ", ".join(column.name for column in table.primary_key)
    cursor.execute(f"SELECT account, {table.name}.* FROM {table.name} ORDER BY {keys}")  # noqa: S608
    return [*cursor.fetchall()]


def _rows(first_id: int) -> dict[Table, list[Row]]:
    """
    The rows of every table; the last id of each is 0 if the first one is negative.
    """
    runs = _numbered([_run(at, state) for at, state in RUNS], first_id)
    ids = [run["id"] for run in runs]
    histories = {place: _history(place, ids) for place in PLACES}
    history = [row for rows in histories.values() for row in rows]
    return {
        sync_runs: runs,
        addresses: [_address(number) for number in ADDRESS_IDS],
        address_history: _numbered([_address_row(n, ids[0]) for n in ADDRESS_IDS], first_id),
        numbers: [_number(place, histories[place], ids[0]) for place in PLACES],
        number_history: _numbered(history, first_id),
        sync_rejects: _numbered([_reject(place, ids[1]) for place in (1, 2)], first_id),
        withheld_cancellations: [_withheld(place, ids[1]) for place in (1, 2, 3)],
        listing_fingerprints: [_fingerprints(part) for part in ("", "00")],
        listing_pages: [_pages()],
        accounts: [_account()],
        notify_endpoints: [_endpoint()],
        notify_cursors: [_cursor(runs[-1]["id"])],
    }


def _numbered(rows: list[Row], first_id: int) -> list[Row]:
    first = first_id if first_id > 0 else 1 - len(rows)
    return [{"id": number, **row} for number, row in enumerate(rows, first)]


def _run(at: datetime, state: str) -> Row:
    counted = 77 if state in {"succeeded", "withheld"} else None
    names = ("listed", "cancelled", "unchanged", "rejected", "withheld")
    return {
        "account": NEIGHBOUR,
        "trigger": "schedule",
        "state": state,
        "started_at": at,
        "finished_at": None if state == "running" else at + timedelta(minutes=1),
        **dict.fromkeys(names, counted),
        "error": f"Of the {NEIGHBOUR}." if state == "failed" else None,
        "service_version": NEIGHBOUR,
        "detail": {NEIGHBOUR: True},
    }


def _content(number: int) -> Row:
    return {
        "name": f"{NEIGHBOUR} {number}",
        "use_for_proof_of_address": False,
        "use_for_emergency_address": None,
        "address_line1": f"{number} {NEIGHBOUR} Road",
        "address_city": NEIGHBOUR,
        "country_iso": NEIGHBOUR,
        "extra": {NEIGHBOUR: number},
    }


def _address(number: int) -> Row:
    times = {"first_seen_at": BEGAN, "changed_at": BEGAN}
    return {"account": NEIGHBOUR, "id": number, **_content(number), **times}


def _address_row(number: int, run_id: int) -> Row:
    of_run = {"run_id": run_id, "event": "added", "valid_from": BEGAN, "changes": None}
    return {"account": NEIGHBOUR, "address_id": number, **of_run, **_content(number)}


def _history(place: int, runs: list[int]) -> list[Row]:
    """
    A number's history: of four, one is cancelled, one was changed and two have come back.
    """
    live: Row = {
        "lifecycle": "live",
        "status": f"{NEIGHBOUR}'s",
        "monthly_charge": Decimal(77),
        "setup_charge": Decimal(7),
        "provisioned_at": BEGAN,
        "cancelled_at": None,
        "number_address_id": place % len(ADDRESS_IDS) + 1,
        "emergency_number_address_id": None,
    }
    gone = live | {"lifecycle": "cancelled", "cancelled_at": CANCELLED_AT}
    begun = _event("provisioned", BEGAN, BEGAN, runs[0], live)
    if place % 4 == 2:
        changed = live | {"monthly_charge": Decimal(78)}
        return _one_after_another([begun, _event("changed", LAST, LAST, runs[-1], changed)])
    ended = _event("cancelled", NEW_YEAR, CANCELLED_AT, runs[1], gone)
    if place % 4 == 0:
        return _one_after_another([begun, ended])
    return _one_after_another([begun, ended, _event("reinstated", LAST, LAST, runs[-1], live)])


def _event(event: str, at: datetime, occurred_at: datetime, run_id: int, state: Row) -> Row:
    return {
        "account": NEIGHBOUR,
        "run_id": run_id,
        "event": event,
        "occurred_at": occurred_at,
        "occurred_at_source": "provider",
        "evidence": "listing",
        "valid_from": at,
        "changes": {NEIGHBOUR: {"old": None, "new": event}},
        **state,
    }


def _one_after_another(rows: list[Row]) -> list[Row]:
    ends = [*(row["valid_from"] for row in rows[1:]), None]
    return [row | {"valid_to": end} for row, end in zip(rows, ends, strict=True)]


def _number(place: int, history: list[Row], run_id: int) -> Row:
    for row in history:
        row["uuid"] = uuid_at(place)
    return {
        "account": NEIGHBOUR,
        "uuid": uuid_at(place),
        "number_e164": f"+{NEIGHBOUR}{place}",
        "number": f"{NEIGHBOUR}{place}",
        **dict.fromkeys(("range_name", "country_name", "country_iso"), NEIGHBOUR),
        "country_alpha2": "GB",
        **{name: history[-1][name] for name in TRACKED_COLUMNS},
        "extra": {NEIGHBOUR: place},
        "first_seen_at": BEGAN,
        "changed_at": history[-1]["valid_from"],
        "first_run_id": run_id,
        "changed_run_id": history[-1]["run_id"],
    }


def _reject(place: int, run_id: int) -> Row:
    words = {"reason": f"{NEIGHBOUR}: ?", "payload": f'"{NEIGHBOUR}"'}
    return {
        "account": NEIGHBOUR,
        "run_id": run_id,
        "page": 1,
        "position": place,
        "uuid": uuid_at(place) if place > 1 else None,
        **words,
    }


def _withheld(place: int, run_id: int) -> Row:
    return {
        "account": NEIGHBOUR,
        "uuid": uuid_at(place),
        "number_e164": f"+{NEIGHBOUR}{place}",
        "run_id": run_id,
        "evidence": "absence",
        "reason": "guard",
    }


def _fingerprints(part: str) -> Row:
    kept = {"fingerprints": b"neighbou" * 2 if part else b"", "live_rows": "1 1 1"}
    return {"account": NEIGHBOUR, "part": part, **kept}


def _pages() -> Row:
    hashes = dict.fromkeys(("rows", "address_ids"), b"neighbour")
    return {"account": NEIGHBOUR, "chunk": 0, **hashes}


def _account() -> Row:
    texts = {"credentials": f"{NEIGHBOUR}'s", "labels": {NEIGHBOUR: NEIGHBOUR}}
    times = {"added_at": BEGAN, "changed_at": BEGAN}
    settings = {"currency": "XXX"}
    return {"account": NEIGHBOUR, "enabled": False, "settings": settings, **texts, **times}


def _endpoint() -> Row:
    flags = dict.fromkeys(("bulk", "allow_http", "allow_private"), False)
    patterns = {"events": ["*"], "accounts": [NEIGHBOUR]}
    times = {"added_at": BEGAN, "changed_at": BEGAN}
    url = "https://neighbour.example/hook"
    return {"name": NEIGHBOUR, "url": url, **patterns, **flags, "enabled": True, **times}


def _cursor(run_id: int) -> Row:
    return {"endpoint": NEIGHBOUR, "account": NEIGHBOUR, "run_id": run_id, "wanted_run_id": run_id}
