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
from syncsvc.reconcile.publishing.run_counts import is_provisioned_too
from syncsvc.reconcile.temp_tables import (
    ADDRESS_FIELDS,
    NUMBER_FIELDS,
    count,
    planned_address_changes,
    planned_addresses,
    planned_changes,
    planned_numbers,
    staged_rejects,
    withheld_numbers,
)
from syncsvc.schema.columns import UtcDateTime
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
    from sqlalchemy import ColumnElement, Connection, Table

    from syncsvc.database.runs import Run

MANY = 1000  # new numbers that may make the statistics of a table outdated
GROWN = 0.1  # of the rows by the statistics: more new ones than that make them outdated
planned = planned_numbers.c


def publish_plan(connection: Connection, run: Run) -> None:
    """
    Write the plan.
    """
    describe_address_changes(connection, run)
    describe_number_changes(connection, run)
    _publish_addresses(connection, run)
    with quick_first_load(connection) as is_without_keys:
        _publish_numbers(connection, run)
        if not is_without_keys:
            _refresh_statistics(connection)
        _close_history(connection, run, number_history, "uuid", _known(planned_numbers, "uuid"))
        _write_provisioned_before_cancelled(connection, run)
        _write_history(connection, run)
    _write_rejects(connection, run)


def publish_withheld(connection: Connection, run: Run, withheld: int) -> None:
    """
    Replace the account's rows in `withheld_cancellations` by those of this run.
    """
    of_account = withheld_cancellations.c.account == run.account
    connection.execute(delete(withheld_cancellations).where(of_account))
    if withheld:
        row = withheld_numbers.c
        values: dict[str, ColumnElement[Any]] = {
            "account": literal(run.account),
            "run_id": literal(run.id),
            **{name: row[name] for name in row.keys()},  # noqa: SIM118 - of columns, not of a dict
        }
        _insert(connection, withheld_cancellations, values, withheld_numbers)


def _publish_addresses(connection: Connection, run: Run) -> None:
    _upsert(connection, run, addresses, planned_addresses, ADDRESS_FIELDS)
    known = _known(planned_addresses, "id")
    _close_history(connection, run, address_history, "address_id", known)
    planned_row, changes = planned_addresses.c, planned_address_changes.c
    values: dict[str, ColumnElement[Any]] = {
        "account": literal(run.account),
        "address_id": planned_row.id,
        "run_id": literal(run.id),
        "event": case((planned_row.known, literal(Event.CHANGED)), else_=literal(Event.ADDED)),
        "valid_from": literal(run.started_at, UtcDateTime),
        **{name: planned_row[name] for name in ADDRESS_FIELDS if name != "id"},
        "changes": changes.changes,
    }
    rows = planned_addresses.outerjoin(planned_address_changes, changes.id == planned_row.id)
    _insert(connection, address_history, values, rows)


def _publish_numbers(connection: Connection, run: Run) -> None:
    runs = {"first_run_id": literal(run.id), "changed_run_id": literal(run.id)}
    _upsert(connection, run, numbers, planned_numbers, NUMBER_FIELDS, **runs)


def _refresh_statistics(connection: Connection) -> None:
    """
    Refresh PostgreSQL's statistics of `numbers` if it grew by more than a tenth.

    With those of a nearly empty table, or of other accounts alone, it may look up each history
    row's number in an index that finds all numbers of the account. The lock that this takes lasts
    until the commit, so a run that finds it taken by another account's goes on without.
    """
    if connection.dialect.name != "postgresql":
        return
    added = count(connection, planned_numbers, not_(planned_numbers.c.known))
    if added >= MANY and added > GROWN * _rows_by_statistics(connection):
        connection.exec_driver_sql("ANALYZE (SKIP_LOCKED) numbers (account, uuid)")


def _rows_by_statistics(connection: Connection) -> float:
    """
    Return how many numbers PostgreSQL reckons with; less than 0 if it never counted them.
    """
    query = "SELECT reltuples FROM pg_class WHERE oid = to_regclass('numbers')"
    return float(connection.exec_driver_sql(query).scalar_one())


def _upsert(
    connection: Connection,
    run: Run,
    target: Table,
    plan: Table,
    fields: tuple[str, ...],
    **of_run: ColumnElement[Any],
) -> None:
    """
    Update the known rows of a table and insert the others.

    The table's key is the account and the first of the fields.
    """
    at = literal(run.started_at, UtcDateTime)
    key = fields[0]
    changed = {"changed_at": at, **{k: v for k, v in of_run.items() if k == "changed_run_id"}}
    connection.execute(
        update(target)
        .values({**{name: plan.c[name] for name in fields if name != key}, **changed})
        .where(target.c.account == run.account, target.c[key] == plan.c[key], plan.c.known)
    )
    values = {
        "account": literal(run.account),
        **{name: plan.c[name] for name in fields},
        "first_seen_at": at,
        "changed_at": at,
        **of_run,
    }
    _insert(connection, target, values, plan, not_(plan.c.known))


def _close_history(
    connection: Connection, run: Run, history: Table, key: str, changed: ColumnElement[Any]
) -> None:
    """
    Close the open rows of what has changed; the only update of a history table.
    """
    connection.execute(
        update(history)
        .values(valid_to=run.started_at)
        .where(
            history.c.account == run.account,
            history.c.valid_to.is_(None),
            history.c[key].in_(changed),
        )
    )


def _known(plan: Table, key: str) -> Any:  # noqa: ANN401 - a subquery of the key's type
    return select(plan.c[key]).where(plan.c.known).scalar_subquery()


def _write_provisioned_before_cancelled(connection: Connection, run: Run) -> None:
    """
    Write `provisioned` rows for numbers that are first seen cancelled, closed at once.

    Their status at that time is not known.
    """
    then = {
        "event": literal(Event.PROVISIONED),
        "occurred_at": planned.provisioned_at,
        "occurred_at_source": literal(Source.PROVIDER),
        "valid_to": literal(run.started_at, UtcDateTime),
        "lifecycle": literal(Lifecycle.LIVE),
        "status": null(),
        "cancelled_at": null(),
    }
    _insert(
        connection,
        number_history,
        _history_row(run) | then,
        planned_numbers,
        is_provisioned_too(),
    )


def _write_history(connection: Connection, run: Run) -> None:
    rows = planned_numbers.outerjoin(planned_changes, planned_changes.c.uuid == planned.uuid)
    values = _history_row(run) | {"changes": planned_changes.c.changes}
    _insert(connection, number_history, values, rows)


def _history_row(run: Run) -> dict[str, ColumnElement[Any]]:
    at = literal(run.started_at, UtcDateTime)
    by_provider = planned.stamp.is_not(None)
    return {
        "account": literal(run.account),
        "uuid": planned.uuid,
        "run_id": literal(run.id),
        "event": planned.event,
        "occurred_at": func.coalesce(planned.stamp, at),
        "occurred_at_source": case(
            (by_provider, literal(Source.PROVIDER)), else_=literal(Source.OBSERVED)
        ),
        "evidence": planned.evidence,
        "valid_from": at,
        **{name: planned[name] for name in TRACKED_COLUMNS},
    }


def _write_rejects(connection: Connection, run: Run) -> None:
    fields = ("page", "position", "uuid", "reason", "payload")
    values: dict[str, ColumnElement[Any]] = {
        "run_id": literal(run.id),
        "account": literal(run.account),
        **{name: staged_rejects.c[name] for name in fields},
    }
    query = select(*values.values()).order_by(staged_rejects.c.seq)
    connection.execute(insert(sync_rejects).from_select(list(values), query))


def _insert(
    connection: Connection,
    target: Table,
    values: dict[str, ColumnElement[Any]],
    rows: Any,  # noqa: ANN401 - a table or a join
    *conditions: ColumnElement[bool],
) -> None:
    query = select(*values.values()).select_from(rows).where(*conditions)
    connection.execute(insert(target).from_select(list(values), query))
