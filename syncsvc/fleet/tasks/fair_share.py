"""
Which of the accounts that are due are handed out: hosts in turn, each one's oldest first.

It knows no clock and no database, so that a simulation can live through a day in seconds.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from syncsvc.vocabulary import Lane


class Due(msgspec.Struct, frozen=True):
    """
    An account that is due.

    Attributes:
        host: Where its requests go.
    """

    account: str
    host: str
    lane: Lane


def share_out(due: Iterable[Due], free: int, slots: int, running: Mapping[str, int]) -> list[Due]:
    """
    Choose the accounts that get the free slots of one lane.

    As long as other hosts have due accounts, one host gets at most half of the slots: so the
    accounts of a host that is slow or dead never take all of them.

    Args:
        due: Oldest first.
        free: Slots to fill.
        slots: All slots of the lane.
        running: Slots in use, by host.
    """
    waiting: dict[str, deque[Due]] = {}
    for each in due:
        waiting.setdefault(each.host, deque()).append(each)
    taken, chosen = Counter(running), list[Due]()
    while waiting and len(chosen) < free:
        host = _next_host(waiting, taken, max(slots // 2, 1))
        if host is None:
            break
        chosen.append(waiting[host].popleft())
        taken[host] += 1
        rest = waiting.pop(host)
        if rest:
            waiting[host] = rest  # behind the others
    return chosen


def _next_host(
    waiting: Mapping[str, deque[Due]], taken: Mapping[str, int], half: int
) -> str | None:
    """
    Return the first host in the row that may have a further slot.
    """
    if len(waiting) == 1:
        return next(iter(waiting))
    return next((host for host in waiting if taken[host] < half), None)
