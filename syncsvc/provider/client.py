"""
Fetch pages of numbers from the provider, with retries.

One attempt fetches and decodes one page, so that a truncated body is retried
like any other failure. An error that a retry can't solve is raised immediately
and says what to do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import stamina

from syncsvc.errors import HostDown, NoSuchListing, ProviderRefused, ProviderUnavailable
from syncsvc.payloads.decode_page import NOTHING_IGNORED, read_page
from syncsvc.provider.http.response import RATE_LIMITED
from syncsvc.provider.meter import endpoint

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta, tzinfo

    from syncsvc.payloads.extra_fields import IgnoredFields
    from syncsvc.payloads.fingerprint import Known
    from syncsvc.payloads.records import Page
    from syncsvc.provider.http.response import Response
    from syncsvc.provider.http.transport import HttpTransport
    from syncsvc.provider.shared_hosts import AccountTransport
    from syncsvc.provider.tokens import Tokens

ACCEPT = "application/vnd.cloudlx.v1+json"
NUMBERS = "/api/numbers"
CANCELLED = "/api/numbers/cancelled"
FIRST_BACKOFF, LONGEST_BACKOFF, JITTER = 0.5, 30.0, 1.0  # seconds


class NumberApi:
    """
    One provider account, read only. Safe to use from several threads.

    Args:
        transport: Sends the requests; its concurrency is the throttle's limit, too. It may be one
            account's part of a transport that others share.
        tokens: The source of bearer tokens.
        page_size: Numbers per page to ask for.
        retries: Further attempts for one request.
        zone: The time zone of timestamps without one.
        ignored: Unknown fields that are not stored.
    """

    def __init__(
        self,
        transport: HttpTransport | AccountTransport,
        tokens: Tokens,
        *,
        page_size: int,
        retries: int,
        zone: tzinfo,
        ignored: IgnoredFields = NOTHING_IGNORED,
    ) -> None:
        self._transport = transport
        self._tokens = tokens
        self.page_size = page_size
        self._retries = retries
        self._zone = zone
        self._ignored = ignored
        self._throttle = transport.new_throttle()
        self._closed = False
        self.clock_ahead: timedelta | None = None  # of the provider's, by the last response

    @property
    def concurrency(self) -> int:
        """
        Return the number of pages that may be requested at once.
        """
        return self._transport.concurrency

    def close(self) -> None:
        """
        Close the connections. Attempts that wait for the throttle end with an error.
        """
        self._closed = True
        self._throttle.close()
        self._transport.close()

    def page(self, index: int, known: Known | None = None) -> Page | None:
        """
        Fetch one page of the listing, counted from 1.

        Args:
            index: The number of the page.
            known: Fingerprints of rows that need not be decoded, as for `read_page`.

        Returns:
            None if there is no such page: the provider may answer 404 past the last one.

        Raises:
            ProviderUnavailable: Every attempt failed.
            ProviderRefused: The token or the request is wrong.
        """
        return self._fetch(NUMBERS, index, known)

    def cancelled_page(self, index: int) -> Page | None:
        """
        Fetch one page of the cancelled listing, as `page` does.

        Raises:
            NoSuchListing: The account has no such listing, or may not see it.
        """
        return self._fetch(CANCELLED, index)

    def search_page(self, digits: str, index: int) -> Page | None:
        """
        Fetch one page of the numbers that contain these digits, as `page` does.
        """
        return self._fetch(NUMBERS, index, search=digits)

    def _fetch(
        self, path: str, index: int, known: Known | None = None, **search: str
    ) -> Page | None:
        params: dict[str, str | int] = {**search, "max_per_page": self.page_size, "page": index}
        reasons: list[str] = []
        for attempt in stamina.retry_context(
            on=lambda exc: self._wait_before_retry(exc, reasons),
            attempts=self._retries + 1,
            timeout=None,
            wait_initial=FIRST_BACKOFF,
            wait_max=LONGEST_BACKOFF,
            wait_jitter=JITTER,
        ):
            if attempt.num > 1:
                self._transport.meter.retried(endpoint(path, params), reasons[-1])
            with attempt:
                return self._fetch_once(path, params, known)
        raise AssertionError("the last attempt either returned or raised")  # pragma: no cover

    def _fetch_once(
        self, path: str, params: Mapping[str, str | int], known: Known | None
    ) -> Page | None:
        response = self._get(path, params)
        if response.is_ok:
            return read_page(response.body, self._zone, known, self._ignored)
        if response.is_not_found and params["page"] != 1:
            return None
        if response.is_transient:
            raise response.unavailable(path)
        no_listing = path == CANCELLED and response.is_denied
        raise response.refused(path, NoSuchListing if no_listing else ProviderRefused)

    def _get(self, path: str, params: Mapping[str, str | int]) -> Response:
        """
        Send a request with the current token, and after a 401 again with a new one.

        If that token came from a refresh and is rejected as well, once more with a requested one.
        """
        token = self._tokens.current()
        response = self._send(path, params, token)
        if response.is_unauthorized and (fresh := self._tokens.replacement(token)):
            response = self._send(path, params, fresh)
            if response.is_unauthorized and self._tokens.was_refreshed(fresh):
                requested = self._tokens.replacement(fresh)
                response = self._send(path, params, requested) if requested else response
        return response

    def _send(self, path: str, params: Mapping[str, str | int], token: str) -> Response:
        headers = {"Accept": ACCEPT, "Authorization": f"Bearer {token}"}
        with self._throttle.slot() as record:
            if self._closed:
                raise ProviderRefused("The run has ended; nothing more is requested.")
            response = self._transport.send("GET", path, params=params, headers=headers)
            record(response)
        self.clock_ahead = response.clock_ahead
        return response

    def _wait_before_retry(self, exc: Exception, reasons: list[str]) -> bool | float:
        """
        Return whether to retry: after as many seconds as Retry-After says, or with a backoff.

        A Retry-After of 0, or a date that is over by our clock, names no time: without a backoff,
        all attempts would be made at once. After a first 429 without a time, the throttle alone
        decides how long to wait.
        """
        if self._closed or isinstance(exc, HostDown) or not isinstance(exc, ProviderUnavailable):
            return False
        reasons.append(exc.reason)
        if exc.retry_after:
            return exc.retry_after
        return 0.0 if reasons == [RATE_LIMITED] else True
