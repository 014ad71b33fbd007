"""
Sync one account of many, whatever happens: a task never raises.

What is wrong with one account stops that account alone. What is wrong with the process, such as
a schema that is too old for it, ends the process after its runs.
"""

from __future__ import annotations

import threading
import time
from functools import partial
from typing import TYPE_CHECKING

import msgspec
import structlog
from sqlalchemy import func

from syncsvc import build_from_settings
from syncsvc.accounts import account_settings, rows
from syncsvc.database import transactions
from syncsvc.errors import (
    ConfigurationError,
    DatabaseUnavailable,
    RunInProgress,
    SchemaNotCurrent,
    SyncError,
)
from syncsvc.fleet.tasks import account_status_rows
from syncsvc.sync import run as sync
from syncsvc.sync.next_due import Schedule, fleet_deadline, wait_after
from syncsvc.vocabulary import Lane, RunState, Trigger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from sqlalchemy import Connection, Engine

    from syncsvc.fleet.running_accounts import RunningAccounts
    from syncsvc.metrics import RunMetrics
    from syncsvc.provider.shared_hosts import SharedHosts
    from syncsvc.settings.settings import Settings
    from syncsvc.sync.progress_and_summary import Summary

log = structlog.get_logger(__name__)

OTHER_RUN = 30.0  # seconds until an account is due again if somebody else's run was in progress
UNTROUBLED = {"lane": Lane.FAST, "failures": 0, "attention": None}  # as an account begins
SETTINGS_AGE = 10.0  # seconds after which the process's settings, and so its keys, are read again


class ProcessSettings:
    """
    The settings of the process, read again now and then, so that keys are rotated without a signal.

    Args:
        read: Reads all settings again.
    """

    def __init__(self, settings: Settings, read: Callable[[], Settings]) -> None:
        self._settings = settings
        self._read = read
        self._lock = threading.Lock()
        self._read_at = time.monotonic()

    def current(self) -> Settings:
        """
        Return the settings; the last ones that could be read.
        """
        with self._lock:
            if time.monotonic() > self._read_at + SETTINGS_AGE:
                self._read_at = time.monotonic()
                self._read_again()
            return self._settings

    def _read_again(self) -> None:
        try:
            self._settings = self._read()
        except ConfigurationError as exc:
            log.error("fleet.settings_not_read", error=str(exc))  # noqa: TRY400 - it is no bug


class AccountRuns:
    """
    The runs of all accounts in one process. Safe to use from several threads.

    Args:
        engine: Its sessions are kept over runs.
        on_outdated: Called if the schema is not this version's.
    """

    def __init__(
        self,
        engine: Engine,
        settings: ProcessSettings,
        hosts: SharedHosts,
        metrics: RunMetrics,
        running: RunningAccounts,
        on_outdated: Callable[[SchemaNotCurrent], None],
    ) -> None:
        self._engine = engine
        self._settings = settings
        self._hosts = hosts
        self._metrics = metrics
        self._running = running
        self._on_outdated = on_outdated

    def run(self, account: str) -> None:
        """
        Sync an account once. Every error ends here.
        """
        try:
            with transactions.translated():
                self._run(account)
        except RunInProgress as exc:
            log.info("fleet.other_run_in_progress", account=account, reason=str(exc))
            self._write(
                account,
                partial(account_status_rows.make_due, accounts=[account], seconds=OTHER_RUN),
            )
        except SchemaNotCurrent as exc:
            self._on_outdated(exc)
        except DatabaseUnavailable as exc:
            log.warning("fleet.account_lost_database", account=account, error=str(exc))
        except SyncError as exc:
            log.error("fleet.account_not_run", account=account, error=str(exc))  # noqa: TRY400
            self._note_failure(account, str(exc))
        except Exception:
            unexpected = "The run could not begin, because of a bug; the log has its traceback."
            log.exception("fleet.account_not_run", account=account, error=unexpected)
            self._note_failure(account, unexpected)
        finally:
            self._running.ended()

    def _run(self, account: str) -> None:
        with self._engine.connect() as connection:
            row = rows.find(connection, account)
            before = account_status_rows.read(connection, account)
        if row is None or not row.enabled:
            return
        settings = account_settings.complete(row, self._settings.current())
        lane = Lane(before.get("lane") or Lane.FAST)
        with self._running.running(
            account, lane, build_from_settings.origin(settings.api_url)
        ) as begin:
            summary = self._sync(settings, before, begin)
        if summary.state == RunState.FAILED and self._running.ending:
            self._put_back(account, before)

    def _sync(
        self, settings: Settings, before: Mapping[str, Any], begin: Callable[..., None]
    ) -> Summary:
        api = build_from_settings.shared_api_from(settings, self._hosts)
        try:
            job = msgspec.structs.replace(
                build_from_settings.job_from(settings, self._engine, api),
                trigger=Trigger.SCHEDULE,
                deadline=fleet_deadline(settings.run_deadline, before.get("last_seconds")),
                refresh_months=False,
                on_begin=begin,
            )
            summary = sync.run_once(job)
        finally:
            api.close()
        counts = msgspec.structs.asdict(summary)
        self._metrics.run_ended(summary.state, summary.duration_seconds, counts)
        return summary

    def _put_back(self, account: str, before: Mapping[str, Any]) -> None:
        """
        Make an account due again as if it had not run: the end of the process is not its failure.
        """
        kept = {name: before.get(name, default) for name, default in UNTROUBLED.items()}
        self._write(
            account,
            partial(account_status_rows.write, account=account, **kept, next_run_at=func.now()),
        )

    def _note_failure(self, account: str, error: str) -> None:
        """
        Let somebody look at an account that could not even begin, and try it again later.
        """
        settings = self._settings.current()
        interval = Schedule.of(settings.schedule, settings.interval).interval

        def note(connection: Connection) -> None:
            failures = account_status_rows.read(connection, account).get("failures", 0) + 1
            wait = wait_after(failures, interval).total_seconds()
            account_status_rows.write(
                connection,
                account,
                failures=failures,
                attention=error,
                last_error=error,
                next_run_at=account_status_rows.seconds_from_now(wait),
            )

        self._write(account, note)

    def _write(self, account: str, write: Callable[[Connection], None]) -> None:
        """
        Write to the database, or log that it is away.
        """
        try:
            with transactions.translated(), self._engine.begin() as connection:
                write(connection)
        except DatabaseUnavailable as exc:
            log.warning("fleet.account_lost_database", account=account, error=str(exc))
