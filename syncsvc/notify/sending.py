"""
Send one event to one endpoint: one request, within 15 seconds, to an address that is allowed.
"""

from __future__ import annotations

import ipaddress
from contextlib import closing, suppress
from typing import TYPE_CHECKING

import httpx
import msgspec

from syncsvc import __version__
from syncsvc.provider.http import http_environment
from syncsvc.provider.http.deadline_network import ForbiddenAddress, UnknownHost, deadline
from syncsvc.provider.http.response import retry_after
from syncsvc.provider.http.transport import ERRNO, DeadlineTransport
from syncsvc.settings import values, webhook_values

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from syncsvc.notify.endpoint_rows import Endpoint
    from syncsvc.notify.events import Event

TIMEOUT = 15.0  # seconds
LONGEST_WAIT = 86_400.0  # seconds of Retry-After that are kept to
BODY_READ = 4096  # bytes of a response
HEADERS = {"content-type": "application/json", "user-agent": f"syncsvc/{__version__}"}
GONE = 410


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """
    What became of a request.

    Attributes:
        status: None if there was no response.
        error: Why the event counts as not delivered; None if it was.
        retry_after: Seconds that the receiver asks us to wait.
        body: The start of the response's body.
    """

    status: int | None
    error: str | None
    retry_after: float | None = None
    body: bytes = b""

    @property
    def is_gone(self) -> bool:
        """
        Return whether the receiver wants no further event (410).
        """
        return self.status == GONE


class Sender:
    """
    The connection to one endpoint. For one thread.

    Raises:
        ConfigurationError: A proxy or certificate variable of the environment can't be used.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        proxy = http_environment.proxy_for(endpoint.url)
        # A proxy looks up the host itself, and decides what may be reached.
        is_allowed = _is_allowed(endpoint) if proxy is None else lambda _address: True
        tls = http_environment.tls_context()
        self._transport = DeadlineTransport(tls, proxy, 1, is_allowed)

    def send(self, event: Event, headers: Mapping[str, str]) -> Answer:
        """
        Send an event once; the answer has whatever went wrong.

        Args:
            headers: Those of the signature.
        """
        request = httpx.Request(
            "POST",
            self._endpoint.url,
            content=event.body,
            headers={**HEADERS, **headers},
            extensions={"timeout": {"pool": TIMEOUT}},
        )
        try:
            with deadline(TIMEOUT), closing(self._transport.handle_request(request)) as response:
                return _answer(response)
        except httpx.TimeoutException:
            return Answer(status=None, error=f"It sent no response within {TIMEOUT:g} s.")
        except UnknownHost:
            return Answer(status=None, error=f"Can't find the host {request.url.host}.")
        except ForbiddenAddress:
            return Answer(status=None, error=_forbidden(self._endpoint))
        except httpx.RequestError as exc:
            words = ERRNO.sub("", " ".join(str(exc).split())).rstrip(".") or type(exc).__name__
            return Answer(status=None, error=f"The connection failed: {words}.")

    def close(self) -> None:
        """
        Close the connection.
        """
        self._transport.close()


def _answer(response: httpx.Response) -> Answer:
    status = response.status_code
    error = None
    if not httpx.codes.is_success(status):
        note = "; redirects are not followed" if httpx.codes.is_redirect(status) else ""
        error = f"It responded {status}{note}."
    wait = retry_after(response.headers.get("Retry-After"), LONGEST_WAIT)
    return Answer(status=status, error=error, retry_after=wait, body=_start(response))


def _start(response: httpx.Response) -> bytes:
    """
    Read the start of a response's body; the status counts, even if the rest never comes.
    """
    body = bytearray()
    with suppress(httpx.RequestError):
        for chunk in response.iter_raw():
            body += chunk
            if len(body) >= BODY_READ:
                break
    return bytes(body[:BODY_READ])


def _is_allowed(endpoint: Endpoint) -> Callable[[str], bool]:
    names_this_machine = values.is_loopback(endpoint.url)

    def is_allowed(address: str) -> bool:
        found = ipaddress.ip_address(address)
        if names_this_machine:
            return found.is_loopback
        if webhook_values.is_public(found):
            return True
        return endpoint.allow_private and webhook_values.is_private(found)

    return is_allowed


def _forbidden(endpoint: Endpoint) -> str:
    if endpoint.allow_private:
        return "Its host has only link-local or reserved addresses, which get no events."
    return "Its host has only private addresses. Add it with --allow-private if they are meant."
