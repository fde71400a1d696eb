import asyncio
import base64
import json

import pytest
from journals import shell
from sealing import ALL

from journal.reads import EventById


def ids(items):
    return [item["event"]["id"] for item in items]


async def test_event_is_listed_as_it_is_sent(service):
    event_id = await service.sms(price="1.20")

    answer = await service.ask("/v1/events")

    kept = await service.journal.ask(EventById(event_id, opening=ALL))
    listed = answer.json()
    assert kept.body in answer.content, "spliced, not encoded again"
    assert listed == {
        "data": [{"cursor": listed["next_cursor"], "event": json.loads(kept.body)}],
        "next_cursor": listed["next_cursor"],
        "has_more": False,
    }
    assert listed["data"][0]["event"]["data"]["price"]["amount"] == "1.20"


async def test_event_is_shown_with_deliveries_and_routes(service):
    event_id = await service.sms(timestamp=1_789_990_000, reply="Your code is 4711")
    service.now += 1.5
    copy = b"event=incoming_message&id=1&timestamp=1789990000&from=22000&to=18505554729"
    answered = await service.post(copy + b"&reply=Your+code+is+4711")
    await service.attempted()

    answer = (await service.ask(f"/v1/events/{event_id}")).json()

    assert answered == {"status": "duplicate", "events": [event_id]}
    assert answer.pop("event")["id"] == event_id
    assert answer == {
        "duplicates": [
            {"at": "2026-09-21T14:13:21.750000Z", "channel": "callback", "peer": "192.0.2.7"}
        ],
        "deliveries": [
            {
                "id": service.named(1),
                "sink": "log",
                "state": "pending",
                "waits_for": "retry",
                "attempts": [
                    {
                        "number": 1,
                        "at": "2026-09-21T14:13:21.750000Z",
                        "outcome": "failed",
                        "status": 503,
                        "error": "refused",
                        "took_ms": 0.0,
                        "probe": False,
                        "count": 1,
                    }
                ],
                "next_at": "2026-09-21T14:13:22.750000Z",
            }
        ],
        "routes": [{"name": "google", "matched": True}, {"name": "amazon", "matched": False}],
        "readers": [
            {
                "by": "sink/log",
                "from": None,
                "how": "delivery",
                "clear": True,
                "at_most": True,
                "fields": [],
                "reason": None,
                "at": "2026-09-21T14:13:21.750000Z",
                "last_at": "2026-09-21T14:13:21.750000Z",
                "count": 1,
            },
            {
                "by": "key/admin",
                "from": "192.0.2.7",
                "how": "event",
                "clear": True,
                "at_most": False,
                "fields": ["text", "code"],
                "reason": None,
                "at": answer["readers"][1]["at"],
                "last_at": answer["readers"][1]["at"],
                "count": 1,
            },
        ],
    }


async def test_removed_route_is_shown_as_matched(run, tmp_path):
    async with run(tmp_path) as service:
        event_id = await service.sms()
    async with run(tmp_path, routes={}) as service:
        answer = (await service.ask(f"/v1/events/{event_id}")).json()

    assert answer["routes"] == [{"name": "google", "matched": True}]


async def test_missing_event_is_not_found(service):
    answer = await service.ask("/v1/events/01931c5e-0000-7000-8000-000000000000")

    problem = answer.json()
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
    assert problem == {
        "type": "about:blank",
        "title": "Not Found",
        "status": 404,
        "code": "not_found",
        "detail": "no such event",
        "request_id": answer.headers["x-request-id"],
    }


# The callback as it arrived


async def test_callback_is_shown_byte_for_byte_with_codes_read(service):
    body = b"event=incoming_message&id=5&from=22000&to=18505554729&reply=caf%E9%FF"
    (event_id,) = (await service.post(body, headers={"X-Odd": "1"}))["events"]

    raw = (await service.ask(f"/v1/events/{event_id}", "coder", params={"raw": "true"})).json()[
        "raw"
    ]

    assert base64.b64decode(raw["body"]) == body
    assert ["x-odd", "1"] in raw["headers"]
    assert (raw["peer"], raw["at"]) == ("192.0.2.7", "2026-09-21T14:13:20.250000Z")


async def test_callback_is_shown_only_with_raw(service):
    event_id = await service.sms()

    answers = [
        (await service.ask(f"/v1/events/{event_id}{query}")).json() for query in ("", "?raw=false")
    ]

    assert ["raw" in answer for answer in answers] == [False, False]


async def test_raw_needs_codes_read_even_without_the_event(service):
    event_id = await service.sms()

    there = await service.ask(f"/v1/events/{event_id}?raw=true", "reader")
    not_there = await service.ask(
        "/v1/events/00000000-0000-7000-8000-000000000000?raw=true", "reader"
    )

    assert [there.json()["code"], not_there.json()["code"]] == ["missing_scope"] * 2
    assert there.json()["detail"] == "the key needs the scope codes:read"


# Masks


async def test_codes_are_masked_and_null_is_kept(service):
    """Mutants: no mask in the list; no mask in the single event."""
    event_id = await service.sms(reply="ZQ7-4711 https://example.com/ZQ7", pin="ZQ7-4711")
    other_id = await service.hero(text="no number in it")

    for path in ("/v1/events", "/v1/events/{}"):
        answers = {
            id_: (await service.ask(path.format(id_), "reader")).json()
            for id_ in (event_id, other_id)
        }

        masked, without_code = (
            event["data"]
            for id_, answer in answers.items()
            for item in answer.get("data", [answer])
            if (event := item["event"])["id"] == id_
        )
        assert [masked["text"], masked["code"], masked["urls"]] == ["***", "***", ["***"]]
        assert [without_code[name] for name in ("text", "code", "urls")] == ["***", None, []]
        assert masked["to"] == "+18505554729"
        assert "ZQ7" not in json.dumps(answers)


async def test_masking_changes_nothing_else(service):
    event_id = await service.sms()

    clear = (await service.ask(f"/v1/events/{event_id}", "coder")).json()["event"]
    masked = (await service.ask(f"/v1/events/{event_id}", "reader")).json()["event"]

    clear["data"] |= {"text": "***", "code": "***"}
    assert list(masked["data"]) == list(clear["data"])
    assert masked == clear


# Filters


FILTERS = {
    "type=sms.received": "abcd",
    "type=rental.billed": "",
    "type=rental.billed&type=sms.received": "abcd",
    "source=tellabot": "abc",
    "source=herosms&source=tellabot": "abcd",
    "source=gone": "",
    "subject=request/7": "a",
    "request_id=7": "a",
    "request_id=7&request_id=8": "ab",
    "request_id=7&activation_id=9": "",
    "activation_id=9": "d",
    "rental_id=3": "c",
    "reference=order-1": "",
    "service=Google": "ad",
    "service=Google%2Cyoutube%2CGmail": "ad",
    "service=google": "ad",
    "service=go": "d",
    "service=google&service=amazon": "abd",
    "number=18505554729": "ac",
    "number=%2B18505554729": "ac",
    "number=+18505554729": "ac",
    "number=18505554729&number=18505554730": "abc",
    "code=true": "ab",
    "code=false": "cd",
    "source=tellabot&code=true&service=amazon": "b",
}


async def test_filter_finds_matching_events(service):
    named = {
        await service.sms(id=7): "a",
        await service.sms(id=8, service="Amazon", to="18505554730"): "b",
        await service.sms(id="", ltr_id=3, service="", pin="", reply="no code"): "c",
        await service.hero(activationId=9): "d",
    }

    found = {query: await service.data(f"/v1/events?{query}") for query in FILTERS}
    by_id = await service.data("/v1/events", id=[*[*named][1:3], "none"], code="true")

    assert {q: "".join(named[id_] for id_ in ids(data)) for q, data in found.items()} == FILTERS
    assert [named[id_] for id_ in ids(by_id)] == ["b"]


async def test_former_service_key_is_found_by_both_keys(run, tmp_path):
    """Mutant: only the current key is searched."""
    async with run(tmp_path) as service:
        stored = await service.hero(activationId=9, service="ig")
        new = await service.hero(activationId=10, service="ig")
        with shell(tmp_path / "smshook.db") as conn:
            conn.execute(
                "update events set body = replace(replace(body, '\"Instagram\"',"
                " '\"Instagram+Threads\"'), '\"instagram\"', '\"instagramthreads\"') where id = ?",
                (stored,),
            )

        asked = ("instagram", "instagramthreads", "Instagram%2BThreads", "Instagram", "ig")
        found = {it: ids(await service.data(f"/v1/events?service={it}")) for it in asked}

    assert found == {key: [stored, new] for key in asked}


TIMES = {
    "since=2026-09-21T14:13:30.123457Z": "bc",
    "since=2026-09-21T14:13:30.123458Z": "c",
    "until=2026-09-21T14:13:30.123457Z": "a",
    "until=2026-09-21T14:13:30.123458Z": "ab",
    "since=2026-09-21T16:13:30.123457%2B02:00": "bc",
    "since=2026-09-21T16:13:30.123457+02:00": "bc",
    "since=2026-09-21T09:13:31-05:00": "c",
    "since=2026-09-21t14:13:31z": "c",
    "since=2026-09-21 14:13:31Z": "c",
    "since=15s": "bc",
    "since=1h": "abc",
    "until=15s": "a",
    "since=10m&until=5s": "ab",
    "since=200ms": "",
}


async def test_since_is_included_and_until_is_not(service):
    """They compare with `recordedtime`, to its last digit.

    Mutant: the journal is given the clock's own digits, which are rounded in `recordedtime`.
    """
    named = {await service.sms(): "a"}
    service.now = 1_790_000_010.1234567
    named[await service.sms()] = "b"
    service.now = 1_790_000_020.0
    named[await service.sms()] = "c"
    service.now = 1_790_000_021.0

    found = {query: await service.data(f"/v1/events?{query}") for query in TIMES}

    assert {q: "".join(named[id_] for id_ in ids(data)) for q, data in found.items()} == TIMES


# Pages


async def pages(service, key="admin", *, meanwhile=None, **params):
    """Return all pages, each read with the cursor of the page before."""
    found = []
    while True:
        answer = (await service.ask("/v1/events", key, params=params)).json()
        found.append(ids(answer["data"]))
        params["after"] = answer["next_cursor"]
        if not answer["has_more"]:
            return found
        if meanwhile is not None:
            await meanwhile()


async def test_pages_end_with_the_last_event(service):
    made = [await service.sms() for _ in range(5)]

    ascending = await pages(service, limit=2)
    descending = await pages(service, limit=2, order="desc")

    assert ascending == [made[0:2], made[2:4], made[4:]]
    assert descending == [made[:2:-1], made[2:0:-1], made[:1]]


@pytest.mark.parametrize("ahead", [50, 1000])
@pytest.mark.parametrize("key", ["admin", "growth"])
async def test_pages_until_a_time_ago_pass_over_no_event(service, key, ahead):
    """The clock was ahead, and was corrected between events. Some come twice.

    Mutants: a full page forgets what it left out; so does a cursor; a page of a key with a `when`;
    times are taken as ordered before a large correction.
    """
    begun, made = service.now, []
    for at in (0, ahead, 1, 2, 3):
        service.now = begun + at
        made.append(await service.sms())
    late, params, found = made[1], {"limit": 1}, []
    for until in (20, 20, 20, 20, ahead + 1, ahead + 1, ahead + 1, ahead + 1):
        service.now = begun + until + 60
        asked = service.ask("/v1/events", key, params={"until": "60s", **params})
        answer = (await asked).json()
        found += ids(answer["data"])
        params["after"] = answer["next_cursor"]

    assert found == [made[0], *made[2:], late, *made[2:]]


async def test_exactly_full_page_can_be_the_last(service):
    made = [await service.sms() for _ in range(4)]

    assert await pages(service, limit=4) == [made]
    assert await pages(service, limit=2, order="desc") == [made[:1:-1], made[1::-1]]


async def test_ascending_pages_include_new_events(service):
    made = [await service.sms() for _ in range(4)]

    async def two_more():
        if len(made) < 8:
            made.extend([await service.sms() for _ in range(2)])

    found = await pages(service, limit=2, meanwhile=two_more)

    assert [id_ for page in found for id_ in page] == made


async def test_descending_pages_ignore_new_events(service):
    made = [await service.sms() for _ in range(5)]

    found = await pages(service, limit=2, order="desc", meanwhile=service.sms)

    assert [id_ for page in found for id_ in page] == made[::-1]


async def test_last_cursor_continues_with_new_events(service):
    empty = (await service.ask("/v1/events")).json()
    first = await service.sms()
    one = (await service.ask("/v1/events", params={"after": empty["next_cursor"]})).json()
    none = (await service.ask("/v1/events", params={"after": one["next_cursor"]})).json()
    second = await service.sms()
    new = (await service.ask("/v1/events", params={"after": none["next_cursor"]})).json()

    assert [ids(page["data"]) for page in (empty, one, none, new)] == [[], [first], [], [second]]
    assert {page["has_more"] for page in (empty, one, none, new)} == {False}


async def test_cursor_of_an_item_works_in_both_directions(service):
    made = [await service.sms() for _ in range(3)]
    middle = (await service.data("/v1/events"))[1]["cursor"]

    after = await service.data("/v1/events", after=middle)
    before = await service.data("/v1/events", after=middle, order="desc")

    assert [ids(after), ids(before)] == [[made[2]], [made[0]]]


async def test_cursor_survives_a_restart(run, tmp_path):
    async with run(tmp_path) as service:
        await service.sms()
        cursor = (await service.data("/v1/events"))[0]["cursor"]
    async with run(tmp_path) as service:
        second = await service.sms(id=99, timestamp=1_789_999_999)
        found = await service.data("/v1/events", after=cursor)

    assert ids(found) == [second]


async def test_default_page_has_a_hundred_events(service):
    await asyncio.gather(*(service.sms() for _ in range(101)))

    answer = (await service.ask("/v1/events")).json()

    assert (len(answer["data"]), answer["has_more"]) == (100, True)
