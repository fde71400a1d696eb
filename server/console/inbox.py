"""The inbox: the newest messages, and those of one number."""

import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from core.printable import plain

from ..api.errors import bad_parameter
from ..api.parameters import is_uuid
from .api import Parameter
from .page import (
    STATES,
    STREAM,
    Answer,
    Body,
    Page,
    Redirect,
    Request,
    Stream,
    View,
    address,
    looked_to,
)
from .render import MARKS

#: In place of a code. The count of dots says nothing.
DOTS = "••••••"
#: In place of what is not there: a dash.
NOTHING = "\u2013"
#: Events on a page.
SHOWN = 100
#: The times to choose from.
TIMES = {"10m": "10 minutes", "1h": "1 hour", "24h": "24 hours", "7d": "7 days", "all": "any time"}
_DEFAULT_TIME = "24h"
#: Only keys that may see deliveries get the last column.
_TITLES = ("Number", "Service", "Code", "From", "When", "Delivered")
#: Filters of addresses that the form has no field for.
_KEPT = ("number", "service", "subject", "reference")
_NUMBER = re.compile(r"\+[0-9]{1,15}|[0-9]{8,15}")
_SUBJECT = re.compile(r"(activation|request|rental|telephone|number)/.+")


async def inbox(request: Request) -> Answer:
    """Answer the newest messages that match."""
    words = request.one("q").split()
    if len(words) == 1 and is_uuid(words[0].lower()):
        return Redirect(address(f"/events/{words[0].lower()}"))
    asked = await search(request)
    follows = request.session.access.sees is None
    found = newest = await request.api.get("/v1/events", limit=SHOWN, order="desc", **asked)
    if not found["data"]:
        # Where the stream begins: what came before is in the list, which is read again.
        newest = await request.api.get("/v1/events", limit=1, order="desc")
        found = await request.api.get("/v1/events", limit=SHOWN, order="desc", **asked)
    events = [item["event"] for item in found["data"]]
    known = await _sources(request)
    # Until the first message, a person has to know where a provider sends it.
    is_new = not newest["data"] and not newest["has_more"]
    return View(
        template="inbox.html",
        title=_title(asked),
        values={
            "heading": _title(asked),
            "rows": await rows(request, events),
            "query": request.one("q"),
            "kept": [pair for pair in request.query if pair[0] in _KEPT],
            "orders": await _orders(request, asked.get("number")),
            "sources": [one["name"] for one in known],
            "new_sources": [one["name"] for one in known if one["state"] != "polled"],
            "is_new": is_new,
            "source": request.all("source"),
            "with_code": request.one("with", "any"),
            "since": request.one("since", _DEFAULT_TIME),
            "times": TIMES,
            "reveals": any(map(request.session.access.may, ("codes:reveal", "codes:read"))),
            **request.pages(found),
            "looked_to": await looked_to(
                request, "/v1/events", found, SHOWN, lambda item: item["event"]["recordedtime"]
            ),
            "stream": None if request.one("after") else _stream_of(request),
            "place": found["data"][0]["cursor"] if found["data"] else newest["next_cursor"],
            "blank": _BLANK if follows else {**_BLANK, "delivered": None},
            "titles": _TITLES if follows else _TITLES[:-1],
            "sends": request.sends,
            "elsewhen": {name: request.link(since=name) for name in ("24h", "7d", "all")},
        },
    )


async def stream(request: Request) -> Answer:
    """Answer the new messages that match, as they come."""
    asked = dict(await search(request))
    may_reveal = any(map(request.session.access.may, ("codes:reveal", "codes:read")))
    return Stream(
        path="/v1/events/stream", parameters=asked, show=partial(_live, may_reveal=may_reveal)
    )


def _live(event: Mapping[str, Any], *, may_reveal: bool) -> Mapping[str, Any]:
    """Return what the script puts into a new row: texts only."""
    shown = row(event, None)
    code = DOTS if shown["has_code"] else "no code" if shown["has_text"] else NOTHING
    texts = {
        "id": shown["id"],
        "number": shown["number"] or shown["type"],
        "service": shown["service"] or NOTHING,
        "code": code,
        "from": shown["from"] or NOTHING,
        "time": shown["at"],
        "about": shown["about"],
        "what": shown["what"],
        **_filled({"kind": "wait", "words": "new"}),
    }
    return {
        "texts": {name: plain(text) for name, text in texts.items()},
        "copies": may_reveal and shown["has_code"],
        "reveals": may_reveal and (shown["has_code"] or shown["has_text"]),
    }


async def states(request: Request) -> Answer:
    """Answer the script of the inbox with the states of the deliveries of its rows."""
    events = request.all("event")
    if not 0 < len(events) <= SHOWN:
        raise bad_parameter("event", f"1 to {SHOWN} ids")
    found = await _deliveries(request, events) or {}
    shown = {event: delivered(found.get(event, [])) for event in events}
    return Body.json(
        {event: {"texts": _filled(one), "is_owed": one["is_owed"]} for event, one in shown.items()}
    )


def _filled(state: Mapping[str, Any]) -> Mapping[str, str]:
    """Return the texts that the script puts into the template of a state."""
    return {"kind": state["kind"], "mark": MARKS[state["kind"]], "words": state["words"]}


def _stream_of(request: Request) -> str:
    """Return the address of the stream with the filter of this page."""
    # `since` may be missing: its default is that of the page.
    query = [*request.query, *([] if request.one("since") else [("since", _DEFAULT_TIME)])]
    return address(STREAM, query)


async def search(request: Request) -> Mapping[str, Parameter]:
    """Return the parameters of `/v1/events` for those of the page."""
    since = request.one("since", _DEFAULT_TIME)
    asked: dict[str, Any] = {
        "source": request.all("source"),
        "number": [_number(one) for one in request.all("number")],
        "service": list(request.all("service")),
        "subject": list(request.all("subject")),
        "reference": list(request.all("reference")),
        "code": {"code": "true", "none": "false"}.get(request.one("with")),
        "since": None if since == "all" else since,
        "after": request.one("after"),
    }
    for word in request.one("q").split():
        if _NUMBER.fullmatch(word):
            asked["number"].append(_number(word))
        elif _SUBJECT.fullmatch(word):
            asked["subject"].append(word)
        elif await _is_reference(request, word):
            asked["reference"].append(word)
        else:
            asked["service"].append(word)
    return {name: value for name, value in asked.items() if value}


def _number(text: str) -> str:
    # A `+` in an address that somebody typed arrives as a blank.
    return text.strip().removeprefix("+")


async def _is_reference(request: Request, word: str) -> bool:
    found = await request.api.get("/v1/events", reference=word, limit=1)
    return bool(found["data"])


async def _orders(request: Request, numbers: Parameter) -> Sequence[Mapping[str, Any]]:
    """Return the newest order of the number, if the page is that of one number."""
    is_one = isinstance(numbers, list) and len(numbers) == 1
    if not is_one or request.session.access.sees is not None:
        return ()
    found = await request.api.get("/v1/orders", number=numbers, order="desc", limit=1)
    return [one | {"kind": ORDERS[one["state"]]} for one in found["data"]]


async def _sources(request: Request) -> Sequence[Mapping[str, Any]]:
    """Return all sources; a key with a `when` may not see them."""
    if request.session.access.sees is not None:
        return ()
    sources: Sequence[Mapping[str, Any]]
    sources = (await request.api.get("/v1/sources", limit=1000))["data"]
    return sources


async def rows(
    request: Request, events: Sequence[Mapping[str, Any]]
) -> Sequence[Mapping[str, Any]]:
    """Return the rows that show these events, each with the state of its deliveries."""
    owed = await _deliveries(request, [event["id"] for event in events])
    return [row(event, None if owed is None else owed.get(event["id"], [])) for event in events]


def row(event: Mapping[str, Any], states: Sequence[str] | None) -> Mapping[str, Any]:
    """Return what a row shows. `states` are those of its deliveries; None: they are not known."""
    data = event["data"]
    service = data.get("service") or {}
    name = service.get("name") or service.get("key") or service.get("id")
    return {
        "id": event["id"],
        "type": event["type"],
        "number": data.get("to"),
        "service": name,
        "code": None,
        "about": f"{name or event['type']} for {data.get('to') or event['id']}",
        "from": data.get("from"),
        "source": event["source"],
        "at": event["recordedtime"],
        "has_code": data.get("code") is not None,
        "has_text": data.get("text") is not None,
        "what": "code" if data.get("text") is None else "text",
        "is_sample": data["sample"],
        "delivered": None if states is None else delivered(states),
    }


def delivered(states: Sequence[str]) -> Mapping[str, Any]:
    """Return the common state of the deliveries of an event: its kind for `state`, and its words.

    `is_owed`: some deliveries are pending.
    """
    done, lost = states.count("delivered"), states.count("dead") + states.count("expired")
    is_owed = done + lost < len(states)
    kind, words = "wait" if is_owed else "ok", f"{done} of {len(states)}"
    if not states:
        kind, words = "off", "no route"
    if lost:
        kind, words = "bad", f"{words}, {lost} given up"
    return {"kind": kind, "words": words, "is_owed": is_owed}


async def _deliveries(
    request: Request, events: Sequence[str]
) -> Mapping[str, Sequence[str]] | None:
    """Return the states of the deliveries of events; None: the key may not see them."""
    if request.session.access.sees is not None:
        return None
    found: dict[str, list[str]] = {}
    after = None
    while events:
        page = await request.api.get("/v1/deliveries", event=events, limit=1000, after=after)
        for one in page["data"]:
            found.setdefault(one["event"], []).append(one["state"])
        after = page["next_cursor"]
        if not page["has_more"]:
            break
    return found


def _title(asked: Mapping[str, Parameter]) -> str:
    number = asked.get("number")
    is_one = isinstance(number, list) and len(number) == 1
    return f"+{number[0]}" if isinstance(number, list) and is_one else "Inbox"


#: The kind of mark of each state of an order.
ORDERS = {"waiting": "wait", "received": "ok", "expired": "bad", "cancelled": "off"}
_TEXTS = ("id", "number", "service", "code", "from", "about", "what")
#: The template of a row: the script replaces each name in braces by its text.
_BLANK: Mapping[str, Any] = {
    **{name: f"{{{name}}}" for name in _TEXTS},
    "at": None,
    "has_code": True,
    "has_text": True,
    "is_sample": False,
    "delivered": {"kind": "{kind}", "words": "{words}", "is_owed": True},
}
PAGES = (
    Page(path="/", answer=inbox),
    Page(path=STREAM, answer=stream),
    Page(path=STATES, answer=states, whole=True),
)
