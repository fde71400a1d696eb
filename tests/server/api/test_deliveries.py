import asyncio
import json
import re

import pytest
from contracts.journal import owed

from core.clock import rfc3339
from core.delivery import Attempt, State
from core.units import Duration, Rate
from journal.reads import DeliveryById
from journal.writes import Probe, ReplayEvent, Settle
from routes.table import Route
from sinks.file.sink import File
from sinks.sink import Failed, Receipt, Refused

#: A sink repeats the message in its answer. The code has letters that no id has.
ANSWER = b"no place for ZQ7-4711\xff"


async def takes(_outgoing):
    return Receipt(status=200)


async def fails(_outgoing):
    raise Failed("timeout")


async def refuses(_outgoing):
    raise Refused("gone", status=410, answer=ANSWER)


@pytest.fixture
async def service(run, tmp_path):
    """A service with two sinks; deliveries to `crm` expire."""
    sinks = {
        "log": File(path=str(tmp_path / "events.jsonl")),
        "crm": File(path=str(tmp_path / "crm.jsonl"), expire_after=Duration(60)),
    }
    async with run(tmp_path, sinks=sinks, routes={"all": Route(to=("log", "crm"))}) as service:
        yield service


async def every_state(service):
    """Deliveries in every state: the event id by delivery id."""
    first = await service.sms()
    await service.settled(refuses, "log")
    second = await service.sms()
    await service.settled(takes, "log")
    service.now += 60
    await service.settled(takes, "crm")  # too late for both
    third = await service.sms()
    await service.settled(fails, "log")
    await service.settled(takes, "crm")
    fourth = await service.sms()  # no attempt sends it
    events = [event for event in (first, second, third, fourth) for _sink in ("log", "crm")]
    return dict(zip(STATES, events, strict=True))


STATES = {
    "1": "dead",
    "2": "expired",
    "3": "delivered",
    "4": "expired",
    "5": "pending",
    "6": "delivered",
    "7": "pending",
    "8": "pending",
}


async def shown(service, id_, key="admin"):
    answer = await service.ask(f"/v1/deliveries/{service.named(id_)}", key)
    assert answer.status_code == 200, answer.text
    return answer.json()


def retried(service, id_):
    return service.ask(f"/v1/deliveries/{service.named(id_)}/retry", "writer", method="POST")


async def replayed(service, event_id, body=None, key="writer"):
    content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    return await service.ask(f"/v1/events/{event_id}/replay", key, method="POST", content=content)


# Lists and shows


async def test_delivery_is_shown_with_every_attempt(service):
    event_id = await service.sms()
    await service.settled(fails)
    service.now += 0.5
    async with service.delivering(refuses):
        await retried(service, "1")
        await service.became("1", "dead")

    delivery = await shown(service, "1")

    assert delivery == {
        "id": service.named(1),
        "event": event_id,
        "sink": "log",
        "state": "dead",
        "waits_for": None,
        "replay": False,
        "attempts": [
            {
                "number": 1,
                "at": "2026-09-21T14:13:20.250000Z",
                "outcome": "failed",
                "status": None,
                "error": "timeout",
                "took_ms": 0.0,
                "probe": False,
                "count": 1,
                "answer": None,
            },
            {
                "number": 2,
                "at": "2026-09-21T14:13:20.750000Z",
                "outcome": "refused",
                "status": 410,
                "error": "gone",
                "took_ms": 0.0,
                "probe": False,
                "count": 1,
                "answer": "no place for ZQ7-4711\ufffd",
            },
        ],
        "next_at": None,
        "accepted_at": "2026-09-21T14:13:20.750000Z",
    }
    assert await service.data("/v1/deliveries", sink="log") == [delivery]


async def test_answer_of_a_sink_needs_codes_read(service):
    """An answer may repeat the message. Mutants: masked in the list only; an empty one masked."""
    await service.sms()
    await service.settled(refuses, "log")
    await service.settled(fails, "crm")

    for whole in (False, True):
        path = f"/v1/deliveries/{service.named(1)}" if whole else "/v1/deliveries"

        answers = {
            key: (await service.ask(path, key)).json() for key in ("reader", "coder", "admin")
        }

        shown = {
            key: [
                attempt["answer"]
                for delivery in answer.get("data", [answer])
                for attempt in delivery["attempts"]
            ]
            for key, answer in answers.items()
        }
        clear = "no place for ZQ7-4711\ufffd"
        expected = {"reader": ["***", None], "coder": [clear, None], "admin": [clear, None]}
        assert shown == {key: value[: len(shown["reader"])] for key, value in expected.items()}
        assert "ZQ7" not in json.dumps(answers["reader"])


FILTERS = {
    "state=failing": "5",
    "state=failing&state=dead": "15",
    "source=tellabot&state=dead": "1",
    "source=herosms": "",
    "since=1s": "5678",
    "until=1s": "1234",
    "": "12345678",
    "state=pending": "578",
    "state=sending": "",
    "state=delivered": "36",
    "state=dead": "1",
    "state=expired": "24",
    "state=dead&state=expired": "124",
    "state=delivered&state=dead": "136",
    "state=dead&state=dead": "1",
    "sink=crm": "2468",
    "sink=log&sink=crm": "12345678",
    "sink=gone": "",
    "event={1}": "12",
    "event={1}&event={5}": "1256",
    "event=none": "",
    "event={5}&sink=crm": "6",
    "event={5}&sink=crm&state=dead": "",
    "sink=log&state=pending&state=dead": "157",
}


async def test_filter_finds_matching_deliveries(service):
    """Mutants: only the last of several values; two filters that are `or`."""
    events = await every_state(service)
    queries = {query: re.sub("{(.)}", lambda id_: events[id_[1]], query) for query in FILTERS}

    found = {
        query: service.numbered(await service.data(f"/v1/deliveries?{q}"))
        for query, q in queries.items()
    }

    assert {d["id"]: d["state"] for d in found[""]} == STATES
    assert {d["id"]: d["event"] for d in found[""]} == events
    assert {query: "".join(d["id"] for d in data) for query, data in found.items()} == FILTERS


#: The new deliveries of a later event, by the query of a list.
NEWS = {
    "order=asc": ["9", "10"],
    "order=asc&sink=log": ["9"],
    "order=asc&state=delivered&state=expired": [],
    "order=desc": [],
    "order=desc&sink=log": [],
    "order=desc&state=delivered&state=expired": [],
}


async def test_pages_go_both_ways(service):
    """Mutant: a page that begins with the last of the one before."""
    await every_state(service)
    ends = {}
    for query in NEWS:
        listed = service.numbered(await service.data(f"/v1/deliveries?{query}"))
        everything = [d["id"] for d in listed]

        found, after = [], ""
        while True:
            page = (await service.ask(f"/v1/deliveries?limit=3&{query}{after}")).json()
            found.append([d["id"] for d in service.numbered(page["data"])])
            after = f"&after={page['next_cursor']}"
            if not page["has_more"]:
                break

        assert found == [everything[i : i + 3] for i in range(0, len(everything), 3)]
        assert everything == sorted(everything, reverse="desc" in query)
        ends[query] = f"/v1/deliveries?{query}{after}"

    await service.sms()
    later = {query: service.numbered(await service.data(end)) for query, end in ends.items()}
    assert {query: [d["id"] for d in data] for query, data in later.items()} == NEWS


NO_IDS = [
    "abc",
    "0",
    "-1",
    "01",
    "1.0",
    "+1",
    "%D9%A1",
    "1",  # as they were named before
    "0" * 32,
    "F" * 32,
    "999999999999999999",
    "9999999999999999999999",
    "9" * 5000,
]


async def test_invalid_delivery_id_is_not_found(service):
    """Mutants: texts that only Python reads as numbers; numbers that SQLite cannot store; ids that
    are numbers, and show how many deliveries there are."""
    await service.sms()

    for id_ in NO_IDS:
        answers = [
            await service.ask(f"/v1/deliveries/{id_}"),
            await service.ask(f"/v1/deliveries/{id_}/retry", method="POST"),
        ]

        assert [(a.status_code, a.json()["code"], a.json()["detail"]) for a in answers] == [
            (404, "not_found", "no such delivery")
        ] * 2


# Retries


async def test_retry_makes_an_undelivered_delivery_due(service):
    """Mutant: a retry ignores pending or expired deliveries."""
    await every_state(service)
    service.now += 0.5

    for id_ in (i for i, s in STATES.items() if s in ("pending", "dead", "expired")):
        before = await shown(service, id_)

        answer = await retried(service, id_)

        now = "2026-09-21T14:14:20.750000Z"
        assert answer.status_code == 200
        assert answer.json() == before | {
            "state": "pending",
            "waits_for": "slot",
            "next_at": now,
            "accepted_at": now,
            "attempts": [
                attempt | {"answer": attempt["answer"] and "***"} for attempt in before["attempts"]
            ],
        }
        assert (await shown(service, id_))["state"] == "pending"


async def test_retried_delivery_is_pending_until_its_sink_takes_it(service, monkeypatch):
    """Mutant: the worker is woken first, and the answer says `delivered`."""
    await service.sms()
    await service.settled(refuses)
    ask = service.journal.ask

    async def ask_late(read):
        if isinstance(read, DeliveryById):
            await asyncio.sleep(0.1)
        return await ask(read)

    monkeypatch.setattr(service.journal, "ask", ask_late)
    async with service.delivering(takes):
        answer = await retried(service, "1")
        await service.became("1", "delivered")

    assert answer.json()["state"] == "pending"


async def test_retried_delivery_is_sent_at_once(service):
    """A worker that sleeps is woken. Mutant: without waking, it sleeps on."""
    await service.sms()
    await service.settled(refuses)

    async with service.delivering(takes):
        await retried(service, "1")
        await service.became("1", "delivered")

    attempts = (await shown(service, "1"))["attempts"]
    assert [attempt["outcome"] for attempt in attempts] == ["refused", "delivered"]


async def retry_many(service, key="writer", **wanted):
    answer = await service.ask("/v1/deliveries/retry", key, method="POST", json=wanted)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_all_that_match_are_retried(service):
    """Mutants: only a page of them; those of another sink; a delivered one is due."""
    events = await every_state(service)
    before = await service.data("/v1/deliveries")
    wanted = {"state": ["dead", "expired", "failing"], "sink": ["log"]}

    counted = await retry_many(service, **wanted, dry_run=True)
    unchanged = await service.data("/v1/deliveries")
    service.now += 1
    done = await retry_many(service, **wanted)
    after = service.numbered(await service.data("/v1/deliveries"))

    first = await service.ask(f"/v1/events/{events['1']}")
    assert unchanged == before
    assert counted == {
        "dry_run": True,
        "matched": 2,
        "has_more": False,
        "retried": 2,
        "sinks": {"log": 2},
        "oldest": first.json()["event"]["recordedtime"],
        "left_out": {},
    }
    assert done == counted | {"dry_run": False}
    assert {one["id"]: one["state"] for one in after} == STATES | {"1": "pending"}
    assert [one["waits_for"] for one in after if one["id"] in "15"] == ["slot", "slot"]


async def test_retry_of_many_leaves_out_delivered_ones(service):
    """Mutants: an unknown id is an error; the filter beside `ids` is used."""
    await every_state(service)
    ids = [service.named(id_) for id_ in ("1", "2", "3")]

    named = {"ids": [*ids, "0" * 32, "none"], "sink": ["log"]}
    counted = await retry_many(service, **named, dry_run=True)
    done = await retry_many(service, **named)

    assert counted == done | {"dry_run": True}
    assert (done["matched"], done["retried"]) == (3, 2)
    assert (done["sinks"], done["left_out"]) == ({"log": 1, "crm": 1}, {"delivered": 1})


async def test_retry_of_many_is_bounded_and_says_so(service, monkeypatch):
    """Mutants: no bound; `has_more` is false; the newest first."""
    await every_state(service)
    monkeypatch.setattr("server.api.retries.MOST", 2)

    done = await retry_many(service)
    again = await retry_many(service)
    states = {
        one["id"]: one["state"] for one in service.numbered(await service.data("/v1/deliveries"))
    }

    assert [(one["matched"], one["has_more"]) for one in (done, again)] == [(2, True), (1, False)]
    assert states == STATES | {"1": "pending", "2": "pending", "4": "pending"}


@pytest.mark.parametrize(
    "wanted",
    [
        {"state": ["delivered"]},
        {"state": []},
        {"state": "dead"},
        {"sink": "log"},
        {"ids": []},
        {"sink": []},
        {"source": []},
        {"since": "1h", "until": "2h"},
        {"all": 1},
    ],
)
async def test_retry_of_many_refuses_a_wrong_body(service, wanted):
    """Mutants: no state means every delivery, and no sink any; `delivered` is a state to retry."""
    await every_state(service)
    before = await service.data("/v1/deliveries")

    answer = await service.ask("/v1/deliveries/retry", "writer", method="POST", json=wanted)

    assert (answer.status_code, answer.json()["code"][:4]) == (400, "bad_")
    assert await service.data("/v1/deliveries") == before


async def test_text_in_place_of_a_list_is_said_to_be_none(service):
    """Mutants: its only word is said to be unknown, or a name to be empty."""
    details = {}
    for wanted in ({"state": "dead"}, {"sink": "log"}, {"sink": [""]}, {"state": ["lost"]}):
        answer = await service.ask("/v1/deliveries/retry", "writer", method="POST", json=wanted)
        details[str(wanted)] = answer.json()["detail"]

    assert list(details.values()) == [
        "state: write a list of one or more states, or leave it out",
        'sink: write a list, such as ["NAME"]',
        "sink: empty; write a value, or leave it out",
        "state: write one of pending, dead, expired, failing",
    ]


async def sent_to(service, sink="gone", key="writer", **wanted):
    path = f"/v1/sinks/{sink}/send"
    return await service.ask(path, key, method="POST", json={"to": "crm"} | wanted)


async def test_pending_events_are_sent_to_another_sink(run, tmp_path, monkeypatch):
    """Each event is sent once, the oldest first, and the old deliveries stay.

    Mutants: events that the other sink has; later ones than `until`; more than the bound; a dry run
    that sends; an order without the event's value.
    """
    crm = File(path=str(tmp_path / "crm.jsonl"), ordered_by="data.to")
    sinks = {"log": File(path=str(tmp_path / "log.jsonl")), "crm": crm}
    monkeypatch.setattr("server.api.send.MOST", 2)
    async with run(tmp_path, sinks=sinks, routes={"all": Route(to=("log",))}) as service:
        events = []
        for _ in range(4):
            events.append(await service.sms())
            service.now += 1
        until = rfc3339(service.now - 0.5)
        events.append(await service.sms())
        for event_id in (events[0], *events):  # the first one twice
            await service.journal.submit(ReplayEvent(event_id, (owed("gone"),), at=service.now))
        await service.journal.submit(ReplayEvent(events[0], (owed("crm"),), at=service.now))
        before = await service.data("/v1/deliveries", sink="gone")

        async def got():
            return [one["event"] for one in await service.data("/v1/deliveries", sink="crm")]

        counted = (await sent_to(service, until=until, dry_run=True)).json()
        assert await got() == events[:1]
        done = [(await sent_to(service, until=until)).json() for _ in range(3)]
        recorded = await service.ask(f"/v1/events/{events[1]}")

        assert counted == done[0] | {"dry_run": True}
        assert done[0] == {
            "dry_run": False,
            "owed": 6,
            "sent": 2,
            "has_more": True,
            "oldest": recorded.json()["event"]["recordedtime"],
        }
        assert [(one["sent"], one["has_more"]) for one in done[1:]] == [(1, False), (0, False)]
        assert await got() == events[:4]
        assert await service.data("/v1/deliveries", sink="gone") == before
        waits = [one["waits_for"] for one in await service.data("/v1/deliveries", sink="crm")]
        assert waits.count("order") == 2  # the first was planned by this test, without an order


@pytest.mark.parametrize(
    ("sink", "wanted", "status", "code"),
    [
        ("none", {}, 404, "not_found"),
        ("log", {"to": "none"}, 422, "unknown_sink"),
        ("log", {"to": "log"}, 400, "bad_body"),
        ("log", {"to": ""}, 400, "bad_body"),
        ("log", {"sinks": ["x"]}, 400, "bad_body"),
    ],
)
async def test_wrong_send_is_refused(service, sink, wanted, status, code):
    """A sink without pending deliveries is known. Mutant: it is unknown."""
    nothing = await sent_to(service, "log")
    await service.sms()

    answer = await sent_to(service, sink, **wanted)

    assert (nothing.status_code, nothing.json()["sent"]) == (200, 0)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_delivered_delivery_is_not_retried(service):
    """Mutant: 409, but the delivery becomes due."""
    await every_state(service)
    before = await service.data("/v1/deliveries")
    stats = (await service.ask("/v1/stats")).json()

    for id_ in ("3", "6"):
        answer = await retried(service, id_)

        assert (answer.status_code, answer.json()["code"]) == (409, "already_delivered")
        assert await service.data("/v1/deliveries") == before
        assert (await service.ask("/v1/stats")).json() == stats


async def test_sending_delivery_has_an_attempt_under_way(run, tmp_path):
    """Mutant: a delivery in the queue is `sending` and cannot be retried."""
    arrived, ends = asyncio.Queue(), asyncio.Event()

    async def hangs(outgoing):
        arrived.put_nowait(outgoing.event_id)
        await ends.wait()
        return Receipt(status=200)

    sinks = {"log": File(path=str(tmp_path / "events.jsonl"), concurrency=2)}
    async with run(tmp_path, sinks=sinks, routes={"all": Route(to=("log",))}) as service:
        for _ in range(3):
            await service.sms()
        async with service.delivering(hangs):
            for _ in range(2):
                await arrived.get()
            listed = await service.data("/v1/deliveries")
            sending = await service.data("/v1/deliveries", state="sending")
            pending = await service.data("/v1/deliveries", state="pending")
            stats = (await service.ask("/v1/stats")).json()["deliveries"]
            refused, again = await retried(service, "1"), await retried(service, "3")
            ends.set()
            await service.became("3", "delivered")

    assert [(one["state"], one["waits_for"]) for one in listed] == [
        ("sending", None),
        ("sending", None),
        ("pending", "slot"),
    ]
    assert (sending, pending) == (listed[:2], listed[2:])
    assert (stats["sending"], stats["pending"]) == (2, 1)
    assert (refused.status_code, refused.json()["code"]) == (409, "being_sent")
    assert (again.status_code, again.json()["waits_for"]) == (200, "slot")


async def test_pending_delivery_says_what_it_waits_for(run, tmp_path):
    """Mutants: one reason for all; a later delivery of a paused sink waits for its retry."""
    file = {"path": str(tmp_path / "events.jsonl")}
    sinks = {
        "log": File(**file, ordered_by="data.service.key"),
        "slow": File(**file, rate=Rate(1, 3600)),
        "crm": File(**file),
    }
    routes = {"all": Route(to=tuple(sinks))}
    async with run(tmp_path, sinks=sinks, routes=routes) as service:
        for _ in range(2):
            await service.sms(service="Google")
        await service.settled(fails, "log")
        async with service.delivering(takes, "slow"):
            await service.became("2", "delivered")
            waits = [one["waits_for"] for one in await service.data("/v1/deliveries")]
        await service.ask("/v1/sinks/log/pause", "writer", method="POST")
        paused = [one["waits_for"] for one in await service.data("/v1/deliveries", sink="log")]
        event = (await service.ask(f"/v1/events/{await service.sms()}")).json()
    async with run(tmp_path, sinks={}, routes={}) as service:
        gone = {one["waits_for"] for one in await service.data("/v1/deliveries", state="pending")}

    assert waits == ["retry", None, "slot", "order", "rate", "slot"]
    assert paused == ["pause", "pause"]
    assert [one["waits_for"] for one in event["deliveries"]] == ["pause", "rate", "slot"]
    assert gone == {"pause"}


async def test_probe_is_shown_with_its_number_and_a_count(service):
    """Mutants: a row for each probe; no row; another number than the next attempt."""
    await service.sms()
    await service.settled(fails, "log")
    for n in range(3):
        [probe] = await service.journal.submit(Probe("log"))
        tried = Attempt(at=1.0 + n, outcome="failed", error="timeout", took_ms=2.0, probes=1)
        await service.journal.submit(Settle(probe, tried, State.PENDING, due_at=probe.due_at))
    await retried(service, "1")
    async with service.delivering(takes):
        await service.became("1", "delivered")

    attempts = (await shown(service, "1"))["attempts"]

    assert [(one["number"], one["probe"], one["count"], one["outcome"]) for one in attempts] == [
        (1, False, 1, "failed"),
        (2, True, 3, "failed"),
        (2, False, 1, "delivered"),
    ]
    assert attempts[1]["at"] == "1970-01-01T00:00:03Z"


async def test_delivery_to_a_removed_sink_can_be_retried(run, tmp_path):
    """It waits for a sink of that name. Mutant: a missing worker is woken."""
    async with run(tmp_path) as service:
        await service.sms()
        await service.settled(refuses)
    async with run(tmp_path, sinks={}, routes={}) as service:
        answer = await retried(service, "1")

    assert (answer.status_code, answer.json()["state"]) == (200, "pending")


# Replays


async def test_replay_makes_a_delivery_for_each_first_sink(service):
    """Earlier replays do not count. Mutant: a delivery for each earlier delivery."""
    event_id = await service.sms()
    service.now += 5

    answers = [await replayed(service, event_id, body) for body in (None, {}, {"sinks": None})]

    assert [(a.status_code, service.numbered(a.json())) for a in answers] == [
        (200, {"deliveries": ["3", "4"]}),
        (200, {"deliveries": ["5", "6"]}),
        (200, {"deliveries": ["7", "8"]}),
    ]
    made = [await shown(service, id_) for id_ in "345678"]
    assert [(d["sink"], d["event"], d["replay"], d["accepted_at"]) for d in made] == [
        (sink, event_id, True, "2026-09-21T14:13:25.250000Z") for sink in ("log", "crm") * 3
    ]


async def test_preview_shows_the_request_with_codes_masked(service):
    """Also for keys that read codes: nothing is recorded as read.

    Mutants: the codes in clear; it sends; no `events:read` is needed.
    """
    path = f"/v1/events/{await service.sms()}/preview"
    before = await service.data("/v1/deliveries")

    shown = (await service.ask(f"{path}?sink=log")).json()
    event = json.loads(shown["request"])

    assert "log" == shown["sink"]
    assert (service.number, "***", "***") == (
        event["data"]["to"].removeprefix("+"),
        event["data"]["text"],
        event["data"]["code"],
    )
    assert before == await service.data("/v1/deliveries")
    statuses = [
        (await service.ask(f"{path}{query}", key)).status_code
        for query, key in (("", "admin"), ("?sink=none", "admin"), ("?sink=log", "writer"))
    ]
    assert [400, 422, 403] == statuses
    gone = "/v1/events/none/preview?sink=log"
    assert 404 == (await service.ask(gone)).status_code


async def test_replay_is_sent_at_once_with_the_event_id(service):
    sent = []

    async def send(outgoing):
        sent.append((outgoing.event_id, outgoing.attempt, outgoing.replay))
        return Receipt()

    event_id = await service.sms()
    await service.settled(send)
    await replayed(service, event_id, {"sinks": ["log"]})
    await service.settled(send)

    assert sent == [(event_id, 1, False), (event_id, 1, True)]
    assert (await shown(service, "1"))["state"] == "delivered"


async def test_replay_goes_to_the_named_sinks(run, tmp_path):
    """Also to a sink without an earlier delivery. A sink that is named twice gets one.

    Mutants: two deliveries; a replayed delivery counts as a first one.
    """
    names = ("log", "new")
    sinks = {name: File(path=str(tmp_path / name)) for name in names}
    async with run(tmp_path, sinks=sinks) as service:
        event_id = await service.sms()
        answer = await replayed(service, event_id, {"sinks": ["new", "log", "new"]})
        unnamed = await replayed(service, event_id)
        made = service.numbered(await service.data("/v1/deliveries"))

    assert service.numbered(answer.json()) == {"deliveries": ["2", "3"]}
    assert service.numbered(unnamed.json()) == {"deliveries": ["4"]}
    assert [(d["id"], d["sink"], d["replay"]) for d in made] == [
        ("1", "log", False),
        ("2", "new", True),
        ("3", "log", True),
        ("4", "log", True),
    ]


async def test_replay_skips_removed_sinks(run, tmp_path):
    """Mutants: the replay is refused; a delivery for the removed sink."""
    async with run(tmp_path) as service:
        event_id = await service.sms()
    async with run(tmp_path, sinks={"new": File(path="new.jsonl")}, routes={}) as service:
        missing = await replayed(service, event_id)
        named = await replayed(service, event_id, {"sinks": ["log"]})
        stats = (await service.ask("/v1/stats")).json()["deliveries"]

    assert (missing.status_code, missing.json()) == (200, {"deliveries": []})
    assert (named.status_code, named.json()["code"]) == (422, "unknown_sink")
    assert sum(stats.values()) == 1


async def test_unrouted_event_is_replayed_to_named_sinks(run, tmp_path):
    async with run(tmp_path, routes={}) as service:
        event_id = await service.sms()
        answers = [await replayed(service, event_id, body) for body in (None, {"sinks": ["log"]})]

    made = [service.numbered(answer.json()) for answer in answers]
    assert made == [{"deliveries": []}, {"deliveries": ["1"]}]


async def test_replay_to_an_unknown_sink_makes_nothing(service):
    """Mutant: the sinks named before it get a delivery."""
    event_id = await service.sms()
    stats = (await service.ask("/v1/stats")).json()

    answer = await replayed(service, event_id, {"sinks": ["log", "crn", "x" * 100, "crm"]})

    assert (answer.status_code, answer.json()["code"]) == (422, "unknown_sink")
    assert answer.json()["detail"] == f"sinks: no sink is named 'crn', '{'x' * 40}…'"
    assert (await service.ask("/v1/stats")).json() == stats


BAD_BODIES = [
    b"{",
    b"null",
    b"[]",
    b'"log"',
    b"sinks=log",
    b'{"sinks": "log"}',
    b'{"sinks": [1]}',
    b'{"sinks": {}}',
    b'{"sinks": []}',
    b'{"sink": ["log"]}',
    b'{"sinks": ["log"], "dry_run": true}',
    b'{"sinks": ["\\ud800"]}',
    b'{"sinks": ["\xff"]}',
    b"[" * 100_000,
]


async def test_replay_with_a_bad_body_makes_nothing(service):
    """Mutants: an unknown field is ignored; an empty list means all."""
    event_id = await service.sms()
    stats = (await service.ask("/v1/stats")).json()

    for body in BAD_BODIES:
        answer = await replayed(service, event_id, body)

        assert (answer.status_code, answer.json()["code"]) == (400, "bad_body"), body[:40]
        assert "sinks" in answer.json()["detail"]
        assert (await service.ask("/v1/stats")).json() == stats


async def test_missing_event_is_not_replayed(service):
    for event_id in ("none", "1", "01931c5e-0000-7000-8000-000000000000"):
        answer = await replayed(service, event_id)

        assert (answer.status_code, answer.json()["detail"]) == (404, "no such event")


async def test_key_cannot_replay_a_hidden_event(run, tmp_path):
    """The event seems to be missing. Mutant: the `when` of the key is ignored."""
    async with run(tmp_path) as service:
        seen, hidden = await service.sms(), await service.hero()
        answers = {
            id_: await service.ask(f"/v1/events/{id_}/replay", "boss", method="POST")
            for id_ in (seen, hidden)
        }
        made = await service.data("/v1/deliveries")

    assert [answer.status_code for answer in answers.values()] == [200, 404]
    assert answers[hidden].json()["detail"] == "no such event"
    assert [(d["event"], d["replay"]) for d in made] == [
        (seen, False),
        (hidden, False),
        (seen, True),
    ]
