"""
The input of a run.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import msgspec

from syncsvc.reconcile.withhold_cancellations import Guard
from syncsvc.sync.next_due import Schedule
from syncsvc.vocabulary import Trigger

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection, Engine

    from syncsvc.provider.client import NumberApi
    from syncsvc.sync.progress_and_summary import Progress


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """
    What to sync, from where to where, and how.

    Attributes:
        deadline: A run that takes longer fails.
        dry_run: Do everything, then roll it back.
        cancelled_listing: `on` requires it, `off` never reads it, `auto` does without it
            if the account has none.
        guard: The limit of cancellations on weak evidence.
        keep_rejects: Older rejects are removed.
        refresh_months: Refresh the materialised view of the months afterwards, if there is one.
        host: The origin of the provider's address, which tells whose accounts fail together.
        schedule: When the account's next run is due.
        on_begin: Called with the run's progress, whose end may be brought forward.
        on_page: Called with the pages, rows and `num_results` of the walk so far.
        on_found: Called with the run's id when all is written, before the transaction ends.
    """

    engine: Engine
    api: NumberApi
    account: str
    deadline: timedelta
    trigger: Trigger = Trigger.MANUAL
    dry_run: bool = False
    cancelled_listing: str = "auto"
    guard: Guard = Guard()
    keep_rejects: timedelta = timedelta(days=90)
    refresh_months: bool = True
    host: str | None = None
    schedule: Schedule = Schedule(timedelta(minutes=15))
    on_begin: Callable[[Progress], None] = lambda _: None
    on_page: Callable[[int, int, int | None], None] = lambda *_: None
    on_found: Callable[[Connection, int], None] = lambda *_: None
