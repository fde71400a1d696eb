"""Deliveries: those that need attention, and the retry of several."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, urlencode

from core.clock import rfc3339
from core.event import kinds
from core.instants import Instant

from ..api.errors import bad_parameter
from .api import Parameter
from .inbox import TIMES, row
from .page import Answer, Page, Redirect, Request, View, address, looked_to

#: Deliveries on a page: with more it would be larger than 80 KB.
SHOWN = 80
#: All types of events: without a type, lists leave out `system.*`.
_TYPES = [kind.type for kind in kinds()]
_STATES = {
    "dead": "dead",
    "expired": "expired",
    "failing": "failing",
    "pending": "pending",
    "sending": "sending",
    "delivered": "delivered",
}
#: The first view: what wants somebody. If there is nothing, the newest.
_WANTS_SOMEBODY, _ANY = ("dead", "failing"), "any"
_CHOICES = {"": "dead or failing", _ANY: "any", "owed": "pending or being sent"} | _STATES
#: The states that the choice `owed` selects.
_OWED = ("pending", "sending")
#: The states that a retry of all can have.
_RETRIED = ("dead", "expired", "failing", "pending")
_LEFT_OUT = {
    "being_sent": "being sent",
    "delivered": "delivered",
    "unsubscribed": "to a deleted subscription",
}
_WAITS = {
    "rate": "waits for the rate",
    "order": "waits for an earlier one",
    "pause": "waits: sink paused",
    "slot": "waits for a slot",
}


async def deliveries(request: Request) -> Answer:
    """Answer the deliveries that match; at first those that need attention."""
    chosen = request.all("state")
    states = [state for one in chosen for state in (_OWED if one == "owed" else (one,))]
    wanted = _filter(request)
    found = await _list(request, state=states or _WANTS_SOMEBODY, **wanted)
    is_newest = not states and not found["data"] and not request.one("after")
    if is_newest:
        found = await _list(request, **wanted)
    stats = await request.api.get("/v1/stats")
    sinks = await request.api.get("/v1/sinks", limit=1000)
    sources = await request.api.get("/v1/sources", limit=1000)
    may = request.session.access.may("deliveries:write")
    asked = ("dead", "expired", "pending") if _ANY in states else states or _WANTS_SOMEBODY
    can = [state for state in asked if state in _RETRIED]
    back = urlencode([pair for pair in request.query if pair[0] != "after"])
    matching = [("state", state) for state in can] + _pairs(wanted)
    if back:
        matching.append(("back", back))
    return View(
        template="deliveries.html",
        title="Deliveries",
        values={
            "counts": stats["deliveries"],
            "rows": (rows := await _rows(request, found["data"])),
            "selects": may and any(row["can"] for row in rows),
            "is_newest": is_newest,
            "choices": _CHOICES,
            "state": chosen or "",
            "sinks": [one["name"] for one in sinks["data"]],
            "sink": request.all("sink"),
            "sources": [one["name"] for one in sources["data"]],
            "source": request.all("source"),
            "since": request.one("since", "all"),
            "times": TIMES,
            "all": address("/deliveries/retry", matching)
            if may and found["data"] and can and not is_newest
            else None,
            "back": back,
            # After the newest of all states, the next page has all states, too.
            **request.pages(found, **({"state": _ANY} if is_newest else {})),
            "looked_to": await looked_to(
                request, "/v1/deliveries", found, SHOWN, lambda one: one["accepted_at"]
            ),
        },
    )


def _filter(request: Request) -> Mapping[str, Parameter]:
    """Return the parameters of the API for those of the page, but for states."""
    since = request.one("since")
    return {
        "sink": request.all("sink"),
        "source": request.all("source"),
        "since": None if since == "all" else since,
    }


def _pairs(wanted: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        (name, one)
        for name, value in wanted.items()
        for one in ([value] if isinstance(value, str) else value or [])
        if one
    ]


async def _list(request: Request, **wanted: Parameter) -> Mapping[str, Any]:
    state = wanted.get("state")
    if isinstance(state, list | tuple) and _ANY in state:
        wanted["state"] = None
    after = request.one("after")
    found: Mapping[str, Any] = await request.api.get(
        "/v1/deliveries", limit=SHOWN, order="desc", after=after, **wanted
    )
    return found


async def _rows(
    request: Request, found: Sequence[Mapping[str, Any]]
) -> Sequence[Mapping[str, Any]]:
    """Return the rows that show these deliveries, each with its event."""
    ids = list(dict.fromkeys(one["event"] for one in found))
    events = {}
    if ids:
        listed = await request.api.get("/v1/events", id=ids, type=_TYPES, limit=len(ids))
        events = {item["event"]["id"]: row(item["event"], None) for item in listed["data"]}
    return [delivery_row(one, events.get(one["event"])) for one in found]


def delivery_row(delivery: Mapping[str, Any], event: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Return what a row shows of a delivery. `event` is the row of its event in the inbox."""
    attempts = [one for one in delivery["attempts"] if not one["probe"]]
    last = delivery["attempts"][-1] if delivery["attempts"] else None
    kind, words = state_of(delivery, last, len(attempts))
    return {
        "id": delivery["id"],
        "event": delivery["event"],
        "about": delivery["event"] if event is None else about(event),
        "event_at": None if event is None else event["at"],
        "sink": delivery["sink"],
        "again": delivery["replay"],
        "kind": kind,
        "words": words,
        "attempts": len(attempts),
        "last_at": None if last is None else last["at"],
        "last": None if last is None else said_of(last),
        "next_at": delivery["next_at"] if delivery["state"] == "pending" else None,
        "waits": _WAITS.get(delivery["waits_for"] or ""),
        "can": delivery["state"] in ("pending", "dead", "expired"),
    }


def about(event: Mapping[str, Any]) -> str:
    """Return `Google to +18503814729` for a row of the inbox."""
    name = event["service"] or event["type"]
    return f"{name} to {event['number']}" if event["number"] else str(name)


def said_of(attempt: Mapping[str, Any]) -> str:
    """Return the answer to an attempt in a word: `503`, `timeout`."""
    return str(attempt["status"] or attempt["error"] or attempt["outcome"])


def state_of(
    delivery: Mapping[str, Any], last: Mapping[str, Any] | None, attempts: int
) -> tuple[str, str]:
    """Return the state of a delivery for `state`: its kind, and its words."""
    state = delivery["state"]
    after = "" if last is None else f", {said_of(last)}"
    match state:
        case "delivered":
            return "ok", state
        case "dead" | "expired":
            return "bad", f"{state}{after}"
        case "sending":
            return "wait", state
    return ("bad", f"failing{after}") if attempts else ("wait", state)


# Retry


async def asking(request: Request) -> Answer:
    """Answer the page that says how many deliveries a retry makes due, and asks."""
    ids = request.all("id")
    if not ids and not request.all("state"):
        return Redirect(_back(request.one("back")), "Select deliveries first")
    fields = [("id", one) for one in ids]
    if not ids:
        # What is shown now is what is done: neither end moves meanwhile.
        since = request.one("since")
        times = [("since", _instant(since, request.now))] if since else []
        kept = [(name, one) for name in ("state", "sink", "source") for one in request.all(name)]
        fields = [*kept, *times, ("until", rfc3339(request.now))]
    counted = await request.api.post("/v1/deliveries/retry", _body(fields) | {"dry_run": True})
    back = request.one("back") or urlencode([pair for pair in request.query if pair[0] != "id"])
    return View(
        template="retry.html",
        title="Retry deliveries",
        values={
            "counted": counted,
            "sinks": sinks_of(counted),
            "left_out": left_out(counted),
            "fields": [*fields, ("back", back)],
            "back": _back(back),
        },
    )


async def retry(request: Request) -> Answer:
    """Retry deliveries."""
    fields = [(name, one) for name, one in request.form if name not in ("csrf", "back")]
    if not any(name in ("id", "state") for name, _ in fields):
        return Redirect(_back(request.field("back")), "Select deliveries first")
    done = await request.api.post("/v1/deliveries/retry", _body(fields))
    made = f"{done['retried']:,} made due" if done["retried"] else "Nothing was left to retry"
    said = ", ".join([made, *left_out(done)])
    if done["has_more"]:
        return Redirect(_back(request.field("back")), f"{said}; more match: retry them again")
    return Redirect(_first_view(request.field("back")), f"{said}. Show updates the list.")


def _body(fields: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Return the body of the call for the fields of a form. Raise Problem for another field."""
    body: dict[str, Any] = {}
    for name, one in fields:
        if name in ("since", "until"):
            body[name] = one
        elif name in ("id", "state", "sink", "source"):
            body.setdefault("ids" if name == "id" else name, []).append(one)
        else:
            raise bad_parameter("form", "a field is unknown")
    return body


def _instant(since: str, now: float) -> str:
    try:
        return rfc3339(Instant.parse(since).at(now))
    except ValueError as exc:
        raise bad_parameter("since", str(exc)) from None


def _back(query: str) -> str:
    """Return the address of the list with its filter."""
    return address("/deliveries", parse_qsl(query))


def _first_view(query: str) -> str:
    """Return the address of the list without its states: the deliveries may have others now."""
    return address("/deliveries", [pair for pair in parse_qsl(query) if pair[0] != "state"])


def sinks_of(counted: Mapping[str, Any]) -> str:
    """Return `2 to crm, 1 to log`, the most first."""
    most = sorted(counted["sinks"].items(), key=lambda one: (-one[1], one[0]))
    return ", ".join(f"{count:,} to {sink}" for sink, count in most)


def left_out(counted: Mapping[str, Any]) -> Sequence[str]:
    """Return those that are not made due, in words: `1 left out: being sent`."""
    return [
        f"{count:,} left out: {_LEFT_OUT.get(why, why)}"
        for why, count in sorted(counted["left_out"].items())
    ]


PAGES = (
    Page(path="/deliveries", answer=deliveries, whole=True),
    Page(path="/deliveries/retry", answer=asking, scopes=("deliveries:write",), whole=True),
    Page(
        path="/deliveries/retry",
        answer=retry,
        scopes=("deliveries:write",),
        method="POST",
        whole=True,
    ),
)
