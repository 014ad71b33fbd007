"""
The jobs that have ended in this process, so that none of them counts as being done for ever.

The task engine writes the end of a job once. If the session is lost meanwhile, the job stays
`doing`, and its worker lives on: no missing heartbeat tells others of it, and no further job of the
account would ever be handed out.
"""

from __future__ import annotations

import time
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

WRITTEN_WITHIN = 5.0  # seconds in which the engine has written a job's end, or has failed to


class EndedJobs:
    """
    Safe to use from several threads; `unsure` and `forget` are for one of them.
    """

    def __init__(self) -> None:
        self._ended: deque[tuple[float, int]] = deque()

    @contextmanager
    def noting(self, job: int | None) -> Iterator[None]:
        """
        Note the end of a job when the block ends.

        Args:
            job: Its id.
        """
        try:
            yield
        finally:
            if job is not None:
                self._ended.append((time.monotonic(), job))

    def unsure(self) -> list[int]:
        """
        Return the ids of the jobs whose end must have been written by now, oldest first.
        """
        before = time.monotonic() - WRITTEN_WITHIN
        return [job for ended_at, job in list(self._ended) if ended_at <= before]

    def forget(self, count: int) -> None:
        """
        Forget so many of the oldest, since they are in the database no more.
        """
        for _ in range(count):
            self._ended.popleft()
