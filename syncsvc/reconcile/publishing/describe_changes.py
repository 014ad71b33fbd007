"""
Describe each planned change column by column, for the history's `changes` column.

Only rows that were known before and are different now are read here, in batches.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import Text, and_, cast, select, type_coerce

from syncsvc.database.bulk import copy_into
from syncsvc.reconcile.publishing.run_counts import IS_PROVISIONED_TOO
from syncsvc.reconcile.statement_cache import ACCOUNT, built, values_of
from syncsvc.reconcile.temp_tables import (
    ADDRESS_FIELDS,
    NUMBER_FIELDS,
    planned_address_changes,
    planned_addresses,
    planned_changes,
    planned_numbers,
)
from syncsvc.schema.tables import addresses, numbers
from syncsvc.vocabulary import Lifecycle

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import Column, ColumnElement, Connection, Select, Table

    from syncsvc.database.runs import Run
    from syncsvc.reconcile.publishing.run_counts import PlannedNumbers

ROWS_AT_ONCE = 1000

Change = dict[str, dict[str, Any]]


def describe_number_changes(connection: Connection, run: Run, counts: PlannedNumbers) -> None:
    """
    Fill `planned_changes`.
    """
    if counts.known:
        query = built(_old_and_new, numbers, planned_numbers, NUMBER_FIELDS)
        _describe(connection, run, query, planned_changes, _differences_of_number)
    if counts.provisioned_too:
        query = built(_first_seen_cancelled)
        _describe(connection, run, query, planned_changes, _change_of_cancellation)


def describe_address_changes(connection: Connection, run: Run) -> None:
    """
    Fill `planned_address_changes`.
    """
    query = built(_old_and_new, addresses, planned_addresses, ADDRESS_FIELDS)
    _describe(
        connection,
        run,
        query,
        planned_address_changes,
        lambda row: _differences(row, ADDRESS_FIELDS),
    )


def _first_seen_cancelled() -> Select[Any]:
    planned = planned_numbers.c
    return select(planned.uuid, planned.status, planned.cancelled_at).where(IS_PROVISIONED_TOO)


def _old_and_new(target: Table, plan: Table, fields: Sequence[str]) -> Select[Any]:
    """
    Select the known planned rows: the key, then the old and the new values of the other fields.
    """
    key, *others = fields
    was = [_exactly(target.c[name], target.c[name]) for name in others]
    will_be = [_exactly(plan.c[name], target.c[name]) for name in others]
    same = and_(target.c.account == ACCOUNT, target.c[key] == plan.c[key])
    query: Select[Any] = select(plan.c[key], *was, *will_be).select_from(plan.join(target, same))
    return query.where(plan.c.known)


def _exactly(value: ColumnElement[Any], column: Column[Any]) -> ColumnElement[Any]:
    """
    Return a column's value; JSON as the database's text, so that true differs from 1.
    """
    return cast(value, Text) if column.name == "extra" else type_coerce(value, column.type)


def _describe(
    connection: Connection,
    run: Run,
    query: Select[Any],
    target: Table,
    change: Callable[[Sequence[Any]], Change],
) -> None:
    few = {"yield_per": ROWS_AT_ONCE}
    rows = connection.execute(query, values_of(run), execution_options=few)
    for part in rows.partitions():
        described = [(row[0], msgspec.json.encode(change(row)).decode()) for row in part]
        copy_into(connection, target, described)


def _differences_of_number(row: Sequence[Any]) -> Change:
    return _differences(row, NUMBER_FIELDS)


def _differences(row: Sequence[Any], fields: Sequence[str]) -> Change:
    """
    Return the columns of a row from `_old_and_new` that differ.
    """
    others = fields[1:]
    was, will_be = row[1 : len(fields)], row[len(fields) :]
    return {
        name: {"old": _as_json(name, old), "new": _as_json(name, new)}
        for name, old, new in zip(others, was, will_be, strict=True)
        if old != new
    }


def _as_json(name: str, value: Any) -> Any:  # noqa: ANN401 - of any column
    return msgspec.Raw(value.encode()) if name == "extra" and value is not None else value


def _change_of_cancellation(row: Sequence[Any]) -> Change:
    """
    Describe the cancellation of a number that was first seen cancelled.
    """
    _uuid, status, cancelled_at = row
    change: Change = {"lifecycle": {"old": Lifecycle.LIVE, "new": Lifecycle.CANCELLED}}
    for name, value in (("status", status), ("cancelled_at", cancelled_at)):
        if value is not None:
            change[name] = {"old": None, "new": value}
    return change
