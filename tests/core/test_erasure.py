"""Erased fields are null, and an erased null is no value of a filter."""

import msgspec
import pytest

from core.erasure import CODES, CONTENT, PEOPLE, erase, is_erased
from core.event import Event, NumberChanged, SmsReceived
from routes.match import compile_when

AT = 1_600_000_000.0
ERASED_AT = "2020-09-13T12:26:40.000000Z"
PLAIN = {"provider": "tellabot", "channel": "callback", "labels": {}, "sample": False}


def event(data=None, *, subject="request/1", **fields):
    data = data or SmsReceived(**PLAIN, time_from="provider", **fields)
    made = Event(
        id="e",
        source="tellabot",
        type=data.type,
        subject=subject,
        time="2020-09-13T12:26:40Z",
        recordedtime=ERASED_AT,
        dedupekey="k",
        data=data,
    )
    return msgspec.json.decode(msgspec.json.encode(made))


SMS = event(to="+18503814729", from_="22000", text="G-1 is it", code="G-1", urls=("https://x/y",))


def test_codes_become_null_and_the_event_says_when():
    """Mutant: the links stay, or become `[]`."""
    erased = erase(SMS, CODES, at=AT)

    data = SMS["data"] | {"text": None, "code": None, "urls": None}
    assert erased == SMS | {"erasedtime": ERASED_AT, "data": data}
    assert list(erased)[-2:] == ["erasedtime", "data"]


def test_people_become_null_with_a_subject_that_is_a_number():
    changed = NumberChanged(**PLAIN, time_from="provider", to="+1850", previous_to="+1851")
    found = event(changed, subject="number/+1850")

    erased = erase(found, PEOPLE, at=AT)

    assert erased["subject"] is None
    assert (erased["data"]["to"], erased["data"]["previous_to"]) == (None, None)
    assert erase(SMS, PEOPLE, at=AT)["subject"] == "request/1"


def test_event_without_content_stays_as_it_is():
    """Mutant: `erasedtime` without an erased field."""
    empty = event()

    assert erase(empty, CONTENT, at=AT) == empty
    assert erase(erase(SMS, CONTENT, at=AT), CONTENT, at=AT + 9) == erase(SMS, CONTENT, at=AT)


@pytest.mark.parametrize(
    ("paths", "is_it"),
    [((("data", "code"),), True), ((("data", "to"),), False), ((("data", "country"),), False)],
)
def test_null_counts_as_erased_only_where_content_was(paths, is_it):
    assert is_erased(erase(SMS, CODES, at=AT), paths) is is_it
    assert not is_erased(SMS, paths)


@pytest.mark.parametrize(
    "when",
    [
        {"data.code": "G-1"},
        {"data.code": {"$exists": True}},
        {"data.code": None},
        {"data.code": {"$ne": "x"}},
        {"data.code": {"$nin": ["x"]}},
        {"$not": {"data.code": "x"}},
        {"$or": [{"type": "sms.received"}, {"data.text": "x"}]},
    ],
)
def test_filter_of_an_erased_path_matches_nothing(when):
    """Negations included. Mutant: the null is compared like any other."""
    holds = compile_when(when, "when")

    assert not holds(erase(SMS, CODES, at=AT))
    assert compile_when({"data.to": "+18503814729"}, "when")(erase(SMS, CODES, at=AT))
