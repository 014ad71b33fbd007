"""
Hand out the accounts that are due, as many as there are free slots, and rescue those of the dead.

Any worker does it, one at a time. The queue is kept short, so that what is handed out is decided
when it counts: a new account, or one that somebody asked for, never waits behind thousands.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import structlog
from sqlalchemy import exists, func, literal, or_, select

from syncsvc.database import transactions
from syncsvc.database.locks import lock_key
from syncsvc.fleet.tasks import account_status_rows
from syncsvc.fleet.tasks.fair_share import Due, share_out
from syncsvc.schema.tables import account_status, accounts
from syncsvc.vocabulary import Lane

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection, Engine, Select

    from syncsvc.fleet.running_accounts import RunningAccounts
    from syncsvc.fleet.tasks.task_engine import Queue
    from syncsvc.fleet.tasks.unacknowledged_jobs import EndedJobs

log = structlog.get_logger(__name__)

HAND_OUT, RESCUE = "fleet hand-out", "fleet rescue"  # locks


def hand_out(
    engine: Engine, queue: Queue, running: RunningAccounts, slots: Mapping[Lane, int], url: str
) -> int:
    """
    Hand out accounts for this process's free slots; return how many.

    Args:
        url: The provider's address of accounts that never ran and name none.
    """
    with transactions.short_write(engine) as connection:
        if not alone(connection, HAND_OUT):
            return 0
        waiting = queue.waiting(connection)
        chosen: list[Due] = []
        for lane, all_slots in slots.items():
            in_use = running.by_host(lane)
            free = all_slots - sum(in_use.values()) - waiting.get(lane, 0)
            if free > 0:
                due = _due(connection, queue, lane, free, url)
                chosen += share_out(due, free, all_slots, in_use)
        queue.put(connection, [(each.account, each.lane) for each in chosen])
        return len(chosen)


def rescue(engine: Engine, queue: Queue) -> list[str]:
    """
    Make the accounts of dead workers due again; return them.
    """
    with transactions.short_write(engine) as connection:
        if not alone(connection, RESCUE):
            return []
        stalled = queue.stalled(connection)
        lost = [account for job, account in stalled.items() if queue.remove(connection, job)]
        if lost:
            account_status_rows.make_rescued_due(connection, lost)
            log.warning("fleet.accounts_rescued", count=len(lost), first=lost[:10])
        return lost


def remove_ended(engine: Engine, queue: Queue, ended: EndedJobs) -> list[str]:
    """
    Remove this process's jobs whose end the task engine could not write; return their accounts.

    When such an account is due was written by its run.
    """
    jobs = ended.unsure()
    if not jobs:
        return []
    with transactions.short_write(engine) as connection:
        left = queue.remove_ended(connection, jobs)
    ended.forget(len(jobs))
    if left:
        log.warning("fleet.ended_jobs_removed", count=len(left), first=left[:10])
    return left


def alone(connection: Connection, name: str) -> bool:
    """
    Return whether nobody else does the same, until the transaction ends.
    """
    key = lock_key(connection, name)
    return bool(connection.execute(select(func.pg_try_advisory_xact_lock(key))).scalar_one())


def _due(connection: Connection, queue: Queue, lane: Lane, free: int, url: str) -> list[Due]:
    """
    Return due accounts of a lane that nobody has, oldest first, and of each host only some.
    """
    ranked = _ranked(queue, lane, url).subquery()
    query = (
        select(ranked.c.account, ranked.c.host)
        .where(ranked.c.place <= free)
        .order_by(ranked.c.next_run_at.nulls_first(), ranked.c.account)
    )
    return [Due(row.account, row.host, lane) for row in connection.execute(query)]


def _ranked(queue: Queue, lane: Lane, url: str) -> Select[Any]:
    status = account_status.c
    host = func.coalesce(status.host, accounts.c.settings["api_url"].as_string(), literal(url))
    oldest_first = (status.next_run_at.nulls_first(), accounts.c.account)
    place = func.row_number().over(partition_by=host, order_by=oldest_first)
    taken = queue.accounts().subquery()
    return (
        select(accounts.c.account, host.label("host"), status.next_run_at, place.label("place"))
        .select_from(accounts.outerjoin(account_status, status.account == accounts.c.account))
        .where(
            accounts.c.enabled,
            func.coalesce(status.lane, Lane.FAST) == lane,
            or_(status.next_run_at.is_(None), status.next_run_at <= func.now()),
            ~exists().where(taken.c.queueing_lock == accounts.c.account),
        )
    )
