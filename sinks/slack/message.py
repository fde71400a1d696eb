"""An event as a Slack message. Mentions, links and formats in its values do not work. Pure.

Slack reads mentions, links and formats in a message's `text` and in `mrkdwn` objects, and shows
`plain_text` as it is. So all values of an event are `plain_text`. Notifications show the
message's own `text`: it has only our words. Lengths:
https://docs.slack.dev/reference/block-kit/blocks
"""

import html
from collections.abc import Callable, Mapping
from typing import Final

from core.event import SYSTEM
from core.printable import plain, plain_lines

from ..template import compile_text

Event = Mapping[str, object]
Json = dict[str, object]

_HEADER, _SECTION, _FIELD = 150, 3000, 2000

_TITLES: Final = {
    "sms.received": "SMS",
    "call.received": "Call",
    "rental.billed": "Rental billed",
    "rental.renewed": "Rental renewed",
    "rental.renewal_failed": "Rental not renewed",
    "number.assigned": "Number assigned",
    "number.changed": "Number changed",
    "order.expired": "Order expired",
    "account.low": "Balance low",
    "system.audit_checkpoint": "Audit log signed",
    "system.audit_refused": "AUDIT LOG REFUSED",
}

_type = compile_text("{type}")
_source = compile_text("{source}")
_name = compile_text("{data.service.name}")
_id = compile_text("{data.service.id}")
_code = compile_text("{data.code}")
_text = compile_text("{data.text}")
_summary = compile_text("{data.summary}")
_note = compile_text("{data.note}")
_severity = compile_text("{data.severity}")
_subject = compile_text("{subject}")
_sample = compile_text("{data.sample}")


def _service(event: Event) -> str:
    return _name(event) or _id(event)


#: The fields that an event has are shown, whatever its type. Slack takes ten, and no event has
#: more.
_FIELDS: Final = (
    ("Service", _service),
    ("Number", compile_text("{data.to}")),
    ("From", compile_text("{data.from}")),
    ("Code", _code),
    ("Price", compile_text("{data.price.amount} {data.price.currency}")),
    ("Rental", compile_text("{data.rental_id}")),
    ("Rental before", compile_text("{data.previous_rental_id}")),
    ("Expires", compile_text("{data.expires}")),
    ("Reason", compile_text("{data.reason}")),
    ("Balance", compile_text("{data.balance.amount} {data.balance.currency}")),
    ("Threshold", compile_text("{data.threshold}")),
    ("Source", _source),
)


def compile_payload(message: str | None) -> Callable[[Event], Json]:
    """Return a function that makes a payload of an event. None: the default of each type.

    Raises ValueError with a hint for a message that is no valid template.
    """
    fill = None if message is None else compile_text(message)

    def payload(event: Event) -> Json:
        if fill is None:
            blocks = _default_blocks(event)
        else:
            # An empty text object is invalid: Slack would answer 400, again and again.
            blocks = [_section(fill(event)) or _header(_fallback(event))]
        return {
            "text": html.escape(_fallback(event), quote=False),
            "mrkdwn": False,
            "parse": "none",
            "unfurl_links": False,
            "unfurl_media": False,
            "blocks": blocks,
        }

    return payload


def _default_blocks(event: Event) -> list[Json]:
    """Return a headline, the text if there is one, and the fields that the event has."""
    type_ = _type(event)
    title = _TITLES.get(type_, type_)
    if type_.startswith(SYSTEM) and type_ not in _TITLES:
        words = type_.removeprefix(SYSTEM).replace("_", " ")
        title = f"{_severity(event).upper()}: {words} ({_subject(event)})"
    if _sample(event) == "true":
        title = f"Sample: {title}"
    subject = _code(event).strip() or _service(event).strip()
    facts = [(label, plain(fill(event).strip())) for label, fill in _FIELDS]
    fields = [_plain_text(f"{label}\n{value}", _FIELD) for label, value in facts if value]
    blocks: list[Json] = [
        _header(f"{title}: {subject}" if subject else title),
        _section(_text(event) or _summary(event)),
        _section(_note(event)),
        {"type": "section", "fields": fields},
    ]
    return [block for block in blocks if block]


def _fallback(event: Event) -> str:
    return f"{_type(event)} from {_source(event)}"


def _header(text: str) -> Json:
    return {"type": "header", "text": _plain_text(plain(text), _HEADER)}


def _section(text: str) -> Json:
    """Return a section, or an empty dict for an empty text."""
    if not text.strip():
        return {}
    return {"type": "section", "text": _plain_text(plain_lines(text), _SECTION)}


def _plain_text(text: str, limit: int) -> Json:
    """Return a text without pictures: with `emoji` Slack replaces `:words:`.

    A long text is cut by UTF-16 units: short enough, however Slack counts.
    """
    units = text.encode("utf-16-le")
    if len(units) > limit * 2:
        text = units[: (limit - 1) * 2].decode("utf-16-le", errors="ignore") + "…"
    return {"type": "plain_text", "text": text, "emoji": False}
