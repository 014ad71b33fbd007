"""
Ask the provider about single numbers that its listing does not show.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec
import structlog

from syncsvc.errors import DeadlineExceeded, SyncError
from syncsvc.payloads.records import Unchanged
from syncsvc.provider.thread_pool import InPlace
from syncsvc.provider.walk import Walk

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from syncsvc.payloads.records import Number, Reject
    from syncsvc.provider.client import NumberApi
    from syncsvc.provider.thread_pool import Fetchers

log = structlog.get_logger(__name__)


class Inquiry(msgspec.Struct, frozen=True):
    """
    A number to search for.

    Attributes:
        digits: Of its local number, else of its E.164 number.
    """

    uuid: str
    digits: str


class Outcome(StrEnum):
    """
    What a search that does not show the number says of it.
    """

    GONE = "gone"  # the whole result was seen, and the number is not in it
    UNSURE = "unsure"  # it failed, or its result was not proved complete


def look_for(
    inquiries: Sequence[Inquiry],
    api: NumberApi,
    fetchers: Fetchers,
    seconds_left: Callable[[], float],
) -> dict[str, Number | Reject | Outcome]:
    """
    Search for numbers, several at once; what comes out of each, by uuid.

    Returns:
        The number's own row, be it one that can't be read, where the search shows it.

    Raises:
        DeadlineExceeded: The run's time is up.
    """

    def look(inquiry: Inquiry) -> Number | Reject | Outcome:
        return _look(inquiry, api, seconds_left)

    waiting = [(inquiry.uuid, fetchers.submit(look, inquiry)) for inquiry in inquiries]
    try:
        return {uuid: future.result(max(seconds_left(), 0.0)) for uuid, future in waiting}
    except TimeoutError:
        raise DeadlineExceeded.during("searching for numbers that are not listed") from None
    finally:
        for _uuid, future in waiting:
            future.cancel()


def _look(
    inquiry: Inquiry, api: NumberApi, seconds_left: Callable[[], float]
) -> Number | Reject | Outcome:
    walk = Walk(lambda index: api.search_page(inquiry.digits, index), InPlace(), seconds_left)
    try:
        return _find(inquiry.uuid, walk)
    except DeadlineExceeded:
        raise
    except SyncError as exc:
        log.warning("sync.search_failed", uuid=inquiry.uuid, error=str(exc))
        return Outcome.UNSURE


def _find(uuid: str, walk: Walk) -> Number | Reject | Outcome:
    seen: set[str] = set()
    for page in walk:
        for row in page.rows:
            if row.uuid is None or isinstance(row, Unchanged):  # a search reads every row
                return Outcome.UNSURE
            if row.uuid == uuid:
                return row
            seen.add(row.uuid)
    return Outcome.GONE if walk.prove(len(seen)).complete else Outcome.UNSURE
