import pytest
from examples import examples
from filters import filters
from hypothesis import given, settings
from hypothesis import strategies as st

from journal.writes import IndexVisible
from routes.match import compile_filter
from routes.table import Route
from server.api.why import _reasons
from server.runtime.keys import Access
from sinks.redact import mask, masked_paths
from sinks.sink import Receipt

EVENTS = "/v1/events"
HIDDEN = masked_paths("codes")
MASKED = Access(id="reader", name="reader", scopes=frozenset(("events:read",)), sees=None)


async def why(service, event_id, key="coder"):
    return await service.ask(f"{EVENTS}/{event_id}/why", key)


async def test_why_shows_the_way_of_an_event(service):
    event_id = await service.sms(timestamp=1_789_990_000, reply="Your code is 4711", pin="4711")
    service.now += 1.5
    again = b"event=incoming_message&id=1&timestamp=1789990000&from=22000&to=18505554729"
    await service.post(again + b"&reply=Your+code+is+4711")
    await service.attempted()

    answer = (await why(service, event_id)).json()

    (delivery,) = answer.pop("deliveries")
    door = answer["door"]
    assert (door["at"], door["channel"], door["peer"]) == (
        "2026-09-21T14:13:20.250000Z",
        "callback",
        "192.0.2.7",
    )
    sources = (await service.ask("/v1/sources")).json()["data"]
    assert door["token"] in str(sources)
    event = (await service.ask(f"{EVENTS}/{event_id}")).json()["event"]
    assert answer["dedupe"] == {
        "dedupekey": event["dedupekey"],
        "copies": [
            {
                "at": "2026-09-21T14:13:21.750000Z",
                "channel": "callback",
                "peer": "192.0.2.7",
                "how": "duplicate",
            }
        ],
    }
    assert answer["routes"] == [
        {"name": "google", "matched": True, "matches": True, "fails": None},
        {
            "name": "amazon",
            "matched": False,
            "matches": False,
            "fails": {
                "clause": "data.service.key",
                "holds": False,
                "wanted": "amazon",
                "saw": "google",
                "missing": False,
                "below": [],
            },
        },
    ]
    assert (delivery["sink"], delivery["state"], delivery["waits_for"], delivery["replay"]) == (
        "log",
        "pending",
        "retry",
        False,
    )
    assert delivery["last_error"] == delivery["attempts"][0]
    assert (delivery["last_error"]["error"], delivery["last_error"]["status"]) == ("refused", 503)


async def test_erased_event_keeps_its_arrival_and_its_copies(service):
    """Only the bytes and the headers of a callback are erased.

    Mutant: without them there is no door, and each duplicate is a copy.
    """
    event_id = await service.sms(timestamp=1_789_990_000, reply="Your code is 4711", pin="4711")
    again = b"event=incoming_message&id=1&timestamp=1789990000&from=22000&to=18505554729"
    await service.post(again + b"&reply=Your+code+is+4711")
    before = (await why(service, event_id)).json()

    await service.ask(f"{EVENTS}/{event_id}/content", method="DELETE")
    after = (await why(service, event_id)).json()
    raw = (await service.ask(f"{EVENTS}/{event_id}?raw=true")).json()["raw"]

    assert before["dedupe"]["copies"][0]["how"] == "duplicate"
    assert (after["door"], after["dedupe"]) == (before["door"], before["dedupe"])
    assert raw is None


async def test_delivered_event_has_no_last_error(service):
    event_id = await service.sms()
    await service.settled(lambda _outgoing: accepted())

    (delivery,) = (await why(service, event_id)).json()["deliveries"]

    assert (delivery["state"], delivery["last_error"]) == ("delivered", None)


async def accepted():
    return Receipt(status=200)


async def test_route_is_judged_as_it_is_now(run, tmp_path):
    """Also a route that is gone."""
    async with run(tmp_path) as service:
        event_id = await service.sms()
    routes = {"later": Route(to=("log",), when={"type": "sms.received"})}
    async with run(tmp_path, routes=routes) as service:
        answer = (await why(service, event_id)).json()

    assert answer["routes"] == [
        {"name": "later", "matched": False, "matches": True, "fails": None},
        {"name": "google", "matched": True, "matches": None, "fails": None},
    ]


async def test_filtered_key_asks_about_its_events_only(service):
    """It may not read routes or sources, so it learns no clause and no token."""
    own, other = await service.sms(), await service.hero()
    while await service.journal.submit(IndexVisible()):
        pass

    seen, hidden = await why(service, own, "growth"), await why(service, other, "growth")

    assert (hidden.status_code, hidden.json()["detail"]) == (404, "no such event")
    assert seen.json()["door"]["token"] is None
    assert seen.json()["routes"] == [
        {"name": "google", "matched": True, "matches": None, "fails": None},
        {"name": "amazon", "matched": False, "matches": None, "fails": None},
    ]


async def test_unknown_event_is_404(service):
    for event_id in ("none", "01931c5e-7b2a-7c3d-9e4f-0123456789ab"):
        answer = await why(service, event_id)

        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_masked_key_learns_no_code(run, tmp_path):
    """Mutant: hidden clauses are judged by their masks."""
    whens = [
        {"data.code": "9999"},
        {"data.code": {"$startsWith": "47"}, "data.country": "GB"},
        {"$or": [{"data.text": {"$regex": "4711"}}, {"type": "x.y"}]},
        {"data": {"$exists": False}},
        {"data.country": "GB", "data.code": "4711"},
    ]
    routes = {f"r{number}": Route(to=(), when=when) for number, when in enumerate(whens)}
    async with run(tmp_path, routes=routes) as service:
        event_id = await service.sms(reply="Your code is 4711", pin="4711")
        answer = await why(service, event_id, "reader")

    assert "4711" not in answer.text.replace(event_id, "").replace(
        answer.json()["dedupe"]["dedupekey"], ""
    )
    fails = [route["fails"] and route["fails"]["clause"] for route in answer.json()["routes"]]
    assert fails == [None, "data.country", None, None, "data.country"]
    assert [route["matches"] for route in answer.json()["routes"]] == [
        None,
        False,
        None,
        None,
        False,
    ]


PATHS = ("type", "data", "data.code", "data.text", "data.urls", "data.country", "data.price.amount")
SECRETS = st.sampled_from(["1", "1.5", "US", "ab"])


@pytest.mark.uncounted
@settings(max_examples=examples(40))
@given(filters(PATHS), SECRETS, SECRETS, st.sampled_from(["US", "1", None]))
def test_masked_reasons_follow_from_the_masked_event(when, one, other, country):
    """Two events that differ in their codes have the same answer.

    Mutant: all clauses are judged with the event in clear.
    """
    compiled = {"r": compile_filter(when, "routes.r.when")}
    answers = []
    for secret in (one, other):
        data = {"country": country, "code": secret, "text": f"it is {secret}", "urls": [secret]}
        event = {"type": "1", "data": data | {"price": {"amount": "1.5"}}}
        answers.append((mask(event, HIDDEN), _reasons(compiled, (), event, MASKED)))

    assert answers[0] == answers[1]
