"""
Write the plan: state and history from the same rows, in one transaction.

The order follows the foreign keys: addresses, numbers, history.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    case,
    delete,
    func,
    insert,
    literal,
    not_,
    null,
    select,
    update,
)

from syncsvc.reconcile.publishing.describe_changes import (
    describe_address_changes,
    describe_number_changes,
)
from syncsvc.reconcile.publishing.first_load_indexes import quick_first_load
from syncsvc.reconcile.publishing.run_counts import IS_PROVISIONED_TOO, PlannedNumbers
from syncsvc.reconcile.statement_cache import ACCOUNT, RUN_ID, STARTED_AT, execute_for
from syncsvc.reconcile.temp_tables import (
    ADDRESS_FIELDS,
    NUMBER_FIELDS,
    planned_address_changes,
    planned_addresses,
    planned_changes,
    planned_numbers,
    staged_rejects,
    withheld_numbers,
)
from syncsvc.schema.tables import (
    TRACKED_COLUMNS,
    address_history,
    addresses,
    number_history,
    numbers,
    sync_rejects,
    withheld_cancellations,
)
from syncsvc.vocabulary import Event, Lifecycle, Source

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection, Delete, Insert, Table, Update

    from syncsvc.database.runs import Run

MANY = 1000  # new numbers that may make the statistics of a table outdated
GROWN = 0.1  # of the rows by the statistics: more new ones than that make them outdated
planned = planned_numbers.c


def publish_plan(connection: Connection, run: Run, counts: PlannedNumbers) -> None:
    """
    Write the plan.

    Args:
        counts: How many numbers it has of each kind.
    """
    describe_address_changes(connection, run)
    describe_number_changes(connection, run, counts)
    execute_for(
        connection,
        run,
        _update_addresses,
        _insert_addresses,
        _close_address_history,
        _insert_address_history,
    )
    with quick_first_load(connection) as is_without_keys:
        _write_numbers(connection, run, counts)
        if not is_without_keys:
            _refresh_statistics(connection, counts.new)
        _write_number_history(connection, run, counts)
    execute_for(connection, run, _insert_rejects)


def _write_numbers(connection: Connection, run: Run, counts: PlannedNumbers) -> None:
    if counts.known:
        execute_for(connection, run, _update_numbers)
    if counts.new:
        execute_for(connection, run, _insert_numbers)


def _write_number_history(connection: Connection, run: Run, counts: PlannedNumbers) -> None:
    if counts.known:
        execute_for(connection, run, _close_number_history)
    if counts.provisioned_too:
        execute_for(connection, run, _insert_provisioned_before_cancelled)
    execute_for(connection, run, _insert_number_history)


def publish_withheld(connection: Connection, run: Run, withheld: int) -> None:
    """
    Replace the account's rows in `withheld_cancellations` by those of this run.
    """
    execute_for(connection, run, _delete_withheld)
    if withheld:
        execute_for(connection, run, _insert_withheld)


def _delete_withheld() -> Delete:
    return delete(withheld_cancellations).where(withheld_cancellations.c.account == ACCOUNT)


def _insert_withheld() -> Insert:
    row = withheld_numbers.c
    values: dict[str, ColumnElement[Any]] = {
        "account": ACCOUNT,
        "run_id": RUN_ID,
        **{name: row[name] for name in row.keys()},  # noqa: SIM118 - of columns, not of a dict
    }
    return _insert(withheld_cancellations, values, withheld_numbers)


def _update_addresses() -> Update:
    return _update(addresses, planned_addresses, ADDRESS_FIELDS)


def _insert_addresses() -> Insert:
    return _insert_new(addresses, planned_addresses, ADDRESS_FIELDS)


def _close_address_history() -> Update:
    return _close(address_history, "address_id", _known(planned_addresses, "id"))


def _insert_address_history() -> Insert:
    planned_row, changes = planned_addresses.c, planned_address_changes.c
    values: dict[str, ColumnElement[Any]] = {
        "account": ACCOUNT,
        "address_id": planned_row.id,
        "run_id": RUN_ID,
        "event": case((planned_row.known, literal(Event.CHANGED)), else_=literal(Event.ADDED)),
        "valid_from": STARTED_AT,
        **{name: planned_row[name] for name in ADDRESS_FIELDS if name != "id"},
        "changes": changes.changes,
    }
    rows = planned_addresses.outerjoin(planned_address_changes, changes.id == planned_row.id)
    return _insert(address_history, values, rows)


def _update_numbers() -> Update:
    return _update(numbers, planned_numbers, NUMBER_FIELDS, changed_run_id=RUN_ID)


def _insert_numbers() -> Insert:
    runs = {"first_run_id": RUN_ID, "changed_run_id": RUN_ID}
    return _insert_new(numbers, planned_numbers, NUMBER_FIELDS, **runs)


def _refresh_statistics(connection: Connection, added: int) -> None:
    """
    Refresh PostgreSQL's statistics of `numbers` if new ones are more than a tenth.

    With those of a nearly empty table, or of other accounts alone, it may look up each history
    row's number in an index that finds all numbers of the account. The lock that this takes lasts
    until the commit, so a run that finds it taken by another account's goes on without.
    """
    if connection.dialect.name != "postgresql":
        return
    if added >= MANY and added > GROWN * _rows_by_statistics(connection):
        connection.exec_driver_sql("ANALYZE (SKIP_LOCKED) numbers (account, uuid)")


def _rows_by_statistics(connection: Connection) -> float:
    """
    Return how many numbers PostgreSQL reckons with; less than 0 if it never counted them.
    """
    query = "SELECT reltuples FROM pg_class WHERE oid = to_regclass('numbers')"
    return float(connection.exec_driver_sql(query).scalar_one())


def _update(
    target: Table, plan: Table, fields: tuple[str, ...], **of_run: ColumnElement[Any]
) -> Update:
    """
    Return the update of the known rows of a table.

    The table's key is the account and the first of the fields.
    """
    key, *others = fields
    values = {**{name: plan.c[name] for name in others}, "changed_at": STARTED_AT, **of_run}
    same = target.c[key] == plan.c[key]
    return update(target).values(values).where(target.c.account == ACCOUNT, same, plan.c.known)


def _insert_new(
    target: Table, plan: Table, fields: tuple[str, ...], **of_run: ColumnElement[Any]
) -> Insert:
    """
    Return the insert of the rows that a table does not have yet.
    """
    values = {
        "account": ACCOUNT,
        **{name: plan.c[name] for name in fields},
        "first_seen_at": STARTED_AT,
        "changed_at": STARTED_AT,
        **of_run,
    }
    return _insert(target, values, plan, not_(plan.c.known))


def _close(history: Table, key: str, changed: ColumnElement[Any]) -> Update:
    """
    Return the only update of a history table: it closes the open rows of what has changed.
    """
    row = history.c
    is_open = row.valid_to.is_(None)
    return (
        update(history)
        .values(valid_to=STARTED_AT)
        .where(row.account == ACCOUNT, is_open, row[key].in_(changed))
    )


def _close_number_history() -> Update:
    return _close(number_history, "uuid", _known(planned_numbers, "uuid"))


def _known(plan: Table, key: str) -> Any:  # noqa: ANN401 - a subquery of the key's type
    return select(plan.c[key]).where(plan.c.known).scalar_subquery()


def _insert_provisioned_before_cancelled() -> Insert:
    """
    Return the insert of `provisioned` rows for numbers that are first seen cancelled.

    They are closed at once. The status at that time is not known.
    """
    then = {
        "event": literal(Event.PROVISIONED),
        "occurred_at": planned.provisioned_at,
        "occurred_at_source": literal(Source.PROVIDER),
        "valid_to": STARTED_AT,
        "lifecycle": literal(Lifecycle.LIVE),
        "status": null(),
        "cancelled_at": null(),
    }
    return _insert(number_history, _history_row() | then, planned_numbers, IS_PROVISIONED_TOO)


def _insert_number_history() -> Insert:
    rows = planned_numbers.outerjoin(planned_changes, planned_changes.c.uuid == planned.uuid)
    values = _history_row() | {"changes": planned_changes.c.changes}
    return _insert(number_history, values, rows)


def _history_row() -> dict[str, ColumnElement[Any]]:
    by_provider = planned.stamp.is_not(None)
    return {
        "account": ACCOUNT,
        "uuid": planned.uuid,
        "run_id": RUN_ID,
        "event": planned.event,
        "occurred_at": func.coalesce(planned.stamp, STARTED_AT),
        "occurred_at_source": case(
            (by_provider, literal(Source.PROVIDER)), else_=literal(Source.OBSERVED)
        ),
        "evidence": planned.evidence,
        "valid_from": STARTED_AT,
        **{name: planned[name] for name in TRACKED_COLUMNS},
    }


def _insert_rejects() -> Insert:
    fields = ("page", "position", "uuid", "reason", "payload")
    values: dict[str, ColumnElement[Any]] = {
        "run_id": RUN_ID,
        "account": ACCOUNT,
        **{name: staged_rejects.c[name] for name in fields},
    }
    query = select(*values.values()).order_by(staged_rejects.c.seq)
    return insert(sync_rejects).from_select(list(values), query)


def _insert(
    target: Table,
    values: dict[str, ColumnElement[Any]],
    rows: Any,  # noqa: ANN401 - a table or a join
    *conditions: ColumnElement[bool],
) -> Insert:
    query = select(*values.values()).select_from(rows).where(*conditions)
    return insert(target).from_select(list(values), query)
