"""
Walk over the whole listing once, and say what that proves.

The API has no cursor and no snapshot, so the end of a listing and its
wholeness have to be inferred: from `num_results`, the length of pages and what
is past the end. `Walk` stops by itself at each of these.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import msgspec

from syncsvc.errors import DeadlineExceeded
from syncsvc.payloads.records import Reject

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

    from syncsvc.payloads.records import Number, Page, Unchanged
    from syncsvc.provider.thread_pool import ThreadPool


class Proof(msgspec.Struct, frozen=True):
    """
    Whether one walk saw the whole listing.

    Attributes:
        complete: The distinct rows read are as many as the provider said on
            every page from the first to the last, and none came twice. With
            pages in flight side by side the last one is not the latest, so
            that the first and the last alone would not do.
    """

    complete: bool


class Walk:
    """
    One pass over the listing. Iterate over it for its pages, in order.

    Args:
        fetch: Gives a page by its number; None where there is no such page.
        pool: The threads that call it.
        seconds_left: How long a page may still be waited for.

    Attributes:
        pages: Pages that held rows.
        rows: Rows on them.
    """

    def __init__(
        self,
        fetch: Callable[[int], Page | None],
        pool: ThreadPool,
        seconds_left: Callable[[], float],
    ) -> None:
        self._fetch = fetch
        self._pool = pool
        self._seconds_left = seconds_left
        self._ahead: deque[tuple[int, Future[Page | None]]] = deque()
        self._known_pages = 1  # pages to ask for, by what the first one said
        self._page_length = 0  # what the provider sends on a full page
        self._said_first: int | None = None
        self._said_last: int | None = None
        self._said_alike = True  # on every page so far
        self._seen: set[int] = set()  # one hash for each page
        self.pages = 0
        self.rows = 0

    def __iter__(self) -> Iterator[Page]:
        """
        Every page up to the end of the listing, each once.

        Raises:
            DeadlineExceeded: The run's time is up.
            SyncError: A page could not be had; the walk proves nothing then.
        """
        try:
            while (page := self._next()) is not None:
                yield page
                if self._ends_with(page):
                    return
        finally:
            self._forget_ahead()

    @property
    def num_results(self) -> int | None:
        """
        The listing's size as the provider said it last.
        """
        return self._said_last

    def prove(self, distinct: int) -> Proof:
        """
        Judge the walk, once it has ended, by how many distinct rows it read.
        """
        said = self._said_alike and self._said_first == distinct
        return Proof(complete=said and distinct == self.rows)

    def _next(self) -> Page | None:
        """
        The next page; None where the listing has ended before it.
        """
        page = self._wait_for(self.pages + 1)
        if page is None:
            return None
        total = page.num_results
        if self.pages == 0:
            self._said_first = self._said_last = total
        elif page.rows or total:
            self._said_alike = self._said_alike and total == self._said_first
            self._said_last = self._said_last if total is None else total
        mark = hash(tuple(map(_identity, page.rows)))
        if not page.rows or mark in self._seen:
            return None
        self._seen.add(mark)
        self._count(page)
        return page

    def _count(self, page: Page) -> None:
        self.pages += 1
        self.rows += len(page.rows)
        if self.pages == 1:
            self._page_length = len(page.rows)
            if _counts_listing(page):
                # A last page that is full is followed by one that has to be empty.
                self._known_pages = (page.num_results or 0) // self._page_length + 1

    def _ends_with(self, page: Page) -> bool:
        """
        Whether a page is the last one, without asking for the next.

        A full page never is, whatever `num_results` and `paginates` say: both may be capped, and
        then the rest would be taken for absent. What the page after it has decides.
        """
        if len(page.rows) >= self._page_length:
            return False
        return not _counts_listing(page) or self.rows >= (page.num_results or 0)

    def _wait_for(self, index: int) -> Page | None:
        self._look_ahead(index)
        _index, future = self._ahead.popleft()
        try:
            return future.result(timeout=max(self._seconds_left(), 0.0))
        except TimeoutError:
            raise DeadlineExceeded.during(f"waiting for page {index}") from None

    def _look_ahead(self, index: int) -> None:
        """
        Keep as many pages in flight as there are threads, but none past the known end.
        """
        following = self._ahead[-1][0] + 1 if self._ahead else index
        while not self._ahead or (
            len(self._ahead) < self._pool.size and following <= self._known_pages
        ):
            self._ahead.append((following, self._pool.submit(self._fetch, following)))
            following += 1

    def _forget_ahead(self) -> None:
        for _index, future in self._ahead:
            future.cancel()
        self._ahead.clear()


def _counts_listing(page: Page) -> bool:
    """
    Whether a page's `num_results` counts more than the page itself.
    """
    return page.num_results is not None and page.num_results != len(page.rows)


def _identity(row: Number | Reject | Unchanged) -> str:
    return row.uuid or row.payload if isinstance(row, Reject) else row.uuid
