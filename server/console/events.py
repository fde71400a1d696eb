"""One event: what it says, why it is where it is, and who read it."""

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import msgspec

from core.printable import is_unseen

from ..api.errors import Problem
from .page import Answer, Body, Page, Redirect, Request, View, address
from .reveals import SHOWN, ask_reason, reveal

_REVEALS = ("codes:reveal", "codes:read")


class Box(msgspec.Struct, frozen=True, kw_only=True):
    """A box of the strip that says why the event is where it is."""

    title: str
    #: `ok`, `wait`, `bad` or `off`.
    kind: str
    #: In place of a symbol for the kind, for those who hear the page.
    word: str
    lines: Sequence[str]
    #: The time of the first line, if it has one.
    at: str | None = None
    #: The sink of a delivery, and the id of the delivery while it is pending.
    sink: str = ""
    delivery: str = ""


async def event(request: Request) -> Answer:
    """Answer the page of an event."""
    return await _view(request)


async def revealed(request: Request) -> Answer:
    """Reveal something of an event: to the script as JSON, else on its page for a minute."""
    if (asking := ask_reason(request)) is not None:
        return asking
    shown = await reveal(request, request.parts["id"])
    if request.wants_json:
        return Body.json({**shown, "seconds": SHOWN})
    view = await _view(request, shown)
    own = address(f"/events/{request.parts['id']}")
    return msgspec.structs.replace(view, headers={"Refresh": f"{SHOWN}; url={own}"})


async def _view(request: Request, shown: Mapping[str, str] = {}) -> View:
    id_ = request.parts["id"]
    found = await request.api.get(f"/v1/events/{id_}")
    why = await request.api.get(f"/v1/events/{id_}/why")
    own, data = found["event"], found["event"]["data"]
    access = request.session.access
    sinks = await _sinks(request)
    known = [one["name"] for one in sinks]
    return View(
        template="event.html",
        title=title(own),
        values={
            "heading": title(own),
            "id": id_,
            "event": own,
            "body": _written(own),
            "summary": data.get("summary"),
            "erased_at": own.get("erasedtime"),
            "concerns": concerns(own["subject"] or "", known),
            "code": data.get("code"),
            "text": data.get("text"),
            "shown": shown,
            "boxes": boxes(why, found["deliveries"]),
            "deliveries": found["deliveries"],
            "readers": found.get("readers"),
            "has_callback": why["door"] is not None,
            "known": known,
            "sinks": choices(sinks, found["deliveries"]) if request.sends else (),
            #: What the button of each sink does.
            "pauses": {
                one["name"]: "resume" if one["state"] == "paused" else "pause"
                for one in sinks
                if one["type"] is not None and request.sends
            },
            "reveals": any(map(access.may, _REVEALS)),
            "reveals_all": access.goes_on is not None and _may_see_all(request),
            "sends": request.sends,
            "erases": access.may("admin") and "erasedtime" not in own,
        },
    )


def _written(event: Mapping[str, Any]) -> str:
    """Return JSON that can be copied, with invisible characters as JSON escapes."""
    text = json.dumps(event, indent=2, ensure_ascii=False)
    seen = (one if one == "\n" or not is_unseen(one) else json.dumps(one)[1:-1] for one in text)
    return "".join(seen)


def _may_see_all(request: Request) -> bool:
    """Return whether the key of the session may see callbacks and answers in clear."""
    scopes = request.session.access.scopes
    return "codes:read" in scopes or "admin" in scopes


async def _sinks(request: Request) -> Sequence[Mapping[str, Any]]:
    """Return the sinks; a key with a `when` may not see them."""
    if request.session.access.sees is not None:
        return ()
    found: Sequence[Mapping[str, Any]] = (await request.api.get("/v1/sinks", limit=1000))["data"]
    return found


def choices(
    sinks: Sequence[Mapping[str, Any]], deliveries: Sequence[Mapping[str, Any]]
) -> Sequence[str]:
    """Return the sinks that the event can be sent to.

    First those that lack it: all deliveries were given up, or there is none.
    """
    states: dict[str, set[str]] = {}
    for one in deliveries:
        states.setdefault(one["sink"], set()).add(one["state"])

    def order(name: str) -> int:
        if name not in states:
            return 1
        return 0 if states[name] <= {"dead", "expired"} else 2

    names = [one["name"] for one in sinks if one["type"] is not None]
    return sorted((name for name in names if "sending" not in states.get(name, ())), key=order)


# Path of the event


def boxes(why: Mapping[str, Any], deliveries: Sequence[Mapping[str, Any]]) -> Sequence[Box]:
    """Return the boxes in the order of the path: door, copies, routes, each sink."""
    return [
        _door(why["door"]),
        _copies(why["dedupe"]["copies"]),
        _routes([*why["routes"], *why["subscriptions"]]),
        *(_sink(one) for one in why["deliveries"]),
        *([] if deliveries else [_NO_SINK]),
    ]


_NO_SINK = Box(title="Sinks", kind="off", word="none", lines=["no sink gets the event"])


def _door(door: Mapping[str, Any] | None) -> Box:
    if door is None:
        text = "made by smshook itself, or the callback is no longer stored"
        return Box(title="Accepted", kind="ok", word="accepted", lines=[text])
    token = f", token {door['token']}" if door["token"] else ""
    lines = [f"{door['channel']} from {door['peer']}{token}"]
    return Box(title="Accepted", kind="ok", word="accepted", lines=lines, at=door["at"])


def _copies(copies: Sequence[Mapping[str, Any]]) -> Box:
    if not copies:
        return Box(title="Copies", kind="ok", word="none", lines=["received once"])
    lines = [f"{one['how']} by {one['channel']} from {one['peer']}" for one in copies]
    more = len(lines) - 3
    text = f"received {len(copies)} more {'time' if len(copies) == 1 else 'times'}; still one event"
    lines = [text, *lines[:3], *([f"and {more} more"] if more > 0 else [])]
    return Box(title="Copies", kind="ok", word="copies", lines=lines)


def _routes(routes: Sequence[Mapping[str, Any]]) -> Box:
    lines = []
    for one in routes:
        said = "matched" if one["matched"] else "did not match"
        lines.append(f"{one['name']} {said}{_failed(one['fails'])}")
    matched = any(one["matched"] for one in routes)
    kind, word = ("ok", "matched") if matched else ("off", "none matched")
    return Box(title="Routes", kind=kind, word=word, lines=lines or ["no route is configured"])


def _failed(clause: Mapping[str, Any] | None) -> str:
    """Return the first clause that fails now, with the actual and the expected value."""
    if clause is None:
        return ""
    saw = "missing" if clause["missing"] else json.dumps(clause["saw"], ensure_ascii=False)
    wanted = json.dumps(clause["wanted"], ensure_ascii=False)
    below = "; ".join(_failed(one).removeprefix(": ") for one in clause["below"])
    if below:
        return f": {clause['clause']}: {below}"
    return f": {clause['clause']} is {saw}, expected {wanted}"


_KINDS = {"delivered": "ok", "pending": "wait", "sending": "wait", "dead": "bad", "expired": "bad"}
_WAITS = {
    "retry": "waits for its next attempt",
    "rate": "waits for the rate of the sink",
    "order": "waits for an earlier delivery",
    "pause": "waits: the sink is paused",
    "slot": "waits for a free slot",
}


def _sink(delivery: Mapping[str, Any]) -> Box:
    state, error = delivery["state"], delivery["last_error"]
    attempts = [one for one in delivery["attempts"] if not one["probe"]]
    lines = [f"{state} after {len(attempts)} attempt{'' if len(attempts) == 1 else 's'}"]
    if error is not None and state != "delivered":
        lines.append(f"last: {error['status'] or error['error']}, {error['took_ms']:.0f} ms")
    if delivery["waits_for"] in _WAITS:
        lines.append(_WAITS[delivery["waits_for"]])
    kind = _KINDS[state]
    if kind == "wait" and error is not None:
        kind = "bad"
    name = f"{delivery['sink']}{' (again)' if delivery['replay'] else ''}"
    is_owed = state in ("pending", "sending")
    return Box(
        title=name,
        kind=kind,
        word=state,
        lines=lines,
        at=delivery["next_at"],
        sink=delivery["sink"],
        delivery=delivery["id"] if is_owed else "",
    )


# Writes


async def again(request: Request) -> Answer:
    """Answer the page that asks whether to send an event to a sink again."""
    id_, sink = request.parts["id"], request.one("sink")
    if not sink:
        return Redirect(address(f"/events/{id_}"))
    found = await request.api.get(f"/v1/events/{id_}")
    shown = await request.api.get(f"/v1/events/{id_}/preview", sink=sink)
    waiting = [
        one for one in found["deliveries"] if one["sink"] == sink and one["state"] == "pending"
    ]
    return View(
        template="again.html",
        title=f"Send again: {title(found['event'])}",
        values={
            "heading": title(found["event"]),
            "id": id_,
            "sink": sink,
            "waiting": waiting[0]["id"] if waiting else "",
            "request": shown["request"],
        },
    )


async def send(request: Request) -> Answer:
    """Send an event to a sink again, or a pending delivery now."""
    id_, delivery = request.parts["id"], request.field("delivery")
    if delivery:
        await request.api.post(f"/v1/deliveries/{delivery}/retry")
        return Redirect(address(f"/events/{id_}"), "Due now: 1 delivery")
    body = {"sinks": [request.field("sink")]}
    made = await request.api.post(f"/v1/events/{id_}/replay", body)
    count = len(made["deliveries"])
    said = f"Sent again: {count} {'delivery' if count == 1 else 'deliveries'}"
    return Redirect(address(f"/events/{id_}"), said)


async def erasing(request: Request) -> Answer:
    """Answer the page that asks whether to erase the content of an event."""
    found = await request.api.get(f"/v1/events/{request.parts['id']}")
    heading = title(found["event"])
    values = {"heading": heading, "id": request.parts["id"]}
    return View(template="erase.html", title=f"Erase: {heading}", values=values)


async def erase(request: Request) -> Answer:
    """Erase the content of an event."""
    id_ = request.parts["id"]
    if request.field("sure") != "yes":
        raise Problem(400, "bad_body", "confirm on the page first")
    await request.api.delete(f"/v1/events/{id_}/content")
    return Redirect(address(f"/events/{id_}"), "Erased: text, code, links and numbers")


def concerns(subject: str, sinks: Collection[str]) -> str | None:
    """Return the address of the page about the subject of an alert, such as `sink/crm`.

    `sinks` are the names of those that have a page.
    """
    kind, _, name = subject.partition("/")
    if kind == "sink" and name in sinks:
        return address(f"/sinks/{quote(name, safe=':')}")
    return address("/sources") if kind == "source" else None


def title(event: Mapping[str, Any]) -> str:
    """Return `Google to +18503814729`."""
    data = event["data"]
    service = data.get("service") or {}
    name = service.get("name") or service.get("key") or service.get("id") or event["type"]
    return f"{name} to {data['to']}" if data.get("to") else str(name)


_EVENT, _WRITES = "/events/{id}", ("deliveries:write",)
PAGES = (
    Page(path=_EVENT, answer=event),
    Page(path=f"{_EVENT}/reveal", method="POST", scopes=_REVEALS, answer=revealed),
    Page(path=f"{_EVENT}/again", scopes=_WRITES, answer=again),
    Page(path=f"{_EVENT}/again", method="POST", scopes=_WRITES, answer=send),
    Page(path=f"{_EVENT}/erase", scopes=("admin",), answer=erasing),
    Page(path=f"{_EVENT}/erase", method="POST", scopes=("admin",), answer=erase),
)
