"""
What the accounts of one provider's host share in a process: connections, pace and breaker.

Each has its own tokens, which are kept for an hour after their last use.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from syncsvc.provider.http.host_breaker import HostBreaker
from syncsvc.provider.http.transport import HttpTransport
from syncsvc.provider.throttle import Throttle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from syncsvc.provider.http.response import Response
    from syncsvc.provider.meter import Meter
    from syncsvc.provider.tokens import Tokens

TOKENS_KEPT = 3600.0  # seconds after their last use


class Address(NamedTuple):
    """
    Where an account's requests go, and how long one may take.

    Attributes:
        host: The origin of the address: what accounts with other paths and time-outs share.
        timeout: Seconds.
    """

    host: str
    api_url: str
    timeout: float


class _Kept(msgspec.Struct):
    tokens: Tokens
    used_at: float


class AccountThrottle:
    """
    One account's part of a throttle that the accounts of a host share.

    Args:
        shared: The host's throttle.
        concurrency: Requests of this account in flight at most.
    """

    def __init__(self, shared: Throttle, concurrency: int) -> None:
        self._shared = shared
        self._own = threading.BoundedSemaphore(concurrency)

    @contextmanager
    def slot(self) -> Iterator[Callable[[Response], None]]:
        """
        Wait until a request may begin; call the result with its response, if there is one.
        """
        with self._own, self._shared.slot() as record:
            yield record

    def close(self) -> None:
        """
        Do nothing: the throttle is the other accounts', too.
        """


class AccountTransport:
    """
    One account's part of a transport and a throttle that the accounts of a host share.

    Attributes:
        concurrency: Requests of this account in flight at most.
    """

    def __init__(self, shared: HttpTransport, throttle: Throttle, concurrency: int) -> None:
        self.concurrency = concurrency
        self.meter = shared.meter
        self.send = shared.send
        self._throttle = throttle

    def new_throttle(self) -> AccountThrottle:
        """
        Return this account's part of the host's throttle.
        """
        return AccountThrottle(self._throttle, self.concurrency)

    def close(self) -> None:
        """
        Do nothing: the connections are the other accounts', too.
        """


class SharedHosts:
    """
    The hosts that a process has talked to. Safe to use from several threads.

    Args:
        connections: Requests, and so connections, at once to one host.
        by_account: Each account has a pace of its own, for hosts that limit each client.
        meter: Counts every request.
    """

    def __init__(self, *, connections: int, by_account: bool, meter: Meter) -> None:
        self._connections = connections
        self._by_account = by_account
        self._meter = meter
        self._lock = threading.Lock()
        self._transports: dict[Address, HttpTransport] = {}
        self._breakers: dict[str, HostBreaker] = {}
        self._throttles: dict[tuple[str, str], Throttle] = {}
        self._tokens: dict[tuple[str, ...], _Kept] = {}

    def transport(self, address: Address, account: str, concurrency: int) -> AccountTransport:
        """
        Return an account's part of the way to an address.

        Args:
            concurrency: Requests of this account in flight at most.
        """
        key = (address.host, account if self._by_account else "")
        with self._lock:
            throttle = self._throttles.setdefault(key, Throttle(self._connections))
            shared = self._transports.get(address) or self._new_transport(address)
        return AccountTransport(shared, throttle, concurrency)

    def _new_transport(self, address: Address) -> HttpTransport:
        breaker = self._breakers.setdefault(address.host, HostBreaker(address.host))
        transport = self._transports[address] = HttpTransport(
            address.api_url,
            timeout=address.timeout,
            concurrency=self._connections,
            meter=self._meter,
            breaker=breaker,
        )
        return transport

    def tokens(self, key: tuple[str, ...], make: Callable[[], Tokens]) -> Tokens:
        """
        Return the tokens kept under a key, or new ones.

        Args:
            key: The account, its address and its credentials: other credentials are other tokens.
        """
        now = time.monotonic()
        with self._lock:
            outdated = [k for k, kept in self._tokens.items() if now > kept.used_at + TOKENS_KEPT]
            for each in outdated:
                del self._tokens[each]
            kept = self._tokens.setdefault(key, _Kept(make(), now))
            kept.used_at = now
            return kept.tokens

    def down(self) -> dict[str, bool]:
        """
        Return for each host whether it counts as down.
        """
        with self._lock:
            return {host: breaker.is_open for host, breaker in self._breakers.items()}

    def close(self) -> None:
        """
        Close every connection, and end every wait: requests in progress fail.
        """
        with self._lock:
            for throttle in self._throttles.values():
                throttle.close()
            for transport in self._transports.values():
                transport.close()
