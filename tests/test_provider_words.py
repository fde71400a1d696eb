"""A polled provider reports ends of orders and the balance; with real processes."""

import contextlib
import json
import time
from urllib.parse import urlencode

import live
import pytest
from scripted import scripted

CONFIG = """
sources:
  theirs:
    provider: {provider}
    tokens: ["{token}"]
    {more}
    backfill:
      {{user: me, api_key: "k3y-of-the-provider", every: 200ms, min_interval: 0s, api_url: "{url}"}}
sinks:
  log: {{type: file, path: events.jsonl}}
  late: {{type: file, path: late.jsonl}}
routes:
  everything: {{to: [log]}}
  late: {{to: [late], when: {{type: order.expired}}}}
server: {{secret: "{secret}", listen: "127.0.0.1:0", admin_listen: "127.0.0.1:0"}}
journal: {{url: "sqlite:///smshook.db"}}
{seal}api: {{keys: {{admin: {{key: "{key}", scopes: [admin]}}}}}}
"""
ACTIVE = """{{"status":"success","activeActivations":[{{"activationId":"77","serviceCode":"go",
"phoneNumber":"447700900123","activationCost":{cost},"currency":840,"smsCode":{codes},"smsText":null,
"countryCode":"16"}}]}}"""
NONE_ACTIVE = '{"status":"success","activeActivations":[]}'
QUIET = {
    "getActiveActivations": NONE_ACTIVE,
    "getHistory": "[]",
    "getRentList": '{"status":"error","message":"NO_NUMBERS"}',
    "getStatusV2": "STATUS_WAIT_CODE",
}


@contextlib.contextmanager
def polling(folder, provider, answers, more=""):
    """Yield a service and the provider that it polls, which has these answers."""
    with scripted(answers) as theirs:
        config = CONFIG.format(
            provider=provider,
            token=live.DIALECT_TOKEN,
            more=more,
            url=theirs.url,
            secret=live.SECRET,
            seal=live.SEAL,
            key=live.KEY,
        )
        with live.Live(folder, config) as service:
            yield service, theirs


def register(service, **order):
    return service.api("/orders", method="POST", json={"source": "theirs", **order})


def orders(service):
    return service.api("/orders").json()["data"]


def wait_for_polls(theirs, command, rounds=3):
    """Wait for more rounds of polling."""
    wanted = theirs.rounds(command) + rounds
    live.eventually(lambda: theirs.rounds(command) >= wanted)


def test_cancelled_activation_ends_its_order_once(tmp_path):
    """Mutants: only at its end; one event each round."""
    with polling(tmp_path, "smsbower", {"getStatus": "STATUS_WAIT_CODE"}) as (service, theirs):
        order = register(service, activation_id="77", number="447700900123").json()
        wait_for_polls(theirs, "getStatus", 2)
        waiting = orders(service)[0]["state"]
        theirs.answers["getStatus"] = "STATUS_CANCEL"
        [event] = live.eventually(lambda: service.delivered("late.jsonl"))
        service.run("backfill", "theirs")
        service.run("backfill", "theirs")
        shown = service.api(f"/orders/{order['id']}").json()
        printed = service.run("orders", "show", order["id"]).stdout

        assert waiting == "waiting"
        assert (event["subject"], event["data"]["reason"]) == ("activation/77", "cancelled")
        assert (event["data"]["to"], event["data"]["activation_id"]) == ("+447700900123", "77")
        assert (shown["state"], shown["reason"], shown["origin"]) == (
            *("expired", "cancelled", "user"),
        )
        assert "cancelled" in printed
        assert len(service.delivered("late.jsonl")) == 1
        assert [item["id"] for item in shown["events"]] == [event["id"]]


def test_cancellation_of_a_received_order_is_no_event(tmp_path):
    """Mutant: `order.expired` for an order that has its SMS."""
    with polling(tmp_path, "smsbower", {"getStatus": "STATUS_OK:1234"}) as (service, theirs):
        register(service, activation_id="77")
        live.eventually(lambda: orders(service)[0]["state"] == "received")
        theirs.answers["getStatus"] = "STATUS_CANCEL"
        live.eventually(lambda: orders(service)[0]["reason"])
        service.run("backfill", "theirs")

        assert orders(service)[0]["state"] == "received"
        assert service.api("/events?type=order.expired").json()["data"] == []


def test_timed_out_request_of_tellabot_ends_its_order(tmp_path):
    request = {"id": "10000001", "mdn": "12125550123", "service": "Amazon", "status": "Timed Out"}
    rest = {"state": "", "markup": 0, "carrier": "", "till_expiration": 0}
    answers = {
        "read_sms": '{"status": "error", "message": "No messages"}',
        "request_status": json.dumps({"status": "ok", "message": [request | rest]}),
    }
    with polling(tmp_path, "tellabot", answers) as (service, _):
        register(service, request_id="10000001", number="12125550123")
        [event] = live.eventually(lambda: service.delivered("late.jsonl"))

        assert (event["subject"], event["data"]["reason"]) == ("request/10000001", "expired")


def test_listed_activation_gives_its_events_number_and_price(tmp_path):
    """A later registration replaces the details. Mutants: a second order; a 409."""
    answers = QUIET | {"getActiveActivations": ACTIVE.format(cost="12.50", codes="[]")}
    with polling(tmp_path, "sms_activate", answers) as (service, theirs):
        [listed] = live.eventually(lambda: orders(service))
        sms = {"activationId": 77, "service": "go", "text": "code 4711", "country": 16}
        service.post(json.dumps(sms), source="theirs")
        [event] = live.eventually(service.delivered)
        wait_for_polls(theirs, "getActiveActivations")
        price = {"amount": "9", "currency": "EUR"}
        taken = register(service, activation_id="77", price=price, reference="signup-1")
        again = register(service, activation_id="77", price="8")
        wait_for_polls(theirs, "getActiveActivations")
        [order] = orders(service)
        stored = service.api(f"/events/{event['id']}").json()["event"]["data"]

        assert (listed["origin"], listed["state"]) == ("provider", "waiting")
        assert (listed["number"], listed["service_key"]) == ("+447700900123", "google")
        assert event["data"]["to"] == "+447700900123"
        assert event["data"]["price"] == {"amount": "12.50", "currency": "USD"}
        assert (taken.status_code, again.status_code) == (200, 409)
        assert (order["id"], order["origin"], order["price"]) == (listed["id"], "user", price)
        assert (stored["price"], stored["reference"]) == (price, "signup-1")
        assert (stored["to"], order["state"]) == ("+447700900123", "received")


def test_listed_activation_that_is_cancelled_is_an_event(tmp_path):
    """The order was never registered. Mutant: then there is no event."""
    answers = QUIET | {"getActiveActivations": ACTIVE.format(cost="1", codes="[]")}
    with polling(tmp_path, "sms_activate", answers) as (service, theirs):
        live.eventually(lambda: orders(service))
        theirs.answers |= QUIET | {"getStatusV2": "STATUS_CANCEL"}
        [event] = live.eventually(lambda: service.delivered("late.jsonl"))

        assert (event["subject"], event["data"]["reason"]) == ("activation/77", "cancelled")
        assert event["data"]["to"] == "+447700900123"


@pytest.mark.parametrize("first", ["order", "event"])
def test_assigned_number_and_its_order_complete_each_other(tmp_path, first):
    """In either order. Mutant: the order gets no details of the event."""
    form = "event=priority_request&status=ok&id=10000001&mdn=15302286946&service=Amazon&price=0.50"
    with live.Live(tmp_path) as service:

        def ordered():
            body = {"source": "tellabot", "request_id": "10000001", "reference": "signup-1"}
            return service.api("/orders", method="POST", json=body)

        answers = [ordered() if first == "order" else None]
        service.post(form)
        [alone] = orders(service)
        answers.append(ordered() if first == "event" else None)
        sms = {"event": "incoming_message", "id": 10000001, "timestamp": int(time.time())}
        service.post(urlencode(sms | {"from": "22000", "reply": "code 1234"}))
        events = live.eventually(lambda: len(found := service.delivered()) == 2 and found)
        [order] = orders(service)

        assert [answer.status_code for answer in answers if answer] == [
            201 if first == "order" else 200
        ]
        assert alone["origin"] == ("user" if first == "order" else "provider")
        assert (order["id"], order["number"]) == (alone["id"], "+15302286946")
        assert (order["service"], order["price"]["amount"]) == ("Amazon", "0.50")
        assert (order["reference"], order["state"]) == ("signup-1", "received")
        message = events[-1]["data"]
        assert (message["to"], message["price"]["amount"]) == ("+15302286946", "0.50")
        assert message["reference"] == "signup-1"


def test_two_requests_of_one_number_are_answered_by_one_sms(tmp_path):
    """Mutant: the second order expires although its SMS came."""
    now = int(time.time())
    with live.Live(tmp_path) as service:
        for number in ("1", "2"):
            body = {"source": "tellabot", "request_id": number}
            service.api("/orders", method="POST", json=body)
        for number, name in ((1, "Google"), (2, "Yahoo")):
            sms = {"id": number, "service": name, "timestamp": now, "reply": "code 1234"}
            service.post(urlencode({"event": "incoming_message", "to": "18503814729"} | sms))

        assert [order["state"] for order in orders(service)] == ["received"] * 2
        shown = [service.api(f"/orders/{order['id']}").json() for order in orders(service)]
        assert all(order["events"] and order["received_at"] for order in shown)


def test_low_balance_is_one_event_a_crossing(tmp_path):
    """Also over a restart. Mutants: one each round; one after the restart; floats."""
    answers = {"getStatus": "STATUS_WAIT_CODE", "getBalance": "ACCESS_BALANCE:5.00"}

    def lows(service):
        return [e for e in service.delivered() if e["type"] == "account.low"]

    more = 'low_balance: "5"\n    currency: USD'
    with polling(tmp_path, "smsbower", answers, more) as (service, theirs):
        wait_for_polls(theirs, "getBalance")
        before = lows(service)
        theirs.answers["getBalance"] = "ACCESS_BALANCE:4.9999999999999999999"
        [event] = live.eventually(lambda: lows(service))
        wait_for_polls(theirs, "getBalance")
        service.kill()
        theirs.answers["getBalance"] = "ACCESS_BALANCE:4.20"
        service.start()
        wait_for_polls(theirs, "getBalance")
        shown = live.eventually(
            lambda: (
                (one := service.api("/sources").json()["data"][0]["balance"])["amount"] == "4.20"
                and one
            )
        )
        table = service.run("sources", "list").stdout
        once = lows(service)
        theirs.answers["getBalance"] = "ACCESS_BALANCE:7"
        wait_for_polls(theirs, "getBalance")
        theirs.answers["getBalance"] = "ACCESS_BALANCE:3"
        live.eventually(lambda: len(lows(service)) == 2)

    assert (before, once) == ([], [event])
    assert event["subject"] == "account/theirs"
    data = event["data"]
    assert data["balance"] == {"amount": "4.9999999999999999999", "currency": "USD"}
    assert (data["threshold"], data["provider"], data["channel"]) == ("5", "smsbower", "poll")
    assert shown["currency"] == "USD"
    assert "4.20 USD" in table
