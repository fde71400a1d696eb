"""The contract of every journal for orders."""

import asyncio
import itertools
import json

import msgspec
import pytest
from contracts.journal import NOW, arrival, key, listed, owed, planned, record, stats

from core.errors import InvalidRow
from core.event import Event, OrderExpired, Price
from core.order import GRACE, Order, OrderState, RegisteredBy, default_lifetime, mark_provided
from journal.reads import (
    CallbackOfEvent,
    EventById,
    JournalStats,
    KnownOrders,
    LastBalances,
    OpenOrders,
    OrderById,
    OrderFilter,
    TokenUses,
)
from journal.records import AccountBalance, Planned, Registered, StoredOrder
from journal.writes import (
    CancelOrder,
    ExpireOrder,
    LapseOrder,
    MoveOrders,
    RegisterOrder,
    SetBalance,
)

serial = itertools.count(1)
NUMBER, OTHER = "+18503814729", "+18503814730"
END = NOW + 1200


def order(name="5", *, kind="request_id", **said):
    plain = {
        "id": f"order-{next(serial):06d}",
        "source": "tellabot",
        "provider": "tellabot",
        "created_at": NOW,
        "expires_at": END,
    }
    number = {"number": name} if kind == "number" else {}
    return Order(**{**plain, "kind": kind, "name": name, **number, **said})


def listed_order(name="5", *, at=NOW, kind="request_id", **said):
    """Return an order that the provider lists."""
    number = {"number": name} if kind == "number" else {}
    lasts = default_lifetime(kind)
    return mark_provided(
        Order(
            **{
                "id": f"order-{next(serial):06d}",
                "source": "tellabot",
                "provider": "tellabot",
                "kind": kind,
                "name": name,
                "created_at": at,
                "expires_at": at + lasts,
                "lasts": lasts,
                "origin": RegisteredBy.PROVIDER,
                **number,
                **said,
            }
        )
    )


def assigned(named, **said):
    """Plan a number.assigned event that names that order."""
    plan = sms(named.name, to=named.number, price=named.price, of=named, **said)
    event = retyped(plan.event, "number.assigned")
    return msgspec.structs.replace(plan, event=event, named_order=named)


def of_number(number=NUMBER, **said):
    return order(number, kind="number", **said)


def sms(name="5", *, kind="request_id", of=None, **said):
    """Plan an SMS of that request, accepted as one of the order `of`."""
    subject = f"{kind.removesuffix('_id')}/{name}"
    plan = planned(subject=subject, **{kind: name}, **said)
    return msgspec.structs.replace(plan, order=of and of.id)


def to_number(number=NUMBER, *, at=NOW, **said):
    """Plan an SMS with a number and no id of the provider."""
    return planned(subject=f"telephone/{next(serial)}", to=number, at=at, **TIMELESS, **said)


TIMELESS = {"time_from": "received"}


def expired(order, *, at=END, owed=()):
    event = Event(
        id=f"expired-{order.id}",
        source=order.source,
        type="order.expired",
        subject=order.subject,
        time="2020-09-13T12:46:40Z",
        recordedtime="2020-09-13T12:46:40.000000Z",
        dedupekey=order.id,
        data=OrderExpired(
            provider=order.provider,
            channel="callback",
            labels={},
            sample=False,
            time_from="received",
            request_id=order.name,
            reason="expired",
        ),
    )
    return Planned(
        event=event,
        at=at,
        body=msgspec.json.encode(event),
        keys=(key(10**15 + next(serial)),),
        order=order.id,
        routes=("late",),
        owed=tuple(owed),
    )


async def data(journal, plan):
    return json.loads((await journal.ask(EventById(plan.event.id))).body)["data"]


async def state(journal, order):
    return (await journal.ask(OrderById(order.id))).order.state


async def events(journal, order):
    return [json.loads(body)["id"] for body in (await journal.ask(OrderById(order.id))).events]


def end(journal, order, **said):
    return journal.submit(ExpireOrder(expired(order, **said)), then=lambda _outcome: None)


def end_at_once(journal, order, reason, *, at=NOW + 60):
    plan = expired(order, at=at)
    return journal.submit(
        ExpireOrder(plan, reason=reason, at_once=True), then=lambda _outcome: None
    )


class OrderContract:
    """Subclass it as `TestX`; the fixture `store` is that of `JournalContract`."""

    @pytest.fixture
    async def journal(self, store):
        return await store.start(now=NOW)

    # --- once -----------------------------------------------------------------------------

    async def test_registered_order_survives_a_crash(self, store, journal):
        registered = order(
            number=NUMBER,
            service="Google",
            country="US",
            price=Price(amount="1.20", currency="USD"),
            reference="signup-1",
            labels={"team": "growth"},
        )

        placed = await journal.submit(RegisterOrder(registered, None))

        assert placed == Registered(order=registered, new=True, conflicts=())
        journal = await store.start(now=NOW + 1)
        assert await journal.ask(OrderById(registered.id)) == StoredOrder(
            order=registered, events=()
        )
        assert await journal.ask(OpenOrders(since=NOW)) == [registered]
        assert await journal.ask(OrderById("missing")) is None

    async def test_second_registration_returns_the_first_order(self, store, journal):
        """Mutant: a second row."""
        first = order(reference="signup-1")
        await journal.submit(RegisterOrder(first, None))
        journal = await store.start(now=NOW + 1)

        again = await journal.submit(
            RegisterOrder(order(reference="signup-1", expires_at=END + 5), None)
        )

        assert again == Registered(order=first, new=False, conflicts=())
        assert len((await journal.ask(KnownOrders(filter=OrderFilter(), **WHOLE))).items) == 1

    async def test_fifty_registrations_at_once_make_one_order(self, journal):
        placed = await asyncio.gather(
            *(journal.submit(RegisterOrder(order(), None)) for _ in range(50))
        )

        assert len({one.order.id for one in placed}) == 1
        assert sorted(one.new for one in placed) == [False] * 49 + [True]

    @pytest.mark.parametrize(
        "other", [order("6"), order(kind="activation_id"), order(source="bulk")], ids=str
    )
    async def test_other_id_kind_or_source_is_another_order(self, journal, other):
        """Mutants: a comparison without one of the three."""
        await journal.submit(RegisterOrder(order(), None))

        assert (await journal.submit(RegisterOrder(other, None))).new

    async def test_new_values_are_added_to_the_order_and_its_events(self, journal):
        """Mutants: they are added to the order only; labels of the source are lost."""
        first = order()
        await journal.submit(RegisterOrder(first, None))
        plan = sms(of=first, labels={"account": "a"})
        await record(journal, plan)

        more = order(number=NUMBER, reference="signup-1", labels={"team": "growth"})
        placed = await journal.submit(RegisterOrder(more, None))

        kept = await data(journal, plan)
        assert (placed.new, placed.conflicts) == (False, ())
        assert (placed.order.id, placed.order.number) == (first.id, NUMBER)
        assert (kept["to"], kept["reference"]) == (NUMBER, "signup-1")
        assert kept["labels"] == {"account": "a", "team": "growth"}
        assert await listed(journal, reference=("signup-1",)) == [plan.event.id]

    async def test_conflicting_values_change_nothing(self, journal):
        first = order(reference="signup-1", labels={"team": "growth"})
        await journal.submit(RegisterOrder(first, None))

        other = order(reference="signup-2", labels={"team": "sales"}, service="Google")
        placed = await journal.submit(RegisterOrder(other, END + 60))

        assert placed == Registered(order=first, new=False, conflicts=("reference", "labels"))
        assert (await journal.ask(OrderById(first.id))).order == first

    async def test_requested_end_moves_the_end_of_the_order(self, journal):
        first = order()
        await journal.submit(RegisterOrder(first, None))

        placed = await journal.submit(RegisterOrder(order(), END + 60))

        assert placed.order.expires_at == END + 60
        assert await end(journal, first, at=END + 30) is None
        assert await state(journal, first) == OrderState.WAITING

    async def test_number_gets_a_new_order_once_the_last_is_over(self, journal):
        """Providers reuse numbers. Mutants: never a new order; always a new one."""
        first = of_number()
        await journal.submit(RegisterOrder(first, None))
        same = await journal.submit(RegisterOrder(of_number(created_at=END - 1), None))
        second = of_number(created_at=END, expires_at=END + 1200)

        placed = await journal.submit(RegisterOrder(second, None))
        await journal.submit(CancelOrder(second.id, at=END + 1))
        third = await journal.submit(RegisterOrder(of_number(created_at=END + 2), None))

        assert same.order.id == first.id
        assert placed == Registered(order=second, new=True, conflicts=())
        assert third.new

    # --- events that belong to it -----------------------------------------------------------

    async def test_event_joins_its_earlier_order(self, store, journal):
        registered = order(reference="signup-1")
        await journal.submit(RegisterOrder(registered, None))
        plan = sms(of=registered, reference="signup-1")

        await record(journal, plan)

        journal = await store.start(now=NOW + 1)
        assert await events(journal, registered) == [plan.event.id]
        assert await state(journal, registered) == OrderState.RECEIVED
        assert await listed(journal, reference=("signup-1",)) == [plan.event.id]

    @pytest.mark.parametrize("together", [False, True], ids=["one by one", "in one batch"])
    async def test_earlier_events_gain_values_of_their_order(self, journal, together):
        """There is no second delivery; id and dedupe key stay.

        Mutant: a batch finds stored events only.
        """
        before = sms(owed=[owed()], labels={"account": "a"})
        elsewhere = [sms("6"), sms(source="bulk"), sms(kind="activation_id")]
        registered = order(
            number=NUMBER,
            price=Price(amount="0.50", currency=None),
            reference="signup-1",
            labels={"team": "growth", "account": "b"},
        )

        writing = [record(journal, plan) for plan in (before, *elsewhere)]
        if not together:
            await asyncio.gather(*writing)
        placed = await journal.submit(RegisterOrder(registered, None))

        kept = await journal.ask(EventById(before.event.id))
        was, now = json.loads(before.body), json.loads(kept.body)
        assert now == {
            **was,
            "data": {
                **was["data"],
                "to": NUMBER,
                "price": {"amount": "0.50", "currency": None},
                "reference": "signup-1",
                "labels": {"account": "b", "team": "growth"},
            },
        }
        assert placed.order.state == OrderState.RECEIVED
        assert len(kept.deliveries) == 1
        assert await events(journal, registered) == [before.event.id]
        assert await listed(journal, reference=("signup-1",)) == [before.event.id]
        assert [(await data(journal, plan))["reference"] for plan in elsewhere] == [None] * 3

    async def test_own_values_of_an_event_stay(self, journal):
        """Mutant: the order's number replaces that of the message."""
        price = Price(amount="1.20", currency="USD")
        plan = sms(to=OTHER, price=price)
        await record(journal, plan)

        await journal.submit(
            RegisterOrder(order(number=NUMBER, price=Price(amount="9", currency=None)), None)
        )

        kept = await data(journal, plan)
        assert (kept["to"], kept["price"]) == (OTHER, {"amount": "1.20", "currency": "USD"})

    async def test_event_is_found_by_its_second_subject(self, journal):
        plan = sms(rental_id="9")
        await record(journal, plan)

        registered = order("9", kind="rental_id")
        await journal.submit(RegisterOrder(registered, None))

        assert await events(journal, registered) == [plan.event.id]

    @pytest.mark.parametrize(
        ("at", "is_its"),
        [(-GRACE - 1, False), (-GRACE, True), (0, True)],
        ids=["long before", "just before", "at once"],
    )
    async def test_event_joins_a_later_order_of_its_number_within_grace(self, journal, at, is_its):
        """Before that, another customer had the number."""
        plan = to_number(at=NOW + at)
        await record(journal, plan, to_number(OTHER), to_number(source="bulk"))

        registered = of_number(reference="signup-1")
        await journal.submit(RegisterOrder(registered, None))

        assert await events(journal, registered) == [plan.event.id] * is_its

    async def test_event_with_another_id_is_not_joined_by_number(self, journal):
        """One number may be taken for several services, each a request of its own.

        Mutant: joining by number in any case.
        """
        other, plain = sms("6", to=NUMBER, **TIMELESS), to_number()
        await record(journal, other)
        await record(journal, plain)

        registered = order("5", number=NUMBER)
        await journal.submit(RegisterOrder(registered, None))

        assert await events(journal, registered) == [plain.event.id]

    async def test_event_stays_with_its_first_order(self, journal):
        plan = sms(to=NUMBER, **TIMELESS)
        await record(journal, plan)
        first = order(reference="signup-1")
        await journal.submit(RegisterOrder(first, None))

        second = of_number(reference="signup-2")
        await journal.submit(RegisterOrder(second, None))

        assert await events(journal, second) == []
        assert (await data(journal, plan))["reference"] == "signup-1"

    async def test_copy_joins_the_stored_event_with_its_order(self, journal):
        """Mutant: the order of a copy is dropped."""
        first, registered = planned(1), of_number(reference="signup-1")
        await record(journal, first)
        await journal.submit(RegisterOrder(registered, None))
        copy = msgspec.structs.replace(planned(1, to=NUMBER), order=registered.id)

        for _ in range(2):
            await record(journal, copy)

        kept = await data(journal, first)
        assert (kept["reference"], await events(journal, registered)) == (
            "signup-1",
            [first.event.id],
        )
        assert await state(journal, registered) == OrderState.RECEIVED
        assert await journal.ask(JournalStats()) == stats(events=1, duplicates=2)

    async def test_event_with_an_unknown_order_is_stored(self, journal):
        plan = sms(of=order())

        await record(journal, plan)
        await record(journal, msgspec.structs.replace(sms(of=order()), keys=plan.keys))

        assert await listed(journal) == [plan.event.id]

    async def test_only_an_awaited_event_makes_an_order_received(self, journal):
        """Mutant: any event makes it received."""
        registered = order("9", kind="rental_id")
        await journal.submit(RegisterOrder(registered, None))
        bill = sms("9", kind="rental_id", of=registered)
        bill = msgspec.structs.replace(bill, event=retyped(bill.event, "rental.billed"))

        await record(journal, bill)

        assert await events(journal, registered) == [bill.event.id]
        assert await state(journal, registered) == OrderState.WAITING

    # --- its end ----------------------------------------------------------------------------

    async def test_order_expires_once_with_an_event_and_deliveries(self, store, journal):
        """Mutant: an order that no longer waits expires again."""
        registered = order()
        await journal.submit(RegisterOrder(registered, None))
        plan = expired(registered, owed=[owed()])
        outcomes, announced = [], []

        with journal.listen(announced.append):
            first = await journal.submit(ExpireOrder(plan), then=outcomes.append)
        again = await end(journal, registered)
        journal = await store.start(now=END + 1)
        later = await end(journal, registered)

        assert (first.ids, first.new, again, later) == ((plan.event.id,), (True,), None, None)
        assert [one.body for one in announced[0].deliveries["log"]] == [plan.body]
        assert outcomes == [first]
        assert await listed(journal, type=("order.expired",)) == [plan.event.id]
        assert await state(journal, registered) == OrderState.EXPIRED
        assert await events(journal, registered) == [plan.event.id]
        assert await journal.ask(CallbackOfEvent(plan.event.id)) is None
        assert await journal.ask(TokenUses()) == []
        assert await journal.ask(JournalStats()) == stats(events=1, pending=1)

    async def test_order_does_not_expire_early(self, journal):
        registered = order()
        await journal.submit(RegisterOrder(registered, None))

        assert await end(journal, registered, at=END - 1) is None
        assert await listed(journal) == []

    @pytest.mark.parametrize("together", [False, True], ids=["one by one", "in one batch"])
    async def test_received_order_does_not_expire(self, journal, together):
        registered = order()
        await journal.submit(RegisterOrder(registered, None))

        writing = record(journal, sms(of=registered))
        if not together:
            await writing
        outcome = await end(journal, registered)

        assert (outcome, await state(journal, registered)) == (None, OrderState.RECEIVED)

    async def test_late_sms_makes_an_expired_order_received(self, journal):
        registered = order()
        await journal.submit(RegisterOrder(registered, None))
        await end(journal, registered)

        late = sms(of=registered)
        await record(journal, late)

        assert await state(journal, registered) == OrderState.RECEIVED
        assert (await events(journal, registered))[1:] == [late.event.id]

    async def test_cancelled_order_stays_cancelled(self, store, journal):
        """Mutant: a later SMS makes it received."""
        registered = order()
        await journal.submit(RegisterOrder(registered, None))

        cancelled = await journal.submit(CancelOrder(registered.id, at=NOW + 60))
        again = await journal.submit(CancelOrder(registered.id, at=NOW + 30))
        outcome = await end(journal, registered)
        await record(journal, sms(of=registered))

        journal = await store.start(now=END)
        assert (cancelled.state, cancelled.expires_at) == (OrderState.CANCELLED, NOW + 60)
        assert (again, outcome) == (cancelled, None)
        assert await state(journal, registered) == OrderState.CANCELLED
        assert len(await events(journal, registered)) == 1
        assert await journal.submit(CancelOrder("missing", at=NOW)) is None

    async def test_end_of_an_expired_order_does_not_move(self, journal):
        registered = order()
        await journal.submit(RegisterOrder(registered, None))
        await end(journal, registered)

        placed = await journal.submit(RegisterOrder(order(), END + 600))

        assert (placed.order.state, placed.order.expires_at) == (OrderState.EXPIRED, END)

    async def test_invalid_order_fails_alone(self, journal):
        invalid = order(reference="\ud800")

        writing = [
            journal.submit(RegisterOrder(registered, None)) for registered in (order(), invalid)
        ]
        good, bad = await asyncio.gather(*writing, return_exceptions=True)

        assert (good.new, type(bad)) == (True, InvalidRow)

    # --- what the provider says ---------------------------------------------------------------

    async def test_provider_word_ends_an_order_before_its_time(self, store, journal):
        """Mutant: `expires_at <= at` is required here, too."""
        registered = order()
        await journal.submit(RegisterOrder(registered, None))

        first = await end_at_once(journal, registered, "cancelled")
        again = await end_at_once(journal, registered, "finished", at=NOW + 120)

        journal = await store.start(now=NOW + 180)
        kept = (await journal.ask(OrderById(registered.id))).order
        assert (first.new, again) == ((True,), None)
        assert (kept.state, kept.reason, kept.expires_at) == ("expired", "cancelled", NOW + 60)
        assert await listed(journal, type=("order.expired",)) == [f"expired-{registered.id}"]

    async def test_provider_word_leaves_a_received_order_received(self, journal):
        """Mutant: it gets an event."""
        registered = order()
        await journal.submit(RegisterOrder(registered, None))
        await record(journal, sms(of=registered))

        outcome = await end_at_once(journal, registered, "finished")

        kept = (await journal.ask(OrderById(registered.id))).order
        assert (outcome, kept.state, kept.reason) == (None, "received", "finished")
        assert kept.expires_at == NOW + 60

    async def test_provider_word_leaves_a_cancelled_order_cancelled(self, journal):
        registered = order()
        await journal.submit(RegisterOrder(registered, None))
        await journal.submit(CancelOrder(registered.id, at=NOW + 1))

        outcome = await end_at_once(journal, registered, "cancelled")

        kept = (await journal.ask(OrderById(registered.id))).order
        assert (outcome, kept.state, kept.reason) == (None, "cancelled", None)

    async def test_listed_order_lapses_without_an_event(self, journal):
        """Mutants: an event; a user's order lapses, too; it lapses before its time."""
        registered, mine = listed_order(), order("6")
        await journal.submit(RegisterOrder(registered, None))
        await journal.submit(RegisterOrder(mine, None))

        early = await journal.submit(LapseOrder(registered.id, at=registered.expires_at - 1))
        assert await end(journal, registered, at=registered.expires_at) is None
        lapsed = await journal.submit(LapseOrder(registered.id, at=registered.expires_at))
        left = await journal.submit(LapseOrder(mine.id, at=registered.expires_at))

        assert (early.state, lapsed.state, left.state) == ("waiting", "expired", "waiting")
        assert (lapsed.reason, await journal.submit(LapseOrder("missing", at=0))) == (None, None)
        assert await listed(journal) == []

    async def test_lapsed_order_that_the_provider_ends_gets_its_event(self, journal):
        """The provider reports the end after its time. Mutant: only a waiting order gets one."""
        registered = listed_order()
        await journal.submit(RegisterOrder(registered, None))
        await journal.submit(LapseOrder(registered.id, at=registered.expires_at))

        first = await end_at_once(journal, registered, "expired", at=registered.expires_at + 5)
        again = await end_at_once(journal, registered, "expired", at=registered.expires_at + 9)

        assert (first.new, again) == ((True,), None)
        assert (await journal.ask(OrderById(registered.id))).order.reason == "expired"

    async def test_registered_values_replace_those_of_the_provider(self, journal):
        """Also in stored events, but not the events' own values. Mutant: a conflict."""
        cheap, dear = (Price(amount=amount, currency="USD") for amount in ("0.20", "0.30"))
        registered = listed_order(number=NUMBER, price=cheap, service="go")
        await journal.submit(RegisterOrder(registered, None))
        mine, own = (
            msgspec.structs.replace(plan, taken=taken)
            for plan, taken in (
                (sms(of=registered, to=NUMBER, price=cheap), ("to", "price")),
                (sms(of=registered, to=NUMBER, price=cheap), ("to",)),
            )
        )
        await record(journal, mine, own)

        placed = await journal.submit(
            RegisterOrder(order(number=OTHER, price=dear, reference="r"), None)
        )
        other = await journal.submit(RegisterOrder(order(number=NUMBER), None))

        assert (placed.new, placed.conflicts, other.conflicts) == (False, (), ("number",))
        assert (placed.order.id, placed.order.origin) == (registered.id, "user")
        assert (placed.order.price, placed.order.service) == (dear, "go")
        assert placed.order.provided == ("service",)
        prices = [(await data(journal, plan))["price"]["amount"] for plan in (mine, own)]
        assert prices == ["0.30", "0.20"]
        assert [(await data(journal, plan))["to"] for plan in (mine, own)] == [OTHER] * 2

    async def test_provider_fills_gaps_of_a_registered_order_only(self, journal):
        """Mutants: its value or end replaces the user's; its second value counts."""
        mine = order(number=NUMBER)
        await journal.submit(RegisterOrder(mine, None))
        price = Price(amount="0.20", currency=None)

        await journal.submit(
            RegisterOrder(listed_order(number=OTHER, price=price, service="go"), None)
        )
        later = Price(amount="0.2", currency=None)
        placed = await journal.submit(RegisterOrder(listed_order(price=later, at=END), None))

        assert placed.conflicts == ()
        assert placed.order == msgspec.structs.replace(
            mine, price=price, service="go", provided=("price", "service")
        )

    async def test_order_ends_later_while_the_provider_lists_it(self, journal):
        """Once in half its lifetime. Mutants: never; each time; a lapsed one stays lapsed."""
        registered = listed_order()
        half = default_lifetime("request_id") / 2
        await journal.submit(RegisterOrder(registered, None))

        early = await journal.submit(RegisterOrder(listed_order(at=NOW + half - 1), None))
        late = await journal.submit(RegisterOrder(listed_order(at=NOW + half + 1), None))
        over = late.order.expires_at
        await journal.submit(LapseOrder(registered.id, at=over))
        again = await journal.submit(RegisterOrder(listed_order(at=over + 5), None))

        assert early.order.expires_at == registered.expires_at
        assert late.order.expires_at == NOW + 3 * half + 1
        assert (again.order.state, again.order.expires_at) == ("waiting", over + 5 + 2 * half)

    async def test_lapsed_order_waits_again_when_it_is_registered(self, journal):
        registered = listed_order()
        await journal.submit(RegisterOrder(registered, None))
        await journal.submit(LapseOrder(registered.id, at=registered.expires_at))

        mine = order(created_at=registered.expires_at, expires_at=registered.expires_at + 60)
        placed = await journal.submit(RegisterOrder(mine, None))

        assert (placed.order.id, placed.order.state) == (registered.id, "waiting")
        assert placed.order.expires_at == registered.expires_at + 60
        assert (await end(journal, registered, at=registered.expires_at + 60)).new == (True,)

    async def test_assigned_number_makes_an_order_with_its_event(self, store, journal):
        """In one transaction. Mutants: no order; an order without its event; one for each retry."""
        price = Price(amount="0.50", currency="USD")
        named = listed_order(number=NUMBER, service="Google", price=price)
        plan = assigned(named)

        recorded = await record(journal, plan)
        again = await record(journal, msgspec.structs.replace(plan, named_order=listed_order()))

        journal = await store.start(now=NOW + 1)
        page = await journal.ask(KnownOrders(filter=OrderFilter(), **WHOLE))
        assert [kept for _, kept in page.items] == [named] == list(recorded.orders)
        assert (again.new, again.orders) == ((False,), ())
        assert await events(journal, named) == [plan.event.id]

    async def test_assigned_number_completes_a_registered_order(self, journal):
        """Mutant: a second order."""
        mine = order(reference="r")
        await journal.submit(RegisterOrder(mine, None))
        early = sms()
        await record(journal, early)

        recorded = await record(journal, assigned(listed_order(number=NUMBER, service="Google")))

        [kept] = recorded.orders
        assert (kept.id, kept.number, kept.service) == (mine.id, NUMBER, "Google")
        assert (kept.origin, kept.expires_at) == ("user", END)
        assert (await data(journal, early))["to"] == NUMBER

    async def test_registered_order_takes_events_from_a_listed_one(self, journal):
        """By number. Mutant: the provider's order keeps them; the user's waits for ever."""
        registered = listed_order("77", kind="activation_id", number=NUMBER)
        await journal.submit(RegisterOrder(registered, None))
        plan = sms("77", kind="activation_id", of=registered, to=NUMBER, **TIMELESS)
        await record(journal, plan)

        mine = of_number(reference="r")
        placed = await journal.submit(RegisterOrder(mine, None))

        assert placed.order.state == OrderState.RECEIVED
        assert await events(journal, mine) == [plan.event.id]
        assert (await data(journal, plan))["reference"] == "r"

    async def test_copy_that_names_another_order_answers_it_too(self, store, journal):
        """Two requests have one number and get one SMS. Mutant: the second order expires."""
        first, second, third = order("1"), order("2"), order("3")
        for one in (first, second, third):
            await journal.submit(RegisterOrder(one, None))
        plan = sms("1", of=first)
        copy = msgspec.structs.replace(sms("2", of=second), keys=plan.keys)
        stray = msgspec.structs.replace(sms("2", of=third), keys=plan.keys)

        for _ in range(2):
            recorded = await record(journal, plan, copy, stray)

        journal = await store.start(now=NOW + 1)
        assert recorded.new == (False,) * 3
        assert [await state(journal, one) for one in (first, second, third)] == [
            *("received", "received", "waiting")
        ]
        assert await events(journal, second) == [plan.event.id]
        assert (await journal.ask(OrderById(second.id))).order.received_at == NOW
        assert await end_at_once(journal, second, "cancelled") is None

    async def test_times_of_waiting_orders_move_once(self, store, journal):
        """Mutants: the same write moves them again; an order that changed meanwhile is moved."""
        registered, changed = order(lasts=1200.0), order("6", lasts=1200.0)
        for one in (registered, changed):
            await journal.submit(RegisterOrder(one, None))
        await journal.submit(RegisterOrder(order("6"), END + 60))
        later = [
            msgspec.structs.replace(one, created_at=NOW + 3600, expires_at=END + 3600)
            for one in (registered, changed)
        ]
        moved = list(zip((registered, changed), later, strict=True))

        for _ in range(2):
            await journal.submit(MoveOrders(tuple(moved)))

        journal = await store.start(now=NOW)
        assert (await journal.ask(OrderById(registered.id))).order == later[0]
        assert (await journal.ask(OrderById(changed.id))).order.expires_at == END + 60

    # --- balances -----------------------------------------------------------------------------

    async def test_low_balance_is_an_event_once_a_crossing(self, store, journal):
        """Also after restarts. Mutants: each low balance; the first crossing only."""
        outcomes = []
        for number, low in enumerate((True, True, False, True)):
            plan = sms(str(100 + number)) if low else None
            outcomes.append(await journal.submit(SetBalance(balance(number, low=low), plan)))
            journal = await store.start(now=NOW)

        assert [outcome is not None for outcome in outcomes] == [True, False, False, True]
        assert len(await listed(journal)) == 2
        assert await journal.ask(LastBalances()) == {"tellabot": balance(3, low=True)}

    # --- reading ----------------------------------------------------------------------------

    async def test_orders_are_filtered(self, journal):
        mine = order(number=NUMBER, source="mine", reference="signup-1")
        await journal.submit(RegisterOrder(order("6"), None))
        await journal.submit(RegisterOrder(mine, None))
        await journal.submit(RegisterOrder(order("5", kind="rental_id"), None))
        await journal.submit(CancelOrder(mine.id, at=NOW + 1))

        for wanted in (
            {"state": (OrderState.CANCELLED, OrderState.EXPIRED)},
            {"source": ("mine", "yours")},
            {"reference": ("signup-1",)},
            {"number": (NUMBER,)},
            {"request_id": ("5", "7")},
            {"request_id": ("5",), "source": ("mine",)},
        ):
            page = await journal.ask(KnownOrders(filter=OrderFilter(**wanted), **WHOLE))
            assert [found.id for _, found in page.items] == [mine.id], wanted

    async def test_orders_are_listed_page_by_page(self, journal):
        made = [order(str(number)) for number in range(1, 6)]
        for one in made:
            await journal.submit(RegisterOrder(one, None))

        found = []
        for desc in (False, True):
            after, more = None, True
            while more:
                page = await journal.ask(
                    KnownOrders(filter=OrderFilter(), after=after, limit=2, desc=desc)
                )
                found += [one.id for _, one in page.items]
                after, more = page.next_seq, page.has_more

        ids = [one.id for one in made]
        assert found == [*ids, *reversed(ids)]

    async def test_received_at_is_the_time_of_the_first_sms_or_call(self, store, journal):
        """Mutants: the last event; any event; events of another order; not for `OpenOrders`."""
        registered, other, bare = order(), order("6"), order("7")
        for one in (registered, other, bare):
            await journal.submit(RegisterOrder(one, None))
        billed, first, second, its = (
            sms(of=one, at=NOW + at)
            for one, at in ((registered, 5), (registered, 7.25), (registered, 9), (other, 3))
        )
        event = retyped(billed.event, "rental.billed")
        await record(journal, msgspec.structs.replace(billed, event=event))
        call = msgspec.structs.replace(first, event=retyped(first.event, "call.received"))
        for plan in (call, second, its):
            await record(journal, plan)

        journal = await store.start(now=NOW + 10)

        page = await journal.ask(KnownOrders(filter=OrderFilter(), **WHOLE))
        again = await journal.submit(RegisterOrder(order(), None))
        ways = {
            "page": [found.received_at for _, found in page.items],
            "open": [found.received_at for found in await journal.ask(OpenOrders(since=NOW))],
            "one": [
                (await journal.ask(OrderById(one.id))).order.received_at
                for one in (registered, other, bare)
            ],
        }
        assert list(ways.values()) == [[NOW + 7.25, NOW + 3, None]] * 3
        assert again.order.received_at == NOW + 7.25

    async def test_open_orders_wait_or_ended_recently(self, journal):
        long_over, over, open_ = (order(str(n), expires_at=END + n) for n in range(3))
        waiting = order("9", expires_at=NOW - 10**6)
        for one in (long_over, over, open_, waiting):
            await journal.submit(RegisterOrder(one, None))
        for one in (long_over, over):
            await journal.submit(CancelOrder(one.id, at=one.expires_at))

        found = await journal.ask(OpenOrders(since=END + 1))

        assert sorted(one.id for one in found) == [over.id, open_.id, waiting.id]

    async def test_order_shows_its_newest_events(self, journal):
        registered = order("9", kind="rental_id")
        await journal.submit(RegisterOrder(registered, None))
        plans = [sms("9", kind="rental_id", of=registered) for _ in range(103)]
        await record(journal, *plans, came=arrival())

        assert await events(journal, registered) == [plan.event.id for plan in plans[3:]]


def balance(number, *, low):
    return AccountBalance(
        source="tellabot", amount=f"{number}.50", currency="USD", at=NOW + number, low=low
    )


WHOLE = {"after": None, "limit": 100, "desc": False}


def retyped(event, type_):
    return msgspec.structs.replace(event, type=type_)
