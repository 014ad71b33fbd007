"""
Search for numbers that are missing from the listing, to confirm that they are absent.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec
import structlog

from syncsvc.errors import DeadlineExceeded, SyncError
from syncsvc.payloads.records import Unchanged
from syncsvc.provider.thread_pool import InlinePool, result_of
from syncsvc.provider.walk import Walk

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from syncsvc.payloads.records import Number, Reject
    from syncsvc.provider.client import NumberApi
    from syncsvc.provider.thread_pool import ThreadPool

log = structlog.get_logger(__name__)


class SearchRequest(msgspec.Struct, frozen=True):
    """
    A number to search for.

    Attributes:
        digits: The digits of its local number, or of its E.164 number if it has no local one.
    """

    uuid: str
    digits: str


class SearchOutcome(StrEnum):
    """
    The result of a search that did not find the number.
    """

    ABSENT = "absent"  # the result was complete, and the number is not in it
    UNSURE = "unsure"  # the search failed, or its result was not proved complete


def search_numbers(
    requests: Sequence[SearchRequest],
    api: NumberApi,
    pool: ThreadPool,
    seconds_left: Callable[[], float],
) -> dict[str, Number | Reject | SearchOutcome]:
    """
    Search for numbers concurrently.

    Returns:
        By uuid: the number's row (a `Reject` if it can't be read) if the search found it, else
        the outcome.

    Raises:
        DeadlineExceeded: The run's time is up.
    """

    def search(request: SearchRequest) -> Number | Reject | SearchOutcome:
        return _search_number(request, api, seconds_left)

    futures = {request.uuid: pool.submit(search, request) for request in requests}
    try:
        return {uuid: result_of(future, seconds_left) for uuid, future in futures.items()}
    except TimeoutError:
        raise DeadlineExceeded.during("searching for numbers that are not listed") from None
    finally:
        for future in futures.values():
            future.cancel()


def _search_number(
    request: SearchRequest, api: NumberApi, seconds_left: Callable[[], float]
) -> Number | Reject | SearchOutcome:
    walk = Walk(lambda index: api.search_page(request.digits, index), InlinePool(), seconds_left)
    try:
        return _find_number(request.uuid, walk)
    except DeadlineExceeded:
        raise
    except SyncError as exc:
        log.warning("sync.search_failed", uuid=request.uuid, error=str(exc))
        return SearchOutcome.UNSURE


def _find_number(uuid: str, walk: Walk) -> Number | Reject | SearchOutcome:
    seen: set[str] = set()
    for page in walk:
        for row in page.rows:
            if row.uuid is None or isinstance(row, Unchanged):  # a search reads every row
                return SearchOutcome.UNSURE
            if row.uuid == uuid:
                return row
            seen.add(row.uuid)
    complete = walk.prove(len(seen)).complete
    return SearchOutcome.ABSENT if complete else SearchOutcome.UNSURE
