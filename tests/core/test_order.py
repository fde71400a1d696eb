"""An event belongs to the same order before it is routed and in the journal."""

from contracts.journal import NOW, planned
from contracts.orders import END, NUMBER, OTHER, of_number, order
from hypothesis import given
from hypothesis import strategies as st
from msgspec import json, structs, to_builtins

from core.event import NumberAssigned, Price, RentalRenewed, SmsReceived
from core.order import (
    GRACE,
    REMEMBERED,
    OrderState,
    changed_fields,
    complete,
    is_named,
    is_numbered,
    mention_in_data,
    mention_in_event,
    merge,
)
from journal.order_book import OrderBook

COMMON = {"provider": "tellabot", "channel": "callback", "labels": {}, "sample": False}


def sms(**said):
    return SmsReceived(**{**COMMON, "time_from": "received", **said})


def mentioned(data=None, *, at=NOW, time=None, **said):
    return mention_in_data(data or sms(**said), time=time, at=at)


def found(book, source="tellabot", **said):
    order = book.find(source, mentioned(**said))
    return order and order.id


# By id


def test_event_with_the_id_belongs_to_its_order_at_any_time():
    """Mutant: bounded in time as by number."""
    one, two = order("5"), order("5", kind="rental_id")
    book = OrderBook([one, two])

    assert found(book, request_id="5", at=NOW + 10**7) == one.id
    assert found(book, rental_id="5") == two.id
    assert found(book, activation_id="5") is None
    assert found(book, request_id="6") is None
    assert found(book, "bulk", request_id="5") is None
    assert found(OrderBook(), request_id="5") is None


def test_renewed_rental_still_belongs_to_its_order():
    """The present id comes before former ones. Mutant: by the new id alone."""
    old, new = order("1", kind="rental_id"), order("2", kind="rental_id")
    renewed = RentalRenewed(**COMMON, time_from="received", rental_id="2", previous_rental_id="1")

    assert found(OrderBook([old]), data=renewed) == old.id
    assert found(OrderBook([old]), rental_id="3", first_rental_id="1") == old.id
    assert found(OrderBook([old, new]), data=renewed) == new.id


def test_id_comes_before_number():
    by_id, by_number = order("5"), of_number()

    assert found(OrderBook([by_number, by_id]), request_id="5", to=NUMBER) == by_id.id
    assert found(OrderBook([by_number, by_id]), request_id="6", to=NUMBER) == by_number.id


# By number


def test_number_belongs_to_its_order_only_in_its_time():
    """Mutants: each bound left out."""
    mine = of_number()
    book = OrderBook([mine])
    times = (NOW - GRACE - 1, NOW - GRACE, END + GRACE - 1, END + GRACE)

    assert [found(book, to=NUMBER, at=at) for at in times] == [None, mine.id, mine.id, None]
    assert found(book, to=OTHER) is None
    assert found(book, "bulk", to=NUMBER) is None


def test_time_with_a_zone_is_the_providers():
    """A callback may come late, and a configured zone may be wrong. Mutant: the time it came."""
    book = OrderBook([of_number()])
    said = {"time": "2020-09-13T12:30:00Z", "at": END + 10**5, "to": NUMBER}

    assert found(book, **said, time_from="provider")
    assert found(book, **said, time_from="timezone") is None


def test_number_belongs_to_the_last_order_before_the_event():
    """Mutants: the first; the last, although it was registered after the SMS."""
    first, second, third = (
        order(str(n), number=NUMBER, created_at=NOW + 100 * n) for n in range(3)
    )
    book = OrderBook([third, first, second])

    at = {when: found(book, to=NUMBER, at=NOW + when) for when in (-1, 0, 150, 999)}

    assert at == {-1: first.id, 0: first.id, 150: second.id, 999: third.id}


def test_event_of_another_request_does_not_match_by_number():
    book = OrderBook([order("5", number=NUMBER)])

    assert found(book, request_id="6", to=NUMBER) is None
    assert found(book, rental_id="6", to=NUMBER)


# Fields from the order


def test_event_gets_missing_fields_from_its_order():
    price = Price(amount="1", currency=None)
    mine = order(number=NUMBER, price=price, reference="r", labels={"b": "2", "c": "3"})

    data, taken = complete(sms(labels={"a": "1", "b": "1"}), mine)

    assert (data.to, data.price, data.reference) == (NUMBER, price, "r")
    assert data.labels == {"a": "1", "b": "2", "c": "3"}
    assert taken == ("to", "price")
    own = sms(to=OTHER, price=Price(amount="2", currency="USD"), reference="s")
    assert complete(own, mine) == (structs.replace(own, labels=mine.labels), ())
    assigned = NumberAssigned(**COMMON, time_from="received")
    assert complete(assigned, order()) == (assigned, ())


text = st.sampled_from([None, "1", "2"])
numbers = st.sampled_from([None, NUMBER, OTHER])
prices = st.none() | st.builds(Price, amount=st.just("1"), currency=text)
labels = st.dictionaries(st.sampled_from("ab"), st.sampled_from("xy"))
offsets = st.integers(-2000, 4000)
orders = st.builds(
    lambda kind, name, **said: order(
        NUMBER if kind == "number" else name,
        **{"number": NUMBER} if kind == "number" else {},
        **{**said, "kind": kind} if kind != "number" else {**without(said, "number"), "kind": kind},
    ),
    kind=st.sampled_from(["request_id", "activation_id", "rental_id", "number"]),
    name=st.sampled_from("12"),
    number=numbers,
    reference=text,
    price=prices,
    labels=labels,
    created_at=offsets.map(lambda n: NOW + n),
)


def without(said, name):
    return {key: value for key, value in said.items() if key != name}


messages = st.builds(
    sms,
    to=numbers,
    request_id=text,
    activation_id=text,
    rental_id=text,
    first_rental_id=text,
    price=prices,
    labels=labels,
    time_from=st.sampled_from(["provider", "timezone", "received"]),
)


@given(messages, offsets)
def test_mention_is_the_same_for_new_and_stored_event(data, offset):
    """Mutant: a field that is read in one of the two alone."""
    event = structs.replace(planned().event, data=data)

    kept = mention_in_event(json.decode(json.encode(event)), at=NOW + offset)

    assert kept == mention_in_data(data, time=event.time, at=NOW + offset)


@given(messages, orders)
def test_new_and_stored_event_get_the_same_fields(data, mine):
    plain = to_builtins(data)

    assert to_builtins(complete(data, mine)[0]) == {**plain, **changed_fields(plain, mine)}
    assert changed_fields({**plain, **changed_fields(plain, mine)}, mine) == {}


@given(st.lists(orders, max_size=5), messages, offsets)
def test_order_book_finds_every_order_of_an_event(made, data, offset):
    """Against a plain search. Mutant: an order that `drop` leaves in one of the book's tables."""
    # Of two with one id the journal would have made one.
    made = list({(one.kind, one.name): one for one in made}.values())
    book = OrderBook(made)
    gone = made[::3]
    for one in gone:
        book.drop(one.id)
    left = [one for one in made if one not in gone]
    event = mentioned(data, at=NOW + offset, time="2020-09-13T12:26:40Z")

    order = book.find("tellabot", event)

    named = [one for one in left if is_named(one, event)]
    numbered = [one for one in left if is_numbered(one, event)]
    assert (order is None) == (named == numbered == [])
    assert order is None or order in (named or numbered)


# Repeated registration


def test_repeated_registration_adds_or_conflicts():
    known = order(reference="r", labels={"a": "1"})

    added, none = merge(known, order(number=NUMBER, reference="r"), None)
    same, conflicts = merge(known, order(reference="s", labels={"a": "2"}, service="x"), END + 9)

    assert (added, none) == (structs.replace(known, number=NUMBER), ())
    assert (same, conflicts) == (known, ("reference", "labels"))


def test_end_can_be_moved_until_it_passed():
    for state, moved in (("waiting", 9), ("received", 9), ("expired", 0), ("cancelled", 0)):
        known = order(state=OrderState(state))

        assert merge(known, order(), END + 9)[0].expires_at == END + moved
        assert merge(known, order(expires_at=END + 9), None)[0] == known


# The order book


def test_order_book_merges_like_the_journal():
    """Mutant: a second order instead of the merged one."""
    first = order(number=NUMBER)
    book = OrderBook([first])

    again = book.foresee(order(reference="r"), None)

    assert again == structs.replace(first, reference="r")
    assert (len(book), book.get(first.id)) == (1, again)
    assert found(book, to=NUMBER) == found(book, request_id="5") == first.id


def test_number_taken_again_is_another_order():
    old = of_number()
    book = OrderBook([old])

    new = book.foresee(of_number(created_at=END), None)

    assert (len(book), new.id == old.id) == (2, False)
    assert found(book, to=NUMBER, at=END + 1) == new.id
    assert found(book, to=NUMBER, at=END - 1) == old.id
    book.drop(new.id)
    assert found(book, to=NUMBER, at=END + 1) == old.id


def test_order_book_forgets_old_orders_unless_they_wait():
    """Mutants: waiting orders are forgotten before they expired; no order is ever forgotten."""
    waiting, over, fresh = (
        order(name, state=OrderState(state), expires_at=END + n)
        for n, (name, state) in enumerate(
            zip("123", ("waiting", "received", "expired"), strict=True)
        )
    )
    book = OrderBook([waiting, over, fresh])

    book.forget(END + 1 + REMEMBERED)

    assert [order.id for order in book.of_source("tellabot")] == [waiting.id, fresh.id]


def test_event_makes_an_order_received_unless_cancelled():
    states = {"waiting": "received", "expired": "received", "cancelled": "cancelled"}
    for before, after in states.items():
        one = order(state=OrderState(before))
        book = OrderBook([one])

        book.received(one.id)
        book.received("unknown")

        assert book.get(one.id).state == after
