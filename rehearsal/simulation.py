"""A simulation: it takes orders, receives messages, answers commands and sends callbacks."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from datetime import timedelta
from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec

from .account import AskedQuestion, Change, ChangeStatus, Message, Seconds, SimulatedOrder
from .exchange import Answer, OutgoingCallback, Request
from .provider import Simulated
from .sender import Sender, SimulatedCallback

_CODES = 1_000_000
_CODE = re.compile(r"\b\d{4,8}\b")
_FIRST_CHECK = 11_183
_FIRST_CHANGE = 44_444
_FIRST_MESSAGE = 70_001
#: Parameters with a key or its user; a key in a path is in no parameter.
_SECRET = frozenset({"api_key", "user", "pass"})
_RENTAL_LIFE = timedelta(days=30)
#: How often a number is drawn until one is free: a provider draws from a hundred or more.
_DRAWS = 1000


class UnknownOrder(Exception):
    """No order has this id."""


class Impossible(Exception):
    """A request is invalid for an order; the message explains it."""


class NewOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A new order; missing fields are made up."""

    id: str | None = None
    kind: str | None = None
    #: Empty: the order waits for a number (a bid, a reservation).
    number: str | None = None
    service: str | None = None
    country: str | None = None
    price: float = 1.25
    #: The callback URL of a rental with its own.
    url: str | None = None
    state: str = ""
    markup: int = 0
    carrier: str = ""
    #: Seconds until it ends.
    life: Seconds | None = None


class NewMessage(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    rename={"from_": "from"},
):
    """A new message; missing fields are made up."""

    text: str | None = None
    #: Null: found in the text; empty: the provider recognizes no code.
    code: str | None = None
    from_: str = "22000"
    is_call: bool = False
    #: Seconds since it was received.
    ago: Seconds = 0
    #: SMSPins: whether the check of the last message found it.
    same_check: bool = False
    #: False: it can be polled, and no callback is sent.
    callback: bool = True


class NumberMessage(NewMessage, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A new message to a number; missing fields are made up."""

    #: In E.164, or as the provider writes it.
    to: str


class Renewal(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The result of renewing a rental."""

    #: Why it was not renewed, such as `Low balance`; null: it was.
    error: str | None = None


class NumberChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """SMSPins: a change of number that was not made. To make one, change the order's `number`."""

    status: Literal["PENDING", "ACQUIRED", "STARTED", "FAILED", "CANCELED"] = "FAILED"


class Simulation:
    """Runs a provider. `url` is for callbacks; None: only rentals with their own URL send any."""

    def __init__(
        self,
        provider: Simulated,
        sender: Sender | None,
        *,
        url: str | None,
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self.provider, self.account, self.sender = provider, provider.account, sender
        self._url, self._sleep = url, sleep
        self._held: SimulatedCallback | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    # Commands

    async def answer(self, request: Request) -> Answer | None:
        """Answer a request with requested failures; None if it is no command of the provider."""
        command = self.provider.command(request)
        if command is None:
            return None
        answer = await self._answer_with_faults(command, request)
        self.account.asked.append(
            AskedQuestion(
                command=command,
                writes=command not in self.provider.reads,
                parameters={
                    name: value for name, value in request.parameters.items() if name not in _SECRET
                },
                status=answer.status,
                at=self.account.now(),
            )
        )
        return answer

    async def _answer_with_faults(self, command: str, request: Request) -> Answer:
        wrong, provider = self.account.goes_wrong, self.provider
        if slow := wrong("slow", command):
            await self._sleep(slow.seconds)
        if limit := wrong("rate_limit", command):
            headers = (("retry-after", str(limit.seconds)),)
            return msgspec.structs.replace(provider.too_many(), headers=headers)
        if wrong("error", command):
            return provider.broken()
        if wrong("bad_key", command) or not provider.has_key(request):
            return provider.wrong_key()
        if wrong("plain_text", command):
            return provider.busy()
        answer = provider.answer(command, request)
        return provider.garbled(answer) if wrong("invalid_json", command) else answer

    # Orders and messages

    def order(self, new: NewOrder) -> SimulatedOrder:
        """Take a number. Raises Impossible."""
        provider, now = self.provider, self.account.now()
        kind = new.kind or provider.kinds[0]
        if kind not in provider.kinds:
            raise Impossible(f"kind: {kind!r} is not one of {', '.join(provider.kinds)}")
        if new.id in self.account.orders:
            raise Impossible("id: there is such an order")
        if new.url is not None and not _is_url(new.url):
            raise Impossible("url: write http:// or https:// and a host")
        usual = _RENTAL_LIFE if kind == "rental" else provider.life
        life = timedelta(seconds=new.life) if new.life is not None else usual
        return self.account.add(
            SimulatedOrder(
                id=new.id or self.account.order_id(provider.first_id),
                kind=kind,
                number=self._free_number() if new.number is None else new.number,
                service=provider.service if new.service is None else new.service,
                country=provider.country if new.country is None else new.country,
                price=new.price,
                made_at=now,
                ends_at=now + life,
                url=new.url,
                state=new.state,
                markup=new.markup,
                carrier=new.carrier,
            )
        )

    def _free_number(self) -> str:
        """Return a number that no order has, unless nearly all are taken."""
        taken = {order.number for order in self.account.orders.values()}
        drawn = (self.provider.number() for _ in range(_DRAWS))
        return next((number for number in drawn if number not in taken), self.provider.number())

    def change(self, order_id: str, changes: Mapping[str, Any]) -> SimulatedOrder:
        """Change the status or number of an order, or the time when it goes online.

        Raises UnknownOrder, Impossible, and msgspec.ValidationError for an invalid value.
        """
        order = self._order(order_id)
        unknown = set(changes) - {"status", "number", "is_online", "changes_at", "next_online_at"}
        if unknown:
            raise Impossible(f"{', '.join(sorted(unknown))}: not to be changed")
        changed = msgspec.convert(msgspec.to_builtins(order) | dict(changes), SimulatedOrder)
        self.account.add(changed)
        if changed.number != order.number and order.number:
            self._record_change(order, changed.number, "SUCCESS")
        elif changed.number != order.number:
            self._send(changed, self.provider.assigned(changed))
        return changed

    def keep_number(self, order_id: str, change: NumberChange) -> Change:
        """Record a change of number that was not made. Raises UnknownOrder and Impossible."""
        order = self._order(order_id)
        if order.kind != "telephone":
            raise Impossible("only a telephone's number is changed")
        return self._record_change(order, None, change.status)

    def _record_change(
        self, order: SimulatedOrder, after: str | None, status: ChangeStatus
    ) -> Change:
        change = Change(
            id=str(_FIRST_CHANGE + len(self.account.changes)),
            order_id=order.id,
            before=order.number,
            after=after,
            at=self.account.now(),
            status=status,
        )
        self.account.changes.append(change)
        return change

    def renew(self, order_id: str, renewal: Renewal) -> SimulatedOrder:
        """Renew a rental under another id, or fail. Raises UnknownOrder and Impossible."""
        order = self._order(order_id)
        if order.kind != "rental":
            raise Impossible("only a rental is renewed")
        if renewal.error is not None:
            self._send(order, self.provider.not_renewed(order, renewal.error))
            return order
        self.account.add(msgspec.structs.replace(order, status="finished"))
        new_id = self.account.order_id(self.provider.first_id)
        ends_at = order.ends_at + _RENTAL_LIFE
        first_id = order.first_id or order.id
        after = self.account.add(
            msgspec.structs.replace(order, id=new_id, ends_at=ends_at, first_id=first_id)
        )
        self._send(after, self.provider.renewed(order, after))
        return after

    def receive(self, order_id: str, new: NewMessage) -> Message:
        """Receive an SMS or a call, and send its callback. Raises UnknownOrder and Impossible."""
        order = self._order(order_id)
        if not order.number:
            raise Impossible("the order still waits for its number")
        if new.text is None:
            made_up = f"{self.account.chance.randrange(_CODES):06d}"
            code = made_up if new.code is None else new.code
            text = f"{code} is your verification code."
        else:
            found = _CODE.search(new.text) if new.code is None else None
            code, text = found[0] if found else new.code or "", new.text
        checks = [it.check_id for it in self.account.messages if it.order_id == order_id]
        next_check = _FIRST_CHECK + len({it.check_id for it in self.account.messages})
        message = self.account.receive(
            Message(
                id=_FIRST_MESSAGE + self.account.serial(),
                order_id=order_id,
                to=order.number,
                from_=new.from_,
                text=text,
                code=code,
                at=self.account.now() - timedelta(seconds=new.ago),
                is_call=new.is_call,
                check_id=checks[-1] if new.same_check and checks else str(next_check),
            )
        )
        if new.callback:
            self._send(order, self.provider.callback(order, message))
        return message

    def receive_at_number(self, new: NumberMessage) -> Message:
        """Receive a message for the newest order with that number. Raises Impossible."""
        digits = re.sub(r"\D", "", new.to)
        # Some providers write a number without the code of its country.
        named = [
            it for it in self.account.orders.values() if it.number and digits.endswith(it.number)
        ]
        if not named:
            raise Impossible("to: no order has this number")
        return self.receive(named[-1].id, new)

    def _order(self, order_id: str) -> SimulatedOrder:
        order = self.account.orders.get(order_id)
        if order is None:
            raise UnknownOrder
        return order

    # Callbacks

    def _send(self, order: SimulatedOrder, sent: OutgoingCallback | None) -> None:
        url = order.url or self._url
        if self.sender is None or url is None or sent is None:
            return
        callback = SimulatedCallback(
            id=self.account.serial(), order_id=order.id, url=url, sent=sent
        )
        for _ in range(2 if self.account.goes_wrong("duplicate") else 1):
            if self._held is not None:
                held, self._held = self._held, None
                self._start(self.sender.send_swapped(callback, held))
            elif self.account.goes_wrong("out_of_order"):
                self._held = callback
            else:
                self._start(self.sender.send(callback))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def settled(self) -> None:
        """Wait until all callbacks were delivered or given up."""
        while self._tasks:
            await asyncio.wait(set(self._tasks))

    async def close(self) -> None:
        """Cancel the callbacks that are still to be sent."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _is_url(text: str) -> bool:
    try:
        url = urlsplit(text)
        # `port` raises for an invalid one.
        return url.scheme in {"http", "https"} and bool(url.hostname) and url.port != 0
    except ValueError:
        return False
