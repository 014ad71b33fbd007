"""
Turn the provider's JSON into records, or into rejects that say why not.

Pure: bytes in, `Page` out. A row that does not fit never costs the page; a
body that is no listing page at all raises `ProviderUnavailable`, because it
is what proxies send when the provider is not well.

The provider's documentation names addresses, `status` and `provisioned` as
fields of the number; its example has them inside `details` too. Both places
are read, the number's own first.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec

from syncsvc.errors import ProviderUnavailable
from syncsvc.iso_countries import alpha2
from syncsvc.payloads import split_json, unknown_fields, values
from syncsvc.payloads.fingerprint import fingerprint, salt
from syncsvc.payloads.records import Address, Number, Page, Reject, Unchanged
from syncsvc.payloads.shapes import (
    ADDRESS_SHAPE,
    NULL,
    ROW_SHAPE,
    GlancedDetails,
    GlancedRow,
    LooseAddress,
    LooseRow,
    SentAddress,
    SentCountry,
    SentDetails,
    SentRow,
)
from syncsvc.vocabulary import Lifecycle

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import tzinfo
    from decimal import Decimal

    from syncsvc.payloads.fingerprint import Known

ESCAPED_NUL = re.compile(rb"(?<!\\)((?:\\\\)*)\\u0000")


class _Envelope(msgspec.Struct):
    numbers: list[msgspec.Raw]
    num_results: msgspec.Raw = NULL
    paginates: msgspec.Raw = NULL


class _Shown(msgspec.Struct, frozen=True):
    """
    The addresses that a number's row shows, its own before those in `details`.
    """

    number_address_id: int | None
    emergency_number_address_id: int | None
    addresses: tuple[Address, ...]


ENVELOPE = msgspec.json.Decoder(_Envelope)
ROW = msgspec.json.Decoder(SentRow)
GLANCED_ROW = msgspec.json.Decoder(GlancedRow)
LOOSE_ROW = msgspec.json.Decoder(LooseRow)
ADDRESS = msgspec.json.Decoder(SentAddress | None)
LOOSE_ADDRESS = msgspec.json.Decoder(LooseAddress)
UNREADABLE = (msgspec.MsgspecError, ValueError, RecursionError)
NO_DETAILS = SentDetails()
NONE_GLANCED = GlancedDetails()


def read_page(body: bytes, zone: tzinfo, known: Known | None = None) -> Page:
    """
    Read one page of a listing.

    Args:
        body: The answer's body, decompressed.
        zone: The provider's time zone, for timestamps without one of their own.
        known: The fingerprints of rows that need not be decoded; None if the page shall have no
            fingerprints either.

    Raises:
        ProviderUnavailable: The body is not JSON or has no list `numbers`.
    """
    if b"\\" in body and b"\\u0000" in body:  # no database keeps a NUL; most bodies have neither
        body = ESCAPED_NUL.sub(rb"\1\\ufffd", body)
    envelope = _open(body)
    sent = [bytes(raw) for raw in envelope.numbers]
    rows: list[Number | Reject | Unchanged]
    if known is None:
        rows, fingerprints = [_read_row(row, zone) for row in sent], []
    else:
        salted = salt(zone)
        fingerprints = [fingerprint(row, salted) for row in sent]
        rows = _read_what_is_new(sent, fingerprints, known, zone)
    return Page(
        rows=rows,
        num_results=values.count(_if_readable(envelope.num_results)),
        paginates=values.yes_or_no(_if_readable(envelope.paginates)),
        fingerprints=fingerprints,
    )


def _read_what_is_new(
    sent: Sequence[bytes], fingerprints: Sequence[int], known: Known, zone: tzinfo
) -> list[Number | Reject | Unchanged]:
    """
    Read the rows, but of those that are known no more than uuid and addresses.
    """
    if not known:
        return [_read_row(row, zone) for row in sent]
    return [
        _unchanged(row, mark, known) or _read_row(row, zone)
        for row, mark in zip(sent, fingerprints, strict=True)
    ]


def _unchanged(raw: bytes, mark: int, known: Known) -> Unchanged | None:
    """
    A row that is known, which could be read then; None where it is not.
    """
    try:
        row = GLANCED_ROW.decode(raw)
    except UNREADABLE:
        return None
    uuid = row.uuid.lower()
    if not known.has(uuid, mark):
        return None
    return Unchanged(uuid, _shown_in(row, row.details or NONE_GLANCED).addresses)


def _shown_in(row: SentRow | GlancedRow, details: SentDetails | GlancedDetails) -> _Shown:
    return _read_addresses(
        bytes(row.number_address),
        bytes(details.number_address),
        bytes(row.emergency_number_address),
        bytes(details.emergency_number_address),
    )


def _open(body: bytes) -> _Envelope:
    if not body.isascii():
        try:
            body.decode()
        except UnicodeDecodeError as exc:
            raise _no_page(f"{exc.reason} at byte {exc.start}") from None
    try:
        return ENVELOPE.decode(body)
    except msgspec.ValidationError as exc:
        raise _no_page(str(exc)) from None
    except (msgspec.DecodeError, RecursionError) as exc:
        return _salvage(body.decode(), str(exc))


def _salvage(text: str, complaint: str) -> _Envelope:
    """
    Open a page that the parser refuses because of what some row holds.
    """
    try:
        page = split_json.members(text) if split_json.is_json(text) else {}
        rows = list(split_json.elements(page["numbers"]))
        if not page["numbers"].startswith("[") or not all(map(split_json.is_json, rows)):
            raise ValueError
        return _Envelope(
            numbers=[msgspec.Raw(row) for row in rows],
            num_results=msgspec.Raw(page.get("num_results", "null")),
            paginates=msgspec.Raw(page.get("paginates", "null")),
        )
    except (KeyError, *UNREADABLE):
        raise _no_page(complaint) from None


def _if_readable(raw: msgspec.Raw) -> Any:  # noqa: ANN401 - any JSON value
    try:
        return unknown_fields.read(bytes(raw))
    except UNREADABLE:
        return None


def _no_page(complaint: str) -> ProviderUnavailable:
    detail = (
        "The provider's response is not a JSON object with a list `numbers`: "
        f"{complaint}. Retry later."
    )
    return ProviderUnavailable(detail, reason="not_a_page")


def _read_row(raw: bytes, zone: tzinfo) -> Number | Reject:
    try:
        return _number(raw, zone)
    except UNREADABLE as exc:
        text = raw.decode()
        return Reject(uuid=_readable_uuid(text), reason=_reason(exc), payload=text)


def _number(raw: bytes, zone: tzinfo) -> Number:
    row, rest = _decode_row(raw)
    if row.number_e164.isspace() or not row.number_e164:
        raise ValueError("number_e164: it is blank")
    details = row.details or NO_DETAILS
    status = details.status if row.status is None else row.status
    own_cancelled_at = values.moment("cancelled", row.cancelled, zone)
    cancelled_at = values.moment("details.cancelled", details.cancelled, zone) or own_cancelled_at
    details_provisioned_at = values.moment("details.provisioned", details.provisioned, zone)
    shown = _shown_in(row, details)
    said = row.status or details.status or ""
    gone = said.strip().casefold() == "cancelled"
    # By position: by keyword a first sync takes 6 % longer. A test checks the order.
    return Number(
        values.uuid(row.uuid),
        row.number_e164,
        row.number,
        row.range_code,
        row.range_name,
        row.country_code,
        row.country_name,
        row.country_iso,
        alpha2(row.country_iso),
        Lifecycle.CANCELLED.value if gone else Lifecycle.LIVE.value,
        status,
        _amount("monthly_charge", bytes(row.monthly_charge)),
        _amount("setup_charge", bytes(row.setup_charge)),
        values.moment("provisioned", row.provisioned, zone) or details_provisioned_at,
        cancelled_at,
        shown.number_address_id,
        shown.emergency_number_address_id,
        details.status,
        details_provisioned_at,
        rest,
        shown.addresses,
    )


def _decode_row(raw: bytes) -> tuple[SentRow, str | None]:
    """
    Decode a row; the slow way only where it has fields that we do not know.
    """
    try:
        return ROW.decode(raw), None
    except msgspec.ValidationError:
        return LOOSE_ROW.decode(raw), unknown_fields.unknown_fields(raw, ROW_SHAPE)


@lru_cache(maxsize=2048)
def _read_addresses(
    own: bytes, inside: bytes, own_emergency: bytes, inside_emergency: bytes
) -> _Shown:
    """
    Read a number's two addresses, once for all numbers that show the same two.
    """
    address = _read_either("number_address", own, inside)
    emergency = _read_either("emergency_number_address", own_emergency, inside_emergency)
    return _Shown(
        number_address_id=address.id if address else None,
        emergency_number_address_id=emergency.id if emergency else None,
        addresses=tuple(filter(None, (address, emergency))),
    )


def _read_either(field: str, own: bytes, inside: bytes) -> Address | None:
    in_details = _read_address(field, inside)
    return _read_address(field, own) or in_details


@lru_cache(maxsize=2048)
def _read_address(field: str, raw: bytes) -> Address | None:
    """
    Read an address, once for all numbers that it stands in.
    """
    try:
        sent, rest = _decode_address(raw)
    except msgspec.ValidationError as exc:
        raise ValueError(f"{field}: {exc}") from None
    if sent is None:
        return None
    country = sent.address_country or SentCountry()
    return Address(
        id=values.identity(f"{field}.id", sent.id),
        name=sent.name,
        use_for_proof_of_address=values.flag(field, sent.use_for_proof_of_address),
        use_for_emergency_address=values.flag(field, sent.use_for_emergency_address),
        address_line1=sent.address_line1,
        address_line2=sent.address_line2,
        address_city=sent.address_city,
        address_region=sent.address_region,
        address_postal_code=sent.address_postal_code,
        country_name=country.name,
        country_iso=country.iso,
        extra=rest,
    )


def _decode_address(raw: bytes) -> tuple[SentAddress | None, str | None]:
    try:
        return ADDRESS.decode(raw), None
    except msgspec.ValidationError:
        return LOOSE_ADDRESS.decode(raw), unknown_fields.unknown_fields(raw, ADDRESS_SHAPE)


@lru_cache(maxsize=4096)
def _amount(field: str, raw: bytes) -> Decimal | None:
    return values.amount(field, unknown_fields.read(raw))


def _readable_uuid(text: str) -> str | None:
    try:
        return values.uuid(str(unknown_fields.read(split_json.members(text)["uuid"].encode())))
    except (KeyError, *UNREADABLE):
        return None


def _reason(exc: BaseException) -> str:
    match exc:
        case RecursionError():
            return "It is nested too deeply."
        case msgspec.DecodeError() if not isinstance(exc, msgspec.ValidationError):
            return f"It holds text that is not Unicode, such as half a surrogate pair: {exc}"
        case _:
            return str(exc)
