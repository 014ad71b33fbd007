"""
Walks over a listing: their end, and what they prove.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future
from dataclasses import dataclass
from functools import cache
from itertools import count
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.build import api_for
from syncsvc.errors import DeadlineExceeded, ProviderRefused, ProviderUnavailable
from syncsvc.payloads.records import Number, Page, Reject
from syncsvc.provider.thread_pool import InlinePool, ThreadPool
from syncsvc.provider.walk import Walk
from syncsvc.sandbox import Behaviour, Fault, Inventory, Sandbox

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator

    from syncsvc.provider.client import NumberApi

A = TypeVar("A")
T = TypeVar("T")
PastEnd = Literal["empty", "not_found", "repeat"]

PAGE = 4  # rows on a full page
SIZES = sorted({0, *(pages * PAGE + more for pages in range(4) for more in (-1, 0, 1))} - {-1})


@pytest.fixture(scope="module")
def api(shared_sandbox: Sandbox) -> Iterator[NumberApi]:
    """
    One client for all walks.
    """
    with api_for(shared_sandbox) as client:
        yield client


@cache
def number(uuid: str) -> Number:
    """
    A live number; only its uuid matters.
    """
    return Number(uuid, "+1", *[None] * 7, "live", *[None] * 10, ())  # type: ignore[arg-type, call-arg]


def page_of(uuids: list[str], num_results: int | None, *, paginates: bool | None = None) -> Page:
    """
    A page with these numbers.
    """
    return Page(rows=[number(uuid) for uuid in uuids], num_results=num_results, paginates=paginates)


def paged(total: int | None, *pages: str) -> Callable[[int], Page | None]:
    """
    A listing of these pages, one letter per number, with this total on every page.
    """
    return lambda index: page_of([*pages[index - 1]], total) if index <= len(pages) else None


def walk_over(
    fetch: Callable[[int], Page | None],
    concurrency: int = 1,
    seconds: float = 10.0,
    expected_pages: int = 1,
) -> tuple[Walk, list[str | None]]:
    """
    A walk that has ended, and the uuids that it read.
    """
    with ThreadPool(concurrency) as pool:
        walk = Walk(fetch, pool, lambda: seconds, expected_pages)
        return walk, [row.uuid for page in walk for row in page.rows]


def proved(walk: Walk, read: list[str | None]) -> bool:
    """
    Whether the walk proves that what it read is the whole listing.
    """
    return walk.prove(len(set(read))).complete


# The end of a listing


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("num_results", ["total", "page", "absent"])
@pytest.mark.parametrize("paginates", ["exact", "always", "never", "absent"])
@pytest.mark.parametrize("past_end", ["empty", "not_found", "repeat"])
def test_every_end_of_a_listing_is_found(
    sandbox: Sandbox,
    api: NumberApi,
    past_end: PastEnd,
    paginates: Literal["exact", "always", "never", "absent"],
    num_results: Literal["total", "page", "absent"],
    size: int,
) -> None:
    """
    However a host ends its listing, each number is read once, with at most one extra request.
    """
    sandbox.reset(
        Inventory.seeded(size),
        Behaviour(
            max_per_page=PAGE, past_end=past_end, paginates=paginates, num_results=num_results
        ),
    )
    pages = -(-size // PAGE)

    walk, read = walk_over(api.page, concurrency=1 + size % 4)

    assert read == [row["uuid"] for row in sandbox.inventory.rows]
    assert (walk.pages, walk.rows) == (pages, size)
    assert len(sandbox.requests) <= pages + 1
    says_the_total = num_results == "total" or (num_results == "page" and pages <= 1)
    assert proved(walk, read) == says_the_total


def test_a_known_total_saves_the_request_past_the_end(sandbox: Sandbox, api: NumberApi) -> None:
    """
    If the last page is not full and the total agrees, no further page is requested.
    """
    sandbox.reset(Inventory.seeded(11), Behaviour(max_per_page=4))

    walk_over(api.page, concurrency=4)

    assert sorted(request.query["page"] for request in sandbox.requests) == ["1", "2", "3"]


def test_a_full_last_page_is_followed_by_one_that_has_to_be_empty(
    sandbox: Sandbox, api: NumberApi
) -> None:
    """
    After a full last page, the total alone is not enough: exactly one more page is requested.
    """
    sandbox.reset(Inventory.seeded(12), Behaviour(max_per_page=4))

    walk, read = walk_over(api.page, concurrency=4)

    assert sorted(request.query["page"] for request in sandbox.requests) == ["1", "2", "3", "4"]
    assert proved(walk, read)


@pytest.mark.parametrize("concurrency", [1, 4])
@pytest.mark.parametrize("paginates", [True, False, None])
@pytest.mark.parametrize("pages", [("ab", "cd", "e"), ("ab", "cd", "ef")])
def test_a_capped_total_neither_ends_the_walk_nor_proves_it(
    pages: tuple[str, ...], paginates: bool | None, concurrency: int
) -> None:
    """
    A host whose totals are capped at 4 is read to its end, and the result is not complete.
    """

    def fetch(index: int) -> Page:
        return page_of([*pages[index - 1]] if index <= 3 else [], 4, paginates=paginates)

    walk, read = walk_over(fetch, concurrency)

    assert read == [*"".join(pages)]
    assert not proved(walk, read)


def test_the_length_of_a_page_is_what_was_sent(sandbox: Sandbox, api: NumberApi) -> None:
    """
    A host that sends 50 rows per page, although 200 were requested, is read to its end.
    """
    sandbox.reset(Inventory.seeded(130), Behaviour(max_per_page=50))

    walk, read = walk_over(api.page, concurrency=4)

    assert {request.query["max_per_page"] for request in sandbox.requests} == {"200"}
    assert (walk.pages, walk.rows, walk.num_results) == (3, 130, 130)
    assert proved(walk, read)


def test_a_host_that_ignores_the_page_is_asked_twice() -> None:
    """
    The same page again is the end, whatever the total is.
    """
    asked: list[int] = []

    def fetch(index: int) -> Page:
        asked.append(index)
        return page_of(["a", "b"], 10**18, paginates=True)

    walk, read = walk_over(fetch)

    assert asked == [1, 2]
    assert read == ["a", "b"]
    assert not proved(walk, read)


def test_a_host_that_ignores_the_page_may_shuffle_it() -> None:
    """
    The same rows in another order, as from an unordered query, are the end, too.
    """
    asked: list[int] = []

    def fetch(index: int) -> Page:
        asked.append(index)
        return page_of(["a", "b", "c"][index % 3 :] + ["a", "b", "c"][: index % 3], 60)

    walk, read = walk_over(fetch)

    assert asked == [1, 2]
    assert sorted(map(str, read)) == ["a", "b", "c"]
    assert not proved(walk, read)


pages_of_any_kind = st.builds(
    page_of,
    st.lists(st.sampled_from("abcdef"), max_size=3),
    st.none() | st.integers(0, 12),
    paginates=st.none() | st.booleans(),
)


@given(st.lists(st.none() | pages_of_any_kind, min_size=1, max_size=6), st.integers(1, 4))
def test_every_walk_ends(pages: list[Page | None], concurrency: int) -> None:
    """
    Whatever pages a host sends repeatedly, each is read at most once.
    """
    asked: list[int] = []

    def fetch(index: int) -> Page | None:
        asked.append(index)
        return pages[(index - 1) % len(pages)]

    walk, _read = walk_over(fetch, concurrency)

    assert walk.pages <= len(pages)
    assert len(asked) <= len(pages) + concurrency


def test_pages_of_rejects_without_a_uuid_are_distinguished() -> None:
    """
    Rows whose uuid can't be read are compared by their payload.
    """

    def fetch(index: int) -> Page:
        payload = f'{{"row": {min(index, 3)}}}'
        rows: list[Number | Reject] = [Reject(uuid=None, reason="no uuid", payload=payload)]
        return Page(rows=rows, num_results=None, paginates=None)

    walk, _read = walk_over(fetch)

    assert (walk.pages, walk.rows) == (3, 3)


# How pages are fetched


def test_pages_after_the_first_are_fetched_concurrently() -> None:
    """
    Page 1 is fetched alone, then as many pages at once as there are threads, and never more.
    """
    lock = threading.Lock()
    together = threading.Barrier(3)
    in_flight = 0
    seen: list[int] = []

    def fetch(index: int) -> Page:
        nonlocal in_flight
        with lock:
            in_flight += 1
            seen.append(in_flight)
        if 2 <= index <= 7:
            together.wait(5)
        with lock:
            in_flight -= 1
        return page_of([str(index)] if index <= 7 else [], 7)

    walk, read = walk_over(fetch, concurrency=3)

    assert read == [str(index) for index in range(1, 8)]
    assert seen[0] == 1
    assert max(seen) == 3
    assert proved(walk, read)


def test_pages_come_in_their_order() -> None:
    """
    A later page that arrives sooner is yielded in its order.
    """
    third_is_there = threading.Event()

    def fetch(index: int) -> Page:
        if index == 2:
            assert third_is_there.wait(5)
        if index == 3:
            third_is_there.set()
        return page_of([str(index)] if index <= 3 else [], 3)

    _walk, read = walk_over(fetch, concurrency=2)

    assert read == ["1", "2", "3"]


def test_a_last_page_that_is_not_full_is_fetched_ahead_too() -> None:
    """
    The total of the first page covers the last page too.
    """
    third_is_asked_for = threading.Event()
    pages = ["ab", "cd", "e"]

    def fetch(index: int) -> Page:
        if index == 2:
            assert third_is_asked_for.wait(5)
        if index == 3:
            third_is_asked_for.set()
        return page_of([*pages[index - 1]], 5)

    _walk, read = walk_over(fetch, concurrency=2)

    assert read == [*"abcde"]


def test_as_many_pages_as_expected_are_requested_at_once() -> None:
    """
    The second page is requested before the first one has told that there is one.
    """
    second_is_asked_for = threading.Event()

    def fetch(index: int) -> Page | None:
        if index == 1:
            assert second_is_asked_for.wait(5)
        second_is_asked_for.set()
        return page_of([str(index)], 2) if index <= 2 else None

    _walk, read = walk_over(fetch, concurrency=2, expected_pages=2)

    assert read == ["1", "2"]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("expected_pages", [2, 3, 9])
@pytest.mark.parametrize("past_end", ["empty", "not_found", "repeat"])
def test_a_wrong_expectation_costs_requests_and_nothing_else(
    sandbox: Sandbox, api: NumberApi, past_end: PastEnd, expected_pages: int, size: int
) -> None:
    """
    However many pages were expected, the listing is read once and proved complete.
    """
    sandbox.reset(Inventory.seeded(size), Behaviour(max_per_page=PAGE, past_end=past_end))

    walk, read = walk_over(api.page, concurrency=4, expected_pages=expected_pages)

    assert read == [row["uuid"] for row in sandbox.inventory.rows]
    assert proved(walk, read)


@pytest.mark.parametrize("own_count", [True, False])
def test_a_short_page_is_not_the_end_of_a_listing_without_a_total(own_count: bool) -> None:
    """
    Rows may be left out of any page: without a total, only what follows a short one shows the end.
    """
    asked: list[int] = []
    pages = ["abc", "de", "fgh", "i", ""]

    def fetch(index: int) -> Page:
        asked.append(index)
        rows = [*pages[index - 1]]
        return page_of(rows, len(rows) if own_count else None)

    _walk, read = walk_over(fetch)

    assert read == [*"abcdefghi"]
    assert asked == [1, 2, 3, 4, 5]


def test_a_short_page_is_not_the_end_if_the_total_was_passed() -> None:
    """
    A total below what was read is capped: it does not show the end of a short page either.
    """
    walk, read = walk_over(paged(4, "abc", "de", "fgh", "i"))

    assert read == [*"abcdefghi"]
    assert not proved(walk, read)


def test_a_failed_page_ends_the_walk() -> None:
    """
    If a page can't be fetched, the walk fails and requests no more pages.
    """
    asked: list[int] = []

    def fetch(index: int) -> Page:
        asked.append(index)
        if index == 2:
            raise ProviderUnavailable("It broke.", reason="500")
        return page_of([str(index)], 100)

    with pytest.raises(ProviderUnavailable, match="It broke"):
        walk_over(fetch, concurrency=2)

    assert max(asked) <= 4


def test_a_refusal_in_the_middle_ends_the_walk(sandbox: Sandbox, api: NumberApi) -> None:
    """
    If the provider refuses a page, the walk fails instead of ending early.
    """
    sandbox.reset(Inventory.seeded(12), Behaviour(max_per_page=PAGE))
    sandbox.inject(Fault(kind="status", status=403, skip=2, times=100))

    with pytest.raises(ProviderRefused, match="403 from"):
        walk_over(api.page)


def test_faults_cost_retries_but_no_second_walk(sandbox: Sandbox, api: NumberApi) -> None:
    """
    A failed page alone is retried, and the walk is still complete.
    """
    sandbox.reset(Inventory.seeded(12), Behaviour(max_per_page=PAGE))
    sandbox.inject(
        Fault(kind="cut", skip=1), Fault(kind="status", status=429), Fault(kind="reset", skip=2)
    )

    walk, read = walk_over(api.page, concurrency=2)

    assert proved(walk, read)
    assert len(sandbox.requests) == 7  # 3 pages, 3 retries, and the empty page after a full one


def test_a_walk_that_is_left_early_requests_no_more() -> None:
    """
    If the reader stops, no more pages are fetched.
    """
    asked: list[int] = []
    release = threading.Event()

    def fetch(index: int) -> Page:
        asked.append(index)
        if index > 1:
            release.wait(5)
        return page_of([str(index)], 100)

    with ThreadPool(1) as pool:
        pages = iter(Walk(fetch, pool, lambda: 5.0))
        next(pages)
        del pages
        release.set()
        pool.submit(asked.append, -1).result(timeout=5)

    assert asked == [1, -1]


@pytest.mark.parametrize(
    ("concurrency", "expected", "total", "requested_before"),
    [
        pytest.param(4, 1, 2, [1], id="the-only-page"),
        pytest.param(5, 4, 6, [4], id="all-pages-of-last-time"),
        pytest.param(4, 1, 6, [1, 4], id="more-pages-than-last-time"),
        pytest.param(4, None, 6, [4], id="unknown-until-the-first-page"),
        pytest.param(1, 4, 6, [], id="no-free-thread"),
    ],
)
def test_it_is_told_when_no_further_page_is_expected(
    concurrency: int, expected: int | None, total: int, requested_before: list[int]
) -> None:
    """
    When all expected pages are requested, and a thread is free, something else may be requested.
    """
    requested: list[int] = []
    told: list[int] = []

    class Counted(ThreadPool):
        """
        Calls that are counted, and done when they are submitted.
        """

        def submit(self, call: Any, argument: Any) -> Any:
            """
            Count and do the call.
            """
            requested.append(argument)
            return InlinePool().submit(call, argument)

    fetch = paged(total, *(["ab"] * (total // 2) if total == 2 else ["ab", "cd", "ef"]))
    walk = Walk(
        fetch, Counted(concurrency), lambda: 5.0, expected, lambda: told.append(len(requested))
    )
    read = [row.uuid for page in walk for row in page.rows]

    assert len(read) == total
    assert told == requested_before


def test_a_first_page_requested_early_is_read_once() -> None:
    """
    The walk takes the page that was requested before it; of two such requests, the later one.
    """
    asked: list[int] = []

    def fetch(index: int) -> Page | None:
        asked.append(index)
        return page_of(["a", "b"], 4 + len(asked)) if index == 1 else None

    walk = Walk(fetch, InlinePool(), lambda: 5.0)
    walk.request_first()
    walk.request_first()
    totals = [page.num_results for page in walk]

    assert asked == [1, 1, 2]
    assert totals == [6]


@pytest.mark.parametrize(("left", "waited"), [(7.5, 7.5), (0.0, 0.0), (-3.0, 0.0)])
def test_a_page_is_waited_for_as_long_as_the_run_has_left(left: float, waited: float) -> None:
    """
    A page is waited for as long as the run has left, and not at all if it has nothing left.
    """
    waits: list[float | None] = []

    class Awaited(Future[Page | None]):
        """
        A result that notes how long it may be waited for.
        """

        def result(self, timeout: float | None = None) -> Page | None:
            """
            Note the time, and give what is there.
            """
            waits.append(timeout)
            return super().result(timeout)

    class AtOnce(ThreadPool):
        """
        Calls that are done when they are submitted.
        """

        def submit(self, call: Any, argument: Any) -> Any:
            """
            Do the call now.
            """
            future = Awaited()
            future.set_result(call(argument))
            return future

    list(Walk(paged(2, "ab"), AtOnce(1), lambda: left))

    assert waits == [waited, waited]


def test_a_page_is_not_waited_for_past_the_deadline() -> None:
    """
    The error of a run whose time is up names the page it was waiting for.
    """
    release = threading.Event()

    def fetch(index: int) -> Page:
        if index == 2:
            release.wait(5)
        return page_of([str(index)], 3)

    with pytest.raises(DeadlineExceeded, match="it was waiting for page 2"):
        walk_over(fetch, seconds=0.1)
    release.set()


def test_no_page_is_waited_for_once_the_time_is_up() -> None:
    """
    If the time was up before the page was requested, the walk fails at once.
    """
    release = threading.Event()

    with pytest.raises(DeadlineExceeded):
        walk_over(lambda _: page_of([], 0) if release.wait(5) else None, seconds=-1.0)
    release.set()


# What a walk proves


def test_an_empty_listing_is_proved_by_its_own_total() -> None:
    """
    A listing without numbers is complete if its total is 0.
    """
    walk, read = walk_over(lambda _: page_of([], 0))

    assert read == []
    assert proved(walk, read)


@pytest.mark.parametrize("total", [None, 1])
def test_an_empty_page_alone_proves_nothing(total: int | None) -> None:
    """
    A listing without numbers and with another total, or none, is not complete.
    """
    walk, read = walk_over(lambda _: page_of([], total))

    assert not proved(walk, read)


@pytest.mark.parametrize("total", [2, 4, None])
def test_another_total_proves_nothing(total: int | None) -> None:
    """
    More or fewer numbers than the total are not a complete listing.
    """
    walk, read = walk_over(paged(total, "ab", "c"))

    assert not proved(walk, read)


def test_a_number_that_came_twice_proves_nothing() -> None:
    """
    As many rows as the total, but one of them twice, are not a complete listing.
    """
    walk, read = walk_over(paged(4, "ab", "bc"))

    assert walk.rows == walk.num_results == 4
    assert not proved(walk, read)


def test_a_number_that_came_twice_beside_all_others_proves_nothing() -> None:
    """
    As many distinct numbers as the total, but one of them twice, mean that rows have moved.
    """
    walk, read = walk_over(paged(3, "ab", "bc"))

    assert len(set(read)) == walk.num_results == 3
    assert not proved(walk, read)


def test_rejects_count_as_numbers() -> None:
    """
    A row that can't be read was listed, so it counts.
    """
    rows: list[Number | Reject] = [
        number("a"),
        Reject(uuid="b", reason="odd", payload="{}"),
        Reject(uuid=None, reason="odd", payload="[]"),
    ]

    walk, read = walk_over(lambda _: Page(rows=rows, num_results=3, paginates=False))

    assert proved(walk, read)


@pytest.mark.parametrize(
    "totals",
    [(6, 6, 7), (6, 7, 6), (7, 6, 6), (6, 6, None), (6, None, 6), (None, 6, 6), (6, 5, 7)],
)
def test_every_page_must_have_the_same_total(totals: tuple[int | None, ...]) -> None:
    """
    A page with another total, or none, is from another state of the listing than the rest.
    """
    rows = ["ab", "cd", "ef"]

    walk, read = walk_over(
        lambda index: page_of([*rows[index - 1]], totals[index - 1]) if index <= 3 else None
    )

    assert sorted(map(str, read)) == [*"abcdef"]
    assert not proved(walk, read)


def test_the_last_total_is_kept() -> None:
    """
    A later page without a total does not remove the total of an earlier one.
    """
    pages = [page_of(["a", "b"], 5), page_of(["c", "d"], None)]

    walk, read = walk_over(lambda index: pages[index - 1] if index <= len(pages) else None)

    assert (walk.num_results, len(read)) == (5, 4)
    assert not proved(walk, read)


def test_a_total_past_the_end_counts() -> None:
    """
    An empty page past the end with another total shows that the listing changed.
    """
    pages = [page_of(["a", "b"], 2), page_of([], 3)]

    walk, read = walk_over(lambda index: pages[index - 1])

    assert walk.num_results == 3
    assert not proved(walk, read)


@pytest.mark.parametrize("past_end", [None, page_of([], 0), page_of([], None)])
def test_an_end_that_says_nothing_is_no_objection(past_end: Page | None) -> None:
    """
    A page past the end without a total, or with its own count, does not change the proof.
    """
    walk, read = walk_over(lambda index: page_of(["a", "b"], 2) if index == 1 else past_end)

    assert proved(walk, read)


# What is proved while the listing changes


@dataclass(frozen=True)
class Moment:
    """
    What had changed since the first response when a page was served, and what was listed then.
    """

    order: int
    added: int
    removed: int
    throughout: frozenset[str]
    rows: frozenset[str]


class Listing:
    """
    A listing that changes at random before each response except the first.
    """

    def __init__(self, chance: random.Random, size: int, length: int, past_end: PastEnd) -> None:
        self.rows = [f"n{index}" for index in range(size)]
        self.moments: dict[int, Moment] = {}
        self._chance = chance
        self._length = length
        self._past_end = past_end
        self._throughout = frozenset(self.rows)
        self._names = count(size)
        self._added = self._removed = 0

    def page(self, index: int) -> Page | None:
        """
        Serve one page.
        """
        while self.moments and self._chance.random() < 0.4:
            self._change()
        self.moments[index] = Moment(
            *(len(self.moments), self._added, self._removed, self._throughout),
            rows=frozenset(self.rows),
        )
        last = max(1, -(-len(self.rows) // self._length))
        if index > last and self._past_end == "not_found":
            return None
        index = min(index, last) if self._past_end == "repeat" else index
        rows = self.rows[(index - 1) * self._length : index * self._length]
        return page_of(rows, len(self.rows))

    def _change(self) -> None:
        if self.rows and self._chance.random() < 0.5:
            gone = self.rows.pop(self._chance.randrange(len(self.rows)))
            self._throughout -= {gone}
            self._removed += 1
        else:
            place = self._chance.randrange(len(self.rows) + 1)
            self.rows.insert(place, f"n{next(self._names)}")
            self._added += 1


class InAnyOrder(ThreadPool):
    """
    A pool whose calls are made one by one, in random order.
    """

    def __init__(self, concurrency: int, chance: random.Random) -> None:
        super().__init__(concurrency)
        self._chance = chance
        self._waiting: list[Callable[[], None]] = []

    def submit(self, call: Callable[[A], T], argument: A) -> Future[T]:
        """
        Make the call at some time before its result is needed.
        """
        future = Drawn[T](self.make_one)
        self._waiting.append(lambda: future.set_result(call(argument)))
        return future

    def make_one(self) -> None:
        """
        Make one of the submitted calls.
        """
        self._waiting.pop(self._chance.randrange(len(self._waiting)))()


class Drawn(Future[T]):
    """
    A future that makes submitted calls until its result is set.
    """

    def __init__(self, make_one: Callable[[], None]) -> None:
        super().__init__()
        self._make_one = make_one

    def result(self, timeout: float | None = None) -> T:
        """
        Return the result, after all calls that were drawn before it.
        """
        while not self.done():
            self._make_one()
        return super().result(timeout)


@settings(max_examples=8 * settings().max_examples, deadline=None)
@given(
    chance=st.randoms(use_true_random=False),
    size=st.integers(0, 12),
    length=st.integers(1, 4),
    past_end=st.sampled_from(["empty", "not_found", "repeat"]),
    concurrency=st.integers(1, 4),
    expected=st.integers(1, 4),
)
def test_what_is_called_complete_is_whole_but_for_a_balanced_shift(
    chance: random.Random,
    size: int,
    length: int,
    past_end: PastEnd,
    concurrency: int,
    expected: int,
) -> None:
    """
    A complete result has every number that was listed throughout, each once, but for one case.

    That case: between the first page read and every other one, as many numbers were added as
    removed, and at least one before the latest of these pages. Then at most as many numbers are
    missing as added ones were read in their place.
    """
    listing = Listing(chance, size, length, past_end)

    walk = Walk(listing.page, InAnyOrder(concurrency, chance), lambda: 10.0, expected)
    read = [str(row.uuid) for page in walk for row in page.rows]

    assert len(listing.moments) <= walk.pages + concurrency
    if not proved(walk, [*read]):
        return
    assert len(read) == len(set(read))
    moments = [listing.moments[index] for index in range(1, walk.pages + 1)]
    assert len({moment.added - moment.removed for moment in moments}) <= 1
    if moments:
        first, *_, latest = sorted([*moments, *moments], key=lambda moment: moment.order)
        missing = (latest.throughout & first.rows) - set(read)
        assert len(missing) <= len(set(read) - first.rows) <= latest.added - first.added


@pytest.mark.parametrize("seed", range(60))
def test_a_listing_that_changes_under_the_walk(sandbox: Sandbox, api: NumberApi, seed: int) -> None:
    """
    The same holds over real sockets and threads.

    A complete result has no number twice, and a number is missing from it only if another one,
    added meanwhile, was read in its place.
    """
    sandbox.reset(Inventory.seeded(14, seed=seed), Behaviour(max_per_page=3 + seed % 2))
    before = {row["uuid"] for row in sandbox.inventory.rows}
    changes = (sandbox.inventory.provision, sandbox.inventory.cancel)

    def change(page: int) -> None:
        if page > 1 and (seed + page) % 3 == 0:
            changes[seed // 3 % 2]()
            changes[seed // 6 % 2]()

    sandbox.before_page = change

    walk, read = walk_over(api.page, concurrency=1 + seed % 4)

    assert sandbox.failures == []
    if proved(walk, read):
        throughout = before & {row["uuid"] for row in sandbox.inventory.rows}
        assert len(read) == len(set(read))
        assert len(throughout - set(read)) <= len(set(read) - before)


def changing(first: str, then: str, *, length: int = 2, at: int = 2) -> Callable[[int], Page]:
    """
    A listing that changes before page `at` is served, one letter per number.
    """
    rows = [first]

    def fetch(index: int) -> Page:
        if index == at:
            rows[:] = [then]
        return page_of([*rows[0][(index - 1) * length : index * length]], len(rows[0]))

    return fetch


def test_a_removal_under_the_walk_is_noticed() -> None:
    """
    A number moves to a page that was already read; the total shows it.
    """
    walk, read = walk_over(changing("abcdef", "bcdef"))

    assert read == [*"abdef"]
    assert not proved(walk, read)


def test_an_addition_under_the_walk_is_noticed() -> None:
    """
    A number moves to the next page and is read twice.
    """
    walk, read = walk_over(changing("abcdef", "xabcdef"))

    assert read == [*"abbcdef"]
    assert not proved(walk, read)


def test_an_addition_that_only_an_earlier_page_shows_is_noticed() -> None:
    """
    If page 2 is served after the last page, it alone has the new total.

    The added number takes another one's place there, so the count of distinct ones is right.
    """
    last_is_there = threading.Event()

    def fetch(index: int) -> Page:
        if index == 2:
            assert last_is_there.wait(5)
            return page_of(["c", "x"], 7)
        if index == 3:
            last_is_there.set()
        return page_of([*"abcdef"[(index - 1) * 2 : index * 2]], 6)

    walk, read = walk_over(fetch, concurrency=2)

    assert read == [*"abcxef"]
    assert not proved(walk, read)


def test_a_balanced_shift_is_beyond_the_proof() -> None:
    """
    One removal before and one addition after a number, between two pages, hide that number.

    The search for each absent number finds it.
    """
    walk, read = walk_over(changing("abcdef", "bcdefx"))

    assert read == [*"abdefx"]
    assert proved(walk, read)
