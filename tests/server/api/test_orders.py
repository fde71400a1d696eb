import asyncio
import json

import pytest

from core.secret import Secret
from receiver.providers.generic import Generic
from routes.table import Route

END = "2026-09-23T14:13:20.250000Z"  # two days
WHOLE = {
    "source": "tellabot",
    "request_id": "10000001",
    "number": "18505554729",
    "service": "Google",
    "country": "us",
    "price": {"amount": "1.20", "currency": "USD"},
    "reference": "signup-1",
    "labels": {"team": "growth"},
    "expires": "2026-09-21T15:00:00Z",
}


async def register(service, /, key="admin", **order):
    body = {"source": "tellabot", **order}
    return await service.ask("/v1/orders", key, method="POST", content=json.dumps(body).encode())


async def registered(service, /, **order):
    answer = await register(service, **order)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def shown(service, order, key="admin"):
    return (await service.ask(f"/v1/orders/{order['id']}", key)).json()


async def event(service, event_id):
    return (await service.ask(f"/v1/events/{event_id}")).json()["event"]


# Registration


async def test_registered_order_is_returned_as_stored(service):
    order = await registered(service, **WHOLE)

    assert order == {
        "id": order["id"],
        "source": "tellabot",
        "provider": "tellabot",
        "request_id": "10000001",
        "activation_id": None,
        "rental_id": None,
        "number": "+18505554729",
        "service": "Google",
        "service_key": "google",
        "country": "US",
        "price": {"amount": "1.20", "currency": "USD"},
        "reference": "signup-1",
        "labels": {"team": "growth"},
        "origin": "user",
        "state": "waiting",
        "reason": None,
        "created_at": "2026-09-21T14:13:20.250000Z",
        "expires": "2026-09-21T15:00:00Z",
        "received_at": None,
    }
    assert await service.data("/v1/orders") == [order]
    assert await shown(service, order) == {**order, "events": []}


NORMALIZED = [
    ({"request_id": 10000001}, {"request_id": "10000001"}),
    ({"request_id": "a-1_b", "number": None}, {"request_id": "a-1_b", "number": None}),
    ({"activation_id": 4450751126}, {"expires": "2026-09-21T14:33:20.250000Z"}),
    ({"rental_id": "7"}, {"rental_id": "7", "expires": END}),
    ({"number": "+1 (850) 555-4729"}, {"number": "+18505554729", "expires": END}),
    ({"number": 8505554730}, {"number": "+18505554730"}),
    (
        {"source": "herosms", "number": "447700900123"},
        {"source": "herosms", "number": "+447700900123"},
    ),
    ({"request_id": "1", "price": "1.20"}, {"price": {"amount": "1.20", "currency": None}}),
    (
        {"request_id": "2", "price": {"amount": "0.5", "currency": "EUR"}},
        {"price": {"amount": "0.5", "currency": "EUR"}},
    ),
    ({"request_id": "3", "expires": "90s"}, {"expires": "2026-09-21T14:14:50.250000Z"}),
    (
        {"request_id": "4", "expires": "2026-09-21T17:00:00+02:00"},
        {"expires": "2026-09-21T15:00:00Z"},
    ),
]


async def test_fields_of_an_order_are_normalized(service):
    for said, kept in NORMALIZED:
        order = await registered(service, **said)

        assert {name: order[name] for name in kept} == kept


async def test_number_is_read_with_the_home_of_its_source(run, tmp_path):
    """Mutant: the number is always read as international."""
    sources = {"mine": Generic(tokens=(Secret("generic-token-0123456789"),), region="GB")}
    async with run(tmp_path, sources=sources) as service:
        order = await registered(service, source="mine", number="07700 900123")

    assert order["number"] == "+447700900123"


async def test_price_keeps_its_digits(service):
    """Mutant: read as a number, `1.20` is 1.2."""
    body = b'{"source": "tellabot", "request_id": 1, "price": 1.20}'

    answer = await service.ask("/v1/orders", method="POST", content=body)

    assert answer.json()["price"]["amount"] == "1.20"


NO_ID = "write the provider's id: a positive number, or a text without spaces"
NO_NUMBER = "write a phone number with its country's code, such as +18503814729"
NO_PRICE = "write an amount in digits, such as 1.20"
NO_END = "write a time to come, such as 2026-09-14T18:42:36Z, or how long from now: 30m, 7d"
NO_COUNTRY = "write two letters, such as US"
NO_LINE = "write a text of 1 to 255 characters, on one line"
KINDS = "request_id, activation_id, rental_id, number"
FIELDS = f"source, {KINDS}, service, country, price, reference, labels, expires"
SENSELESS = [
    ({}, f"{KINDS}: missing; give at least one to identify the order"),
    ({"request_id": None}, f"{KINDS}: missing; give at least one to identify the order"),
    (
        {"request_id": "1", "rental_id": "2"},
        "rental_id: not with request_id; an order has one id, and may have a number",
    ),
    ({"source": None, "request_id": "1"}, "source: missing; write the name of a configured one"),
    ({"source": 5, "request_id": "1"}, "source: write a text"),
    ({"requestid": "1"}, "requestid: no such field; did you mean request_id?"),
    ({"x" * 99: "1"}, f"{'x' * 40}…: no such field; there are {FIELDS}"),
    *(({"request_id": id_}, f"request_id: {NO_ID}") for id_ in ("", "a b", "a/b", "x" * 65, 0)),
    *(({"activation_id": id_}, f"activation_id: {NO_ID}") for id_ in (-5, "0", True, 1.5, [1])),
    *(({"number": n}, f"number: {NO_NUMBER}") for n in ("", "twelve", "22000", True, "+1850")),
    ({"request_id": "1", "number": "850381"}, f"number: {NO_NUMBER}"),
    *(
        ({"request_id": "1", "price": price}, f"price: {NO_PRICE}")
        for price in ("", "free", -1, True, {"amount": "1,20"}, "1.2.3", 1e30)
    ),
    (
        {"request_id": "1", "price": {"currency": "USD"}},
        'price: write {"amount": "1.20", "currency": "USD"}, or "1.20"',
    ),
    (
        {"request_id": "1", "price": {"amount": "1", "currency": "$"}},
        "price: write a currency such as USD",
    ),
    *(({"request_id": "1", "country": c}, f"country: {NO_COUNTRY}") for c in ("USA", 1, "")),
    *(
        ({"request_id": "1", "reference": text}, f"reference: {NO_LINE}")
        for text in ("", " ", "a\nb", "x" * 256)
    ),
    ({"request_id": "1", "labels": ["a"]}, "labels: has the wrong type"),
    ({"request_id": "1", "labels": {"a": 1}}, "labels: has the wrong type"),
    (
        {"request_id": "1", "labels": {"": "a"}},
        "labels: write names and values of at most 255 characters",
    ),
    (
        {"request_id": "1", "labels": {str(n): "a" for n in range(33)}},
        "labels: more than 32 of them",
    ),
    *(
        ({"request_id": "1", "expires": end}, f"expires: {NO_END}")
        for end in (
            "",
            "soon",
            5,
            "0s",
            "2026-09-21T14:13:20Z",
            "2026-02-30T00:00:00Z",
            "99999999d",
        )
    ),
]


async def test_wrong_field_is_refused_by_its_name(service):
    answers = [await register(service, **said) for said, _ in SENSELESS]

    assert [answer.json()["detail"] for answer in answers] == [text for _, text in SENSELESS]
    assert {(answer.status_code, answer.json()["code"]) for answer in answers} == {
        (400, "bad_body")
    }
    assert await service.data("/v1/orders") == []


NO_OBJECTS = [b"", b"[]", b"5", b"{", b'{"source": "\xff"}', b"[" * 9999]


async def test_body_that_is_not_an_object_is_refused(service):
    for body in NO_OBJECTS:
        answer = await service.ask("/v1/orders", method="POST", content=body)

        assert (answer.status_code, answer.json()["code"]) == (400, "bad_body"), body


async def test_unknown_source_is_named(service):
    answer = await register(service, source="tellabto", request_id="1")

    assert (answer.status_code, answer.json()["code"]) == (422, "unknown_source")
    assert answer.json()["detail"] == "source: no source is named 'tellabto'"


# Repeated registration


async def test_second_registration_adds_new_fields(service):
    """Mutant: 201 again."""
    first = await registered(service, request_id="10000001", reference="signup-1")
    service.now += 5

    again = await register(service, **WHOLE)

    assert again.status_code == 200
    assert again.json() == {
        **first,
        **{name: WHOLE[name] for name in ("price", "labels", "service", "expires")},
        "number": "+18505554729",
        "country": "US",
        "service_key": "google",
    }
    assert await service.data("/v1/orders") == [again.json()]


async def test_conflicting_field_is_409(service):
    """The error names fields, not values."""
    first = await registered(service, **WHOLE)

    answer = await register(service, **{**WHOLE, "reference": "signup-2", "number": "18505554730"})

    assert (answer.status_code, answer.json()["code"]) == (409, "order_differs")
    assert answer.json()["detail"] == (
        "number, reference: conflicts with the stored order; existing fields cannot be changed"
    )
    assert await service.data("/v1/orders") == [first]


async def test_order_that_was_not_stored_gets_no_events(service, locked):
    """Mutant: the order book keeps an order that the journal does not have."""
    with locked():
        answer = await register(service, request_id="10000001", reference="signup-1")

    event_id = await service.sms(id="10000001")

    assert answer.status_code == 503
    assert (await event(service, event_id))["data"]["reference"] is None


@pytest.mark.parametrize("first", ["order", "sms"])
async def test_sms_during_registration_joins_the_order(service, locked, first):
    """Before and after it. Mutant: the door knows an order only after it is on disk."""

    async def registering():
        return await register(service, request_id="10000001", reference="signup-1")

    async def coming():
        return await service.sms(id="10000001")

    with locked():
        calls = [registering, coming] if first == "order" else [coming, registering]
        running = []
        for call in calls:
            running.append(asyncio.create_task(call()))
            await asyncio.sleep(0.05)
    await asyncio.gather(*running)

    [order] = await service.data("/v1/orders")
    assert order["state"] == "received"
    [item] = await service.data("/v1/events")
    assert item["event"]["data"]["reference"] == "signup-1"


# Events of orders


async def test_later_event_is_routed_by_labels_of_its_order(run, tmp_path):
    """Mutant: routed by the labels of the source."""
    routes = {"sales": Route(to=("log",), when={"data.labels.team": "sales"})}
    async with run(tmp_path, routes=routes) as service:
        order = await registered(service, request_id="10000001", labels={"team": "sales"})

        event_id = await service.sms(id="10000001")

        whole = (await service.ask(f"/v1/events/{event_id}")).json()
        assert whole["event"]["data"]["labels"] == {"team": "sales"}
        assert [route["matched"] for route in whole["routes"]] == [True]
        assert (await shown(service, order))["events"] == [whole["event"]]


async def test_events_of_an_order_are_masked_without_codes_read(service):
    order = await registered(service, request_id="10000001")
    await service.sms(id="10000001", pin="4711")

    codes = {
        key: (await shown(service, order, key))["events"][0]["data"]["code"]
        for key in ("reader", "coder")
    }

    assert codes == {"reader": "***", "coder": "4711"}


async def test_orders_are_filtered(service):
    one = await registered(service, request_id="1", reference="a", number="18505554729")
    two = await registered(service, source="herosms", activation_id="1", reference="b")
    await service.ask(f"/v1/orders/{two['id']}", "writer", method="DELETE")

    async def ids(query):
        return [order["id"] for order in await service.data(f"/v1/orders?{query}")]

    assert await ids("state=waiting") == await ids("source=tellabot") == [one["id"]]
    assert await ids("reference=a&reference=c") == await ids("number=18505554729") == [one["id"]]
    assert await ids("request_id=1") == [one["id"]]
    assert await ids("activation_id=1") == await ids("state=cancelled") == [two["id"]]
    assert await ids("order=desc") == [two["id"], one["id"]]
    assert await ids("rental_id=1") == []


async def test_pages_of_orders_continue(service):
    made = [(await registered(service, request_id=str(n)))["id"] for n in range(1, 6)]
    found, after = [], {}
    while True:
        page = (await service.ask("/v1/orders", params={"limit": 2, **after})).json()
        found += [order["id"] for order in page["data"]]
        after = {"after": page["next_cursor"]}
        if not page["has_more"]:
            break

    assert found == made


async def test_unknown_state_is_refused(service):
    answer = await service.ask("/v1/orders?state=open")

    said = "state: write one of waiting, received, expired, cancelled"
    assert (answer.status_code, answer.json()["detail"]) == (400, said)


async def test_cancelled_order_is_kept_and_labels_events(service):
    order = await registered(service, request_id="10000001", reference="signup-1")
    service.now += 60

    gone = [await service.ask(f"/v1/orders/{order['id']}", "writer", method="DELETE") for _ in "ab"]
    event_id = await service.sms(id="10000001")

    after = await shown(service, order)
    assert [answer.status_code for answer in gone] == [204, 204]
    assert (after["state"], after["expires"]) == ("cancelled", "2026-09-21T14:14:20.250000Z")
    assert [one["id"] for one in after["events"]] == [event_id]
    assert (await event(service, event_id))["data"]["reference"] == "signup-1"


async def test_missing_order_is_404(service):
    for id_ in ("none", "01931c5e-0000-7000-8000-000000000000"):
        for method in ("GET", "DELETE"):
            answer = await service.ask(f"/v1/orders/{id_}", method=method)

            assert (answer.status_code, answer.json()["detail"]) == (404, "no such order")


async def test_filtered_key_sees_no_orders(service):
    for method in ("GET", "POST"):
        answer = await service.ask("/v1/orders", "boss", method=method)

        assert (answer.status_code, answer.json()["code"]) == (403, "key_filtered")
