"""
A pool of daemon threads that fetch pages while the database works.

`concurrent.futures.ThreadPoolExecutor` joins its threads when the program
exits, so Ctrl-C would wait for a response that may take half a minute. Daemon
threads are not waited for.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future
from contextvars import copy_context
from queue import SimpleQueue
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

A = TypeVar("A")
T = TypeVar("T")

SIGNALS_EVERY = 0.5  # seconds


class ThreadPool:
    """
    Run calls in threads, in the order in which they were submitted.

    Args:
        size: Number of threads.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()

    def __enter__(self) -> Self:
        for index in range(self.size):
            threading.Thread(target=self._work, name=f"fetch-{index + 1}", daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for _ in range(self.size):
            self._calls.put(None)

    def submit(self, call: Callable[[A], T], argument: A) -> Future[T]:
        """
        Run `call(argument)` in the next free thread.
        """
        future: Future[T] = Future()
        context = copy_context()  # with the fields of the caller's log records
        self._calls.put(lambda: context.run(_run, future, call, argument))
        return future

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            call()


def result_of(future: Future[T], seconds_left: Callable[[], float]) -> T:
    """
    Wait for a call's result, and let Python handle signals meanwhile.

    Only the main thread handles them. Of two signals at once, the second wakes another thread, and
    that may take both: the main thread would go on waiting for a lock, and know of none.

    Raises:
        TimeoutError: There was none in time.
    """
    left = seconds_left()
    while left > SIGNALS_EVERY and not future.done():
        try:
            return future.result(SIGNALS_EVERY)
        except TimeoutError:
            if future.done():  # meanwhile, or the error is the call's own
                return future.result()
        left = min(left - SIGNALS_EVERY, seconds_left())
    return future.result(max(left, 0.0))


class InlinePool(ThreadPool):
    """
    Run each call immediately, in the caller's own thread.
    """

    def __init__(self) -> None:
        super().__init__(1)

    def submit(self, call: Callable[[A], T], argument: A) -> Future[T]:
        """
        Run `call(argument)` now.
        """
        future: Future[T] = Future()
        _run(future, call, argument)
        return future


def _run(future: Future[T], call: Callable[[A], T], argument: A) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = call(argument)
    except BaseException as exc:  # noqa: BLE001 - Future.result() raises it
        future.set_exception(exc)
    else:
        future.set_result(result)
