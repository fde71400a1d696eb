"""One simulated provider at work: it takes orders, receives messages, answers and sends."""

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
#: Parameters that are a key or whose it is; a key in a path is in no parameter.
_SECRET = frozenset({"api_key", "user", "pass"})
_RENTAL_LIFE = timedelta(days=30)


class UnknownOrder(Exception):
    """No order has this id."""


class Impossible(Exception):
    """An order cannot be or do that; the message says what."""


class NewOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is ordered; the rest is made up."""

    id: str | None = None
    kind: str | None = None
    #: Empty: one is awaited (a bid, a reservation).
    number: str | None = None
    service: str | None = None
    country: str | None = None
    price: float = 1.25
    #: Of a rental's own callbacks.
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
    """What a number receives; the rest is made up."""

    text: str | None = None
    #: Null: what looks like one in the text; empty: none is recognized.
    code: str | None = None
    from_: str = "22000"
    is_call: bool = False
    #: Seconds since it came.
    ago: Seconds = 0
    #: SMSPins: found by the same check as the last one.
    same_check: bool = False
    #: False: it is there to be asked for, and no callback is sent.
    callback: bool = True


class Renewal(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of a rental."""

    #: Why it is not renewed, such as `Low balance`; null: it is.
    error: str | None = None


class NumberChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """SMSPins: asked for, and not done; what is done is another `number` of the order."""

    status: Literal["PENDING", "ACQUIRED", "STARTED", "FAILED", "CANCELED"] = "FAILED"


class Simulation:
    """`url` is where callbacks go; None: nowhere, but for rentals that have one of their own."""

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

    # What is asked

    async def answer(self, request: Request) -> Answer | None:
        """As the provider would, faults included; None where it has nothing."""
        command = self.provider.command(request)
        if command is None:
            return None
        answer = await self._faulty(command, request)
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

    async def _faulty(self, command: str, request: Request) -> Answer:
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

    # What happens

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
                number=provider.number() if new.number is None else new.number,
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

    def change(self, order_id: str, changes: Mapping[str, Any]) -> SimulatedOrder:
        """Another status or number, or when it goes online.

        Raises Unknown, Impossible, and msgspec.ValidationError for what is no such value.
        """
        order = self._order(order_id)
        unknown = set(changes) - {"status", "number", "is_online", "changes_at", "next_online_at"}
        if unknown:
            raise Impossible(f"{', '.join(sorted(unknown))}: not to be changed")
        changed = msgspec.convert(msgspec.to_builtins(order) | dict(changes), SimulatedOrder)
        self.account.add(changed)
        if changed.number != order.number:
            self._renumbered(order, changed)
        return changed

    def _renumbered(self, before: SimulatedOrder, after: SimulatedOrder) -> None:
        if before.number:
            self._changed(before, after.number, "SUCCESS")
        else:
            self._tell(after, self.provider.assigned(after))

    def keep_number(self, order_id: str, change: NumberChange) -> Change:
        """Its number was to be changed, and is not. Raises Unknown and Impossible."""
        order = self._order(order_id)
        if order.kind != "telephone":
            raise Impossible("only a telephone's number is changed")
        return self._changed(order, None, change.status)

    def _changed(self, order: SimulatedOrder, after: str | None, status: ChangeStatus) -> Change:
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
        """A rental goes on under another id, or does not. Raises Unknown and Impossible."""
        order = self._order(order_id)
        if order.kind != "rental":
            raise Impossible("only a rental is renewed")
        if renewal.error is not None:
            self._tell(order, self.provider.not_renewed(order, renewal.error))
            return order
        self.account.add(msgspec.structs.replace(order, status="finished"))
        new_id = self.account.order_id(self.provider.first_id)
        ends_at = order.ends_at + _RENTAL_LIFE
        first_id = order.first_id or order.id
        after = self.account.add(
            msgspec.structs.replace(order, id=new_id, ends_at=ends_at, first_id=first_id)
        )
        self._tell(after, self.provider.renewed(order, after))
        return after

    def receive(self, order_id: str, new: NewMessage) -> Message:
        """An SMS or a call comes in, and is told. Raises Unknown and Impossible."""
        order = self._order(order_id)
        if not order.number:
            raise Impossible("the order still waits for its number")
        code, text = self._written(new)
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
                check_id=self._check(order_id, same=new.same_check),
            )
        )
        if new.callback:
            self._tell(order, self.provider.callback(order, message))
        return message

    def _written(self, new: NewMessage) -> tuple[str, str]:
        """The code and the text."""
        if new.text is None:
            made_up = f"{self.account.chance.randrange(_CODES):06d}"
            code = made_up if new.code is None else new.code
            return code, f"{code} is your verification code."
        found = _CODE.search(new.text) if new.code is None else None
        return (found[0] if found else new.code or ""), new.text

    def _check(self, order_id: str, *, same: bool) -> str:
        mine = [
            message.check_id for message in self.account.messages if message.order_id == order_id
        ]
        if same and mine:
            return mine[-1]
        return str(_FIRST_CHECK + len({message.check_id for message in self.account.messages}))

    def _order(self, order_id: str) -> SimulatedOrder:
        order = self.account.orders.get(order_id)
        if order is None:
            raise UnknownOrder
        return order

    # What is sent

    def _tell(self, order: SimulatedOrder, sent: OutgoingCallback | None) -> None:
        url = order.url or self._url
        if self.sender is None or url is None or sent is None:
            return
        callback = SimulatedCallback(
            id=self.account.serial(), order_id=order.id, url=url, sent=sent
        )
        for _ in range(2 if self.account.goes_wrong("duplicate") else 1):
            self._send(self.sender, callback)

    def _send(self, sender: Sender, callback: SimulatedCallback) -> None:
        if self._held is not None:
            held, self._held = self._held, None
            self._start(_swapped(sender, callback, held))
        elif self.account.goes_wrong("out_of_order"):
            self._held = callback
        else:
            self._start(sender.send(callback))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def settled(self) -> None:
        """Until everything that is being sent was taken or given up."""
        while self._tasks:
            await asyncio.wait(set(self._tasks))

    async def close(self) -> None:
        """What is still to be sent is not."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _is_url(text: str) -> bool:
    try:
        url = urlsplit(text)
        # Also a port that cannot be.
        return url.scheme in {"http", "https"} and bool(url.hostname) and url.port != 0
    except ValueError:
        return False


async def _swapped(sender: Sender, later: SimulatedCallback, earlier: SimulatedCallback) -> None:
    """The later one first."""
    taken = await sender.first(later)
    async with asyncio.TaskGroup() as group:
        group.create_task(sender.send(earlier))
        if not taken:
            group.create_task(sender.again(later))
