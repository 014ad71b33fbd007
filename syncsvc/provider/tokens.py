"""
Access tokens: a fixed one, or those that OAuth2 client credentials buy.

A token stays in memory and is sent to the provider alone.
"""

from __future__ import annotations

import math
import re
import threading
import time
from typing import TYPE_CHECKING, Protocol

import msgspec
import structlog

from syncsvc.errors import ProviderRefused, ProviderUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from syncsvc.provider.transport import Exchange

log = structlog.get_logger(__name__)

ACCESS_TOKEN = "/api/oauth2/access-token"  # noqa: S105 - a path
REFRESH_TOKEN = "/api/oauth2/refresh-token"  # noqa: S105 - a path
RENEW_BEFORE = 60.0  # seconds before a token expires, but no more than half of its lifetime
SHORTEST_USE = 1.0  # seconds, so that no lifetime makes every request buy a token
LIFETIME = 3600.0  # seconds, where the provider does not say
VISIBLE = re.compile(r"[!-~]+")


class Tokens(Protocol):
    """
    Where the bearer token of the next request comes from.
    """

    def current(self) -> str:
        """
        A token that is good as far as we know.
        """

    def renewed(self, stale: str) -> str | None:
        """
        Another token after the provider refused `stale`; None where there is none.
        """

    def came_by_refresh(self, token: str) -> bool:
        """
        Return whether a token came from a refresh, so that buying one may still help.
        """


class FixedToken:
    """
    The token of SYNCSVC_API_TOKEN, for good or ill.
    """

    def __init__(self, token: str) -> None:
        self._token = token

    def current(self) -> str:
        """
        The one token.
        """
        return self._token

    def renewed(self, stale: str) -> str | None:  # noqa: ARG002 - as `Tokens` has it
        """
        There is no other.
        """
        return None

    def came_by_refresh(self, token: str) -> bool:  # noqa: ARG002 - as `Tokens` has it
        """
        Return False: nothing is refreshed.
        """
        return False


class _Grant(msgspec.Struct, frozen=True):
    access_token: str
    expires_in: float | str | None = None
    refresh_token: str | None = None

    def seconds(self) -> float:
        try:
            lifetime = float(self.expires_in or LIFETIME)
        except ValueError:
            return LIFETIME
        return lifetime if math.isfinite(lifetime) else LIFETIME


class ClientCredentials:
    """
    Tokens bought with a client's id and secret, renewed before they expire.

    Safe to use from several threads: one renews, the others wait for it.
    """

    def __init__(
        self,
        exchange: Exchange,
        client_id: str,
        client_secret: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._exchange = exchange
        self._client = {"client_id": client_id, "client_secret": client_secret}
        self._clock = clock
        self._lock = threading.Lock()
        self._grant: _Grant | None = None
        self._renew_at = 0.0
        self._refreshed: str | None = None  # the token in use, if a refresh gave it
        self._refresh_leads_nowhere = False

    def current(self) -> str:
        """
        The token in use, or a new one where it is about to expire.
        """
        with self._lock:
            if self._grant is None or self._clock() >= self._renew_at:
                self._grant = self._renew()
            return self._grant.access_token

    def renewed(self, stale: str) -> str | None:
        """
        The token that came after `stale`, bought now unless another thread did.
        """
        with self._lock:
            if self._grant is None or self._grant.access_token == stale:
                if stale == self._refreshed:
                    self._give_up_refreshing()
                self._grant = self._renew()
            return self._grant.access_token

    def came_by_refresh(self, token: str) -> bool:
        """
        Return whether a token came from a refresh, so that buying one may still help.
        """
        with self._lock:
            return token == self._refreshed

    def _renew(self) -> _Grant:
        grant = self._refresh()
        self._refreshed = grant.access_token if grant else None
        grant = grant or self._ask(
            ACCESS_TOKEN, {"grant_type": "client_credentials", **self._client}
        )
        lifetime = grant.seconds()
        margin = min(RENEW_BEFORE, lifetime / 2)
        self._renew_at = self._clock() + max(lifetime - margin, SHORTEST_USE)
        return grant

    def _refresh(self) -> _Grant | None:
        """
        Use the refresh token; None if there is none, or if it leads to no other token.
        """
        old = self._grant
        if old is None or old.refresh_token is None or self._refresh_leads_nowhere:
            return None
        form = {"grant_type": "refresh_token", "refresh_token": old.refresh_token}
        self._grant = None  # a refresh token that failed once is not tried again
        try:
            grant = self._ask(REFRESH_TOKEN, {**form, **self._client})
        except ProviderRefused:
            log.info("token.refresh_refused")
            return None
        if grant.access_token == old.access_token:
            self._give_up_refreshing()
            return None
        return grant

    def _give_up_refreshing(self) -> None:
        """
        Buy every token from now on: one that was refreshed is no better than the one before.
        """
        log.warning("token.refresh_useless")
        self._refresh_leads_nowhere = True

    def _ask(self, path: str, form: Mapping[str, str]) -> _Grant:
        answer = self._exchange.send("POST", path, headers={"Accept": "*/*"}, data=form)
        if answer.may_pass:
            raise answer.unavailable(path)
        if answer.status != 200:  # noqa: PLR2004 - OK
            raise ProviderRefused(
                f"The provider rejected the credentials ({answer.status} from {path}). "
                "Check SYNCSVC_API_CLIENT_ID, SYNCSVC_API_CLIENT_SECRET and SYNCSVC_API_URL."
            )
        return _grant(path, answer.body)


def _grant(path: str, body: bytes) -> _Grant:
    try:
        grant = msgspec.json.decode(body, type=_Grant)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        grant = _Grant(access_token="")
    if not VISIBLE.fullmatch(grant.access_token):  # anything else would break the header
        detail = (
            f"The provider's response has no access token ({path}). Retry later, or ask it why."
        )
        raise ProviderUnavailable(detail, reason="no_token")
    return grant
