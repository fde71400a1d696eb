"""A service on a sealed journal: who gets what in clear, and what its files hold."""

import asyncio
import base64
import json
from urllib.parse import urlencode

import pytest
from canary import secrets_in
from period_keys import MemoryKeys

from core.secret import Secret
from journal.seal import Kind, Reason
from routes.table import Route
from server.config.options import Api, ApiKey
from sinks.file.sink import File
from sinks.sink import Failed, Receipt

NUMBER, CODE = "+18505550123", "ZQ7-918273"
SMS = {"to": NUMBER[1:], "reply": f"{CODE} is your code", "pin": CODE, "from": "18505550177"}
TEXT = SMS["reply"]
SECRETS = [NUMBER[1:], CODE, "18505550177"]


def form():
    sent = {"event": "incoming_message", "id": 1, "timestamp": 1_789_990_001, "service": "Google"}
    return urlencode(sent | SMS)


@pytest.fixture
def keys():
    return MemoryKeys()


@pytest.fixture
async def service(tmp_path, run, keys):
    async with run(tmp_path, keys=keys) as service:
        service.journal.opener.opened.clear()
        yield service


@pytest.fixture
def opened(service):
    return service.journal.opener.opened


@pytest.mark.parametrize(
    ("key", "code", "parts"), [("reader", "***", 1), ("coder", CODE, 2), ("admin", CODE, 2)]
)
async def test_key_gets_what_its_scope_opens(service, opened, key, code, parts):
    """Mutants: a masked list opens codes; a number stays masked for `events:read`; a reason is
    wrong."""
    id_ = await service.sms(**SMS)

    [listed] = await service.data("/v1/events", key)
    shown = (await service.ask(f"/v1/events/{id_}", key)).json()["event"]
    found = (await service.ask(f"/v1/events/wait?since=1h&number={NUMBER[1:]}", key)).json()
    consumed = await service.data("/v1/consumers/app/events", key)
    async with service.call("/v1/events/stream?after=start", key) as call:
        await call.begun()
        [(_, _, streamed)] = await call.frames(1)

    assert shown == listed["event"] == found["event"] == consumed[0]["event"] == streamed
    data = shown["data"]
    assert (data["to"], data["from"]) == (NUMBER, "+18505550177")
    assert (data["code"], data["text"]) == (code, TEXT if code == CODE else "***")
    reasons = (Reason.LIST, Reason.SHOW, Reason.WAIT, Reason.CONSUMER, Reason.STREAM)
    del opened[Reason.FILTER]  # the writer's index of other keys
    assert opened == dict.fromkeys(reasons, parts)


async def test_raw_callback_is_opened_for_its_call_only(service, opened):
    """Mutant: `why` opens it, too, for the channel and the peer."""
    id_ = await service.sms(**SMS)

    explained = await service.ask(f"/v1/events/{id_}/why", "coder")
    reasons = set(opened) - {Reason.FILTER}
    shown = (await service.ask(f"/v1/events/{id_}?raw=true", "coder")).json()["raw"]

    assert explained.json()["door"]["peer"] == shown["peer"] == "192.0.2.7"
    assert reasons == {Reason.EXPLAIN}
    assert CODE.encode() in base64.b64decode(shown["body"])
    assert opened[Reason.RAW] == 1


async def test_answer_of_a_sink_is_opened_for_codes_only(service, opened):
    """Mutants: the answer is opened for `events:read`; a retry shows a mask for `codes:read`."""
    await service.sms(**SMS)

    async def echo(outgoing):
        raise Failed("status", status=500, answer=outgoing.body[:50])

    await service.settled(echo)
    opened.clear()

    [masked] = await service.data("/v1/deliveries", "reader")
    [clear] = await service.data("/v1/deliveries", "coder")
    retried = await service.ask(f"/v1/deliveries/{clear['id']}/retry", "admin", method="POST")

    assert [one["answer"] for one in masked["attempts"]] == ["***"]
    answers = [one["answer"] for one in clear["attempts"]]
    assert answers[0].startswith('{"specversion"')
    assert [one["answer"] for one in retried.json()["attempts"]] == answers
    assert opened == {Reason.ANSWER: 3}  # the retry looks twice


async def test_quarantined_callback_is_shown_and_read_again(service, keys):
    """Mutants: the list opens it; a sealed callback is read without its bytes."""
    await service.post(b"event=" + CODE.encode())
    [entry] = await service.data("/v1/quarantine")
    path = f"/v1/quarantine/{entry['id']}"

    shown = (await service.ask(path)).json()
    again = (await service.ask(f"{path}/replay", method="POST")).json()
    keys.destroy(Kind.QUARANTINE)
    erased = (await service.ask(path)).json()
    replayed = (await service.ask(f"{path}/replay", method="POST")).json()

    assert CODE.encode() in base64.b64decode(shown["body"])
    assert again["reason"] == entry["reason"]
    assert (erased["body"], erased["headers"]) == (None, None)
    assert replayed["reason"] == "erased"


async def test_when_on_a_sealed_path_opens_events(service, opened):
    """Mutants: the `when` sees a mask; the key gets the code that it is matched with."""
    seen = await service.sms(**SMS | {"pin": "7712"})
    hidden = await service.sms(**SMS | {"pin": "8812"})

    answers = [await service.ask(f"/v1/events/{id_}", "guesser") for id_ in (seen, hidden)]
    [listed] = await service.data("/v1/events", "guesser")

    assert [one.status_code for one in answers] == [200, 404]
    assert answers[0].json()["event"]["data"]["code"] == "***"
    assert listed["event"]["data"]["code"] == "***"
    assert Reason.SHOW not in opened


async def test_when_on_an_erased_path_matches_nothing(service, keys, tmp_path, run):
    """Mutant: a negation matches what is erased."""
    config = Api(
        keys={
            "admin": service.config.api.keys["admin"],
            "other": ApiKey(
                key=Secret("other-key-0123456789"),
                scopes=("events:read",),
                when={"data.to": {"$ne": "+18505550199"}},
            ),
        }
    )
    id_ = await service.sms(**SMS)
    async with run(tmp_path, keys=keys, api=config) as again:
        before = await again.ask(f"/v1/events/{id_}", "other")
        keys.destroy(Kind.PEOPLE)
        after = await again.ask(f"/v1/events/{id_}", "other")

    assert (before.status_code, after.status_code) == (200, 404)


async def test_erased_event_says_so(service, keys):
    """Mutants: the fields are masks; a route on an erased field is explained by null."""
    id_ = await service.sms(**SMS)
    keys.destroy(Kind.CODES)

    for key in ("reader", "coder"):
        event = (await service.ask(f"/v1/events/{id_}", key)).json()["event"]
        data = event["data"]
        assert (data["text"], data["code"], data["to"]) == (None, None, NUMBER)
        assert event["erasedtime"] == event["recordedtime"]
        assert await service.data("/v1/events", key, code="true")


async def test_reason_of_a_route_on_an_erased_field_is_unknown(tmp_path, run, keys):
    routes = {"coded": Route(to=("log",), when={"data.code": {"$exists": True, "$ne": None}})}
    async with run(tmp_path, keys=keys, routes=routes) as service:
        id_ = await service.sms(**SMS)
        keys.destroy(Kind.CODES)
        [reason] = (await service.ask(f"/v1/events/{id_}/why")).json()["routes"]

    assert (reason["matched"], reason["matches"], reason["fails"]) == (True, None, None)


async def test_replays_keep_the_order_of_sealed_values(tmp_path, run, keys):
    """Mutants: the order is that of the masks; an event is sent with masks."""
    sinks = {"log": File(path=str(tmp_path / "events.jsonl"), ordered_by="data.to")}
    async with run(tmp_path, keys=keys, sinks=sinks) as service:
        id_ = await service.sms(**SMS)
        await service.sms(**SMS | {"to": "18505550124"})
        sent = []

        async def send(outgoing):
            sent.append(json.loads(outgoing.body))
            return Receipt()

        await service.settled(send)
        replayed = await service.ask(f"/v1/events/{id_}/replay", method="POST")
        started = await service.ask(
            "/v1/replays",
            method="POST",
            json={"since": "1h", "sinks": ["log"]},
        )
        assert (replayed.status_code, started.status_code) == (200, 202)
        await service.parts.replays._advance(started.json()["id"])
        async with service.delivering(send), asyncio.timeout(30):
            while len(sent) < 5:  # noqa: ASYNC110 - those of one value are sent one after the other
                await asyncio.sleep(0.01)

    numbers = sorted(one["data"]["to"] for one in sent)
    assert numbers == [NUMBER] * 3 + ["+18505550124"] * 2
    assert {one["data"]["code"] for one in sent} == {CODE}


async def test_dedupe_keys_need_the_key_file(tmp_path, run, keys):
    """A copy is known in the next month. Mutants: keys of the month before are not tried; the key
    is that of a journal in clear."""
    async with run(tmp_path, keys=keys) as service:
        first = await service.post(form())
        service.now += 35 * 86400
        again = await service.post(form())
        [sealed] = await service.data("/v1/events")
    (tmp_path / "clear").mkdir()
    async with run(tmp_path / "clear", in_clear="its keys are compared") as service:
        await service.post(form())
        [clear] = await service.data("/v1/events")

    assert (first["status"], again["status"]) == ("accepted", "duplicate")
    assert first["events"] == again["events"]
    assert sealed["event"]["dedupekey"] != clear["event"]["dedupekey"]


async def test_older_journal_keeps_its_dedupe_keys(tmp_path, run, keys):
    async with run(tmp_path, in_clear="it was made before") as service:
        first = await service.post(form())
    async with run(tmp_path, keys=keys, in_clear="it was made before") as service:
        again = await service.post(form())

    assert (again["status"], again["events"]) == ("duplicate", first["events"])


async def test_service_writes_no_code_and_no_number(tmp_path, run, keys, capfdbinary):
    """A code goes through each part. It may stand in `events.jsonl`, which is not redacted.

    Mutants, each tried: the body, the answer, the callback or the ordering is stored in clear.
    """
    sinks = {"log": File(path=str(tmp_path / "events.jsonl"), ordered_by="data.to")}
    async with run(tmp_path, keys=keys, sinks=sinks) as service:
        id_ = await service.sms(**SMS)
        await service.post(b"event=" + CODE.encode())
        order = {"source": "tellabot", "number": NUMBER}
        made = await service.ask("/v1/orders", method="POST", json=order)

        async def echo(outgoing):
            raise Failed("status", status=500, answer=outgoing.body[:1000])

        await service.settled(echo)
        for path in (f"/v1/events/{id_}?raw=true", "/v1/deliveries", f"/v1/events/{id_}/why"):
            await service.ask(path)
        metrics = (await service.ask("/metrics")).text
        files = [path for path in tmp_path.iterdir() if path.name != "events.jsonl"]
        during = secrets_in(files, SECRETS)
    after = secrets_in(files, SECRETS)
    logged = capfdbinary.readouterr()

    assert made.status_code == 201
    assert (during, after) == ([], [])
    assert not any(one.encode() in logged.out + logged.err for one in SECRETS)
    assert not any(one in metrics for one in SECRETS)
