"""Orders: what was ordered, whether its code came, and how long it took."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from core.instants import parse_rfc3339

from .inbox import ORDERS, rows
from .page import Answer, Page, Redirect, Request, View, address, looked_to

#: Orders on a page.
SHOWN = 100
#: Messages of an order whose deliveries are shown, the newest.
FOLLOWED = 20
#: The most events with codes that a page looks up: a rental may have many.
_EVENTS = 300
STATES = ("waiting", "received", "expired", "cancelled")


async def orders(request: Request) -> Answer:
    """Answer the newest orders that match."""
    found = await request.api.get(
        "/v1/orders",
        limit=SHOWN,
        order="desc",
        state=request.all("state"),
        source=request.all("source"),
        reference=request.all("reference"),
        after=request.one("after"),
    )
    day = (await request.api.get("/v1/history", span="24h"))["orders"]
    ended = day["received"] + day["expired"]
    return View(
        template="orders.html",
        title="Orders",
        values={
            "rows": await _rows(request, found["data"]),
            "copies": copies(request),
            "states": STATES,
            "state_": request.all("state"),
            "sources": [one["name"] for one in (await request.api.get("/v1/sources"))["data"]],
            "source": request.all("source"),
            "reference": request.one("reference"),
            "is_filtered": any(request.all(name) for name in ("state", "source", "reference")),
            "ended": ended,
            "got": f"{100 * day['received'] / ended:.0f} %" if ended else None,
            "median": day["seconds"]["p50"],
            **request.pages(found),
            "looked_to": await looked_to(
                request, "/v1/orders", found, SHOWN, lambda one: one["created_at"]
            ),
        },
    )


async def order(request: Request) -> Answer:
    """Answer the page of an order."""
    found = await request.api.get(f"/v1/orders/{quote(request.parts['id'], safe='')}")
    newest = found["events"][-FOLLOWED:]
    events = [await request.api.get(f"/v1/events/{one['id']}") for one in newest]
    registered = [(name, found[name]) for name in _REGISTERED if found[name] is not None]
    registered += [(f"label {name}", value) for name, value in found["labels"].items()]
    return View(
        template="order.html",
        title=f"Order {_name(found)}",
        values={
            "order": _row(found, request.now),
            "registered": registered,
            "rows": await rows(request, found["events"]),
            "copies": copies(request),
            "line": _line(found, events),
            "may_cancel": request.session.access.may("subscriptions:write")
            and found["state"] != "cancelled",
        },
    )


async def cancel(request: Request) -> Answer:
    """Cancel an order here. The provider is not notified."""
    await request.api.delete(f"/v1/orders/{quote(request.parts['id'], safe='')}")
    to = address(f"/orders/{request.parts['id']}")
    return Redirect(to, "Cancelled here. The provider was not notified.")


def copies(request: Request) -> bool:
    """Return whether the session may copy codes."""
    return any(map(request.session.access.may, ("codes:reveal", "codes:read")))


async def _rows(
    request: Request, orders: Sequence[Mapping[str, Any]]
) -> Sequence[Mapping[str, Any]]:
    """Return the rows of orders, each with the id of its newest event with a code, if any.

    Orders without an id of the provider get none: many events may have the same number.
    """
    subjects = {
        (one["source"], f"{kind}/{one[f'{kind}_id']}"): one["id"]
        for one in orders
        if one["received_at"] is not None
        for kind in ("request", "activation", "rental")
        if one[f"{kind}_id"] is not None
    }
    coded: dict[str, str] = {}
    if subjects:
        names = list(dict.fromkeys(subject for _, subject in subjects))
        found = await request.api.get(
            "/v1/events", subject=names, code="true", order="desc", limit=_EVENTS
        )
        for item in found["data"]:
            event = item["event"]
            order_id = subjects.get((event["source"], event["subject"]))
            if order_id is not None:
                coded.setdefault(order_id, event["id"])
    return [{**_row(one, request.now), "coded": coded.get(one["id"])} for one in orders]


_REGISTERED = (
    *("request_id", "activation_id", "rental_id", "number", "service", "service_key", "country"),
    *("reference", "origin", "reason"),
)


def _row(order: Mapping[str, Any], now: float) -> Mapping[str, Any]:
    """Return what a row of the list shows."""
    received, created = order["received_at"], parse_rfc3339(order["created_at"]) or 0.0
    took = None if received is None else (parse_rfc3339(received) or 0.0) - created
    left = (parse_rfc3339(order["expires"]) or 0.0) - now
    state = order["state"]
    return {
        "id": order["id"],
        "name": _name(order),
        "source": order["source"],
        "number": order["number"],
        "service": order["service_key"] or order["service"],
        "asked": order["created_at"],
        "state": state,
        "words": _words(state, order["reason"]),
        "kind": ORDERS[state],
        "left": left if state == "waiting" and left > 0 else None,
        # A message may have come before its order was registered.
        "took": None if took is None else f"{max(took, 0.0):.1f} s",
    }


def _words(state: str, reason: str | None) -> str:
    if state == "expired":
        return "expired: no code came" if reason in (None, "expired") else f"{state}: {reason}"
    return state


def _name(order: Mapping[str, Any]) -> str:
    """Return what people call it: its reference, else the provider's id, else its number."""
    for name, words in (
        ("reference", "{}"),
        ("activation_id", "activation/{}"),
        ("request_id", "request/{}"),
        ("rental_id", "rental/{}"),
        ("number", "{}"),
    ):
        if order[name] is not None:
            return words.format(order[name])
    return str(order["id"])


def _line(
    order: Mapping[str, Any], events: list[Mapping[str, Any]]
) -> list[tuple[str, str, float | None]]:
    """Return what happened, in order: its instant, words, and the seconds since the order."""
    steps = [(order["created_at"], "ordered")]
    for one in events:
        steps.append((one["event"]["recordedtime"], one["event"]["type"]))
        for delivery in one["deliveries"]:
            steps += [
                (attempt["at"], f"{delivery['sink']}: {attempt['outcome']}")
                for attempt in delivery["attempts"]
            ]
    begin = parse_rfc3339(order["created_at"]) or 0.0
    timed = sorted(((parse_rfc3339(at) or 0.0), at, words) for at, words in steps)
    return [(at, words, seconds - begin) for seconds, at, words in timed]


PAGES = (
    Page(path="/orders", answer=orders, whole=True),
    Page(path="/orders/{id}", answer=order, whole=True),
    Page(
        path="/orders/{id}/cancel",
        answer=cancel,
        method="POST",
        scopes=("subscriptions:write",),
        whole=True,
    ),
)
