"""
Read the whole listing once, and judge whether it was read completely.

The API has no cursor and no snapshot. Where a listing ends, and whether all of
it was read, has to be inferred from `num_results`, the length of the pages and
what comes after the last one.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import msgspec

from syncsvc.errors import DeadlineExceeded
from syncsvc.provider.thread_pool import result_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

    from syncsvc.payloads.records import Page
    from syncsvc.provider.thread_pool import ThreadPool


class Proof(msgspec.Struct, frozen=True):
    """
    Whether one walk read the whole listing.

    Attributes:
        complete: Every page has the same `num_results`, as many distinct rows
            were read, and none twice. Comparing only the first and the last
            page is not enough: pages are requested concurrently, so any of
            them may be the latest.
    """

    complete: bool


class Walk:
    """
    One pass over the listing. Iterate over it for its pages, in order.

    Args:
        fetch: Returns a page by its number, or None if there is no such page.
        pool: The threads that call it.
        seconds_left: Returns how long to wait for a page.
        expected_pages: How many pages to request before the first one tells how many there are;
            None if that is not known.
        on_all_requested: Called when all pages that are expected have been requested, and a thread
            is free; once more if the first page then tells of further ones.

    Attributes:
        pages: Number of pages with rows.
        rows: Number of rows on them.
    """

    def __init__(
        self,
        fetch: Callable[[int], Page | None],
        pool: ThreadPool,
        seconds_left: Callable[[], float],
        expected_pages: int | None = None,
        on_all_requested: Callable[[], None] = lambda: None,
    ) -> None:
        self._fetch = fetch
        self._pool = pool
        self._seconds_left = seconds_left
        self._requested: deque[tuple[int, Future[Page | None]]] = deque()
        self._known_pages = expected_pages or 1  # to request; then by the total of the first one
        self._on_all_requested = on_all_requested
        self._tells_when_all_requested = expected_pages is not None
        self._page_length = 0  # rows that the provider sends on a full page
        self._first_total: int | None = None
        self._last_total: int | None = None
        self._totals_agree = True  # of every page so far
        self._seen: set[bytes] = set()  # the identity of each page
        self.pages = 0
        self.rows = 0

    def __iter__(self) -> Iterator[Page]:
        """
        Yield every page up to the end of the listing, each once.

        Raises:
            DeadlineExceeded: The run's time is up.
            SyncError: A page could not be fetched; the walk then proves nothing.
        """
        try:
            while (page := self._next()) is not None:
                yield page
                if self._ends_with(page):
                    return
        finally:
            self.close()

    def request_first(self) -> None:
        """
        Request the first page before it is waited for; drop one that was requested earlier.
        """
        self.close()
        self._request_ahead(1)

    def close(self) -> None:
        """
        Cancel the requests that have not begun.
        """
        for _index, future in self._requested:
            future.cancel()
        self._requested.clear()

    @property
    def num_results(self) -> int | None:
        """
        Return the last `num_results` that was read.
        """
        return self._last_total

    def prove(self, distinct: int) -> Proof:
        """
        Judge the walk after its end, by the number of distinct rows that it read.
        """
        as_announced = self._totals_agree and self._first_total == distinct
        return Proof(complete=as_announced and distinct == self.rows)

    def _next(self) -> Page | None:
        """
        Return the next page, or None if the listing has ended.
        """
        page = self._wait_for(self.pages + 1)
        if page is None:
            return None
        total = page.num_results
        if self.pages == 0:
            self._first_total = self._last_total = total
        elif page.length or total:  # an empty page may count only itself, and say 0
            self._totals_agree = self._totals_agree and total == self._first_total
            self._last_total = self._last_total if total is None else total
        # Hosts differ in what they send past the end: nothing, an empty page, or the last page
        # again. A page that was read before must end the walk, or it would never end.
        # It may come in another order, as an unordered query returns it.
        identity = page.identity
        if not page.length or identity in self._seen:
            return None
        self._seen.add(identity)
        self._count(page)
        return page

    def _count(self, page: Page) -> None:
        self.pages += 1
        self.rows += page.length
        if self.pages == 1:
            self._page_length = page.length
            if _counts_listing(page):
                self._expect(page.num_results or 0)

    def _expect(self, total: int) -> None:
        # One page more than needed if the last one is full: the one after it must be empty.
        pages = total // self._page_length + 1
        self._tells_when_all_requested |= pages > self._known_pages
        self._known_pages = pages

    def _ends_with(self, page: Page) -> bool:
        """
        Return whether this page is certainly the last one, so that the next is not requested.
        """
        # A full page is not, whatever its `num_results` and `paginates` are: hosts may cap both,
        # and the numbers beyond the cap would then be taken for absent and cancelled. The page
        # after it decides.
        if page.length >= self._page_length:
            return False
        # A short page is not either, unless it reaches the total: the host may send short pages in
        # the middle. Without a total, or with one that was passed, nothing else shows the end.
        return _counts_listing(page) and self.rows == page.num_results

    def _wait_for(self, index: int) -> Page | None:
        self._request_ahead(index)
        _index, future = self._requested.popleft()
        try:
            return result_of(future, self._seconds_left)
        except TimeoutError:
            raise DeadlineExceeded.during(f"waiting for page {index}") from None

    def _request_ahead(self, index: int) -> None:
        """
        Request as many pages as there are threads, but none past the known end.
        """
        following = self._requested[-1][0] + 1 if self._requested else index
        while not self._requested or (
            len(self._requested) < self._pool.size and following <= self._known_pages
        ):
            self._requested.append((following, self._pool.submit(self._fetch, following)))
            following += 1
        if self._tells_when_all_requested and len(self._requested) < self._pool.size:
            self._tells_when_all_requested = False
            self._on_all_requested()


def _counts_listing(page: Page) -> bool:
    """
    Return whether a page's `num_results` counts the listing, and not only the page's own rows.
    """
    return page.num_results is not None and page.num_results != page.length
