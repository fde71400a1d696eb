"""Orders against a model, over random schedules with restarts."""

import asyncio
import dataclasses
import json
import tempfile
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
import structlog
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from journals import prepared
from services import clock_of, configured, identity_of, loading

from core.order import REMEMBERED, Order
from core.secret import Secret
from journal.commit import settle
from journal.reads import EventFilter, Events, KnownOrders, OrderFilter
from receiver.callback import Callback
from receiver.door import read_happenings
from receiver.intake import Caller
from receiver.polling.questions import Ended, ListedOrder
from receiver.providers.tellabot.callbacks import TellABot
from server.service import open_journal, restore

BEGIN = 1_790_000_000.25
#: Seconds that a registered order lasts, and one that the provider lists.
REGISTERED, LISTED = 3600, 2 * 86400
NUMBERS = ("+18503814729", "+18503814730")
ALL = {"after": None, "limit": 1000, "desc": False}

#: Mostly one order, so that more happens to it.
names = st.sampled_from("1112")
numbers = st.sampled_from([None, *NUMBERS])
reasons = st.sampled_from(["cancelled", "finished", "expired"])
steps = st.lists(
    st.one_of(
        st.tuples(st.just("register"), names, numbers),
        st.tuples(st.just("list"), names, numbers),
        st.tuples(st.just("assign"), names, st.sampled_from(NUMBERS)),
        st.tuples(st.just("end"), names, reasons),
        st.tuples(st.just("cancel"), names),
        st.tuples(st.just("receive"), names),
        st.tuples(st.just("wait"), st.sampled_from([600, 3700, LISTED + 1])),
        st.tuples(st.just("step"), st.sampled_from([-7200, 90_000])),
        st.tuples(st.just("restart")),
    ),
    max_size=14,
)


@dataclasses.dataclass
class Expected:
    """One order, as docs/orders.md describes it."""

    #: Seconds from now to its end.
    left: float
    origin: str = "user"
    state: str = "waiting"
    reason: str | None = None
    number: str | None = None
    number_of: str | None = None
    announced: int = 0
    #: Whether the service remembers it.
    is_known: bool = True
    #: An SMS is stored that does not belong to it yet.
    owns: bool = False

    @property
    def lapsed(self):
        return self.state == "expired" and self.reason is None

    def say(self, number, origin):
        """Set the number; return whether it is a conflict."""
        if number is None or self.number == number:
            if number is not None and origin == "user":
                self.number_of = "user"
            return False
        if self.number is None or (origin == "user" and self.number_of == "provider"):
            self.number, self.number_of = number, origin
            return False
        return origin == "user"

    def receive(self):
        if self.state in ("waiting", "expired"):
            self.state = "received"


class Model:
    def __init__(self):
        self.orders = {}
        self.strays = set()

    def placed(self, name):
        order = self.orders[name]
        order.is_known = True
        if name in self.strays:
            self.strays.discard(name)
            order.receive()

    def register(self, name, number):
        order = self.orders.get(name)
        if order is None:
            self.orders[name] = Expected(REGISTERED, number=number, number_of=number and "user")
        elif order.say(number, "user"):
            return
        elif order.origin == "provider":
            order.origin = "user"
            if order.lapsed:
                order.state = "waiting"
                order.left = REGISTERED
            elif order.reason is None and order.state != "cancelled":
                order.left = REGISTERED
        elif order.state == "waiting" or (
            order.state == "received" and order.reason in (None, "expired")
        ):
            order.left = REGISTERED  # each registration has an end
        self.placed(name)

    def list(self, name, number):
        order = self.orders.get(name)
        if order is None:
            order = self.orders[name] = Expected(LISTED, origin="provider")
            order.say(number, "provider")
        else:
            order.say(number, "provider")
            over = order.reason is not None or order.state == "cancelled"
            if order.origin == "provider" and not over and order.left < LISTED / 2:
                order.left = LISTED
                order.state = "waiting" if order.lapsed else order.state
        self.placed(name)

    def end(self, name, reason):
        order = self.orders.get(name)
        if order is None or not order.is_known or order.state == "cancelled" or order.reason:
            return
        order.left = min(order.left, 0)
        order.reason = reason
        if order.state != "received":
            order.state = "expired"
            order.announced += 1

    def cancel(self, name):
        order = self.orders.get(name)
        if order is not None and order.state != "cancelled":
            order.state = "cancelled"
            order.left = min(order.left, 0)

    def receive(self, name):
        order = self.orders.get(name)
        if order is None or not order.is_known:
            self.strays.add(name)
        else:
            order.receive()

    def wait(self, seconds):
        for order in self.orders.values():
            order.left -= seconds
            if order.left <= 0 and order.state == "waiting":
                order.state = "expired"
                if order.origin == "user":
                    order.reason = "expired"
                    order.announced += 1

    def step(self, by):
        """Set the clock. Waiting orders end in as many seconds as before; others keep their end."""
        for order in self.orders.values():
            if order.state != "waiting":
                order.left -= by

    def restart(self):
        for order in self.orders.values():
            order.is_known = order.state == "waiting" or order.left >= -REMEMBERED


class Real:
    """Orders on a journal in a file, with a method for each step."""

    def __init__(self, folder):
        self.sent, self.now, self.parts = 0, BEGIN, None
        self.config = configured(folder, sources={"tellabot": TellABot(tokens=(Secret("t" * 20),))})
        self.identity, self.clock = identity_of(self.config), clock_of(lambda: self.now)

    async def restart(self):
        if self.parts is not None:
            await self.journal.close()
        prepared(self.config.journal.path)
        self.journal = await open_journal(self.config, self.identity, now=self.now)
        self.parts = await restore(
            *(self.config, self.journal, self.identity),
            clock=self.clock,
            load=loading(self.config),
        )
        self.orders, self.source = self.parts.orders, self.parts.sources["tellabot"]

    async def register(self, name, number):
        end = self.now + REGISTERED
        order = Order(
            id=self.identity.event_id(self.now),
            source="tellabot",
            provider="tellabot",
            kind="request_id",
            name=name,
            number=number,
            created_at=self.now,
            expires_at=end,
            lasts=REGISTERED,
        )
        await self.orders.place(order, end)

    async def list(self, name, number):
        listed = ListedOrder(kind="request_id", name=name, number=number)
        await self.orders.add_listed(self.source, listed)

    async def assign(self, name, number):
        body = f"event=priority_request&status=ok&id={name}&mdn={number[1:]}&service=Google"
        # Once for each request: the same event again is a duplicate, and changes nothing.
        return await self._accept(body)

    async def end(self, name, reason):
        ended = Ended(kind="request_id", name=name, reason=reason)
        await self.orders.end_listed(self.source, ended)

    async def cancel(self, name):
        page = await self.journal.ask(KnownOrders(filter=OrderFilter(request_id=(name,)), **ALL))
        for _, order in page.items:
            await self.orders.cancel(order.id)

    async def receive(self, name):
        self.sent += 1
        text = f"code+{4000 + self.sent}"
        await self._accept(f"event=incoming_message&id={name}&from=22000&reply={text}&to=")

    async def _accept(self, body):
        received = datetime.fromtimestamp(self.now, UTC)
        callback = Callback(headers=(), body=body.encode(), peer="192.0.2.1", received=received)
        caller = Caller(source="tellabot", token="f", request_id="r")
        happenings = read_happenings(self.source, callback)
        done = asyncio.get_running_loop().create_future()
        self.parts.intake.accept(caller, callback, happenings, partial(settle, done))
        return any((await done).new)

    async def wait(self, seconds):
        self.now += seconds
        assert await self.orders.end_due()

    async def step(self, by):
        self.now += by
        self.orders.follow_clock(by)
        await asyncio.gather(*self.orders._moving)

    async def seen(self):
        """Return each order of the journal as the model has it; the order book must agree."""
        page = await self.journal.ask(KnownOrders(filter=OrderFilter(), **ALL))
        seen = {}
        for _, order in page.items:
            known = self.orders._order_book.get(order.id)
            if known is not None:
                assert plain(known) == plain(order)
            seen[order.name] = plain(order)
        return seen

    async def announced(self):
        wanted = EventFilter(type=("order.expired",))
        page = await self.journal.ask(Events(filter=wanted, **ALL))
        subjects = [json.loads(body)["subject"] for _, body in page.items]
        return {name: subjects.count(f"request/{name}") for name in "12"}

    async def numbers(self):
        """Return the numbers of the messages, which were sent without a number."""
        page = await self.journal.ask(Events(filter=EventFilter(type=("sms.received",)), **ALL))
        data = [json.loads(body)["data"] for _, body in page.items]
        return {name: {one["to"] for one in data if one["request_id"] == name} for name in "12"}


def plain(order):
    return (order.origin, order.state, order.reason, order.number)


@pytest.mark.uncounted
@settings(max_examples=examples(50))
@given(steps)
def test_orders_follow_the_model(schedule):
    """Mutants: each rule of `merge`, `_expire`, `LapseOrder` and `_end` broken once."""
    with structlog.testing.capture_logs():
        asyncio.run(played(schedule))


async def played(schedule):
    model = Model()
    with tempfile.TemporaryDirectory() as folder:
        real = Real(Path(folder))
        await real.restart()
        try:
            for name, *arguments in schedule:
                news = await getattr(real, name)(*arguments)
                if name == "assign":
                    if news:
                        model.list(*arguments)
                else:
                    getattr(model, name)(*arguments)
                await agree(real, model)
        finally:
            await real.journal.close()


async def agree(real, model):
    expected = {name: plain(order) for name, order in model.orders.items()}
    assert await real.seen() == expected
    announced = await real.announced()
    assert announced == {
        name: model.orders[name].announced if name in model.orders else 0 for name in "12"
    }
    for name, found in (await real.numbers()).items():
        if name in model.orders and name not in model.strays:
            assert found <= {model.orders[name].number}
