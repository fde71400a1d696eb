"""Slack messages of events: their look, and that no value of an event has an effect in them."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from slack_rules import faults, plain_texts, without_plain_texts

from core.event import (
    AccountLow,
    Money,
    NumberAssigned,
    OrderExpired,
    Price,
    RentalRenewalFailed,
    RentalRenewed,
    Service,
    SmsReceived,
)
from core.printable import is_unseen
from sinks.redact import mask, masked_paths
from sinks.slack.message import compile_payload

GOOGLE = Service(id="go", name="Google", key="google")
#: The fields of every type.
COMMON = {
    "provider": "tellabot",
    "channel": "callback",
    "labels": {},
    "sample": False,
    "time_from": "provider",
}


def event(data):
    return {
        "id": "01931c5e",
        "type": data.type,
        "source": "tellabot",
        "subject": "request/1",
        "data": json.loads(msgspec.json.encode(data)),
    }


def sms(**data):
    whole = {"to": "+18503814729", "from_": "22000", "service": GOOGLE, "code": "804036"}
    return event(SmsReceived(**COMMON | whole | data))


def plain_text(text):
    return {"type": "plain_text", "text": text, "emoji": False}


def test_sms_message_has_headline_text_and_facts():
    price = Price(amount="1.20", currency="USD")

    payload = compile_payload(None)(sms(text="804036 is your code.\nBye", price=price))

    assert payload == {
        "text": "sms.received from tellabot",
        "mrkdwn": False,
        "parse": "none",
        "unfurl_links": False,
        "unfurl_media": False,
        "blocks": [
            {"type": "header", "text": plain_text("SMS: 804036")},
            {"type": "section", "text": plain_text("804036 is your code.\nBye")},
            {
                "type": "section",
                "fields": [
                    plain_text("Service\nGoogle"),
                    plain_text("Number\n+18503814729"),
                    plain_text("From\n22000"),
                    plain_text("Code\n804036"),
                    plain_text("Price\n1.20 USD"),
                    plain_text("Source\ntellabot"),
                ],
            },
        ],
    }


@pytest.mark.parametrize(
    ("data", "texts"),
    [
        (
            SmsReceived(**COMMON | {"sample": True}, text="Hello"),
            ["Sample: SMS", "Hello", "Source\ntellabot"],
        ),
        (
            SmsReceived(**COMMON, service=Service(id="ab", name=None, key="ab")),
            ["SMS: ab", "Service\nab", "Source\ntellabot"],
        ),
        (
            RentalRenewed(
                **COMMON,
                to="+18503814729",
                service=GOOGLE,
                price=Price(amount="5.00", currency=None),
                rental_id="8",
                previous_rental_id="7",
                expires="2026-12-01T00:00:00Z",
            ),
            [
                "Rental renewed: Google",
                "Service\nGoogle",
                "Number\n+18503814729",
                "Price\n5.00",
                "Rental\n8",
                "Rental before\n7",
                "Expires\n2026-12-01T00:00:00Z",
                "Source\ntellabot",
            ],
        ),
        (
            RentalRenewalFailed(**COMMON, previous_rental_id="7", reason="no funds"),
            ["Rental not renewed", "Rental before\n7", "Reason\nno funds", "Source\ntellabot"],
        ),
        (
            NumberAssigned(**COMMON, to="+18503814729", service=GOOGLE),
            [
                "Number assigned: Google",
                "Service\nGoogle",
                "Number\n+18503814729",
                "Source\ntellabot",
            ],
        ),
        (
            AccountLow(**COMMON, balance=Money(amount="4.20", currency="USD"), threshold="5"),
            ["Balance low", "Balance\n4.20 USD", "Threshold\n5", "Source\ntellabot"],
        ),
        (
            OrderExpired(**COMMON, service=GOOGLE, reason="cancelled"),
            ["Order expired: Google", "Service\nGoogle", "Reason\ncancelled", "Source\ntellabot"],
        ),
    ],
)
def test_message_of_each_type_shows_its_fields(data, texts):
    payload = compile_payload(None)(event(data))

    assert plain_texts(payload) == texts
    assert faults(payload) == []


def test_unknown_type_is_shown_by_its_name():
    later = {**sms(code=None, service=None), "type": "fax.received"}

    assert plain_texts(compile_payload(None)(later))[0] == "fax.received"


def test_own_message_is_one_section():
    payload = compile_payload("{data.service.name}: {data.code}")(sms())

    assert payload["blocks"] == [{"type": "section", "text": plain_text("Google: 804036")}]


@pytest.mark.parametrize("text", [None, "", " \n ", "\u3000"])
def test_empty_message_is_replaced(text):
    """Mutant: an empty text object. Slack answers 400 until the delivery is dead."""
    payload = compile_payload("{data.text}")(sms(text=text))

    assert plain_texts(payload) == ["sms.received from tellabot"]
    assert faults(payload) == []


def test_redacted_fields_stay_masked():
    masked = mask(sms(text="804036 is it", price=None), masked_paths("people"))

    assert plain_texts(compile_payload(None)(masked)) == [
        "SMS: ***",
        "***",
        "Service\nGoogle",
        "Number\n***",
        "From\n***",
        "Code\n***",
        "Source\ntellabot",
    ]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("x" * 3000, "x" * 3000),
        ("x" * 3001, "x" * 2999 + "…"),
        ("😀" * 1500, "😀" * 1500),
        ("😀" * 1501, "😀" * 1499 + "…"),
        ("a\r\nb\u202ec", "a\nb\\u{202e}c"),
        ("\u202e" * 400, ("\\u{202e}" * 400)[:2999] + "…"),
    ],
)
def test_long_text_is_cut_at_slacks_limit(text, shown):
    """Mutant: the text is cut before invisible characters are written out, and grows again."""
    payload = compile_payload("{data.text}")(sms(text=text))

    assert plain_texts(payload) == [shown]


texts = st.none() | st.text() | st.text(min_size=1).map(lambda text: text * 1000)
services = st.none() | st.builds(Service, id=st.text(), name=texts, key=texts)
prices = st.none() | st.builds(Price, amount=st.text(), currency=texts)
received = st.builds(
    sms, text=texts, code=texts, to=texts, from_=texts, service=services, price=prices
)


@pytest.mark.uncounted
@given(
    received,
    st.sampled_from([None, "", "{data.text}", "{data.service.name}: {data.code} {data.text}"]),
)
def test_any_event_makes_a_valid_and_harmless_message(event, message):
    """Mutants: a `mrkdwn` section; the text in the fallback; no cut; an empty field."""
    payload = json.loads(json.dumps(compile_payload(message)(event)))

    assert faults(payload) == []
    shown = "".join(plain_texts(payload)).replace("\n", "")
    assert [char for char in shown if is_unseen(char)] == []


@pytest.mark.uncounted
@given(received, received)
def test_events_differ_in_plain_texts_only(one, other):
    """Mutant: the service in the fallback text."""
    shape = [
        {**without_plain_texts(compile_payload("{data.text}")(each)), "blocks": []}
        for each in (one, other)
    ]

    assert shape[0] == shape[1]


def test_invalid_message_template_is_an_error():
    with pytest.raises(ValueError, match=r"did you mean data\.code\?"):
        compile_payload("{code}")
