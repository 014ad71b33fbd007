"""
The provider's response: what its status means, what its headers limit, and its whole body.
"""

from __future__ import annotations

import math
import time
import zlib
from codecs import BOM_UTF8
from datetime import UTC
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING

import httpx
import msgspec

from syncsvc import clock
from syncsvc.errors import ProviderRefused, ProviderUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime, timedelta

TRANSIENT = frozenset(  # rejections that are about the moment, beside all server errors
    {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}
)
RATE_LIMITED = "429"  # the reason of the error for HTTPStatus.TOO_MANY_REQUESTS
ADVICE: dict[int, str] = {
    HTTPStatus.UNAUTHORIZED: "The token is not accepted. Check SYNCSVC_API_TOKEN, or the client's "
    "id and secret, and that SYNCSVC_API_URL is the host that they belong to.",
    HTTPStatus.FORBIDDEN: "The token's portal user may not see numbers. Ask for the permission in "
    "the portal.",
    HTTPStatus.NOT_FOUND: "There is no such API. Check SYNCSVC_API_URL.",
}

LONGEST_WAIT = 60.0  # seconds: a header alone, perhaps in other units, stops no run
EPOCH = 10**8  # an X-RateLimit-Reset above this is a Unix time, not a number of seconds
EPOCH_IN_PARTS = 10**11  # and above this a Unix time in milliseconds or smaller parts

BODY_LIMIT = 64 * 2**20  # bytes, as received and after decompression
GZIP = frozenset({"gzip", "x-gzip"})  # two names of one encoding (RFC 9110, 8.4.1.3)
GZIP_HEADER_AND_TRAILER = 16 + zlib.MAX_WBITS  # zlib's way to ask for gzip instead of its own
SLICE = 16 * 2**10  # bytes: zlib copies what follows a member, so many small ones would be slow


class RateLimit(msgspec.Struct, frozen=True):
    """
    The requests that are left, by the headers X-RateLimit-Remaining and -Reset.

    Attributes:
        remaining: Requests until the reset.
        reset_in: Seconds until the reset, 60 at most.
    """

    remaining: float
    reset_in: float


class Response(msgspec.Struct, frozen=True):
    """
    A response whose body was read to its end.
    """

    status: int
    headers: httpx.Headers
    body: bytes

    @property
    def is_ok(self) -> bool:
        """
        Return whether the request was carried out (200).
        """
        return self.status == HTTPStatus.OK

    @property
    def is_transient(self) -> bool:
        """
        Return whether the same request may succeed later: 408, 425, 429 or a server error.
        """
        return self.status in TRANSIENT or self.status >= HTTPStatus.INTERNAL_SERVER_ERROR

    @property
    def is_rate_limited(self) -> bool:
        """
        Return whether there were too many requests (429).
        """
        return self.status == HTTPStatus.TOO_MANY_REQUESTS

    @property
    def is_unauthorized(self) -> bool:
        """
        Return whether the token was rejected (401).
        """
        return self.status == HTTPStatus.UNAUTHORIZED

    @property
    def is_not_found(self) -> bool:
        """
        Return whether the path or the page does not exist (404).
        """
        return self.status == HTTPStatus.NOT_FOUND

    @property
    def is_denied(self) -> bool:
        """
        Return whether the account has no such listing, or may not see it (404 or 403).
        """
        return self.status in {HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND}

    @property
    def retry_after(self) -> float | None:
        """
        Return the seconds of Retry-After, 60 at most; None if it has none.
        """
        return retry_after(self.headers.get("Retry-After"), LONGEST_WAIT)

    @property
    def clock_ahead(self) -> timedelta | None:
        """
        Return by how much this machine's clock is ahead of the provider's; None if it is not known.

        A cache (`Age`) repeats the date of an earlier response.
        """
        moment = _moment(self.headers.get("Date", ""))
        return None if moment is None or "Age" in self.headers else clock.now() - moment

    @property
    def rate_limit(self) -> RateLimit | None:
        """
        Return the rate limit of the headers; None if they have none.

        Some hosts send a negative number, or a limit of 0, if there is no limit.
        """
        remaining = _number(self.headers.get("X-RateLimit-Remaining"))
        reset = _number(self.headers.get("X-RateLimit-Reset"))
        limit = _number(self.headers.get("X-RateLimit-Limit"))
        if remaining is None or reset is None or remaining < 0:
            return None
        if limit is not None and limit <= 0:
            return None
        return RateLimit(remaining, min(max(_seconds_until_reset(reset), 0.0), LONGEST_WAIT))

    def unavailable(self, path: str) -> ProviderUnavailable:
        """
        Return the error for a transient status.
        """
        return ProviderUnavailable(
            f"The provider is unavailable ({self.status} from {path}). Retry later.",
            reason=str(self.status),
            retry_after=self.retry_after,
        )

    def refused(self, path: str, kind: type[ProviderRefused] = ProviderRefused) -> ProviderRefused:
        """
        Return the error for a status that would be the same again, with what to do about it.
        """
        advice = ADVICE.get(self.status, "Check SYNCSVC_API_URL, or ask the provider.")
        if httpx.codes.is_redirect(self.status):
            advice = (
                f"It leads to {_origin(self.headers.get('Location', ''))}; redirects are not "
                "followed. Set SYNCSVC_API_URL to the final address."
            )
        return kind(f"The provider rejected the request ({self.status} from {path}). {advice}")


def _origin(location: str) -> str:
    """
    Return the scheme and host of an address: its path or query may have a secret.
    """
    try:
        url = httpx.URL(location)
    except httpx.InvalidURL:
        return "an address that can't be read"
    return f"{url.scheme}://{url.host}" if url.host else "another path"


def retry_after(value: str | None, longest: float) -> float | None:
    """
    Return the seconds of a Retry-After header, given as a number of them or as an HTTP date.

    Args:
        longest: Return no more than these.
    """
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        seconds = _seconds_until_date(value)
    return min(max(seconds, 0.0), longest) if math.isfinite(seconds) else None


def _seconds_until_date(date: str) -> float:
    moment = _moment(date)
    return math.nan if moment is None else moment.timestamp() - time.time()


def _moment(date: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(date)
        # The oldest of the three forms has no zone; all of them mean GMT.
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def _seconds_until_reset(reset: float) -> float:
    """
    Return the seconds until a reset; hosts send seconds from now, or a Unix time in some unit.
    """
    if reset <= EPOCH:
        return reset
    while reset > EPOCH_IN_PARTS:
        reset /= 1000
    return reset - time.time()


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def read_body(response: httpx.Response, path: str) -> bytes:
    """
    Read the whole body of a response and decompress it; leave out a byte order mark.

    Of any other status than 200 the status alone counts, so that its body is left as received:
    a proxy's error page may not be what its Content-Encoding says.

    Raises:
        httpx.DecodingError: It is not what its Content-Encoding says, or is cut off.
        ProviderRefused: It is larger than the limit, or compressed more than once.
    """
    if response.status_code != HTTPStatus.OK:
        return b"".join(_limited(response.iter_raw(), path))
    return _decompressed(response, path).removeprefix(BOM_UTF8)


def _decompressed(response: httpx.Response, path: str) -> bytes:
    encodings = _encodings(response)
    if len(encodings) > 1:
        # Decompressing once is bounded by what was received, decompressing twice is not.
        raise ProviderRefused(
            f"The response body is compressed more than once ({path}). "
            "Ask the provider what it sends."
        )
    received = _limited(response.iter_raw(), path)
    if not encodings:
        return b"".join(received)
    if encodings[0] not in GZIP:
        raise httpx.DecodingError("the body has a Content-Encoding that was not asked for")
    return _gunzip(received, path)


def _encodings(response: httpx.Response) -> list[str]:
    sent = response.headers.get_list("Content-Encoding", split_commas=True)
    names = (name.strip().lower() for name in sent)
    return [name for name in names if name not in {"", "identity"}]


def _limited(chunks: Iterator[bytes], path: str) -> Iterator[bytes]:
    size = 0
    for chunk in chunks:
        size += len(chunk)
        _require_allowed(size, path)
        yield chunk


def _gunzip(chunks: Iterator[bytes], path: str) -> bytes:
    """
    Decompress members that follow each other (RFC 1952, 2.2); zeros may pad the end.
    """
    body = bytearray()
    member = None
    for data in _slices(chunks):
        rest = data
        while rest := rest if member else rest.lstrip(b"\0") if body else rest:
            member = member or zlib.decompressobj(GZIP_HEADER_AND_TRAILER)
            body += _decompress(member, rest, BODY_LIMIT - len(body) + 1)
            _require_allowed(len(body), path)
            rest = member.unused_data
            member = None if member.eof else member
    if member:
        raise httpx.DecodingError("the body's gzip data are cut off")
    return bytes(body)


def _slices(chunks: Iterator[bytes]) -> Iterator[bytes]:
    for chunk in chunks:
        for start in range(0, len(chunk), SLICE):
            yield chunk[start : start + SLICE]


def _decompress(member: zlib._Decompress, data: bytes, at_most: int) -> bytes:
    try:
        return member.decompress(data, at_most)
    except zlib.error as exc:
        raise httpx.DecodingError("the body's gzip data are damaged") from exc


def _require_allowed(size: int, path: str) -> None:
    if size > BODY_LIMIT:
        raise ProviderRefused(
            f"The response body is larger than {BODY_LIMIT // 2**20} MiB ({path}). "
            "Lower SYNCSVC_PAGE_SIZE, or ask the provider what it sends."
        )
