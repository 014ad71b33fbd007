"""
Ask the provider for listing pages, as often as it takes.

One page is fetched and decoded in one attempt, so that a body which breaks
off is retried like any other failure. What can't pass by itself is raised at
once with what to do about it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import stamina

from syncsvc.errors import NoSuchListing, ProviderRefused, ProviderUnavailable
from syncsvc.payloads.decode import NOTHING_IGNORED, read_page
from syncsvc.provider.throttle import Pace
from syncsvc.provider.transport import endpoint

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import tzinfo

    from syncsvc.payloads.fingerprint import Known
    from syncsvc.payloads.records import Page
    from syncsvc.payloads.unknown_fields import IgnoredFields
    from syncsvc.provider.tokens import Tokens
    from syncsvc.provider.transport import Answer, Exchange

ACCEPT = "application/vnd.cloudlx.v1+json"
NUMBERS = "/api/numbers"
CANCELLED = "/api/numbers/cancelled"
OK = 200
UNAUTHORIZED = 401
FORBIDDEN = 403
NOT_FOUND = 404
REFUSED = "429"  # too many requests, as the reason of a failure

ADVICE = {
    UNAUTHORIZED: "The token is not accepted. Check SYNCSVC_API_TOKEN, or the client's id and "
    "secret, and that SYNCSVC_API_URL is the host that they belong to.",
    FORBIDDEN: "The token's portal user may not see numbers. Ask for the permission in the portal.",
    NOT_FOUND: "There is no such API. Check SYNCSVC_API_URL.",
}


class NumberApi:
    """
    One provider account, read only. Safe to use from several threads.

    Args:
        exchange: The way to the provider.
        tokens: Where its bearer token comes from.
        page_size: How many numbers to ask for at once.
        retries: Further attempts for one request.
        zone: The zone of timestamps that bear none.
        ignored: Fields that are not stored.
    """

    def __init__(
        self,
        exchange: Exchange,
        tokens: Tokens,
        *,
        page_size: int,
        retries: int,
        zone: tzinfo,
        ignored: IgnoredFields = NOTHING_IGNORED,
    ) -> None:
        self._exchange = exchange
        self._tokens = tokens
        self._page_size = page_size
        self._retries = retries
        self._zone = zone
        self._ignored = ignored
        self._pace = Pace(exchange.connections)
        self._closed = False

    def close(self) -> None:
        """
        Close the connections; attempts that wait for their turn are given up.
        """
        self._closed = True
        self._pace.close()
        self._exchange.close()

    def page(self, index: int, known: Known | None = None) -> Page | None:
        """
        Fetch one page of the listing, counted from 1.

        Args:
            index: The number of the page.
            known: Fingerprints of rows that need not be decoded, as for `read_page`.

        Returns:
            None where the provider answers 404, which past the end is its right.

        Raises:
            ProviderUnavailable: It did not work in any attempt.
            ProviderRefused: The token or the request is wrong.
        """
        return self._fetch(NUMBERS, index, known)

    def cancelled_page(self, index: int) -> Page | None:
        """
        Fetch one page of the cancelled listing, as `page` does.

        Raises:
            NoSuchListing: The account has none, or may not see it.
        """
        return self._fetch(CANCELLED, index)

    def search_page(self, digits: str, index: int) -> Page | None:
        """
        Fetch one page of the numbers that contain some digits, as `page` does.
        """
        return self._fetch(NUMBERS, index, search=digits)

    def _fetch(
        self, path: str, index: int, known: Known | None = None, **search: str
    ) -> Page | None:
        params: dict[str, str | int] = {**search, "max_per_page": self._page_size, "page": index}
        reasons: list[str] = []
        for attempt in stamina.retry_context(
            on=lambda exc: self._wait_before_retry(exc, reasons),
            attempts=self._retries + 1,
            timeout=None,
            wait_initial=0.5,
            wait_max=30.0,
            wait_jitter=1.0,
        ):
            if attempt.num > 1:
                self._exchange.meter.retried(endpoint(path, params), reasons[-1])
            with attempt:
                return self._fetch_once(path, params, known)
        raise AssertionError("the last attempt either returned or raised")  # pragma: no cover

    def _fetch_once(
        self, path: str, params: Mapping[str, str | int], known: Known | None
    ) -> Page | None:
        if self._closed:
            raise ProviderRefused("The run has ended; nothing more is requested.")
        answer = self._get(path, params)
        if answer.status == OK:
            return read_page(answer.body, self._zone, known, self._ignored)
        if answer.status == NOT_FOUND and params["page"] != 1:
            return None
        if answer.may_pass:
            raise answer.unavailable(path)
        raise _refused(path, answer)

    def _get(self, path: str, params: Mapping[str, str | int]) -> Answer:
        """
        Ask with the token in use, and again with a new one after a 401.

        If the new one came by a refresh and is refused as well, one is bought.
        """
        token = self._tokens.current()
        answer = self._send(path, params, token)
        if answer.status == UNAUTHORIZED and (renewed := self._tokens.renewed(token)):
            answer = self._send(path, params, renewed)
            if answer.status == UNAUTHORIZED and self._tokens.came_by_refresh(renewed):
                bought = self._tokens.renewed(renewed)
                answer = self._send(path, params, bought) if bought else answer
        return answer

    def _send(self, path: str, params: Mapping[str, str | int], token: str) -> Answer:
        headers = {"Accept": ACCEPT, "Authorization": f"Bearer {token}"}
        with self._pace.turn() as told:
            answer = self._exchange.send("GET", path, params=params, headers=headers)
            told(answer)
        return answer

    def _wait_before_retry(self, exc: Exception, reasons: list[str]) -> bool | float:
        """
        Whether to try again: as the provider says, or after a jittered backoff.

        After a first refusal without more the pace knows best how long.
        """
        if self._closed or not isinstance(exc, ProviderUnavailable):
            return False
        reasons.append(exc.reason)
        if exc.retry_after is not None:
            return exc.retry_after
        return 0.0 if reasons == [REFUSED] else True


def _refused(path: str, answer: Answer) -> ProviderRefused:
    advice = ADVICE.get(answer.status, "Check SYNCSVC_API_URL, or ask the provider.")
    if httpx.codes.is_redirect(answer.status):
        advice = (
            f"It leads to {_origin(answer.headers.get('Location', ''))}; redirects are not "
            "followed. Set SYNCSVC_API_URL to the final address."
        )
    hidden = path == CANCELLED and answer.status in {FORBIDDEN, NOT_FOUND}
    kind = NoSuchListing if hidden else ProviderRefused
    return kind(f"The provider rejected the request ({answer.status} from {path}). {advice}")


def _origin(location: str) -> str:
    """
    Scheme and host of an address: its path or query could bear a secret.
    """
    try:
        url = httpx.URL(location)
    except httpx.InvalidURL:
        return "an address that can't be read"
    return f"{url.scheme}://{url.host}" if url.host else "another path"
