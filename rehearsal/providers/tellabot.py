"""TellABot: https://www.tellabot.com, "API command reference"."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, ClassVar
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

import msgspec

from ..account import Account, Message, SimulatedOrder
from ..exchange import FORM, Answer, OutgoingCallback, Request, json_answer
from ..provider import Simulated
from ..schedule import Schedule

#: "server's time zone is America/New_York"
_NEW_YORK = ZoneInfo("America/New_York")
#: The first is in older documents, the second in newer ones.
_PATHS = ("/sims/api_command.php", "/api_command.php")
#: "a maximum of 3 latest messages received in the past 2 days"
_MOST = 3
_BACK = timedelta(days=2)


class SimulatedTellABot(Simulated):
    """Simulates requests, with one SMS each, and rentals."""

    name: ClassVar[str] = "tellabot"
    kinds: ClassVar[tuple[str, ...]] = ("request", "rental")
    reads: ClassVar[frozenset[str]] = frozenset(
        {
            "read_sms",
            "request_status",
            "ltr_status",
            "ltr_reported_status",
            "list_services",
            "balance",
            "proxy_list",
        }
    )
    schedule: ClassVar[Schedule | None] = Schedule(
        waits=((600.0, 600.0),) * 5,
        description="not answered 200: five more times at 10-minute intervals",
    )
    service: ClassVar[str] = "Google"
    country: ClassVar[str] = "US"
    path: ClassVar[str] = _PATHS[0]
    first_id: ClassVar[int] = 10_000_001
    life: ClassVar[timedelta] = timedelta(minutes=15)

    def __init__(self, account: Account) -> None:
        super().__init__(account)
        self._commands = {
            "balance": self.balance,
            "read_sms": self.read_sms,
            "request_status": self.request_status,
            "ltr_status": self.ltr_status,
        }

    def command(self, request: Request) -> str | None:
        return request.parameters.get("cmd", "") if request.path in _PATHS else None

    def has_key(self, request: Request) -> bool:
        given = request.parameters
        return bool(given.get("user")) and given.get("api_key") == self.account.key

    def answer(self, command: str, request: Request) -> Answer:
        answer = self._commands.get(command)
        return answer(request.parameters) if answer else self.refused()

    def wrong_key(self) -> Answer:
        """Return an error in the documented form; the words are not documented."""
        return _error("Invalid API key")

    def refused(self) -> Answer:
        return _error("Not simulated: orders are made under /rehearsal/")

    def garbled(self, answer: Answer) -> Answer:
        """Return its documentation's form: `message` in a second pair of braces."""
        body = answer.body
        if body.endswith(b"]}"):
            body = body.replace(b'"message":[', b'"message":{', 1)[:-2] + b"}}"
        elif body.endswith(b"}}"):
            body = body.replace(b'"message":', b'"message":{', 1) + b"}"
        return msgspec.structs.replace(answer, body=body)

    def balance(self, _given: Mapping[str, str]) -> Answer:
        return json_answer({"status": "ok", "message": self.account.balance})

    def read_sms(self, given: Mapping[str, str]) -> Answer:
        since = self.account.now() - _BACK
        found = sorted(
            (it for it in self.account.messages if it.at >= since and self._is_asked(it, given)),
            key=lambda it: it.at,
            reverse=True,
        )
        if not found:
            return _error("No messages")
        return json_answer({"status": "ok", "message": [self._row(it) for it in found[:_MOST]]})

    def _is_asked(self, message: Message, given: Mapping[str, str]) -> bool:
        order = self.account.orders[message.order_id]
        if "id" in given:
            # "If passed, mdn and service parameters are ignored": and only once Completed.
            return order.kind == "request" and order.id == given["id"] and self._is_completed(order)
        same_service = given.get("service", order.service) == order.service
        if "ltr_id" in given:
            return order.kind == "rental" and order.id == given["ltr_id"] and same_service
        return given.get("mdn", message.to) == message.to and same_service

    def _row(self, message: Message) -> dict[str, Any]:
        order = self.account.orders[message.order_id]
        return {
            "timestamp": str(int(message.at.timestamp())),
            "date_time": _format(message.at),
            "from": message.from_,
            "to": message.to,
            "service": order.service,
            "price": order.price,
            "reply": message.text,
            "pin": message.code,
        }

    def request_status(self, given: Mapping[str, str]) -> Answer:
        order = self.account.orders.get(given.get("id", ""))
        # "an unfulfilled request with Awaiting MDN status will be automatically deleted"
        if order is None or order.kind != "request":
            return _error("Invalid request ID")
        if not order.number and not self.account.until(order.ends_at):
            return _error("Invalid request ID")
        if order.status == "cancelled":
            status = "Rejected"
        elif not order.number:
            status = "Awaiting MDN"
        elif self._is_completed(order):
            status = "Completed"
        else:
            status = "Reserved" if self.account.until(order.ends_at) else "Timed Out"
        row = {
            "id": order.id,
            "mdn": order.number,
            "service": order.service,
            "status": status,
            "state": order.state,
            "markup": order.markup,
            "carrier": order.carrier,
            "till_expiration": self.account.until(order.ends_at),
        }
        return json_answer({"status": "ok", "message": [row]})

    def _is_completed(self, order: SimulatedOrder) -> bool:
        return order.status == "finished" or bool(self.account.received(order.id))

    def ltr_status(self, given: Mapping[str, str]) -> Answer:
        name, value = "number", given.get("mdn")
        if "ltr_id" in given:
            name, value = "id", given["ltr_id"]
        rentals = self.account.newest("rental")
        order = next((order for order in rentals if getattr(order, name) == value), None)
        if order is None:
            # The words are not documented.
            return _error("Invalid rental ID")
        if not order.number:
            return json_answer({"status": "ok", "message": {"ltr_status": "awaiting mdn"}})
        row = {
            "ltr_status": "online" if order.is_online else "offline",
            "mdn": order.number,
            "till_change": self.account.until(order.changes_at),
            "next_online": self.account.until(order.next_online_at),
            "timestamp": int(order.changes_at.timestamp()) if order.changes_at else 0,
            "date_time": _format(order.changes_at) if order.changes_at else "",
        }
        return json_answer({"status": "ok", "message": row})

    def callback(self, order: SimulatedOrder, message: Message) -> OutgoingCallback | None:
        """Return a form: the encoding is not documented, but the site is in PHP."""
        ids = (
            {"id": order.id}
            if order.kind == "request"
            else {"ltr_id": order.id, "first_ltr_id": order.first_id or order.id}
        )
        return _form({"event": "incoming_message"} | ids | self._row(message))

    def assigned(self, order: SimulatedOrder) -> OutgoingCallback | None:
        """Return the callback of a priority request that won; a reservation has no callback."""
        if order.kind != "request":
            return None
        fields = {
            "event": "priority_request",
            "status": "ok",
            "id": order.id,
            "mdn": order.number,
            "service": order.service,
            "price": order.price,
        }
        return _form(fields)

    def renewed(self, before: SimulatedOrder, after: SimulatedOrder) -> OutgoingCallback | None:
        fields = {
            "event": "ltr_renewal",
            "status": "ok",
            "new_ltr_id": after.id,
            "previous_ltr_id": before.id,
            "mdn": after.number,
            "service": after.service,
            "price": after.price,
            "expires": f"{after.ends_at.astimezone(_NEW_YORK):%Y-%m-%d %H:%M:%S}",
        }
        return _form(fields)

    def not_renewed(self, order: SimulatedOrder, reason: str) -> OutgoingCallback | None:
        fields = {
            "event": "ltr_renewal",
            "status": "error",
            "message": reason,
            "previous_ltr_id": order.id,
            "mdn": order.number,
            "service": order.service,
        }
        return _form(fields)

    def number(self) -> str:
        """Return a number that is never assigned: 555-0100 to 555-0199."""
        return f"1850555{self.account.chance.randrange(100, 200):04d}"


def _format(at: datetime) -> str:
    return f"{at.astimezone(_NEW_YORK):%Y-%m-%d %H:%M:%S %Z}"


def _error(message: str) -> Answer:
    return json_answer({"status": "error", "message": message})


def _form(fields: Mapping[str, Any]) -> OutgoingCallback:
    return OutgoingCallback(content_type=FORM, body=urlencode(fields).encode())
