"""The body of a POST that registers an order."""

import re
from collections.abc import Callable, Mapping
from typing import Annotated

import msgspec
from msgspec import Meta

from core.event import Price
from core.order import BY_NUMBER, KINDS, Order, default_lifetime
from core.printable import named
from receiver.fields.numbers import e164
from receiver.fields.reader import AMOUNT
from receiver.polling.questions import PROVIDER_ID
from receiver.source import Source
from receiver.source_state import SourceState

from .errors import Problem, bad_body
from .parameters import AN_END, read_body, read_end

_NO_ID = re.compile(r"[+-]?0*(\.0*)?|-.*")
_TEXT = 255
_LABELS = 32
_CURRENCY = re.compile(r"[A-Za-z]{3,10}")

_A_LINE = f"write a text of 1 to {_TEXT} characters, on one line"
_AN_ID = "write the provider's id: a positive number, or a text without spaces"
_A_NUMBER = "write a phone number with its country's code, such as +18503814729"

Line = Annotated[
    str, Meta(min_length=1, max_length=_TEXT, title="write a text", description=_A_LINE)
]
Country = Annotated[
    str, Meta(pattern=r"\A[A-Za-z]{2}\Z", description="write two letters, such as US")
]
ProviderId = Annotated[str, Meta(description=_AN_ID)] | int

_AMOUNT_JSON = {"type": ["string", "number"]}
_PRICE_JSON = {
    "type": ["string", "number", "object", "null"],
    "properties": {"amount": _AMOUNT_JSON, "currency": {"type": ["string", "null"]}},
    "required": ["amount"],
    "additionalProperties": False,
}
PriceJson = Annotated[msgspec.Raw, Meta(extra_json_schema=_PRICE_JSON)]


class OrderBody(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of an order that a client may send."""

    source: Line | None = None
    request_id: ProviderId | None = None
    activation_id: ProviderId | None = None
    rental_id: ProviderId | None = None
    number: Annotated[str, Meta(description=_A_NUMBER)] | int | None = None
    service: Line | None = None
    country: Country | None = None
    #: `1.20`, `"1.20"`, or `{"amount": "1.20", "currency": "USD"}`: the digits stay as sent.
    price: PriceJson = msgspec.field(default_factory=msgspec.Raw)
    reference: Line | None = None
    labels: Mapping[str, str] = {}
    #: RFC 3339, or how long from now: `30m`.
    expires: Annotated[str, Meta(description=AN_END)] | None = None


def read_order(
    body: bytes, sources: Mapping[str, SourceState], *, new_id: Callable[[float], str], now: float
) -> tuple[Order, float | None]:
    """Return the order that a body describes, and its end if the body has one.

    `new_id` returns an id for an instant. Raise Problem: 400, or 422 for an unknown source.
    """
    fields = ", ".join(OrderBody.__struct_fields__)
    given = read_body(body, OrderBody, f"a JSON object is expected, with {fields}")
    if given.source is None:
        raise bad_body("source", "missing; write the name of a configured one")
    for name in ("source", "service", "reference"):
        line = getattr(given, name)
        if line is not None and (not line.isprintable() or line.isspace()):
            raise bad_body(name, _A_LINE)
    state = sources.get(given.source)
    if state is None:
        quoted = repr(named(given.source))
        raise Problem(422, "unknown_source", f"source: no source is named {quoted}")
    source = state.source
    number = None
    if given.number is not None:
        number = e164(str(given.number), source.default_region)
        if number is None:
            raise bad_body("number", _A_NUMBER)
    kind, id_ = _identifier(given, number)
    if len(given.labels) > _LABELS:
        raise bad_body("labels", f"more than {_LABELS} of them")
    if not all(1 <= len(k) <= _TEXT and len(text) <= _TEXT for k, text in given.labels.items()):
        raise bad_body("labels", f"write names and values of at most {_TEXT} characters")
    at = round(now, 6)
    end, lasts = (
        read_end(given.expires, at) if given.expires is not None else (None, default_lifetime(kind))
    )
    order = Order(
        id=new_id(at),
        source=given.source,
        provider=str(type(source).__struct_config__.tag),
        kind=kind,
        name=id_,
        number=number,
        service=given.service,
        country=given.country and given.country.upper(),
        price=_price(given, source),
        reference=given.reference,
        labels=given.labels,
        created_at=at,
        expires_at=at + default_lifetime(kind) if end is None else end,
        lasts=lasts,
    )
    return order, end


def _identifier(given: OrderBody, number: str | None) -> tuple[str, str]:
    """Return the kind of the order's id, and the id; an order without one has its number."""
    ids = {kind: getattr(given, kind) for kind in KINDS if kind != BY_NUMBER}
    kinds = [kind for kind, id_ in ids.items() if id_ is not None]
    if len(kinds) > 1:
        raise bad_body(kinds[1], f"not with {kinds[0]}; an order has one id, and may have a number")
    if kinds:
        text = str(ids[kinds[0]])
        if not PROVIDER_ID.fullmatch(text) or not text.isprintable() or _NO_ID.fullmatch(text):
            raise bad_body(kinds[0], _AN_ID)
        return kinds[0], text
    if number is None:
        raise bad_body(", ".join(KINDS), "missing; give at least one to identify the order")
    return BY_NUMBER, number


def _price(given: OrderBody, source: Source) -> Price | None:
    sent = bytes(given.price)
    if not sent.startswith(b"{"):
        return Price(amount=_amount(sent), currency=source.currency) if sent else None
    try:
        parts = msgspec.json.decode(sent, type=dict[str, msgspec.Raw])
        currency = msgspec.json.decode(parts.get("currency", b"null"))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        parts, currency = {}, None
    if "amount" not in parts or set(parts) - {"amount", "currency"}:
        raise bad_body("price", 'write {"amount": "1.20", "currency": "USD"}, or "1.20"')
    if currency is not None and not (isinstance(currency, str) and _CURRENCY.fullmatch(currency)):
        raise bad_body("price", "write a currency such as USD")
    return Price(amount=_amount(bytes(parts["amount"])), currency=currency or source.currency)


def _amount(sent: bytes) -> str:
    try:
        text = msgspec.json.decode(sent, type=str) if sent.startswith(b'"') else sent.decode()
    except (msgspec.MsgspecError, UnicodeDecodeError):
        text = ""
    if not AMOUNT.fullmatch(text):
        raise bad_body("price", "write an amount in digits, such as 1.20")
    return text
