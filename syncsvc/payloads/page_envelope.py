"""
Open a listing page: its rows as they are in the text, and what it reports of the listing.

The parser refuses a whole page for one row that is nested too deeply or has half of a surrogate
pair. Such a page is cut into its rows first, so that only that row is rejected.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from syncsvc.errors import ProviderUnavailable
from syncsvc.payloads import extra_fields, split_json, values
from syncsvc.payloads.extra_fields import UNREADABLE
from syncsvc.payloads.shapes import NULL

if TYPE_CHECKING:
    from collections.abc import Iterable

INTEGER_KEY = re.compile(r"-?[0-9]+")

Rows = list[msgspec.Raw] | dict[str, msgspec.Raw]


class Envelope(msgspec.Struct, frozen=True):
    """
    A page of a listing.

    Attributes:
        rows: Each as it is in the text.
        num_results: The size of the listing; None if the page has no such number.
        paginates: Whether there are more pages; None if the page does not say.
    """

    rows: Iterable[msgspec.Raw]
    num_results: int | None
    paginates: bool | None


class _SentEnvelope(msgspec.Struct):
    numbers: Rows
    num_results: msgspec.Raw = NULL
    paginates: msgspec.Raw = NULL


SENT_ENVELOPE = msgspec.json.Decoder(_SentEnvelope)


def open_envelope(body: bytes) -> Envelope:
    """
    Take a listing page apart.

    Raises:
        ProviderUnavailable: The body is not JSON or has no list `numbers`.
    """
    sent = _open(body)
    return Envelope(
        rows=_rows_of(sent.numbers),
        num_results=values.result_count(_if_readable(sent.num_results)),
        paginates=values.yes_or_no(_if_readable(sent.paginates)),
    )


def _rows_of(numbers: Rows) -> Iterable[msgspec.Raw]:
    """
    Return the rows of a page; PHP sends a list with gaps as an object with integer keys.
    """
    if isinstance(numbers, list):
        return numbers
    if not all(map(INTEGER_KEY.fullmatch, numbers)):
        raise _no_page("`numbers` is an object with keys that are not integers")
    return numbers.values()


def _open(body: bytes) -> _SentEnvelope:
    if not body.isascii():
        try:
            body.decode()
        except UnicodeDecodeError as exc:
            raise _no_page(f"{exc.reason} at byte {exc.start}") from None
    try:
        return SENT_ENVELOPE.decode(body)
    except msgspec.ValidationError as exc:
        raise _no_page(str(exc)) from None
    except (msgspec.DecodeError, RecursionError) as exc:
        return _salvage(body.decode(), str(exc))


def _salvage(text: str, problem: str) -> _SentEnvelope:
    """
    Decode the page around a row that makes the parser refuse all of it.
    """
    try:
        page = split_json.members(text) if split_json.is_json(text) else {}
        return _SentEnvelope(
            numbers=_salvage_rows(page["numbers"]),
            num_results=msgspec.Raw(page.get("num_results", "null")),
            paginates=msgspec.Raw(page.get("paginates", "null")),
        )
    except (KeyError, *UNREADABLE):
        raise _no_page(problem) from None


def _salvage_rows(text: str) -> Rows:
    if text.startswith("{"):
        found = split_json.members(text)
        _require_json(found.values())
        return {key: msgspec.Raw(row) for key, row in found.items()}
    if not text.startswith("["):
        raise ValueError
    rows = list(split_json.elements(text))
    _require_json(rows)
    return [msgspec.Raw(row) for row in rows]


def _require_json(rows: Iterable[str]) -> None:
    if not all(map(split_json.is_json, rows)):
        raise ValueError


def _if_readable(raw: msgspec.Raw) -> Any:  # noqa: ANN401 - any JSON value
    try:
        return extra_fields.read(bytes(raw))
    except UNREADABLE:
        return None


def _no_page(problem: str) -> ProviderUnavailable:
    detail = (
        "The provider's response is not a JSON object with a list `numbers`: "
        f"{problem}. Retry later."
    )
    return ProviderUnavailable(detail, reason="not_a_page")
