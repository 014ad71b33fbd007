"""
Read a response's body: plain or gzip, whole, and within one size limit.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import httpx

from syncsvc.errors import ProviderRefused

if TYPE_CHECKING:
    from collections.abc import Iterator

BODY_LIMIT = 64 * 2**20  # bytes, as received and after decompression
GZIP = frozenset({"gzip", "x-gzip"})  # two names of one encoding (RFC 9110, 8.4.1.3)
GZIP_HEADER_AND_TRAILER = 16 + zlib.MAX_WBITS  # zlib's way to ask for gzip instead of its own
SLICE = 16 * 2**10  # bytes: zlib copies what follows a member, so many small ones would be slow


def read_body(response: httpx.Response, path: str) -> bytes:
    """
    Read the whole body of a response and decompress it.

    Raises:
        httpx.DecodingError: It is not what its Content-Encoding says, or is cut off.
        ProviderRefused: It is larger than the limit, or compressed more than once.
    """
    encodings = _encodings(response)
    if len(encodings) > 1:
        # One step of unpacking is bounded by what was received, two are not.
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
