import asyncio
import json

import pytest

from core.secret import Secret
from core.units import Rate
from journal.reads import SinkRecords
from journal.writes import PauseSink
from routes.table import Route
from server.api.shown_sinks import is_public
from sinks.file.sink import File
from sinks.http.sink import Http
from sinks.sink import Failed, PauseAfter, Receipt, Refused

from .conftest import until

IDLE = {
    "name": "log",
    "type": "file",
    "state": "active",
    "paused_by": None,
    "paused_at": None,
    "owed": 0,
    "codes": "clear",
    "is_public": None,
    "failing_since": None,
    "last_success_at": None,
    "last_error": None,
}


class Sent(list):
    """A sink that accepts everything and keeps the sent events. It answers while it is `open`."""

    def __init__(self):
        self.open = asyncio.Event()
        self.open.set()

    async def __call__(self, outgoing):
        self.append(outgoing)
        await self.open.wait()
        return Receipt(status=200, answer=b"thanks for 4711")

    @property
    def ids(self):
        return [outgoing.event_id for outgoing in self]


async def fails(_outgoing):
    raise Failed("refused", status=503, answer=b"not now, 4711")


async def refuses(_outgoing):
    raise Refused("gone", status=410)


async def sinks(service):
    """Return the sinks by name, without their oldest delivery."""
    listed = {sink["name"]: sink for sink in await service.data("/v1/sinks")}
    for sink in listed.values():
        del sink["oldest"]
    return listed


def steered(service, verb, name="log", key="writer"):
    return service.ask(f"/v1/sinks/{name}/{verb}", key, method="POST")


async def stats(service):
    return (await service.ask("/v1/stats")).json()


# State


async def test_sinks_are_listed_as_configured(run, tmp_path):
    configured = {name: File(path=str(tmp_path / name)) for name in ("log", "crm", "a")}
    async with run(tmp_path, sinks=configured, routes={}) as service:
        listed = await service.data("/v1/sinks")

    assert listed == [IDLE | {"name": name, "oldest": None} for name in ("log", "crm", "a")]


async def test_sink_shows_last_success_and_pending_deliveries(service):
    await service.sms()
    await service.settled(Sent())
    service.now += 1
    await service.sms()

    assert await sinks(service) == {
        "log": IDLE | {"owed": 1, "last_success_at": "2026-09-21T14:13:20.250000Z"}
    }


async def test_failing_sink_shows_its_time_and_error(service):
    """Mutants: `owed` without waiting deliveries; the last error of another sink."""
    await service.sms()
    await service.settled(fails)
    service.now += 0.25
    await service.sms()
    await service.settled(fails)

    assert await sinks(service) == {
        "log": IDLE
        | {
            "state": "failing",
            "owed": 2,
            "failing_since": "2026-09-21T14:13:20.250000Z",
            "last_error": {"at": "2026-09-21T14:13:20.500000Z", "error": "refused", "status": 503},
        }
    }


async def test_success_ends_failing_and_keeps_the_error(service):
    await service.sms()
    await service.settled(fails)
    service.now += 0.25
    await service.sms()
    await service.settled(Sent())

    shown = (await sinks(service))["log"]

    assert (shown["state"], shown["failing_since"]) == ("active", None)
    assert shown["last_success_at"] == "2026-09-21T14:13:20.500000Z"
    assert shown["last_error"]["at"] == "2026-09-21T14:13:20.250000Z"


async def test_refusal_does_not_make_a_sink_failing(service):
    await service.sms()
    await service.settled(refuses)

    shown = (await sinks(service))["log"]

    assert (shown["state"], shown["owed"], shown["failing_since"]) == ("active", 0, None)
    assert shown["last_error"]["error"] == "gone"


async def test_removed_sink_with_deliveries_is_listed_as_gone(run, tmp_path):
    """Listed after the configured sinks. Mutants: not listed; pausing it pauses another."""
    async with run(tmp_path) as service:
        await service.sms()
        await service.settled(fails)
        await steered(service, "pause")
    async with run(tmp_path, sinks={"new": File(path="new.jsonl")}, routes={}) as service:
        shown = await service.data("/v1/sinks")
        steering = [
            await steered(service, verb, key="admin") for verb in ("test", "pause", "resume")
        ]

    new, gone = shown
    assert new == IDLE | {"name": "new", "oldest": None}
    assert gone.pop("oldest")["accepted_at"] == "2026-09-21T14:13:20.250000Z"
    assert gone == IDLE | {
        "type": None,
        "state": "gone",
        "paused_by": "operator",
        "paused_at": "2026-09-21T14:13:20.250000Z",
        "owed": 1,
        "codes": None,
        "failing_since": "2026-09-21T14:13:20.250000Z",
        "last_error": {"at": "2026-09-21T14:13:20.250000Z", "error": "refused", "status": 503},
    }
    assert [(a.status_code, a.json()["detail"]) for a in steering] == [(404, "no such sink")] * 3


async def test_sink_shows_its_oldest_delivery(service):
    """Mutants: the newest; the first attempt before one that was retried."""
    for _ in range(2):
        await service.sms()
        service.now += 1
    oldest = (await service.data("/v1/sinks"))[0]["oldest"]
    first = await service.ask(f"/v1/deliveries/{oldest['delivery']}")

    assert first.json()["accepted_at"] == oldest["accepted_at"] == "2026-09-21T14:13:20.250000Z"


async def test_sink_shows_masked_options_and_counts(run, tmp_path):
    """Mutants: a URL, a header or a body in clear; the counts of another sink."""
    crm = Http(
        url=Secret("https://crm.example.com/hook/T0K3N"),
        headers={"Authorization": Secret("Bearer T0K3N")},
        json={"token": "T0K3N"},
        rate=Rate(5, 60),
    )
    log = File(path="log.jsonl", redact="codes")
    async with run(tmp_path, sinks={"crm": crm, "log": log}) as service:
        await service.sms()
        await service.settled(fails, "log")
        whole = (await service.ask("/v1/sinks/crm", "reader")).json()
        other = (await service.ask("/v1/sinks/log", "reader")).json()
        unknown = await service.ask("/v1/sinks/none", "reader")

    options = whole["options"]
    assert {name: options[name] for name in ("url", "headers", "json", "rate")} == {
        "url": "***",
        "headers": {"Authorization": "***"},
        "json": "***",
        "rate": "5/m",
    }
    assert "T0K3N" not in json.dumps(whole)
    assert (whole["codes"], whole["is_public"], whole["attempts"]) == ("masked", True, [])
    assert (other["codes"], other["is_public"], other["options"]["path"]) == (
        "masked",
        None,
        "log.jsonl",
    )
    assert other["attempts"] == [{"outcome": "failed", "error": "refused", "count": 1}]
    assert other["statuses"] == {"503": 1}
    assert unknown.status_code == 404


@pytest.mark.parametrize(
    ("url", "outside"),
    [
        ("https://crm.example.com/hook", True),
        ("https://8.8.8.8/hook", True),
        ("http://127.0.0.1:9000/hook", False),
        ("http://[::1]/hook", False),
        ("http://10.0.0.7/hook", False),
        ("http://crm/hook", False),
        ("http://crm.internal/hook", False),
    ],
)
def test_public_url_leads_out_of_private_networks(url, outside):
    """Mutants: a container's name is public; only loopback is private."""
    assert is_public(Http(url=Secret(url))) is outside


async def test_removed_sink_without_deliveries_is_not_listed(run, tmp_path):
    """Mutant: every name that was ever paused or failed is listed."""
    async with run(tmp_path) as service:
        await service.sms()
        await service.settled(Sent())
        await steered(service, "pause")
    async with run(tmp_path, sinks={}, routes={}) as service:
        shown = await sinks(service)

    assert shown == {}


async def test_sinks_are_listed_in_pages(run, tmp_path):
    names = [f"s{number}" for number in range(5)]
    configured = {name: File(path=name) for name in names}
    async with run(tmp_path, sinks=configured, routes={}) as service:
        first = (await service.ask("/v1/sinks?limit=2")).json()
        after = {"after": first["next_cursor"], "limit": 2}
        second = await service.data("/v1/sinks", **after)
        backwards = await service.data("/v1/sinks", order="desc", limit=2)

    found = [[sink["name"] for sink in page] for page in (first["data"], second, backwards)]
    assert found == [["s0", "s1"], ["s2", "s3"], ["s4", "s3"]]
    assert first["has_more"] is True


async def test_unknown_sink_is_not_found(service):
    """Mutant: a pause is stored for any name."""
    for name in ("nobody", "LOG", "log%20", "log%00", "a" * 5000):
        for verb in ("test", "pause", "resume"):
            answer = await steered(service, verb, name, "admin")

            assert (answer.status_code, answer.json()["code"]) == (404, "not_found"), name[:40]
            assert await service.journal.ask(SinkRecords()) == {}


# A sample to one sink


async def test_test_of_a_sink_shows_request_and_answer(service):
    sent = Sent()

    async with service.delivering(sent):
        answer = await steered(service, "test", key="admin")

    [outgoing] = sent
    event = json.loads(outgoing.body)
    assert answer.status_code == 200
    assert answer.json() == {
        "outcome": "delivered",
        "status": 200,
        "error": None,
        "took_ms": 0.0,
        "request": outgoing.body.decode(),
        "answer": "thanks for 4711",
    }
    assert (event["id"], event["source"]) == (outgoing.event_id, "tellabot")
    assert event["data"]["sample"] is True
    assert (outgoing.attempt, outgoing.replay) == (1, False)


async def test_test_of_a_sink_records_nothing(service):
    """No event, no delivery, no change of the sink's state. Mutant: a recorded sample."""
    before = await stats(service), await sinks(service)

    for send in (Sent(), fails, refuses):
        async with service.delivering(send):
            await steered(service, "test")

        assert (await stats(service), await sinks(service)) == before
        assert await service.data("/v1/events") == []


async def test_failed_test_of_a_sink_names_the_error(service):
    async with service.delivering(fails):
        answer = (await steered(service, "test", key="admin")).json()

    del answer["request"]
    assert answer == {
        "outcome": "failed",
        "status": 503,
        "error": "refused",
        "took_ms": 0.0,
        "answer": "not now, 4711",
    }


async def test_answer_to_a_test_is_masked_without_codes_read(service):
    """Mutant: shown to every key that may test."""
    async with service.delivering(Sent()):
        answer = (await steered(service, "test", key="writer")).json()

    assert answer["answer"] == "***"


async def test_test_of_a_sink_is_redacted_like_events(run, tmp_path):
    """Mutant: the sample without redaction."""
    sent, masking = Sent(), File(path="x", redact="people")
    async with run(tmp_path, sinks={"log": masking}) as service, service.delivering(sent):
        answer = (await steered(service, "test")).json()

    data = json.loads(answer["request"])["data"]
    assert {data[name] for name in ("to", "from", "text", "code")} == {"***"}
    assert sent[0].body.decode() == answer["request"]


async def test_paused_sink_can_be_tested(service):
    sent = Sent()
    async with service.delivering(sent):
        await steered(service, "pause")
        event_id = await service.sms()
        answer = (await steered(service, "test")).json()

    assert answer["outcome"] == "delivered"
    assert len(sent) == 1
    assert event_id not in sent.ids
    assert (await sinks(service))["log"]["state"] == "paused"


async def test_closed_sink_refuses_a_sample(service):
    answer = (await steered(service, "test")).json()

    assert (answer["outcome"], answer["error"]) == ("failed", "closed")


async def test_without_a_source_there_is_no_sample(run, tmp_path):
    async with run(tmp_path, sources={}) as service:
        answer = await steered(service, "test")

    assert (answer.status_code, answer.json()["code"]) == (409, "no_source")


# Pausing


async def test_paused_sink_gets_nothing_and_keeps_deliveries(service):
    """Deliveries in the queue are given back. Mutant: they are sent."""
    begun = await service.sms()

    answer = await steered(service, "pause")
    await service.became("1", "pending")
    sent = Sent()
    async with service.delivering(sent):
        while_paused = await service.sms()
        await asyncio.sleep(0.1)
        held = await service.data("/v1/deliveries")
        shown = await sinks(service)
        unsent = list(sent)
        sent.open.clear()
        resumed = await steered(service, "resume")
        sent.open.set()
        await service.became("1", "delivered")
        await service.became("2", "delivered")

    paused = {
        "state": "paused",
        "paused_by": "operator",
        "paused_at": "2026-09-21T14:13:20.250000Z",
    }
    assert answer.json() | {"oldest": 0} == IDLE | paused | {"owed": 1, "oldest": 0}
    assert [(d["state"], d["attempts"]) for d in held] == [("pending", []), ("pending", [])]
    assert shown == {"log": IDLE | paused | {"owed": 2}}
    assert unsent == []
    assert resumed.json() | {"oldest": 0} == IDLE | {"owed": 2, "oldest": 0}
    assert sorted(sent.ids) == sorted([begun, while_paused])


async def test_pause_holds_after_a_stall(service):
    """Its call got 503. Mutant: only the caller's task changes the memory."""
    answer = await service.stalled(PauseSink, steered(service, "pause"))

    async def is_paused():
        return (await sinks(service))["log"]["state"] == "paused"

    await until(is_paused)
    assert answer.status_code == 503


async def test_pausing_twice_changes_nothing(service):
    answers = [
        await steered(service, verb) for verb in ("resume", "pause", "pause", "resume", "resume")
    ]

    assert [(a.status_code, a.json()["state"]) for a in answers] == [
        (200, "active"),
        (200, "paused"),
        (200, "paused"),
        (200, "active"),
        (200, "active"),
    ]


async def test_paused_sink_does_not_delay_others(run, tmp_path):
    configured = {name: File(path=str(tmp_path / name)) for name in ("log", "crm")}
    routes = {"all": Route(to=("log", "crm"))}
    async with run(tmp_path, sinks=configured, routes=routes) as service:
        await steered(service, "pause")
        await service.sms()
        await service.settled(Sent(), "crm")
        shown = await sinks(service)

    assert {name: (sink["state"], sink["owed"]) for name, sink in shown.items()} == {
        "log": ("paused", 1),
        "crm": ("active", 0),
    }


async def test_retry_and_replay_wait_for_a_paused_sink(service):
    """Mutant: a retry or a replay ignores the pause."""
    event_id, sent = await service.sms(), Sent()
    await service.settled(refuses)
    await steered(service, "pause")
    async with service.delivering(sent):
        retried = await service.ask(f"/v1/deliveries/{service.named(1)}/retry", method="POST")
        replayed = await service.ask(f"/v1/events/{event_id}/replay", method="POST")
        await asyncio.sleep(0.1)
        unsent = list(sent)
        await steered(service, "resume")
        await service.became("1", "delivered")
        await service.became("2", "delivered")

    assert retried.json()["state"] == "pending"
    assert replayed.json() == {"deliveries": [service.named(2)]}
    assert unsent == []
    assert sent.ids == [event_id, event_id]


async def test_operator_can_resume_a_sink_paused_by_failures(run, tmp_path):
    """The time of failing starts again. Mutant: the next failure pauses the sink at once."""
    log = File(path="x", pause_after=PauseAfter(failing_for=60))
    async with run(tmp_path, sinks={"log": log}) as service:
        await service.sms()
        await service.settled(fails)
        service.now += 60
        await service.sms()
        await service.settled(fails)
        paused = (await sinks(service))["log"]
        resumed = (await steered(service, "resume")).json()

    assert (paused["state"], paused["paused_by"]) == ("paused", "failing")
    assert (resumed["state"], resumed["failing_since"], resumed["paused_by"]) == (
        "active",
        None,
        None,
    )
