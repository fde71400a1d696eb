"""The body of a POST that tells an order: read strictly, each complaint with its field."""

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from core.event import Price
from core.order import BY_NUMBER, KINDS, Order, default_lifetime
from core.units import duration
from receiver.fields.numbers import e164
from receiver.source import Source
from receiver.source_state import SourceState

from ..runtime.identity import Identity
from .errors import Problem
from .parameters import rfc3339

#: As long as a time may be that people and programs can write: the year 9999.
_LAST = 253_402_300_799.0

#: It becomes part of a provider's URL where that is asked for what was missed.
_ID = re.compile(r"[^\s/?#&%]{1,64}")
_NO_ID = re.compile(r"[+-]?0*(\.0*)?|-.*")
_TEXT = 255
_LABELS = 32
_COUNTRY = re.compile(r"[A-Za-z]{2}")
_CURRENCY = re.compile(r"[A-Za-z]{3,10}")
_AMOUNT = re.compile(r"[0-9]{1,15}(\.[0-9]{1,30})?")
#: Of a name that we do not know, so much is said back.
_NAMED = 40
_FIELDS = (*("source", *KINDS, "service", "country", "price", "reference", "labels", "expires"),)
_Raw = Mapping[str, msgspec.Raw]


class OrderReading:
    """What a body says, with what its source, the clock and chance add."""

    def __init__(
        self, gates: Sequence[SourceState], identity: Identity, now: Callable[[], float]
    ) -> None:
        self._sources = {gate.name: gate.source for gate in gates}
        self._identity, self._now = identity, now

    def order(self, body: bytes) -> tuple[Order, float | None]:
        """The order, and its end if that was given.

        Raises Problem: 400, or 422 for an unknown source.
        """
        given = _given(body)
        name = _read(given, "source", _text)
        if name is None:
            raise _bad("source", "missing; write the name of a configured one")
        source = self._sources.get(name)
        if source is None:
            raise Problem(422, "unknown_source", f"source: no source is named {name[:_NAMED]!r}")
        kind, id_ = _named(given, source)
        now = round(self._now(), 6)
        end, lasts = _read(given, "expires", lambda raw: _end(raw, now)) or (
            None,
            default_lifetime(kind),
        )
        order = Order(
            id=self._identity.event_id(now),
            source=name,
            provider=str(type(source).__struct_config__.tag),
            kind=kind,
            name=id_,
            number=_read(given, BY_NUMBER, lambda raw: _number(raw, source)),
            service=_read(given, "service", _text),
            country=_read(given, "country", _country),
            price=_read(given, "price", lambda raw: _price(raw, source.currency)),
            reference=_read(given, "reference", _text),
            labels=_read(given, "labels", _labels) or {},
            created_at=now,
            expires_at=now + default_lifetime(kind) if end is None else end,
            lasts=lasts,
        )
        return order, end


def _given(body: bytes) -> _Raw:
    """The fields that say something: null is as good as missing."""
    try:
        fields = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise Problem(400, "bad_body", f"a JSON object is expected, with {_fields()}") from None
    for name in fields:
        if name not in _FIELDS:
            near = difflib.get_close_matches(name, _FIELDS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {_fields()}"
            raise _bad(name[:_NAMED], f"no such field; {hint}")
    return {name: raw for name, raw in fields.items() if bytes(raw) != b"null"}


def _fields() -> str:
    return ", ".join(_FIELDS)


def _named(given: _Raw, source: Source) -> tuple[str, str]:
    """The kind of id that it is given by, and the id."""
    ids = [kind for kind in KINDS if kind in given and kind != BY_NUMBER]
    if len(ids) > 1:
        raise _bad(ids[1], f"not with {ids[0]}; an order has one id, and may have a number")
    if ids:
        return ids[0], _required(given, ids[0], _id)
    if BY_NUMBER in given:
        return BY_NUMBER, _required(given, BY_NUMBER, lambda raw: _number(raw, source))
    raise _bad(", ".join(KINDS), "missing; give at least one to identify the order")


def _read(given: _Raw, name: str, read: Callable[[msgspec.Raw], Any]) -> Any:
    return _required(given, name, read) if name in given else None


def _required(given: _Raw, name: str, read: Callable[[msgspec.Raw], Any]) -> Any:
    try:
        return read(given[name])
    except msgspec.MsgspecError:
        raise _bad(name, "of another type than is expected") from None
    except ValueError as exc:
        raise _bad(name, str(exc)) from None


def _bad(name: str, why: str) -> Problem:
    return Problem(400, "bad_body", f"{name}: {why}")


def _text(raw: msgspec.Raw) -> str:
    text = _string(raw, "write a text")
    if not 1 <= len(text) <= _TEXT or not text.isprintable() or text.isspace():
        raise ValueError(f"write a text of 1 to {_TEXT} characters, on one line")
    return text


def _string(raw: msgspec.Raw, otherwise: str) -> str:
    value = _plain(raw)
    if not isinstance(value, str):
        raise ValueError(otherwise)  # noqa: TRY004 - of what was sent, not of a program
    return value


def _plain(raw: msgspec.Raw) -> Any:
    return msgspec.json.decode(raw)


def _id(raw: msgspec.Raw) -> str:
    """A whole number is as good as its digits."""
    value = _plain(raw)
    text = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    if not _ID.fullmatch(text) or not text.isprintable() or _NO_ID.fullmatch(text):
        raise ValueError("write the provider's id: a positive number, or a text without blanks")
    return text


def _number(raw: msgspec.Raw, source: Source) -> str:
    value = _plain(raw)
    text = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    number = e164(text, source.default_region)
    if number is None:
        raise ValueError("write a phone number with its country's code, such as +18503814729")
    return number


def _country(raw: msgspec.Raw) -> str:
    text = _string(raw, "write two letters, such as US")
    if not _COUNTRY.fullmatch(text):
        raise ValueError("write two letters, such as US")
    return text.upper()


def _price(raw: msgspec.Raw, currency: str | None) -> Price:
    """`1.20`, `"1.20"`, or `{"amount": "1.20", "currency": "USD"}`; the digits stay as sent."""
    if not bytes(raw).lstrip().startswith(b"{"):
        return Price(amount=_amount(raw), currency=currency)
    parts = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    if "amount" not in parts or set(parts) - {"amount", "currency"}:
        raise ValueError('write {"amount": "1.20", "currency": "USD"}, or "1.20"')
    own = parts.get("currency")
    if own is not None and bytes(own) != b"null":
        currency = _string(own, "write a currency such as USD")
        if not _CURRENCY.fullmatch(currency):
            raise ValueError("write a currency such as USD")
    return Price(amount=_amount(parts["amount"]), currency=currency)


def _amount(raw: msgspec.Raw) -> str:
    sent = bytes(raw).decode().strip()
    text = _string(raw, "") if sent.startswith('"') else sent
    if not _AMOUNT.fullmatch(text):
        raise ValueError("write an amount in digits, such as 1.20")
    return text


def _labels(raw: msgspec.Raw) -> Mapping[str, str]:
    labels = msgspec.json.decode(raw, type=dict[str, str])
    if len(labels) > _LABELS:
        raise ValueError(f"more than {_LABELS} of them")
    if not all(1 <= len(name) <= _TEXT and len(value) <= _TEXT for name, value in labels.items()):
        raise ValueError(f"write names and values of at most {_TEXT} characters")
    return labels


def _end(raw: msgspec.Raw, now: float) -> tuple[float, float | None]:
    """RFC 3339, or how long from now: `30m`; and that duration, if it was one."""
    expected = "write a time to come, such as 2026-09-14T18:42:36Z, or how long from now: 30m, 7d"
    written = _string(raw, expected)
    try:
        instant = rfc3339(written)
        end = now + duration(written) if instant is None else instant
    except ValueError:
        raise ValueError(expected) from None
    if not now < end <= _LAST:
        raise ValueError(expected)
    return end, None if instant is not None else end - now
