"""The inbox: the newest messages, and those of one number."""

import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from core.printable import plain

from .api import Parameter
from .page import Answer, Page, Redirect, Request, Stream, View, address, looked_to

#: In place of a code. The count of dots says nothing.
DOTS = "••••••"
#: In place of what is not there: a dash.
NOTHING = "\u2013"
#: Events on a page.
SHOWN = 100
#: The times to choose from.
TIMES = {"10m": "10 minutes", "1h": "1 hour", "24h": "24 hours", "7d": "7 days", "all": "any time"}
_DEFAULT_TIME = "24h"
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_NUMBER = re.compile(r"\+[0-9]{1,15}|[0-9]{8,15}")
_SUBJECT = re.compile(r"(activation|request|rental|telephone|number)/.+")


async def inbox(request: Request) -> Answer:
    """Answer the newest messages that match."""
    words = request.one("q").split()
    if len(words) == 1 and _UUID.fullmatch(words[0].lower()):
        return Redirect(address(f"/events/{words[0].lower()}"))
    asked = await search(request)
    found = await request.api.get("/v1/events", limit=SHOWN, order="desc", **asked)
    events = [item["event"] for item in found["data"]]
    return View(
        template="inbox.html",
        title=_title(asked),
        values={
            "heading": _title(asked),
            "rows": await rows(request, events),
            "query": request.one("q"),
            "orders": await _orders(request, asked.get("number")),
            "sources": await _sources(request),
            "source": request.all("source"),
            "with_code": request.one("with", "any"),
            "since": request.one("since", _DEFAULT_TIME),
            "times": TIMES,
            "reveals": any(map(request.session.access.may, ("codes:reveal", "codes:read"))),
            "older": request.link(after=found["next_cursor"]) if found["has_more"] else None,
            "newest": request.link(after=None) if request.one("after") else None,
            "looked_to": await looked_to(
                request, "/v1/events", found, SHOWN, lambda item: item["event"]["recordedtime"]
            ),
            "stream": None if request.one("after") else _stream_of(request),
            "place": found["data"][0]["cursor"] if found["data"] else "",
            "blank": _BLANK,
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
    name = shown["service"] or shown["type"]
    code = DOTS if shown["has_code"] else "no code" if shown["has_text"] else NOTHING
    texts = {
        "number": shown["number"] or shown["type"],
        "service": shown["service"] or NOTHING,
        "code": code,
        "from": shown["from"] or NOTHING,
        "delivered": "◆ new",
        "about": f"{name} for {shown['number'] or shown['id']}",
    }
    return {
        "id": shown["id"],
        "time": shown["at"],
        "kind": "wait",
        "texts": {name: plain(text) for name, text in texts.items()},
        "copies": may_reveal and shown["has_code"],
        "reveals": may_reveal and shown["has_text"],
    }


def _stream_of(request: Request) -> str:
    """Return the address of the stream with the filter of this page."""
    # `since` may be missing: its default is that of the page.
    query = [*request.query, *([] if request.one("since") else [("since", _DEFAULT_TIME)])]
    return address("/stream", query)


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
    return [one | {"kind": _ORDERS[one["state"]]} for one in found["data"]]


async def _sources(request: Request) -> Sequence[str]:
    """Return the names of all sources; a key with a `when` may not see them."""
    if request.session.access.sees is not None:
        return ()
    found = await request.api.get("/v1/sources", limit=1000)
    return [one["name"] for one in found["data"]]


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
    return {
        "id": event["id"],
        "type": event["type"],
        "number": data.get("to"),
        "service": service.get("name") or service.get("key") or service.get("id"),
        "from": data.get("from"),
        "source": event["source"],
        "at": event["recordedtime"],
        "has_code": data.get("code") is not None,
        "has_text": data.get("text") is not None,
        "is_sample": data["sample"],
        "delivered": None if states is None else delivered(states),
    }


def delivered(states: Sequence[str]) -> Mapping[str, str]:
    """Return the state of all deliveries of an event: its kind for `state`, and its words."""
    done, lost = states.count("delivered"), states.count("dead") + states.count("expired")
    if not states:
        return {"kind": "off", "words": "no route"}
    words = f"{done} of {len(states)}"
    if lost:
        return {"kind": "bad", "words": f"{words}, {lost} given up"}
    return {"kind": "ok" if done == len(states) else "wait", "words": words}


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


_ORDERS = {"waiting": "wait", "received": "ok", "expired": "bad", "cancelled": "off"}
_BLANK = {
    "id": "",
    "type": "",
    "number": "",
    "service": "",
    "from": "",
    "at": 0.0,
    "has_code": True,
    "has_text": True,
    "is_sample": False,
    "delivered": None,
}
PAGES = (Page(path="/", answer=inbox), Page(path="/stream", answer=stream))
