"""Orders in a real process: registered before or after their SMS, ended in time, over kill -9."""

import json
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import live
import pytest

CONFIG = live.CONFIG.replace(
    "sinks:\n",
    "sinks:\n  late: {type: file, path: late.jsonl}\n  growth: {type: file, path: growth.jsonl}\n",
).replace(
    "routes:\n",
    "routes:\n"
    "  late: {to: [late], when: {type: order.expired}}\n"
    "  growth: {to: [growth], when: {data.labels.team: growth}}\n",
)


@pytest.fixture
def service(tmp_path):
    with live.Live(tmp_path, CONFIG) as running:
        yield running


def registered(service, /, **order):
    """Register an order; return the answer of the API."""
    return service.api("/orders", method="POST", json={"source": "tellabot", **order})


def order_of(service, answer):
    return service.api(f"/orders/{answer.json()['id']}").json()


def activation(id_, **fields):
    """A callback with neither number nor price."""
    sent = {"activationId": id_, "service": "go", "text": f"code 4711 of {id_}", "country": 12}
    return json.dumps(sent | fields).encode()


def test_order_adds_its_details_to_a_later_sms(service):
    """Routes see it. Mutant: an event is not looked up before it is routed."""
    order = registered(
        service,
        source="smsactivate",
        activation_id=445001,
        number="+447700900123",
        price={"amount": "0.20", "currency": "EUR"},
        reference="signup-1",
        labels={"team": "growth"},
    )

    answer = service.post(activation(445001), source="smsactivate").json()

    assert order.status_code == 201
    [event] = live.eventually(lambda: service.delivered("growth.jsonl"))
    assert (event["id"], event["subject"]) == (answer["events"][0], "activation/445001")
    data = event["data"]
    assert (data["to"], data["reference"]) == ("+447700900123", "signup-1")
    assert (data["price"], data["labels"]) == (
        {"amount": "0.20", "currency": "EUR"},
        {"team": "growth"},
    )
    whole = order_of(service, order)
    assert (whole["state"], whole["events"]) == ("received", [event])
    assert service.api("/events?reference=signup-1").json()["data"][0]["event"] == event


def test_order_adds_its_details_to_an_earlier_sms(service):
    [event_id] = service.post(activation(445002), source="smsactivate").json()["events"]
    live.eventually(lambda: service.delivered() and service.stats()["deliveries"]["delivered"])

    order = registered(
        service,
        source="smsactivate",
        activation_id="445002",
        number="447700900124",
        reference="signup-2",
        labels={"team": "growth"},
    )

    assert (order.status_code, order.json()["state"]) == (201, "received")
    [event] = order_of(service, order)["events"]
    sent = service.delivered()[0]
    assert event == {
        **sent,
        "data": {
            **sent["data"],
            "to": "+447700900124",
            "reference": "signup-2",
            "labels": {"team": "growth"},
        },
    }
    assert (event["id"], service.stats()["deliveries"]["delivered"]) == (event_id, 1)
    again = service.post(activation(445002), source="smsactivate").json()
    assert again == {"status": "duplicate", "events": [event_id]}


def test_order_by_number_gets_the_sms_of_that_number(service):
    order = registered(service, number="850 381 4729", reference="line-1")

    service.post(live.sms(3, to="18503814729"))
    service.post(live.sms(4, to="18503814730"))

    whole = order_of(service, order)
    assert order.json()["number"] == "+18503814729"
    assert [event["subject"] for event in whole["events"]] == ["request/10000003"]
    assert whole["state"] == "received"


def test_repeated_order_is_the_first_after_kill_9(tmp_path):
    with live.Live(tmp_path, CONFIG) as service:
        first = registered(service, request_id="10000005", reference="signup-5")
        service.kill()

    with live.Live(tmp_path, CONFIG) as service:
        again = registered(service, request_id="10000005", reference="signup-5")
        differs = registered(service, request_id="10000005", reference="signup-6")
        service.post(live.sms(5))

        assert (first.status_code, again.status_code) == (201, 200)
        assert again.json() == first.json()
        assert (differs.status_code, differs.json()["code"]) == (409, "order_differs")
        assert "signup" not in differs.text
        [event] = live.eventually(service.delivered)
        assert event["data"]["reference"] == "signup-5"


def test_order_without_an_sms_expires(service):
    """Mutants: a route without `when` takes it; a look each 30 seconds."""
    order = registered(
        service,
        request_id="10000006",
        number="18503814729",
        service="Google",
        reference="signup-6",
        labels={"team": "growth"},
        expires="700ms",
    )

    [event] = live.eventually(lambda: service.delivered("late.jsonl"))

    assert (event["type"], event["subject"]) == ("order.expired", "request/10000006")
    assert event["time"] == event["recordedtime"] > order.json()["expires"]
    assert event["data"] == {
        "provider": "tellabot",
        "channel": "callback",
        "labels": {"team": "growth"},
        "reference": "signup-6",
        "sample": False,
        "time_from": "received",
        "warnings": [],
        "to": "+18503814729",
        "country": "US",
        "service": {"id": "Google", "name": "Google", "key": "google"},
        "request_id": "10000006",
        "activation_id": None,
        "rental_id": None,
        "reason": "expired",
    }
    assert service.delivered() == []
    live.eventually(lambda: service.delivered("growth.jsonl") == [event])
    assert order_of(service, order)["state"] == "expired"
    whole = service.api(f"/events/{event['id']}?raw=true").json()
    assert (whole["raw"], whole["duplicates"]) == (None, [])
    assert service.api("/sources").json()["data"][0]["last_callback_at"] is None
    service.post(live.sms(6))
    late = order_of(service, order)
    assert (late["state"], len(late["events"])) == ("received", 2)


def test_expiry_during_an_outage_is_reported_once(tmp_path):
    """Killed before and after. Mutant: no look at start."""
    with live.Live(tmp_path, CONFIG) as service:
        for number in range(3):
            registered(service, request_id=str(10000010 + number), expires="1500ms")
        registered(service, request_id="10000020", expires="1h")
        service.post(live.sms(11))
        service.kill()
    time.sleep(1.6)

    with live.Live(tmp_path, CONFIG) as service:
        live.eventually(lambda: len(service.delivered("late.jsonl")) == 2)
        service.kill()
    with live.Live(tmp_path, CONFIG) as service:
        late = {event["subject"]: event["id"] for event in service.delivered("late.jsonl")}
        stored = service.api("/events?type=order.expired").json()["data"]

        assert sorted(late) == ["request/10000010", "request/10000012"]
        assert sorted(late.values()) == sorted(item["event"]["id"] for item in stored)
        states = {one["request_id"]: one["state"] for one in listed(service)}
        assert states == {
            "10000010": "expired",
            "10000011": "received",
            "10000012": "expired",
            "10000020": "waiting",
        }


def listed(service, query=""):
    return service.api(f"/orders{query}").json()["data"]


def test_cancelled_order_does_not_expire(service):
    order = registered(service, request_id="10000007", expires="1s")
    other = registered(service, request_id="10000008", expires="1s")

    gone = service.api(f"/orders/{order.json()['id']}", method="DELETE")

    [event] = live.eventually(lambda: service.delivered("late.jsonl"))
    assert gone.status_code == 204
    assert event["subject"] == "request/10000008"
    assert (order_of(service, order)["state"], order_of(service, other)["state"]) == (
        "cancelled",
        "expired",
    )
    service.stop()
    assert len(service.delivered("late.jsonl")) == 1


@pytest.mark.parametrize("pairs", [30, pytest.param(300, marks=pytest.mark.nightly)])
def test_order_and_sms_at_one_instant_are_joined(service, pairs):
    """Send an order and its SMS at one instant, many times: in any order they are joined."""
    with httpx.Client(trust_env=False) as client:
        for number in range(100, 100 + pairs):
            sms = live.sms(number)
            [order, _] = together(
                lambda number=number: registered(
                    service, request_id=str(10_000_000 + number), reference=f"r-{number}"
                ),
                lambda sms=sms: client.post(service.callback_url(), content=sms),
            )
            assert order.status_code == 201

    events = service.api("/events?limit=1000").json()["data"]
    references = {item["event"]["data"]["reference"] for item in events}
    assert references == {f"r-{number}" for number in range(100, 100 + pairs)}
    assert len(listed(service, "?state=received&limit=1000")) == pairs


def together(*calls):
    with ThreadPoolExecutor(len(calls)) as threads:
        return [future.result() for future in [threads.submit(call) for call in calls]]
