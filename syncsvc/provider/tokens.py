"""
Access tokens: a fixed one, or those requested with OAuth2 client credentials.

Tokens are kept in memory only, and sent to the provider only.
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

    from syncsvc.provider.http.response import Response
    from syncsvc.provider.http.transport import HttpTransport
    from syncsvc.provider.shared_hosts import AccountTransport

log = structlog.get_logger(__name__)

ACCESS_TOKEN = "/api/oauth2/access-token"  # noqa: S105 - a path
REFRESH_TOKEN = "/api/oauth2/refresh-token"  # noqa: S105 - a path
EXPIRY_MARGIN = 60.0  # seconds before its expiry a token is replaced; at most half its lifetime
SHORTEST_USE = 1.0  # seconds: a token that expires at once must not cost a request for each page
LIFETIME = 3600.0  # seconds, if the provider does not send it
VISIBLE = re.compile(r"[!-~]+")


class Tokens(Protocol):
    """
    A source of bearer tokens.
    """

    def current(self) -> str:
        """
        Return the token for the next request.
        """

    def replacement(self, rejected: str) -> str | None:
        """
        Return another token after the provider rejected this one, or None if there is none.
        """

    def was_refreshed(self, token: str) -> bool:
        """
        Return whether a token came from a refresh, so that requesting a new one may still help.
        """


class FixedToken:
    """
    The token of SYNCSVC_API_TOKEN, which can't be replaced.
    """

    def __init__(self, token: str) -> None:
        self._token = token

    def current(self) -> str:
        """
        Return the token.
        """
        return self._token

    def replacement(self, rejected: str) -> str | None:  # noqa: ARG002 - as `Tokens` has it
        """
        Return None: there is no other token.
        """
        return None

    def was_refreshed(self, token: str) -> bool:  # noqa: ARG002 - as `Tokens` has it
        """
        Return False: nothing is refreshed.
        """
        return False


class _Grant(msgspec.Struct, frozen=True):
    """
    A token as it was sent: beside it, PHP may send anything for a value that is not there.
    """

    access_token: str
    expires_in: object = None
    refresh_token: object = None

    def seconds(self) -> float:
        sent = self.expires_in
        if not sent or isinstance(sent, bool) or not isinstance(sent, int | float | str):
            return LIFETIME
        try:
            lifetime = float(sent)
        except (ValueError, OverflowError):
            return LIFETIME
        return lifetime if math.isfinite(lifetime) else LIFETIME

    def refresh_with(self) -> str | None:
        """
        Return the text of the refresh token; None if there is none.
        """
        sent = self.refresh_token
        is_token = isinstance(sent, str | int) and not isinstance(sent, bool)
        return str(sent) if is_token and sent else None


class ClientCredentials:
    """
    Tokens requested with a client's id and secret, and replaced before they expire.

    Safe to use from several threads: one requests the token, the others wait for it.
    """

    def __init__(
        self,
        transport: HttpTransport | AccountTransport,
        client_id: str,
        client_secret: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._transport = transport
        self._client = {"client_id": client_id, "client_secret": client_secret}
        self._clock = clock
        self._lock = threading.Lock()
        self._grant: _Grant | None = None
        self._replace_at = 0.0
        self._refreshed: str | None = None  # the token in use, if it came from a refresh
        self._refresh_is_useless = False

    def current(self) -> str:
        """
        Return the token in use, or a new one if it is about to expire.
        """
        with self._lock:
            if self._grant is None or self._clock() >= self._replace_at:
                self._grant = self._new_grant()
            return self._grant.access_token

    def replacement(self, rejected: str) -> str | None:
        """
        Return the token that replaces this one; get it now unless another thread already did.
        """
        with self._lock:
            if self._grant is None or self._grant.access_token == rejected:
                if rejected == self._refreshed:
                    self._give_up_refreshing()
                self._grant = self._new_grant()
            return self._grant.access_token

    def was_refreshed(self, token: str) -> bool:
        """
        Return whether a token came from a refresh, so that requesting a new one may still help.
        """
        with self._lock:
            return token == self._refreshed

    def _new_grant(self) -> _Grant:
        """
        Refresh the token, or else request one with the client's id and secret.
        """
        grant = self._refresh()
        self._refreshed = grant.access_token if grant else None
        grant = grant or self._request(
            ACCESS_TOKEN, {"grant_type": "client_credentials", **self._client}
        )
        lifetime = grant.seconds()
        margin = min(EXPIRY_MARGIN, lifetime / 2)
        self._replace_at = self._clock() + max(lifetime - margin, SHORTEST_USE)
        return grant

    def _refresh(self) -> _Grant | None:
        """
        Use the refresh token. Return None if there is none, or if it gives no other token.
        """
        old = self._grant
        refresh_token = old.refresh_with() if old else None
        if old is None or refresh_token is None or self._refresh_is_useless:
            return None
        form = {"grant_type": "refresh_token", "refresh_token": refresh_token}
        self._grant = None  # a refresh token that failed once is not tried again
        try:
            grant = self._request(REFRESH_TOKEN, {**form, **self._client})
        except ProviderRefused:
            log.info("token.refresh_refused")
            return None
        if grant.access_token == old.access_token:
            self._give_up_refreshing()
            return None
        return grant

    def _give_up_refreshing(self) -> None:
        """
        Request every further token: the provider rejects those that come from a refresh.
        """
        log.warning("token.refresh_useless")
        self._refresh_is_useless = True

    def _request(self, path: str, form: Mapping[str, str]) -> _Grant:
        response = self._transport.send("POST", path, headers={"Accept": "*/*"}, data=form)
        if response.is_transient:
            raise response.unavailable(path)
        if not response.is_ok:
            raise ProviderRefused(
                f"The provider rejected the credentials ({response.status} from {path}). "
                "Check SYNCSVC_API_CLIENT_ID, SYNCSVC_API_CLIENT_SECRET and SYNCSVC_API_URL."
            )
        return _grant_in(response, path)


def _grant_in(response: Response, path: str) -> _Grant:
    try:
        grant = msgspec.json.decode(response.body, type=_Grant)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        grant = _Grant(access_token="")
    if not VISIBLE.fullmatch(grant.access_token):  # anything else would break the header
        detail = (
            f"The provider's response has no access token ({path}). Retry later, or ask it why."
        )
        raise ProviderUnavailable(detail, reason="no_token")
    return grant
