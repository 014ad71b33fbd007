"""
A few threads that fetch pages while the database works.

They are daemon threads: a program that was told to stop does not wait for an
answer that may come in half a minute.
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


class Fetchers:
    """
    Run calls in threads, in the order in which they were given.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()

    def __enter__(self) -> Self:
        for index in range(self.count):
            threading.Thread(target=self._work, name=f"fetch-{index + 1}", daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for _ in range(self.count):
            self._calls.put(None)

    def submit(self, call: Callable[[A], T], argument: A) -> Future[T]:
        """
        Have `call(argument)` done by the next thread that is free.
        """
        future: Future[T] = Future()
        context = copy_context()  # what the caller's log lines bear
        self._calls.put(lambda: context.run(_settle, future, call, argument))
        return future

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            call()


class InPlace(Fetchers):
    """
    Run calls at once, in the thread that asks: for those who are in one already.
    """

    def __init__(self) -> None:
        super().__init__(1)

    def submit(self, call: Callable[[A], T], argument: A) -> Future[T]:
        """
        Have `call(argument)` done now.
        """
        future: Future[T] = Future()
        _settle(future, call, argument)
        return future


def _settle(future: Future[T], call: Callable[[A], T], argument: A) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = call(argument)
    except BaseException as exc:  # noqa: BLE001 - it is raised where the result is awaited
        future.set_exception(exc)
    else:
        future.set_result(result)
