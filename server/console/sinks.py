"""Sinks: whether they work, what they are owed, and how they are steered."""

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import msgspec

from core.clock import rfc3339
from core.instants import parse_rfc3339

from .deliveries import delivery_row
from .page import Answer, Page, Redirect, Request, View, address
from .render import duration

_SPAN = 3600
#: Bars of the last hour.
_BARS = 12
_HEIGHTS = "▁▂▃▄▅▆▇█"
_WRITES = ("deliveries:write",)
_PAUSES = {
    "operator": "by hand",
    "failing": "it failed for too long",
    "gone": "it answered 410",
    "key": "its API key has ended",
    "secret": "its secret cannot be opened",
}


async def sinks(request: Request) -> Answer:
    """Answer all sinks with their states."""
    found = await request.api.get("/v1/sinks", limit=1000)
    history = await request.api.get("/v1/history", span="1h")
    return View(
        template="sinks.html",
        title="Sinks",
        values={
            "rows": [_row(one, history, request.now) for one in found["data"]],
            "steers": request.session.access.may("deliveries:write"),
        },
    )


async def sink(request: Request) -> Answer:
    """Answer the page of a sink."""
    return await _view(request)


async def _view(request: Request, tested: Mapping[str, Any] | None = None) -> View:
    name = request.parts["name"]
    found = await request.api.get(_path(name))
    history = await request.api.get("/v1/history", span="1h")
    oldest = None
    if found["oldest"] is not None:
        delivery = await request.api.get(f"/v1/deliveries/{found['oldest']['delivery']}")
        oldest = delivery_row(delivery, None)
    options = found["options"] or {}
    return View(
        template="sink.html",
        title=f"Sink {name}",
        values={
            "row": _row(found, history, request.now),
            "options": {key: _written(value) for key, value in options.items()},
            "attempts": sorted(found["attempts"], key=lambda one: -one["count"]),
            "statuses": found["statuses"],
            "total": history["sinks"].get(name),
            "failed": bars(history["points"], name, "failed", request.now),
            "oldest": oldest,
            "steers": request.session.access.may("deliveries:write"),
            "tested": tested,
        },
    )


def _path(name: str, verb: str = "") -> str:
    return f"/v1/sinks/{name}{verb}"


def _written(value: Any) -> str:
    if value is None:
        return "not set"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


class Bars(msgspec.Struct, frozen=True):
    """A figure over the last hour."""

    #: A character for each five minutes.
    drawn: str
    total: int


def bars(points: Sequence[Mapping[str, Any]], name: str, figure: str, now: float) -> Bars:
    """Return a figure of a sink in the last hour. A part without the service has none."""
    counts = [0] * _BARS
    for point in points:
        ago = now - (parse_rfc3339(point["at"]) or 0.0)
        one = point["sinks"].get(name)
        if one is not None and 0 <= ago < _SPAN:
            counts[_BARS - 1 - int(ago * _BARS / _SPAN)] += one[figure]
    most, highest = max(counts), len(_HEIGHTS) - 1
    # What is not nothing is seen.
    heights = [0 if not count else max(1, round(highest * count / most)) for count in counts]
    return Bars("".join(_HEIGHTS[height] for height in heights), sum(counts))


def _row(sink: Mapping[str, Any], history: Mapping[str, Any], now: float) -> Mapping[str, Any]:
    return {
        **short(sink, now),
        "type": sink["type"] or "gone",
        "is_paused": sink["state"] == "paused",
        "is_gone": sink["state"] == "gone",
        "is_probed": sink["state"] == "failing"
        or (sink["paused_by"] == "failing" and sink["type"] != "subscription"),
        "failing_since": sink["failing_since"] if sink["state"] == "failing" else None,
        "last_error": sink["last_error"],
        "codes": sink["codes"],
        "exposes": sink["codes"] == "clear" and sink["is_public"],
        "hour": bars(history["points"], sink["name"], "delivered", now),
    }


def short(sink: Mapping[str, Any], now: float) -> Mapping[str, Any]:
    """Return what the overview shows of a sink."""
    kind, words = state_of(sink, now)
    return {
        "name": sink["name"],
        "kind": kind,
        "words": words,
        "owed": sink["owed"],
        "oldest_at": None if sink["oldest"] is None else sink["oldest"]["accepted_at"],
        "last_success_at": sink["last_success_at"],
    }


def state_of(sink: Mapping[str, Any], now: float) -> tuple[str, str]:
    """Return the state of a sink for `state`: its kind, and its words."""
    match sink["state"]:
        case "gone":
            return "wait", "pending, not configured"
        case "paused":
            by = sink["paused_by"]
            return ("off" if by == "operator" else "bad"), f"paused: {_PAUSES.get(by, by)}"
        case "failing":
            since = parse_rfc3339(sink["failing_since"] or "") or now
            return "bad", f"failing for {duration(now - since)}"
    return "ok", "works"


# Writes


async def pause(request: Request) -> Answer:
    """Pause a sink."""
    return await _steer(request, "/pause", "Paused")


async def resume(request: Request) -> Answer:
    """Resume a sink."""
    return await _steer(request, "/resume", "Resumed")


async def _steer(request: Request, verb: str, said: str) -> Answer:
    name = request.parts["name"]
    await request.api.post(_path(name, verb))
    own = address("/sinks") if request.field("from") == "list" else address(_page(name))
    if event := request.field("event"):
        own = address(f"/events/{quote(event, safe='')}")
    return Redirect(own, f"{said}: {name}")


async def test(request: Request) -> Answer:
    """Send a sample to a sink, and answer its page with what was sent and answered."""
    # The answer to a sample repeats no message. The API masks it for keys that see no answers.
    path = _path(request.parts["name"], "/test")
    return await _view(request, await request.api.call("POST", path, clear=True))


async def asking(request: Request) -> Answer:
    """Answer the page that asks where to send the pending events of a sink, and counts them."""
    name, to = request.parts["name"], request.one("to")
    found = await request.api.get("/v1/sinks", limit=1000)
    owed = next((one["owed"] for one in found["data"] if one["name"] == name), 0)
    choices = [
        one["name"]
        for one in found["data"]
        if one["type"] not in (None, "subscription") and one["name"] != name
    ]
    counted = None
    # Events that arrive after the preview are not sent.
    until = rfc3339(request.now)
    if to:
        body = {"to": to, "until": until, "dry_run": True}
        counted = await request.api.post(_path(name, "/send"), body)
    return View(
        template="send.html",
        title=f"Send pending events of {name}",
        values={
            "name": name,
            "back": address(_page(name)),
            "action": address(f"{_page(name)}/send"),
            "owed": owed,
            "choices": choices,
            "to": to,
            "until": until,
            "counted": counted,
        },
    )


async def send(request: Request) -> Answer:
    """Send the pending events of a sink to another sink."""
    name, to = request.parts["name"], request.field("to")
    body = {"to": to, "until": request.field("until")}
    done = await request.api.post(_path(name, "/send"), body)
    more = "; there are more: send again" if done["has_more"] else ""
    events = "event" if done["sent"] == 1 else "events"
    said = (
        f"Sent to {to}: {done['sent']:,} {events}. {done['owed']:,} to {name} still pending{more}"
    )
    return Redirect(address(_page(name)), said)


def _page(name: str) -> str:
    return f"/sinks/{quote(name, safe=':')}"


PAGES = (
    Page(path="/sinks", answer=sinks, whole=True),
    Page(path="/sinks/{name}", answer=sink, whole=True),
    Page(path="/sinks/{name}/pause", answer=pause, scopes=_WRITES, method="POST", whole=True),
    Page(path="/sinks/{name}/resume", answer=resume, scopes=_WRITES, method="POST", whole=True),
    Page(path="/sinks/{name}/send", answer=asking, scopes=_WRITES, whole=True),
    Page(path="/sinks/{name}/send", answer=send, scopes=_WRITES, method="POST", whole=True),
    Page(path="/sinks/{name}/test", answer=test, scopes=_WRITES, method="POST", whole=True),
)
