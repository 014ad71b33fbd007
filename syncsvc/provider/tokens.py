"""
Access tokens: a fixed one, or those that OAuth2 client credentials buy.

A token stays in memory and is sent to the provider alone.
"""

from __future__ import annotations

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
RENEW_BEFORE = 60.0  # seconds before a token expires
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


class _Grant(msgspec.Struct, frozen=True):
    access_token: str
    expires_in: float | str | None = None
    refresh_token: str | None = None

    def seconds(self) -> float:
        try:
            return float(self.expires_in or LIFETIME)
        except ValueError:
            return LIFETIME


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
                self._grant = self._renew()
            return self._grant.access_token

    def _renew(self) -> _Grant:
        grant = self._refresh() or self._ask(
            ACCESS_TOKEN, {"grant_type": "client_credentials", **self._client}
        )
        self._renew_at = self._clock() + max(grant.seconds() - RENEW_BEFORE, 1.0)
        return grant

    def _refresh(self) -> _Grant | None:
        """
        Use the refresh token; None where there is none, or it is no longer taken.
        """
        if self._grant is None or self._grant.refresh_token is None:
            return None
        form = {"grant_type": "refresh_token", "refresh_token": self._grant.refresh_token}
        self._grant = None  # a refresh token that failed once is not tried again
        try:
            return self._ask(REFRESH_TOKEN, {**form, **self._client})
        except ProviderRefused:
            log.info("token.refresh_refused")
            return None

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
