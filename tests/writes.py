"""Random writes of a journal, and a database in memory that looks everything up."""

import copy
import itertools
from collections import Counter

import msgspec
from contracts.journal import NOW, arrival, key
from hypothesis import strategies as st

from core.copies import Copy
from core.event import Event, OrderExpired, Price, SmsReceived
from core.order import AWAITED, Order, RegisteredBy, mark_provided
from journal.decide import decide
from journal.records import AccountBalance, Owed, Planned, Rejection
from journal.rows import LookedUp
from journal.writes import (
    CancelOrder,
    CountRejections,
    DismissQuarantined,
    ExpireOrder,
    LapseOrder,
    MoveOrders,
    QuarantineCallback,
    Record,
    RegisterOrder,
    ReplayEvent,
    SetBalance,
    SetMoment,
)

NUMBERS = ("+18503814729", "+18503814730")
PRICES = tuple(Price(amount=amount, currency=None) for amount in ("0.20", "0.30"))


class Memory:
    """A database of dictionaries."""

    def __init__(self):
        self.rows = LookedUp(last_event=0, last_callback=0, last_delivery=0)
        self.copies, self.balances, self.moments, self.uses = set(), {}, {}, {}
        self.callbacks, self.deliveries, self.counts = [], [], Counter()

    def write(self, writes):
        changes, results = decide(writes, copy.deepcopy(self.rows), owner=1)
        self._keep_events(changes)
        self._keep_orders(changes)
        self._keep_others(changes)
        return results

    def _keep_events(self, changes):
        rows = self.rows
        for event in changes.events:
            rows.events[event.seq] = event.row()
        for seq, event in changes.changed.items():
            rows.events[seq].body, rows.events[seq].reference = event.body, event.reference
            rows.events[seq].mention = None
        rows.keys.update({(source, name): seq for source, name, seq in changes.keys})
        for seq, n, _at, channel, _peer in changes.duplicates:
            event = rows.events[seq]
            event.duplicates, event.polled = n, event.polled or channel == "poll"
        for seq, form, second in changes.copies:
            rows.events[seq].forms[form] = second
        rows.last_event += len(changes.events)
        rows.last_callback += len(changes.callbacks)
        rows.last_delivery += len(changes.deliveries)
        rows.unfinished |= {(one.sink, one.ordering) for one in changes.deliveries if one.ordering}

    def _keep_orders(self, changes):
        rows = self.rows
        for order in changes.new_orders.values():
            rows.named[order.source, order.kind, order.name] = order.id
        rows.orders |= changes.new_orders | changes.orders
        for seq, event in changes.links.items():
            rows.events[seq].order, rows.events[seq].taken = event.order, event.taken
        self.copies |= set(changes.order_copies)
        rows.received = {}
        for seq, event in sorted(rows.events.items()):
            named = [order for order, place in self.copies if place == seq]
            for order in {event.order, *named} - {None}:
                if event.type in AWAITED:
                    rows.received.setdefault(order, (seq, event.at))

    def _keep_others(self, changes):
        rows = self.rows
        rows.quarantined = {
            name: id_ for name, id_ in rows.quarantined.items() if id_ not in changes.dismissed
        }
        for id_, kept in changes.quarantine.items():
            rows.quarantined.setdefault((kept[0].arrival.source, kept[0].fingerprint), id_)
        names = {(one.reason, one.source, one.peer) for one in changes.new_rejections}
        rows.rejections |= names
        rows.rejections_kept += len(names)
        self.balances |= changes.balances
        rows.low = {source for source, balance in self.balances.items() if balance.low}
        self.moments |= changes.moments
        self.callbacks += changes.callbacks
        self.deliveries += changes.deliveries
        self.counts.update(changes.counts)
        for name, (count, at) in changes.token_uses.items():
            uses, last_at = self.uses.get(name, (0, 0.0))
            self.uses[name] = (uses + count, max(last_at, at))


@st.composite
def batches(draw):
    """Batches of writes about a few numbers and ids, so that they meet each other."""
    some = _Some(draw)
    return [
        [some.write() for _ in range(draw(st.integers(1, 8)))]
        for _ in range(draw(st.integers(1, 4)))
    ]


class _Some:
    def __init__(self, draw):
        self._draw, self._serial, self._at = draw, itertools.count(1), NOW
        self._orders, self._events, self._kept = [], [], []

    def one(self, *values):
        return self._draw(st.sampled_from(values))

    def write(self):
        self._at += self.one(0, 1, 30, 700, -20, -90)
        kinds = ["record"] * 7 + ["assigned", "place", "place", "place", "keep", "reject", "other"]
        if self._orders:
            kinds += ["cancel", "expire", "lapse", "move"]
        return getattr(self, f"_{self.one(*kinds)}")()

    def _record(self):
        plans = tuple(self._plan() for _ in range(self.one(1, 1, 2)))
        return Record(self._arrival(), plans, self.one(None, None, None, *self._kept[-2:]))

    def _assigned(self):
        names = self._listed()
        plan = self._plan(order=names, type_="number.assigned")
        return Record(self._arrival(), (msgspec.structs.replace(plan, named_order=names),), None)

    def _place(self):
        order = self._order() if self.one(True, False) else self._listed()
        return RegisterOrder(order, self.one(None, None, self._at + 2000))

    def _cancel(self):
        return CancelOrder(self.one(*self._orders).id, self._at)

    def _expire(self):
        order, later = self.one(*self._orders), self._at + self.one(0, 1300)
        data = {"channel": "callback", "labels": {}, "sample": False, "time_from": "received"}
        plan = self._planned(
            OrderExpired(provider="tellabot", reason="expired", **data), order.subject, (), order
        )
        plan = msgspec.structs.replace(plan, at=later)
        return ExpireOrder(plan, self.one("expired", "cancelled"), self.one(True, False))

    def _lapse(self):
        return LapseOrder(self.one(*self._orders).id, self._at + self.one(0, 1300))

    def _move(self):
        order = self.one(*self._orders)
        later = {"created_at": order.created_at + 9, "expires_at": order.expires_at + 9}
        return MoveOrders(((order, msgspec.structs.replace(order, **later)),))

    def _keep(self):
        if self._kept and self.one(True, False, False):
            return DismissQuarantined(self.one(*self._kept))
        self._kept.append(f"quarantined-{next(self._serial)}")
        fingerprint = self.one(b"a", b"b") * 16
        return QuarantineCallback(
            self._arrival(), self._kept[-1], fingerprint, "malformed", "not JSON"
        )

    def _reject(self):
        at = {"first_at": self._at, "last_at": self._at}
        said = {"reason": "token", "source": "", "peer": self.one("1", "2", "3")}
        return CountRejections((Rejection(count=1, **said, **at),) * 2)

    def _other(self):
        if self._events and self.one(True, False):
            return ReplayEvent(self.one(*self._events), self._owed(), self._at)
        if self.one(True, False):
            return SetMoment(self.one("alive", "asked"), self._at)
        balance = AccountBalance(
            source="tellabot", amount="1", currency=None, at=self._at, low=self.one(True, False)
        )
        return SetBalance(balance, self.one(None, self._plan(fresh=True)))

    def _arrival(self):
        return arrival(channel=self.one("callback", "callback", "poll"), at=self._at)

    def _owed(self):
        return tuple(
            Owed(sink=sink, wait=self.one(0.0, 5.0), ordering=self.one(None, '"x"'))
            for sink in self.one((), ("log",), ("log", "crm"))
        )

    def _order(self, *, origin=RegisteredBy.USER):
        kind = self.one("request_id", "rental_id", "number")
        name = self.one(*NUMBERS) if kind == "number" else self.one("1", "2")
        said = {"number": name if kind == "number" else self.one(None, *NUMBERS)}
        said |= {"price": self.one(None, *PRICES), "service": self.one(None, "Google")}
        if origin is RegisteredBy.USER:
            said |= {"reference": self.one(None, "r1", "r2"), "labels": self.one({}, {"a": "b"})}
        order = Order(
            id=f"order-{next(self._serial)}",
            source="tellabot",
            provider="tellabot",
            kind=kind,
            name=name,
            created_at=self._at,
            expires_at=self._at + 1200,
            origin=origin,
            **said,
        )
        self._orders.append(order)
        return order

    def _listed(self):
        self._orders[-1:] = [mark_provided(self._order(origin=RegisteredBy.PROVIDER))]
        return self._orders[-1]

    def _plan(self, *, order=None, type_=None, fresh=False):
        order = order or self.one(None, *self._orders[-4:])
        channel, text = self.one("callback", "poll"), self.one(None, "Code 1234", "other")
        code = self.one(None, "1234")
        ids = {name: self.one(None, "1", "2") for name in ("request_id", "rental_id")}
        subject = next((f"{name[:-3]}/{id_}" for name, id_ in ids.items() if id_), "telephone/1")
        data = SmsReceived(
            **{"provider": "tellabot", "channel": channel, "sample": False, "text": text}
            | {"code": code, "to": self.one(None, *NUMBERS), "price": self.one(None, *PRICES)}
            | {"labels": self.one({}, {"a": "a"}), "time_from": self.one("provider", "received")},
            **ids,
        )
        said = self.one(None, 1_600_000_000.0, 1_600_000_900.0)
        form = "callback" if channel == "callback" else self.one("getHistory", "getStatus")
        copied = (
            None if self.one(True, False) else Copy(form=form, text=text, code=code, second=said)
        )
        keys = () if fresh else tuple(key(n) for n in self.one((), (1,), (2,), (1, 2), (3, 4)))
        return self._planned(data, subject, keys, order, copy=copied, type_=type_)

    def _planned(self, data, subject, keys, order, *, copy=None, type_=None):
        number = next(self._serial)
        event = Event(
            id=f"event-{number}",
            source="tellabot",
            type=type_ or data.type,
            subject=subject,
            time=self.one("2020-09-13T12:26:40Z", "2020-09-13T12:41:40Z"),
            recordedtime="2020-09-13T12:26:40.000000Z",
            dedupekey=f"{number}",
            data=data,
        )
        self._events.append(event.id)
        return Planned(
            event=event,
            at=self._at,
            body=msgspec.json.encode(event),
            keys=keys or (key(100 + number),),
            copy=copy,
            routes=("everything",),
            owed=self._owed(),
            order=order and order.id,
            taken=self.one((), ("to",)),
        )
