"""
Threads that fetch pages.
"""

from __future__ import annotations

import signal
import threading
import time
from concurrent.futures import Future

import pytest

from syncsvc.provider.thread_pool import ThreadPool, result_of


def fetch_threads() -> list[threading.Thread]:
    """
    The fetching threads that are alive.
    """
    return [thread for thread in threading.enumerate() if thread.name.startswith("fetch-")]


def test_results_are_given_for_their_arguments() -> None:
    """
    Each call's result is that of its own argument.
    """
    with ThreadPool(4) as pool:
        futures = [pool.submit(lambda each: each * each, number) for number in range(50)]
        results = [future.result(timeout=5) for future in futures]

    assert results == [number * number for number in range(50)]


def test_one_thread_keeps_the_order() -> None:
    """
    Calls begin in the order in which they were submitted.
    """
    begun: list[int] = []

    with ThreadPool(1) as pool:
        for future in [pool.submit(begun.append, number) for number in range(20)]:
            future.result(timeout=5)

    assert begun == list(range(20))


def test_calls_run_concurrently() -> None:
    """
    As many calls run at once as there are threads.
    """
    together = threading.Barrier(3)

    with ThreadPool(3) as pool:
        futures = [pool.submit(lambda _: together.wait(5), number) for number in range(3)]
        places = {future.result(timeout=5) for future in futures}

    assert places == {0, 1, 2}


@pytest.mark.parametrize("failure", [ValueError("odd"), SystemExit(3)])
def test_a_failure_is_raised_where_the_result_is_awaited(failure: BaseException) -> None:
    """
    The future raises whatever its call raised, and the thread continues with the next call.
    """

    def fail(_: int) -> None:
        raise failure

    with ThreadPool(1) as pool:
        failed = pool.submit(fail, 1)
        following = pool.submit(abs, -2)
        result = following.result(timeout=5)

    assert failed.exception(timeout=5) is failure
    assert result == 2


def test_a_cancelled_call_is_not_made() -> None:
    """
    A call that was cancelled before it began never begins.
    """
    release = threading.Event()
    made: list[int] = []

    with ThreadPool(1) as pool:
        busy = pool.submit(lambda _: release.wait(5), 0)
        cancelled = pool.submit(made.append, 1)
        following = pool.submit(made.append, 2)
        cancelled.cancel()
        release.set()
        busy.result(timeout=5)
        following.result(timeout=5)

    assert made == [2]


def test_threads_are_daemons_and_end_with_the_context() -> None:
    """
    A stopping program does not wait for them, and a finished walk leaves none behind.
    """
    before = set(fetch_threads())

    with ThreadPool(3):
        started = [thread for thread in fetch_threads() if thread not in before]
    for thread in started:
        thread.join(5)

    assert [thread.daemon for thread in started] == [True] * 3
    assert not any(thread.is_alive() for thread in started)


def test_leaving_does_not_wait_for_a_call_under_way() -> None:
    """
    The context ends immediately, although a response may take long.
    """
    release = threading.Event()

    began_at = time.monotonic()
    with ThreadPool(1) as pool:
        future = pool.submit(lambda _: release.wait(5), 0)
    took = time.monotonic() - began_at
    release.set()

    assert took < 1
    assert future.result(timeout=5)


def test_a_signal_that_another_thread_takes_ends_the_wait() -> None:
    """
    Python handles a signal in the main thread only, which the kernel may have left asleep.
    """

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    def take_it() -> None:
        time.sleep(0.1)  # until the main thread waits
        signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, interrupt)
    thread = threading.Thread(target=take_it)
    ends_at = time.monotonic() + 10
    try:
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            result_of(Future[None](), lambda: ends_at - time.monotonic())
    finally:
        signal.signal(signal.SIGUSR1, before)
        thread.join()
