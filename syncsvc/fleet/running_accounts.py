"""
The accounts that a process syncs at this moment, and the way to make all of them end soon.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from syncsvc.sync.progress_and_summary import Progress
    from syncsvc.vocabulary import Lane


class _Running(msgspec.Struct, eq=False):
    account: str
    lane: Lane
    host: str
    progress: Progress | None = None


class RunningAccounts:
    """
    Safe to use from several threads.

    Args:
        on_end: Called by `ended`.

    Attributes:
        ending: Whether all runs have been told to end.
    """

    def __init__(self, on_end: Callable[[], None] = lambda: None) -> None:
        self.ending = False
        self._on_end = on_end
        self._lock = threading.Lock()
        self._running: set[_Running] = set()
        self._ends_at = float("inf")

    @contextmanager
    def running(self, account: str, lane: Lane, host: str) -> Iterator[Callable[[Progress], None]]:
        """
        Count an account as running; call the result with the run's progress when it begins.

        An account may be counted twice: a run that was left to itself when the task engine lost
        the database may still go on, and the lock refuses the next one.
        """
        entry = _Running(account, lane, host)
        with self._lock:
            self._running.add(entry)
        try:
            yield lambda progress: self._begin(entry, progress)
        finally:
            with self._lock:
                self._running.remove(entry)

    def ended(self) -> None:
        """
        Note that a slot is free, also of an account whose run could not even begin.
        """
        self._on_end()

    def by_host(self, lane: Lane) -> dict[str, int]:
        """
        Return how many accounts of a lane are running, by host.
        """
        with self._lock:
            return Counter(each.host for each in self._running if each.lane == lane)

    def names(self) -> list[str]:
        """
        Return the accounts that are running.
        """
        with self._lock:
            return sorted({each.account for each in self._running})

    def end_within(self, seconds: float) -> None:
        """
        Shorten the deadline of every run, and of those that begin from now on.
        """
        with self._lock:
            self.ending = True
            self._ends_at = time.monotonic() + seconds
            for each in self._running:
                if each.progress is not None:
                    self._shorten(each.progress)

    def _begin(self, entry: _Running, progress: Progress) -> None:
        with self._lock:
            entry.progress = progress
            self._shorten(progress)

    def _shorten(self, progress: Progress) -> None:
        progress.ends_at = min(progress.ends_at, self._ends_at)
