"""
Free slots are shared out fairly between the hosts of the accounts that are due.
"""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from syncsvc.fleet.tasks.fair_share import Due, share_out
from syncsvc.vocabulary import Lane


def due_at(*hosts: str) -> list[Due]:
    """
    Accounts of these hosts, the oldest first.
    """
    return [Due(f"account-{place}", host, Lane.FAST) for place, host in enumerate(hosts)]


def names(chosen: list[Due]) -> list[str]:
    """
    The accounts that were chosen.
    """
    return [each.account for each in chosen]


def test_hosts_take_turns() -> None:
    """
    The oldest account of each host comes before the second oldest of any.
    """
    chosen = share_out(due_at("a", "a", "a", "b", "c"), free=4, slots=8, running={})

    assert [each.host for each in chosen] == ["a", "b", "c", "a"]
    assert names(chosen) == ["account-0", "account-3", "account-4", "account-1"]


def test_a_host_has_at_most_half_of_the_slots_beside_others() -> None:
    """
    A host whose accounts hang leaves the other half to the others.
    """
    chosen = share_out(due_at("dead", "dead", "b", "b", "b"), free=4, slots=6, running={"dead": 3})

    assert [each.host for each in chosen] == ["b", "b", "b", "dead"]
    assert names(share_out(due_at("dead", "b"), free=1, slots=6, running={"dead": 3})) == [
        "account-1"
    ]


def test_a_host_alone_may_have_all_slots() -> None:
    """
    If nobody else has a due account, no slot stays empty.
    """
    assert len(share_out(due_at(*"aaaaaaaa"), free=6, slots=6, running={})) == 6


@given(
    due=st.lists(st.sampled_from("abc"), max_size=30).map(lambda hosts: due_at(*hosts)),
    slots=st.integers(1, 10),
    running=st.dictionaries(st.sampled_from("abcd"), st.integers(0, 4)),
)
def test_the_laws_of_sharing_out(due: list[Due], slots: int, running: dict[str, int]) -> None:
    """
    No slot twice, no account twice, oldest first in each host, and no host beyond its half.
    """
    free = max(slots - sum(running.values()), 0)
    chosen = share_out(due, free, slots, running)

    assert len(chosen) <= free
    assert len(set(names(chosen))) == len(chosen)
    for host in "abc":
        of_host = [each for each in due if each.host == host]
        taken = [each for each in chosen if each.host == host]
        assert taken == of_host[: len(taken)]
    taken_by = Counter(running) + Counter(each.host for each in chosen)
    beyond = {host for host in taken_by if taken_by[host] > max(slots // 2, 1)}
    left = {each.host for each in due if each not in chosen}
    for host in beyond & {each.host for each in chosen}:
        assert not left - {host}
    if len(chosen) < free:
        assert all(taken_by[host] >= max(slots // 2, 1) for host in left)
