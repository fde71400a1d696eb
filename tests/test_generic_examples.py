"""The examples on the page of the generic provider, sent to a real service."""

import base64
import hmac
import json
import time
from urllib.parse import urlencode

import httpx
import live
import pytest
from config_files import values
from journals import shell
from pages import blocks

from server.config.yaml import parse

SECRET = "s3cret-of-the-provider-0123456789"
TOKEN = "t0ken-of-the-generic-0123456789"
WHSEC = "whsec_" + base64.b64encode(SECRET.encode()).decode()
EXAMPLES = {
    name: options
    for block in blocks("providers-generic.md", "yaml")
    for name, options in values(parse(block.encode()).value)["sources"].items()
}
UNSET = {
    "provider": "generic",
    "channel": "callback",
    "labels": {},
    "reference": None,
    "sample": False,
    "warnings": [],
    "country": None,
    "service": None,
    "urls": [],
    "price": None,
    "request_id": None,
    "activation_id": None,
    "rental_id": None,
    "first_rental_id": None,
    "telephone_id": None,
    "message_id": None,
}


def config():
    sources = json.dumps(EXAMPLES, ensure_ascii=False)
    secrets = ("TEXTVERIFIED_SECRET", "TWILIO_AUTH_TOKEN", "PHONE_SIGNING_KEY", "LISTED_SECRET")
    for name in secrets:
        sources = sources.replace(f"${{{name}}}", SECRET)
    sources = sources.replace("${SVIX_WHSEC}", WHSEC)
    for name in (
        *("TEXTVERIFIED", "SMSPOOL", "ONLINESIM", "TWILIO", "PHONE"),
        *("INFOBIP", "LISTED", "SVIX"),
    ):
        sources = sources.replace(f"${{{name}_TOKEN}}", TOKEN)
    assert "${" not in sources
    return f"sources: {sources}\n{live.CONFIG[live.CONFIG.index('sinks:') :]}"


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with live.Live(tmp_path_factory.mktemp("generic"), config()) as running:
        yield running


def call(service, source, *, body=b"", query="", headers=None, method="POST"):
    url = f"{service.url}/in/{source}/{TOKEN}{query}"
    return httpx.request(method, url, content=body or None, headers=headers or {})


def ids_of(service, source):
    """Return the ids of the events of a source."""
    found = service.api(f"/events?source={source}&limit=1000").json()["data"]
    return {item["event"]["id"] for item in found}


def stored_of(service, source):
    """Return the number of the stored callbacks of a source."""
    with shell(service.folder / "smshook.db") as conn:
        counted = conn.execute("select count(*) from callbacks where source = ?", (source,))
        return counted.fetchone()[0]


def event_of(service, answer):
    assert answer.status_code == 200, answer.text
    assert answer.json()["status"] == "accepted", answer.text
    [id_] = answer.json()["events"]
    event = service.api(f"/events/{id_}").json()["event"]
    return event["type"], event["subject"], event["time"], event["data"]


def signed(algorithm, message):
    return hmac.digest(SECRET.encode(), message, algorithm)


def textverified(*, upper=False, attempt=1):
    sms = {
        "from": "22000",
        "to": "8503814729",
        "createdAt": "2026-11-21T12:00:00.5Z",
        "smsContent": "Your code is 804036",
        "parsedCode": "804036",
        "encrypted": False,
        "reservationId": "lr_01J",
    }
    fields = {
        "attempt": attempt,
        "occurredAt": "2026-11-21T12:00:01Z",
        "event": "v2.sms.received",
        "id": "whe_7",
        "idempotencyKey": f"whe_7:{attempt}",
        "data": sms,
    }
    if upper:
        fields = {name[0].upper() + name[1:]: value for name, value in fields.items()}
        fields["Data"] = {name[0].upper() + name[1:]: value for name, value in sms.items()}
    body = json.dumps(fields).encode()
    signature = base64.b64encode(signed("sha512", body)).decode()
    return body, {"X-Webhook-Signature": f"HMAC-SHA512={signature}"}


def test_textverified_is_read_in_either_case(service):
    """A retry is a duplicate. Mutants: `idempotencyKey` is the id; names are compared as sent."""
    body, headers = textverified()
    upper, upper_headers = textverified(upper=True, attempt=2)

    event = event_of(service, call(service, "textverified", body=body, headers=headers))
    again = call(service, "textverified", body=upper, headers=upper_headers)

    assert event == (
        "sms.received",
        "activation/lr_01J",
        "2026-11-21T12:00:00.5Z",
        {
            **UNSET,
            "time_from": "provider",
            "to": "+18503814729",
            "from": "22000",
            "text": "Your code is 804036",
            "code": "804036",
            "activation_id": "lr_01J",
            "message_id": "whe_7",
        },
    )
    assert again.json()["status"] == "duplicate"


def test_rewritten_body_has_no_valid_signature(service):
    """The bytes as received are verified. Mutant: the output of `json.dumps` is verified."""
    body, headers = textverified(attempt=3)

    forged = call(service, "textverified", body=body.replace(b": ", b":"), headers=headers)
    nobody = httpx.post(f"{service.url}/in/nobody/{TOKEN}", content=body)
    unread = call(service, "textverified", body=b"\x00not JSON at all", headers=headers)

    assert (forged.status_code, forged.content) == (404, nobody.content)
    assert (unread.status_code, unread.content) == (404, nobody.content)
    counted = [
        count
        for count in service.api("/rejections").json()["data"]
        if (count["reason"], count["source"]) == ("signature", "textverified")
    ]
    assert len(counted) == 1
    kept = service.api("/quarantine").json()["data"]
    assert [entry for entry in kept if entry["source"] == "textverified"] == []


def test_time_of_smspool_has_twelve_hours(service):
    fields = {
        "orderid": "ABCD1234",
        "sms": "804036",
        "full_sms": "Your code is 804036",
        "timestamp": "2026-11-21 07:05:09pm",
    }

    event = event_of(service, call(service, "smspool", body=json.dumps(fields).encode()))

    assert event == (
        "sms.received",
        "activation/ABCD1234",
        "2026-11-21T19:05:09Z",
        {
            **UNSET,
            "time_from": "timezone",
            "to": None,
            "from": None,
            "text": "Your code is 804036",
            "code": "804036",
            "activation_id": "ABCD1234",
        },
    )


@pytest.mark.parametrize("listed", [False, True])
def test_rentals_of_smspool_become_the_documented_events(service, listed):
    """Mutants: an object of numbers is no list; a known message is stored again."""
    first, second = (
        {
            "sender": "22000",
            "message": f"code {code}{listed:d}",
            "timestamp": f"2026-11-21 07:0{n}:09",
        }
        for n, code in enumerate(("804", "914"))
    )

    def post(*messages):
        body = {"rental": f"R {listed}", "messages": dict(enumerate(messages))}
        if listed:
            body["messages"] = list(messages)
        return call(service, "smspool-rentals", body=json.dumps(body).encode()).json()

    once, twice, none = post(first), post(first, second), post()
    events = [service.api(f"/events/{id_}").json()["event"] for id_ in twice["events"]]

    assert twice["status"] == "accepted"
    assert once["events"] == twice["events"][:1]
    assert [it["subject"] for it in events] == [f"rental/R {listed}"] * 2
    assert [it["time"] for it in events] == ["2026-11-21T07:00:09Z", "2026-11-21T07:01:09Z"]
    assert [it["data"]["text"] for it in events] == [first["message"], second["message"]]
    assert (none["status"], none["reason"]) == ("quarantined", "empty")


def test_callback_of_several_messages_is_stored_once(service):
    """All events or no event. Mutants: one copy for each event; only the valid ones stored."""
    message = {"from": "385916242493", "to": "385921004026", "receivedAt": "2026-11-30T05:12:34Z"}
    texts = ["one " * 40, "two " * 40, "three " * 40]
    known, before = ids_of(service, "infobip"), stored_of(service, "infobip")
    items = [message | {"messageId": f"m{n}", "message": text} for n, text in enumerate(texts)]

    good = call(service, "infobip", body=json.dumps({"results": items}).encode()).json()
    broken = json.dumps({"results": [*items, {"messageId": "m9"}]}).encode()
    bad = call(service, "infobip", body=broken).json()

    events = [service.api(f"/events/{id_}?raw=true").json() for id_ in good["events"]]
    assert [it["event"]["data"]["text"] for it in events] == texts
    assert len({json.dumps(it["raw"]) for it in events}) == 1
    assert stored_of(service, "infobip") == before + 1
    assert (bad["status"], bad["reason"]) == ("quarantined", "identity")
    assert ids_of(service, "infobip") - known == set(good["events"])


def test_list_of_signatures_and_svix_headers_are_verified(service):
    body, at = b'{"id": "1", "text": "code 804036"}', int(time.time())
    sign = f"{at}.".encode() + body
    stripe = {"Acme-Signature": f"t={at},v1=00,v1={signed('sha256', sign).hex()}"}
    digest = base64.b64encode(signed("sha256", b"msg_1." + sign)).decode()
    svix = {"svix-id": "msg_1", "svix-timestamp": f"{at}", "svix-signature": f"v1,{digest}"}

    for source, headers in (("listed", stripe), ("svix", svix)):
        assert call(service, source, body=body).status_code == 404
        assert call(service, source, body=body + b" ", headers=headers).status_code == 404
        assert call(service, source, body=body, headers=headers).json()["status"] == "accepted"


def test_onlinesim_sends_the_id_of_the_sms_as_code(service):
    """It sends by GET. Mutant: `code` is the code, and people type in an id."""
    fields = {
        "user_id": 1,
        "country_code": 7,
        "number": "+79991234567",
        "sender": "Google",
        "message": "Ваш код 804036",
        "time_start": "2026-11-21 12:00:00",
        "time_left": 600,
        "operation_id": 555,
        "webhook_type": "receiving_sms",
        "code": 99001,
    }
    query = "?" + urlencode(fields)

    first = call(service, "onlinesim", query=query, method="GET")
    event = event_of(service, first)
    again = call(service, "onlinesim", query=query, method="GET")
    posted = call(service, "onlinesim", body=urlencode(fields).encode())

    assert (event[0], event[1]) == ("sms.received", "activation/555")
    assert event[3] == {
        **UNSET,
        "time_from": "received",
        "to": "+79991234567",
        "from": "Google",
        "text": "Ваш код 804036",
        "code": "804036",
        "activation_id": "555",
        "message_id": "99001",
    }
    duplicate = {"status": "duplicate", "events": first.json()["events"]}
    assert (again.json(), posted.json()) == (duplicate, duplicate)


def twilio(text, *, begin="https://hooks.example.com"):
    fields = {
        "MessageSid": "SM0123456789abcdef",
        "From": "+14155550100",
        "To": "+18503814729",
        "Body": text,
        "NumMedia": "0",
        "ToCountry": "US",
        "ToState": "",
    }
    joined = "".join(f"{name}{fields[name]}" for name in sorted(fields))
    message = f"{begin}/in/twilio/{TOKEN}{joined}".encode()
    signature = base64.b64encode(signed("sha1", message)).decode()
    return urlencode(fields).encode(), {
        "X-Twilio-Signature": signature,
        "content-type": "application/x-www-form-urlencoded; charset=UTF-8",
    }


def test_twilio_signs_the_url_and_every_parameter(service):
    """Mutants: empty parameters are left out; parameters of other scripts are refused."""
    body, headers = twilio("Код: 804036 & more")
    known = ids_of(service, "twilio")

    elsewhere = call(service, "twilio", body=body, headers=twilio("", begin="http://x.example")[1])
    changed = call(service, "twilio", body=body.replace(b"804036", b"804037"), headers=headers)
    first = call(service, "twilio", body=body, headers=headers)
    again = call(service, "twilio", body=body, headers=headers)
    [id_] = ids_of(service, "twilio") - known
    listed = service.api(f"/events/{id_}").json()
    event = tuple(listed["event"][name] for name in ("type", "subject", "time", "data"))

    for answer in (first, again):
        assert (answer.status_code, answer.text) == (200, "<Response/>")
        assert answer.headers["content-type"] == "text/xml"
    assert (elsewhere.status_code, changed.status_code) == (404, 404)
    assert (event[0], event[1]) == ("sms.received", "request/SM0123456789abcdef")
    assert event[3] == {
        **UNSET,
        "time_from": "received",
        "to": "+18503814729",
        "from": "+14155550100",
        "country": "US",
        "text": "Код: 804036 & more",
        "code": "804036",
        "request_id": "SM0123456789abcdef",
        "message_id": "SM0123456789abcdef",
    }


def phone(event="sms:received", at="1795435200"):
    fields = {
        "deviceId": "ffffffffceb0b1db0000018e937c815b",
        "event": event,
        "id": "Ey6ECgOkVVFjz3CL48B8C",
        "payload": {
            "messageId": "abc123",
            "message": "Your code is 804036",
            "phoneNumber": "6505551212",
            "simNumber": 1,
            "receivedAt": "2026-11-21T15:46:11.000+07:00",
        },
        "webhookId": "w1",
    }
    body = json.dumps(fields).encode()
    signature = signed("sha256", body + b"1795435200").hex()
    return body, {"X-Signature": signature, "X-Timestamp": at}


def test_phone_signs_its_body_with_the_time(service):
    """Mutant: the signed header is left out of the hash."""
    body, headers = phone()

    changed = call(service, "phone", body=body, headers=phone(at="1795435201")[1])
    event = event_of(service, call(service, "phone", body=body, headers=headers))

    assert changed.status_code == 404
    assert event == (
        "sms.received",
        "telephone/ffffffffceb0b1db0000018e937c815b",
        "2026-11-21T08:46:11.000Z",
        {
            **UNSET,
            "time_from": "provider",
            "to": None,
            "from": "+16505551212",
            "text": "Your code is 804036",
            "code": "804036",
            "telephone_id": "ffffffffceb0b1db0000018e937c815b",
        },
    )


def test_other_event_of_a_phone_is_quarantined(service):
    body, headers = phone(event="sms:sent")

    answer = call(service, "phone", body=body, headers=headers).json()

    assert (answer["status"], answer["reason"]) == ("quarantined", "unknown_event")


@pytest.mark.parametrize("source", sorted(EXAMPLES))
def test_source_answers_ready_to_a_browser(service, source):
    """Mutant: a GET without a query is a malformed callback."""
    answers = [call(service, source, method=method) for method in ("GET", "HEAD")]

    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].json() == {"status": "ready"}


def test_get_is_quarantined_where_posts_are_expected(service):
    answer = call(service, "smspool", query="?orderid=1&sms=1", method="GET").json()

    assert (answer["status"], answer["reason"]) == ("quarantined", "method")
    replayed = service.api(f"/quarantine/{answer['id']}/replay", method="POST").json()
    assert replayed["status"] == "accepted"


@pytest.mark.parametrize("source", sorted(EXAMPLES))
def test_sample_needs_no_signature_of_the_provider(service, source):
    """Mutant: sources that verify reject `smshook send`."""
    sent = service.run("send", source, "--encoding", "json")

    assert sent.returncode == 0, sent.stderr
    assert "accepted" in sent.stdout
