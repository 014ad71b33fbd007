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
from decimal import Decimal, DecimalException
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec

from syncsvc import salvage, values
from syncsvc.errors import ProviderUnavailable
from syncsvc.fingerprint import KNOWN, fingerprint, salt
from syncsvc.records import Address, Number, Page, Reject, Unchanged
from syncsvc.sent import (
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
    Shape,
)
from syncsvc.vocabulary import Lifecycle

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import tzinfo

    from syncsvc.fingerprint import Known

ESCAPED_NUL = re.compile(rb"(?<!\\)((?:\\\\)*)\\u0000")
LEAST, MOST = -1000, 308  # exponents of a JSON number in an unknown field


class _Envelope(msgspec.Struct):
    numbers: list[msgspec.Raw]
    num_results: msgspec.Raw = NULL
    paginates: msgspec.Raw = NULL


def _exact(text: str) -> Decimal:
    """
    A JSON number with all its digits.
    """
    try:
        number = Decimal(text)
    except DecimalException:
        number = Decimal("Infinity")
    if not number.is_finite() or (number and not LEAST < number.adjusted() <= MOST):
        raise ValueError(f"the number {values.shown(text)} is beyond what can be kept")
    return number


ENVELOPE = msgspec.json.Decoder(_Envelope)
ROW = msgspec.json.Decoder(SentRow)
GLANCED_ROW = msgspec.json.Decoder(GlancedRow)
LOOSE_ROW = msgspec.json.Decoder(LooseRow)
ADDRESS = msgspec.json.Decoder(SentAddress | None)
LOOSE_ADDRESS = msgspec.json.Decoder(LooseAddress)
ANYTHING = msgspec.json.Decoder(float_hook=_exact)
CANONICAL = msgspec.json.Encoder(order="sorted", decimal_format="number")
UNREADABLE = (msgspec.MsgspecError, ValueError, RecursionError)
NO_DETAILS = SentDetails()
NONE_GLANCED = GlancedDetails()


def read_page(body: bytes, zone: tzinfo) -> Page:
    """
    Read one page of a listing.

    Args:
        body: The answer's body, decompressed.
        zone: The provider's zone, for timestamps that bear none.

    Raises:
        ProviderUnavailable: The body is not JSON or has no list `numbers`.
    """
    if b"\\" in body and b"\\u0000" in body:  # no database keeps a NUL; most bodies have neither
        body = ESCAPED_NUL.sub(rb"\1\\ufffd", body)
    envelope = _open(body)
    sent = [bytes(raw) for raw in envelope.numbers]
    known = KNOWN.get()
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
    return Unchanged(uuid, _addresses(row)) if known.has(uuid, mark) else None


def _addresses(row: GlancedRow) -> tuple[Address, ...]:
    details = row.details or NONE_GLANCED
    address = _address("number_address", row, details)
    emergency = _address("emergency_number_address", row, details)
    return tuple(filter(None, (address, emergency)))


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
        page = salvage.members(text) if salvage.is_json(text) else {}
        rows = list(salvage.elements(page["numbers"]))
        if not page["numbers"].startswith("[") or not all(map(salvage.is_json, rows)):
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
        return ANYTHING.decode(bytes(raw))
    except UNREADABLE:
        return None


def _no_page(complaint: str) -> ProviderUnavailable:
    detail = f"The body is not a JSON object with a list `numbers`: {complaint}"
    return ProviderUnavailable(detail, reason="not_a_page")


def _read_row(raw: bytes, zone: tzinfo) -> Number | Reject:
    try:
        return _number(raw, zone)
    except UNREADABLE as exc:
        text = raw.decode()
        return Reject(uuid=_readable_uuid(text), reason=_reason(exc), payload=text)


def _number(raw: bytes, zone: tzinfo) -> Number:
    row, extra = _decode_row(raw)
    if row.number_e164.isspace() or not row.number_e164:
        raise ValueError("number_e164: it is blank")
    details = row.details or NO_DETAILS
    status = details.status if row.status is None else row.status
    own_cancelled_at = values.moment("cancelled", row.cancelled, zone)
    cancelled_at = values.moment("details.cancelled", details.cancelled, zone) or own_cancelled_at
    details_provisioned_at = values.moment("details.provisioned", details.provisioned, zone)
    address = _address("number_address", row, details)
    emergency = _address("emergency_number_address", row, details)
    said = row.status or details.status or ""
    gone = cancelled_at or said.strip().casefold() == "cancelled"
    return Number(
        values.uuid(row.uuid),
        row.number_e164,
        row.number,
        row.range_code,
        row.range_name,
        row.country_code,
        row.country_name,
        row.country_iso,
        values.alpha2(row.country_iso),
        Lifecycle.CANCELLED.value if gone else Lifecycle.LIVE.value,
        status,
        _amount("monthly_charge", bytes(row.monthly_charge)),
        _amount("setup_charge", bytes(row.setup_charge)),
        values.moment("provisioned", row.provisioned, zone) or details_provisioned_at,
        cancelled_at,
        address.id if address else None,
        emergency.id if emergency else None,
        details.status,
        details_provisioned_at,
        extra,
        tuple(filter(None, (address, emergency))),
    )


def _decode_row(raw: bytes) -> tuple[SentRow, str | None]:
    """
    Decode a row; the slow way only where it has fields that we do not know.
    """
    try:
        return ROW.decode(raw), None
    except msgspec.ValidationError:
        return LOOSE_ROW.decode(raw), _extra(raw, ROW_SHAPE)


def _address(
    field: str, row: SentRow | GlancedRow, details: SentDetails | GlancedDetails
) -> Address | None:
    inside = _read_address(field, bytes(getattr(details, field)))
    return _read_address(field, bytes(getattr(row, field))) or inside


@lru_cache(maxsize=4096)
def _read_address(field: str, raw: bytes) -> Address | None:
    """
    Read an address, once for all numbers that it stands in.
    """
    try:
        sent, extra = _decode_address(raw)
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
        extra=extra,
    )


def _decode_address(raw: bytes) -> tuple[SentAddress | None, str | None]:
    try:
        return ADDRESS.decode(raw), None
    except msgspec.ValidationError:
        return LOOSE_ADDRESS.decode(raw), _extra(raw, ADDRESS_SHAPE)


@lru_cache(maxsize=4096)
def _amount(field: str, raw: bytes) -> Decimal | None:
    return values.amount(field, ANYTHING.decode(raw))


def _extra(raw: bytes, shape: Shape) -> str | None:
    """
    The fields of an object that we do not know, in one spelling for one content.
    """
    rest = _unknown(ANYTHING.decode(raw), shape)
    return CANONICAL.encode(rest).decode() if rest else None


def _unknown(value: Any, shape: Shape) -> dict[str, Any]:  # noqa: ANN401 - any JSON value
    if not isinstance(value, dict):
        return {}
    rest = {key: item for key, item in value.items() if key not in shape}
    inside = {key: _unknown(value.get(key), inner) for key, inner in shape.items() if inner}
    return rest | {key: found for key, found in inside.items() if found}


def _readable_uuid(text: str) -> str | None:
    try:
        return values.uuid(str(ANYTHING.decode(salvage.members(text)["uuid"])))
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
