"""The sealed columns of rows: what is stored, and what is read."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from core.erasure import NUMBER
from core.order import BY_NUMBER, Order
from core.secret import MASK

from ..records import Arrival
from ..seal import GONE, Kind, Opener, Opening, Reason, Seal, Sealer, StoredBody

#: The columns of an event for `stored_body`.
BODY: Final = "events.id, events.body, events.codes, events.people, events.erased_at"
#: How many columns these are.
BODY_WIDTH: Final = BODY.count(",") + 1
#: Everything, to join an event with its order or its copy, and for filters.
TO_JOIN: Final = Opening((Kind.CODES, Kind.PEOPLE), Reason.JOIN)
TO_FILTER: Final = Opening((Kind.CODES, Kind.PEOPLE), Reason.FILTER)

_LENGTH = 4
_Headers = tuple[tuple[str, str], ...]


def stored_body(row: Sequence[Any]) -> StoredBody:
    """Return an event of a row of BODY."""
    id_, body, codes, people, erased_at = row
    return StoredBody(id_, body.encode(), codes, people, erased_at)


# --- numbers ----------------------------------------------------------------------------------


def find_indexes(opener: Opener, number: str, since: float | None = None) -> Sequence[str]:
    """Return the keyed indexes of a number, newest first."""
    return [index for _, index in opener.find_number(number, since=since)]


def find_numbers(opener: Opener, numbers: Sequence[str]) -> Sequence[str]:
    """Return numbers in clear and their keyed indexes: the texts that a column may have."""
    return [one for number in numbers for one in (number, *find_indexes(opener, number))]


def find_subjects(opener: Opener, subject: str) -> Sequence[str]:
    """Return the texts that the column `subject` may have for a subject."""
    if not subject.startswith(NUMBER):
        return (subject,)
    indexes = find_indexes(opener, subject.removeprefix(NUMBER))
    return [subject, *(f"{NUMBER}{index}" for index in indexes)]


# --- callbacks -----------------------------------------------------------------------------------


def callback_columns(
    seal: Seal | None, id_: str, arrival: Arrival
) -> tuple[str, bytearray, bytearray | None]:
    """Return headers, body and the sealed part of a callback. `seal` None: it stays in clear."""
    part = seal_callback(seal, id_, arrival)
    if part is None:
        return (*clear_columns(arrival), None)
    return "[]", bytearray(), bytearray(part)


def seal_callback(seal: Seal | None, id_: str, arrival: Arrival) -> bytes | bytearray | None:
    """Return the sealed part of a callback. None: it stays in clear, or is empty."""
    if seal is None or not (arrival.headers or arrival.body):
        return None
    headers = msgspec.json.encode(arrival.headers)
    return seal(id_, callback_part(headers, arrival.body), arrival.at)


def clear_columns(arrival: Arrival) -> tuple[str, bytearray]:
    """Return headers and body of a callback in clear. For bytes, sqlite3 would need an adapter."""
    return msgspec.json.encode(arrival.headers).decode(), bytearray(arrival.body)


def callback_part(headers: bytes, body: bytes) -> bytes:
    """Return the part of a callback to seal. `headers` are JSON."""
    return len(headers).to_bytes(_LENGTH) + headers + body


def open_callback(
    opener: Opener, kind: Kind, id_: str, columns: Sequence[Any], why: Reason | None
) -> tuple[_Headers, bytes] | None:
    """Return headers and body from their columns. `why` None: the empty ones of a sealed callback.

    None: they are erased.
    """
    headers, body, sealed = columns
    if sealed is not None and why is not None:
        part = opener.open_part(kind, id_, sealed, why)
        if part is None:
            return None
        end = _LENGTH + int.from_bytes(part[:_LENGTH])
        headers, body = part[_LENGTH:end], part[end:]
    return tuple((name, value) for name, value in json.loads(headers)), body


# --- answers of sinks ----------------------------------------------------------------------------


def answer_id(event_id: str, delivery: int, number: int, *, probe: bool) -> str:
    """Return the id of a sealed answer."""
    return f"{event_id}/{delivery}/{number}{'/probe' if probe else ''}"


def open_answer(opener: Opener, id_: str, sealed: bytes, opening: Opening | None) -> bytes | None:
    """Return a sealed answer; a mask if its kind is not opened. None: it is erased."""
    if opening is not None and Kind.CODES in opening.kinds:
        return opener.open_part(Kind.CODES, id_, sealed, opening.why)
    return MASK.encode() if opener.lives(Kind.CODES, sealed) else None


# --- orders --------------------------------------------------------------------------------------


def order_columns(sealer: Sealer | None, order: Order) -> tuple[str, str | None, bytes | None]:
    """Return name, number and the sealed part of an order.

    Sealed, the columns have the keyed index. It is that of today, as an open order lives on.
    """
    number = order.number
    is_numbered = order.kind == BY_NUMBER
    if sealer is None or not (number is not None or is_numbered):
        return order.name, number, None
    at = sealer.newest(Kind.PEOPLE, order.created_at)
    return (
        sealer.index_number(order.name, at) if is_numbered else order.name,
        None if number is None else sealer.index_number(number, at),
        sealer.seal_part(Kind.PEOPLE, order.id, _order_part(order), at),
    )


def ended_order_columns(sealer: Sealer, order: Order) -> tuple[str, str | None, bytes]:
    """Return the same of an order that ended and was stored in clear.

    It has the key of its end. If that was destroyed, name and number are erased.
    """
    part = sealer.seal_own(Kind.PEOPLE, order.id, _order_part(order), order.expires_at)
    is_numbered = order.kind == BY_NUMBER
    if part == GONE:
        return MASK if is_numbered else order.name, None, part
    return (
        sealer.index_number(order.name, order.expires_at) if is_numbered else order.name,
        None if order.number is None else sealer.index_number(order.number, order.expires_at),
        part,
    )


def _order_part(order: Order) -> bytes:
    return msgspec.json.encode((order.name if order.kind == BY_NUMBER else None, order.number))


def open_order(opener: Opener, columns: Mapping[str, Any]) -> Mapping[str, str | None]:
    """Return name and number of an order from its columns. Erased ones are a mask and None."""
    name, number, sealed = (columns[one] for one in ("name", "number", "sealed"))
    if sealed is not None:
        is_numbered = columns["kind"] == BY_NUMBER
        part = opener.open_part(Kind.PEOPLE, columns["id"], sealed, Reason.ORDER)
        its_name, number = (MASK, None) if part is None else msgspec.json.decode(part)
        name = its_name if is_numbered else name
    return {"name": name, "number": number}
