"""
What the accounts of one host share: connections, pace and breaker.
"""

from __future__ import annotations

import threading
from contextlib import closing
from datetime import UTC
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from support.build import number_row
from syncsvc.errors import HostDown, ProviderRefused, ProviderUnavailable
from syncsvc.provider.client import NumberApi
from syncsvc.provider.http.host_breaker import FAILURES, PROBE_EVERY, HostBreaker
from syncsvc.provider.meter import NoMeter
from syncsvc.provider.shared_hosts import TOKENS_KEPT, Address, SharedHosts
from syncsvc.provider.tokens import FixedToken
from syncsvc.sandbox import Fault, Inventory

if TYPE_CHECKING:
    from collections.abc import Iterator

    from syncsvc.sandbox import Sandbox

HOST = "https://provider.example"


class HandClock:
    """
    A monotonic clock that is set by hand.
    """

    def __init__(self) -> None:
        """
        Start somewhere.
        """
        self.now = 1000.0

    def __call__(self) -> float:
        """
        Read the clock.
        """
        return self.now


@pytest.fixture
def hand_clock() -> HandClock:
    """
    The breaker's clock.
    """
    return HandClock()


@pytest.fixture
def down(hand_clock: HandClock) -> HostBreaker:
    """
    A breaker that has just found its host to be down.
    """
    breaker = HostBreaker(HOST, hand_clock)
    for _ in range(FAILURES):
        breaker.admit()
        breaker.record(answered=False)
    return breaker


@pytest.fixture
def hosts() -> Iterator[SharedHosts]:
    """
    What a process shares, with 8 connections to a host.
    """
    with closing(SharedHosts(connections=8, by_account=False, meter=NoMeter())) as shared:
        yield shared


def client(
    hosts: SharedHosts, sandbox: Sandbox, account: str, *, concurrency: int = 4, retries: int = 0
) -> NumberApi:
    """
    One account's client.
    """
    transport = hosts.transport(Address(sandbox.url, sandbox.url, 5.0), account, concurrency)
    tokens = FixedToken(sandbox.token)
    return NumberApi(transport, tokens, page_size=200, retries=retries, zone=UTC)


def test_a_host_is_down_after_some_failures_in_a_row(hand_clock: HandClock) -> None:
    """
    An answer in between begins the count anew.
    """
    breaker = HostBreaker(HOST, hand_clock)
    for answered in [False] * (FAILURES - 1) + [True] + [False] * (FAILURES - 1):
        breaker.admit()
        breaker.record(answered=answered)
    before = breaker.is_open
    breaker.record(answered=False)

    assert (before, breaker.is_open) == (False, True)


def test_a_host_that_is_down_is_tried_now_and_then(
    down: HostBreaker, hand_clock: HandClock
) -> None:
    """
    One request is let through each time that a probe is due, and the others fail at once.
    """
    admitted, refused = [], []
    for _ in range(40):
        hand_clock.now += PROBE_EVERY / 10
        try:
            down.admit()
        except HostDown as exc:
            refused.append((HOST in str(exc), exc.reason))
        else:
            admitted.append(hand_clock.now)

    assert len(admitted) in {3, 4}
    assert all(later - sooner >= PROBE_EVERY for sooner, later in pairwise(admitted))
    assert set(refused) == {(True, "host_down")}


def test_a_probe_that_is_answered_opens_the_way(down: HostBreaker, hand_clock: HandClock) -> None:
    """
    After one answer the host counts as up.
    """
    hand_clock.now += PROBE_EVERY
    down.admit()
    down.record(answered=True)
    for _ in range(3):
        down.admit()

    assert not down.is_open


def test_server_errors_close_the_host_for_all_its_accounts(
    hosts: SharedHosts, sandbox: Sandbox
) -> None:
    """
    What one account's requests met, another account is told without a request.
    """
    sandbox.reset(Inventory([number_row(1)]))
    sandbox.inject(Fault(kind="status", status=500, times=FAILURES))
    for _ in range(FAILURES):
        with pytest.raises(ProviderUnavailable):
            client(hosts, sandbox, "one").page(1)
    requested = len(sandbox.requests)

    with pytest.raises(HostDown):
        client(hosts, sandbox, "other", retries=3).page(1)
    assert len(sandbox.requests) == requested
    assert hosts.down() == {sandbox.url: True}


@pytest.mark.parametrize("status", [200, 401, 403, 404, 429])
def test_a_rejection_is_an_answer(hosts: SharedHosts, sandbox: Sandbox, status: int) -> None:
    """
    A host that rejects requests, or wants fewer of them, is up.
    """
    sandbox.reset(Inventory([number_row(1)]))
    sandbox.inject(Fault(kind="status", status=status, times=FAILURES + 1))
    transport = hosts.transport(Address(sandbox.url, sandbox.url, 5.0), "one", 4)
    answers = [
        transport.send("GET", "/api/numbers", headers={}).status for _ in range(FAILURES + 1)
    ]

    assert answers == [status] * (FAILURES + 1)
    assert hosts.down() == {sandbox.url: False}


def test_an_account_takes_no_more_than_its_own_concurrency(
    hosts: SharedHosts, sandbox: Sandbox
) -> None:
    """
    Of the host's connections, one account uses as many at once as it is allowed.
    """
    sandbox.reset(Inventory([number_row(1)]))
    lock, at_once, most = threading.Lock(), 0, 0
    release = threading.Event()

    def count(_page: int) -> None:
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        release.wait(1)
        with lock:
            at_once -= 1

    sandbox.before_page = count
    api = client(hosts, sandbox, "one", concurrency=2)
    threads = [threading.Thread(target=api.page, args=(1,)) for _ in range(5)]
    for thread in threads:
        thread.start()
    release.wait(0.3)
    release.set()
    for thread in threads:
        thread.join(10)

    assert len(sandbox.requests) == 5
    assert most == 2


def test_a_client_that_is_closed_leaves_the_others_theirs(
    hosts: SharedHosts, sandbox: Sandbox
) -> None:
    """
    The end of one account's run closes no connection that another account uses.
    """
    sandbox.reset(Inventory([number_row(1)]))
    one, other = client(hosts, sandbox, "one"), client(hosts, sandbox, "other")
    one.page(1)
    one.close()
    page = other.page(1)

    assert page is not None
    assert len(page.rows) == 1
    with pytest.raises(ProviderRefused, match="The run has ended"):
        one.page(1)


@pytest.mark.parametrize(("by_account", "paces"), [(False, 1), (True, 2)])
def test_a_pace_is_the_hosts_or_the_accounts(by_account: bool, paces: int) -> None:
    """
    After a 429 to one account, all accounts of a host are slower, or that account alone.
    """
    shared = SharedHosts(connections=8, by_account=by_account, meter=NoMeter())
    with closing(shared) as hosts:
        address = Address(HOST, HOST, 5.0)
        one = hosts.transport(address, "one", 4).new_throttle()
        other = hosts.transport(address, "other", 4).new_throttle()
        again = hosts.transport(address, "one", 4).new_throttle()

    throttles = {id(vars(each)["_shared"]) for each in (one, other, again)}
    assert len(throttles) == paces


def test_tokens_are_kept_for_an_hour(
    hosts: SharedHosts, monkeypatch: pytest.MonkeyPatch, hand_clock: HandClock
) -> None:
    """
    A run uses the token of the run before; other credentials, or an hour, bring another one.
    """
    monkeypatch.setattr("syncsvc.provider.shared_hosts.time.monotonic", hand_clock)

    def kept(*key: str) -> int:
        return id(hosts.tokens(key, lambda: FixedToken("token")))

    first = kept("one", "secret")
    assert kept("one", "secret") == first
    assert kept("one", "rotated") != first
    assert kept("other", "secret") != first
    hand_clock.now += TOKENS_KEPT - 1
    assert kept("one", "secret") == first
    hand_clock.now += TOKENS_KEPT + 1
    kept("other", "secret")
    assert ("one", "rotated") not in vars(hosts)["_tokens"]
