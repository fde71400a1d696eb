"""What a person or a test tells a simulated provider, under `/rehearsal/`."""

from collections.abc import Callable
from typing import Any

import msgspec

from ..account import Fault
from ..exchange import JSON, Answer, Request, json_answer, see
from ..simulation import (
    Impossible,
    NewMessage,
    NewOrder,
    NumberChange,
    Renewal,
    Simulation,
    UnknownOrder,
)
from .page import BEGIN, page, script, style


def control(simulation: Simulation, request: Request) -> Answer:
    """Of any path under BEGIN."""
    if not request.path.startswith(BEGIN):
        # The page names what it needs from here on.
        return see("rehearsal/")
    parts = f"{request.path}/".removeprefix(BEGIN).strip("/").split("/")
    if request.method == "GET":
        return _shown(simulation, "/".join(parts))
    # A page of elsewhere cannot send this type without asking first, which nobody answers.
    if request.method == "POST" and not request.content_type.startswith(JSON):
        return _wrong(415, f"send {JSON}")
    try:
        return _told(simulation, request, parts)
    except UnknownOrder:
        return _wrong(404, "no order has this id")
    except (Impossible, msgspec.MsgspecError) as exc:
        return _wrong(400, str(exc))


def _shown(simulation: Simulation, what: str) -> Answer:
    account, sender = simulation.account, simulation.sender
    shown: dict[str, Callable[[], Any]] = {
        "orders": lambda: list(account.orders.values()),
        "messages": lambda: account.messages,
        "asked": lambda: account.asked,
        "callbacks": lambda: sender.attempts if sender else [],
        "faults": lambda: account.faults,
    }
    pages = {"": lambda: page(simulation), "page.js": script, "page.css": style}
    if what in pages:
        return pages[what]()
    return json_answer(shown[what]()) if what in shown else _wrong(404, "no such page")


def _told(simulation: Simulation, request: Request, parts: list[str]) -> Answer:
    if parts == ["faults"]:
        return _failing(simulation, request)
    happenings: dict[str, tuple[type, Callable[[str, Any], Any]]] = {
        "messages": (NewMessage, simulation.receive),
        "renewal": (Renewal, simulation.renew),
        "change": (NumberChange, simulation.keep_number),
    }
    body = request.body or b"{}"
    match request.method, parts:
        case "POST", ["orders"]:
            new = msgspec.json.decode(body, type=NewOrder)
            return json_answer(simulation.order(new), 201)
        case "POST", ["orders", order_id]:
            changes = msgspec.json.decode(body, type=dict[str, Any])
            return json_answer(simulation.change(order_id, changes))
        case "POST", ["orders", order_id, what] if what in happenings:
            wanted, happen = happenings[what]
            told: Any = msgspec.json.decode(body, type=wanted)
            return json_answer(happen(order_id, told), 201)
    return _no_such()


def _failing(simulation: Simulation, request: Request) -> Answer:
    faults = simulation.account.faults
    match request.method:
        case "POST":
            fault = msgspec.json.decode(request.body or b"{}", type=Fault)
            faults.append(fault)
            return json_answer(fault, 201)
        case "DELETE":
            faults.clear()
            return json_answer(faults)
    return _no_such()


def _no_such() -> Answer:
    return _wrong(405, "GET, POST or DELETE, and a path that there is")


def _wrong(status: int, error: str) -> Answer:
    return json_answer({"error": error}, status)
