"""The pages and calls under `/rehearsal/`, by which a person or a test controls a simulation."""

from collections.abc import Callable
from typing import Any

import msgspec

from ..account import Fault
from ..exchange import JSON, Answer, Request, json_answer, redirect
from ..simulation import (
    Impossible,
    NewMessage,
    NewOrder,
    NumberChange,
    NumberMessage,
    Renewal,
    Simulation,
    UnknownOrder,
)
from .page import BEGIN, Place, page, script, style


def control(simulation: Simulation, request: Request, place: Place) -> Answer:
    """Answer any request under BEGIN."""
    if not request.path.startswith(BEGIN):
        # The links of the page are relative to this path.
        return redirect("rehearsal/")
    parts = f"{request.path}/".removeprefix(BEGIN).strip("/").split("/")
    if request.method == "GET":
        return _show(simulation, "/".join(parts), place)
    # A foreign page can send this type only after a preflight request, which gets no permission.
    if request.method == "POST" and not request.content_type.startswith(JSON):
        return _error(415, f"send {JSON}")
    try:
        return _act(simulation, request, parts)
    except UnknownOrder:
        return _error(404, "no order has this id")
    except (Impossible, msgspec.MsgspecError) as exc:
        return _error(400, str(exc))


def _show(simulation: Simulation, what: str, place: Place) -> Answer:
    account, sender = simulation.account, simulation.sender
    shown: dict[str, Callable[[], Any]] = {
        "orders": lambda: list(account.orders.values()),
        "messages": lambda: account.messages,
        "asked": lambda: account.asked,
        "callbacks": lambda: sender.attempts if sender else [],
        "faults": lambda: account.faults,
    }
    pages: dict[str, Callable[[], Answer]] = {
        "": lambda: page(simulation, place),
        "page.js": script,
        "page.css": lambda: style(place.beside),
    }
    if what in pages:
        return pages[what]()
    return json_answer(shown[what]()) if what in shown else _error(404, "no such page")


def _act(simulation: Simulation, request: Request, parts: list[str]) -> Answer:
    additions: dict[str, tuple[type, Callable[[Any], Any]]] = {
        "faults": (Fault, simulation.account.add_fault),
        "messages": (NumberMessage, simulation.receive_at_number),
        "orders": (NewOrder, simulation.order),
    }
    actions: dict[str, tuple[type, Callable[[str, Any], Any]]] = {
        "messages": (NewMessage, simulation.receive),
        "renewal": (Renewal, simulation.renew),
        "change": (NumberChange, simulation.keep_number),
    }
    body = request.body or b"{}"
    match request.method, parts:
        case "POST", [what] if what in additions:
            added_type, add = additions[what]
            return json_answer(add(msgspec.json.decode(body, type=added_type)), 201)
        case "DELETE", ["faults"]:
            simulation.account.faults.clear()
            return json_answer([])
        case "POST", ["orders", order_id]:
            changes = msgspec.json.decode(body, type=dict[str, Any])
            return json_answer(simulation.change(order_id, changes))
        case "POST", ["orders", order_id, what] if what in actions:
            type_, act = actions[what]
            given: Any = msgspec.json.decode(body, type=type_)
            return json_answer(act(order_id, given), 201)
    return _error(405, "GET, POST or DELETE, and a path that there is")


def _error(status: int, error: str) -> Answer:
    return json_answer({"error": error}, status)
