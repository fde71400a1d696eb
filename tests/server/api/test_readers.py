"""Who read a code: it is on disk before the code leaves, and `who` names it."""

import asyncio
import json
import re
import tempfile
from pathlib import Path

import pytest
from examples import examples
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from services import key

from core.bucket import Bucket
from core.erasure import CODES
from core.event import secrets_of
from core.units import Rate
from journal.facts import AuditOptions
from journal.reads import AuditLines
from journal.seal import Kind, Reason
from journal.writes import RecordFacts
from server.config.options import Api, Reads
from server.runtime.readers import ACCOUNTED, WAITS_EVERY
from sinks.sink import Failed, Receipt

BEGIN = 1_790_000_000.25
CODE, NUMBER, SENDER = "ZQ7-918273", "+18505550123", "18505550177"
SMS = {"to": NUMBER[1:], "reply": f"{CODE} is your code", "pin": CODE, "from": SENDER}
SECRETS = ("text", "code")


KEYS = {
    "admin": key("admin", "admin"),
    "reader": key("reader", "events:read"),
    "coder": key("coder", "codes:read", "deliveries:write"),
    "auditor": key("auditor", "audit:read"),
    "clerk": key("clerk", "codes:reveal", reason="required"),
    "quiet": key("quiet", "codes:reveal"),
    "slow": key("slow", "codes:read", reads=Rate(2, 3600)),
    "slower": key("slower", "codes:read", reads=Reads(rate=Rate(1, 3600))),
    "growth": key("growth", "codes:read", when={"data.labels.team": "growth"}),
}


@pytest.fixture
async def service(tmp_path, run):
    audit = AuditOptions(now=lambda: BEGIN, shown=str)
    async with run(tmp_path, audit=audit, api=Api(keys=KEYS)) as service:
        yield service


async def lines(service, *, prefix=("code.", "stream.", "key.")):
    """Return the lines of readers, without number and time. None of them has a secret."""
    await service.parts.readers.settle()
    page = await service.journal.ask(AuditLines(limit=1000))
    text = b"\n".join(line for _, line in page.items).decode()
    assert not [one for one in (CODE, NUMBER[1:], SENDER, SMS["reply"]) if one in text]
    found = [json.loads(line) for _, line in page.items]
    return [
        {name: value for name, value in one.items() if name not in ("n", "at")}
        for one in found
        if one["do"].startswith(prefix)
    ]


async def echo(outgoing):
    raise Failed("status", status=500, answer=outgoing.body[:50])


class World:
    """An event with a code, an order, a delivery with an answer, and a quarantined callback."""

    def __init__(self, service):
        self.service = service

    async def fill(self):
        service = self.service
        self.event = await service.sms(**SMS, id=77)
        body = {"source": "tellabot", "request_id": "77"}
        ordered = await service.ask("/v1/orders", method="POST", json=body)
        self.order = ordered.json()["id"]
        await service.settled(echo)
        [delivery] = await service.data("/v1/deliveries", "reader")
        self.delivery = delivery["id"]
        kept = await service.post(b"event=" + CODE.encode())
        self.quarantined = kept["id"]
        return self


#: Each way of reading by a key with codes:read: path, key, further arguments, the line it leaves.
WAYS = {
    "event": ("/v1/events/{event}", "coder", {}, {"how": "event", "event": True}),
    "raw": (
        "/v1/events/{event}?raw=true",
        "coder",
        {},
        {"how": "raw", "event": True, "fields": [*SECRETS, "callback"]},
    ),
    "reveal": (
        "/v1/events/{event}/reveal",
        "quiet",
        {"method": "POST"},
        {"how": "reveal", "event": True},
    ),
    "list": ("/v1/events?order=desc", "coder", {}, {"how": "list", "places": "1"}),
    "filtered": ("/v1/events", "growth", {}, {"how": "list", "places": "1"}),
    "consumer": ("/v1/consumers/app/events", "coder", {}, {"how": "consumer", "places": "1"}),
    "order": ("/v1/orders/{order}", "coder", {}, {"how": "order", "events": True}),
    "wait": ("/v1/events/wait?since=1h", "coder", {}, {"how": "wait", "event": True}),
    "why": ("/v1/events/{event}/why", "coder", {}, {"how": "explain", "event": True}),
    "answer": (
        "/v1/deliveries/{delivery}",
        "coder",
        {},
        {"how": "answer", "events": True, "fields": ["answer"]},
    ),
    "answers": (
        "/v1/deliveries",
        "coder",
        {},
        {"how": "answer", "events": True, "fields": ["answer"]},
    ),
    "retry": (
        "/v1/deliveries/{delivery}/retry",
        "coder",
        {"method": "POST"},
        {"how": "answer", "events": True, "fields": ["answer"]},
    ),
    "quarantine": (
        "/v1/quarantine/{quarantined}",
        "admin",
        {},
        {"how": "quarantine", "quarantine": True, "fields": ["headers", "body"]},
    ),
}


def expected(world, name, said):
    _, name_of_key, _, _ = WAYS[name]
    line = {"do": "code.read", "by": f"key/{name_of_key}", "from": "192.0.2.7"}
    ids = {"event": world.event, "events": [world.event], "quarantine": world.quarantined}
    line |= {one: ids[one] if value is True else value for one, value in said.items()}
    fields = said.get("fields", list(SECRETS))
    if "places" in said or said["how"] == "order":
        fields = sorted(fields)
    return line | {"fields": fields}


@pytest.mark.parametrize("name", WAYS)
async def test_reading_leaves_a_line_before_the_answer(service, name):
    """With a disk that does not answer there is no answer either, so nothing left before the line.

    Mutants: a call without its line; the line after the answer; a line that is not waited for.
    """
    world = await World(service).fill()
    path, key_name, sent, said = WAYS[name]
    path = path.format(**vars(world))
    before = await lines(service)

    answer = await service.ask(path, key_name, **sent)
    after = await lines(service)
    stalled = await service.stalled(RecordFacts, service.ask(path, key_name, **sent))

    assert answer.status_code == 200
    # The others show it in base64, or show what a sink answered.
    assert CODE in answer.text or said["how"] in ("raw", "quarantine", "answer", "explain")
    assert [one for one in after[len(before) :] if one["do"] == "code.read"] == [
        expected(world, name, said)
    ]
    assert stalled.status_code == 503
    assert CODE not in stalled.text


async def test_masked_reading_leaves_no_line(service):
    """Mutants: a line for a masked reading; a masked stream that counts as clear."""
    world = await World(service).fill()
    before = await lines(service)

    for path, key_name, sent, _ in WAYS.values():
        if key_name == "coder":
            await service.ask(path.format(**vars(world)), "reader", **sent)
    async with service.call("/v1/events/stream?after=start", "reader") as call:
        await call.begun()
        [(_, _, event)] = await call.frames(1)

    after = (await lines(service))[len(before) :]
    assert event["data"]["code"] == "***"
    opened, closed = after
    assert (opened["do"], opened["clear"], opened["after"]) == ("stream.opened", False, 0)
    assert (closed["do"], closed["total"], closed["codes"]) == ("stream.closed", 1, 0)


async def test_event_without_a_code_leaves_no_line(service):
    """Numbers are not recorded: every key sees them."""
    event = await service.post(b"event=number_change&id=5&to=18505550123&timestamp=1789990000")

    for path in ("/v1/events", f"/v1/events/{event.get('events', ['none'])[0]}"):
        await service.ask(path, "coder")

    assert await lines(service) == []


# --- reveal


async def test_reveal_shows_one_event_to_a_key_that_sees_it_masked(service):
    """Mutants: the key gets codes in a list; the reason is not kept; a secret in it is kept."""
    event = await service.sms(**SMS)
    reason = f"ticket 47, {NUMBER} asks for {CODE}"

    [listed] = await service.data("/v1/events", "clerk")
    shown = (await service.ask(f"/v1/events/{event}", "clerk")).json()["event"]
    answer = await service.ask(
        f"/v1/events/{event}/reveal", "clerk", method="POST", json={"reason": reason}
    )

    assert listed["event"]["data"]["code"] == shown["data"]["code"] == "***"
    assert answer.json()["event"]["data"]["code"] == CODE
    assert await lines(service) == [
        {
            "do": "code.read",
            "by": "key/clerk",
            "from": "192.0.2.7",
            "how": "reveal",
            "event": event,
            "fields": list(SECRETS),
            "reason": "ticket 47, *** asks for ***",
        }
    ]
    assert service.parts.keys.rights("clerk") is None  # it may not subscribe


@pytest.mark.parametrize("body", [None, {}, {"reason": None}, {"reason": "  "}])
async def test_reveal_without_a_reason_is_refused_where_it_is_required(service, body):
    event = await service.sms(**SMS)
    path = f"/v1/events/{event}/reveal"

    answer = await service.ask(path, "clerk", method="POST", json=body)
    other = await service.ask(path, "quiet", method="POST", json=body)

    assert (answer.status_code, answer.json()["code"]) == (422, "reason_required")
    assert other.json()["event"]["data"]["code"] == CODE


@pytest.mark.parametrize("reason", ["", "x" * 501])
async def test_reason_of_a_wrong_length_is_explained(service, reason):
    """Mutant: a Meta without a description: `has the wrong type`."""
    event = await service.sms(**SMS)
    path, body = f"/v1/events/{event}/reveal", {"reason": reason}

    answer = await service.ask(path, "quiet", method="POST", json=body)

    assert (answer.status_code, answer.json()["detail"]) == (
        400,
        "reason: write a text of 1 to 500 characters",
    )


async def test_reveal_needs_its_scope_and_an_event_that_the_key_sees(service):
    event, other = await service.sms(**SMS), await service.hero(text=CODE, code=CODE)
    calls = [("reader", event), ("auditor", event), ("growth", other), ("quiet", "none")]

    answers = [
        await service.ask(f"/v1/events/{id_}/reveal", name, method="POST") for name, id_ in calls
    ]

    assert [one.status_code for one in answers] == [403, 403, 404, 404]
    assert await lines(service) == []


async def test_repeated_reveal_is_a_reading_of_its_own(service):
    """Mutant: an answer for an Idempotency-Key is sent again without a line."""
    event = await service.sms(**SMS)
    sent = {"method": "POST", "headers": {"Idempotency-Key": "one"}}

    first = await service.ask(f"/v1/events/{event}/reveal", "quiet", **sent)
    second = await service.ask(f"/v1/events/{event}/reveal", "quiet", **sent)

    assert first.text == second.text
    assert [one["how"] for one in await lines(service)] == ["reveal", "reveal"]


# --- waits


async def test_waits_with_one_filter_have_one_line_in_ten_minutes(service):
    """Mutants: a line for each wait; no second line after ten minutes; a value in the line."""
    path = f"/v1/events/wait?number={NUMBER[1:]}&since=1h&timeout=0"

    for seconds in (0, 30, WAITS_EVERY):
        service.now += seconds
        assert (await service.ask(path, "coder")).status_code == 204
    await service.ask(f"{path}&code=true", "coder")

    line = {"do": "code.wait", "by": "key/coder", "from": "192.0.2.7", "after": 0}
    assert await lines(service) == [
        line | {"filter": ["number", "since"]},
        line | {"filter": ["number", "since"]},
        line | {"filter": ["number", "code", "since"]},
    ]


async def test_old_waits_are_forgotten(service):
    """Mutants: none is forgotten, or only the oldest one; those of the last ten minutes are."""
    known = service.parts.readers._waits

    for number in range(12):
        await service.ask(f"/v1/events/wait?request_id={number}&timeout=0", "coder")
        service.now += WAITS_EVERY / 4
    assert [one.request_id for _, one in known] == [("8",), ("9",), ("10",), ("11",)]

    service.now += WAITS_EVERY
    await service.ask("/v1/events/wait?request_id=last&timeout=0", "coder")
    assert [one.request_id for _, one in known] == [("last",)]


async def test_awaited_event_is_recorded_with_the_next_commit(service):
    """Mutants: the event that came is not recorded; the wait is recorded when it ends."""
    async with service.call("/v1/events/wait?since=1h", "coder") as call:
        await service.waiting()
        waiting = await lines(service)
        event = await service.sms(**SMS)
        status, _ = await call.answer()

    [begun], [_, line] = waiting, await lines(service)
    assert status == 200
    assert (begun["do"], begun["after"]) == ("code.wait", 0)
    assert (line["do"], line["how"], line["event"]) == ("code.read", "wait", event)


async def test_wait_whose_line_failed_writes_it_again(service):
    """Mutant: a line that failed counts as written for ten minutes."""
    await service.sms(**SMS)
    failed = await service.stalled(RecordFacts, service.ask("/v1/events/wait?since=1h", "coder"))
    await asyncio.sleep(0.1)  # the disk answers again
    cursor = (await service.ask("/v1/events", "reader")).json()["next_cursor"]

    async with service.call(f"/v1/events/wait?after={cursor}", "coder") as call:
        await service.waiting()
        await service.sms(**SMS, timestamp=1_789_990_009)
        status, _ = await call.answer()

    assert (failed.status_code, status) == (503, 200)
    assert "Smshook-Cursor" not in failed.headers


# --- streams


async def test_stream_is_recorded_before_its_first_byte_and_then_each_second(service):
    """Mutants: the line comes after the head; each event has a line; what was given since the last
    line is lost at the end; a filter value is in the line."""
    for n in range(3):
        await service.sms(**SMS, timestamp=1_789_990_000 + n)
    query = f"number={NUMBER[1:]}&after=start"

    async with service.call(f"/v1/events/stream?{query}", "coder") as call:
        await call.begun()
        await call.frames(3)
        first = await lines(service)
        await service.sms(**SMS, timestamp=1_789_990_009)
        await call.frames(1)

    opened, read = first
    id_ = opened["stream"]
    who = {"by": "key/coder", "from": "192.0.2.7"}
    its = {"how": "stream", "stream": id_, "fields": sorted(SECRETS)}
    assert opened == {
        "do": "stream.opened",
        **who,
        "stream": id_,
        "filter": ["number"],
        "after": 0,
        "clear": True,
    }
    assert read == {"do": "code.read", **who, **its, "places": "1-3"}
    assert (await lines(service))[2:] == [
        {"do": "code.read", **who, **its, "places": "4"},
        {"do": "stream.closed", **who, "stream": id_, "total": 4, "codes": 4},
    ]


async def test_stream_gives_nothing_before_its_line_is_on_disk(service):
    """Mutant: the head of the answer comes before the line."""
    await service.sms(**SMS)

    async def streamed():
        async with service.call("/v1/events/stream?after=start", "coder") as call:
            return (await call.begun()).status

    assert await service.stalled(RecordFacts, streamed()) == 503


async def test_twenty_streams_leave_twenty_lines_a_second(service):
    """Mutant: a line for each event."""
    streams = service.parts.readers
    many = [service.call("/v1/events/stream?after=start", "coder") for _ in range(20)]
    for n in range(100):
        await service.sms(**SMS, timestamp=1_789_990_000 + n)

    for call in many:
        await call.__aenter__()
    for call in many:
        await call.begun()
        await call.frames(100)
    before = await service.journal.ask(AuditLines(limit=1000))
    streams.flush()
    after = await lines(service)
    for call in many:
        await call.__aexit__()

    assert not [line for _, line in before.items if b"code.read" in line]
    read = [one["places"] for one in after if one["do"] == "code.read"]
    assert read == ["1-100"] * 20


async def test_end_of_the_service_closes_streams_in_the_log(service):
    """Mutant: `service.stopping` comes first, so that the next start sees a gap."""
    await service.sms(**SMS)
    async with service.call("/v1/events/stream?after=start", "coder") as call:
        await call.begun()
        await call.frames(1)
        service.parts.readers.end()
        ended = await lines(service)

    assert [one["do"] for one in ended] == ["stream.opened", "code.read", "stream.closed"]
    assert await lines(service) == ended


# --- limits


@pytest.mark.parametrize(("name", "allowed"), [("slow", 2), ("slower", 1)])
async def test_key_over_its_reads_is_refused(service, name, allowed):
    """Mutants: the limit counts calls that show no code; the refusal leaves a line each time."""
    event = await service.sms(**SMS)
    path = f"/v1/events/{event}"

    answers = [await service.ask(path, name) for _ in range(allowed + 2)]
    stats = await service.ask("/v1/stats", name)
    async with service.call("/v1/events/stream?after=start", name) as call:
        refused = await call.begun()
    service.parts.facts.write_counts()
    service.now += 3600
    again = await service.ask(path, name)

    assert [one.status_code for one in answers] == [200] * allowed + [429] * 2
    assert answers[-1].json()["code"] == "reads_limited"
    assert 0 < int(answers[-1].headers["retry-after"]) <= 3600
    assert (stats.status_code, refused.status, again.status_code) == (200, 429, 200)
    assert [one for one in await lines(service) if one["do"] == "key.refused"] == [
        {
            "do": "key.refused",
            "key": name,
            "from": "192.0.2.7",
            "reason": "reads_limited",
            "count": 3,
        }
    ]


async def test_page_counts_each_of_its_codes(service):
    """Mutant: a page of many codes counts once."""
    for n in range(4):
        await service.sms(**SMS, timestamp=1_789_990_000 + n)

    first = await service.ask("/v1/events", "slow")
    service.now += 3600
    second = await service.ask("/v1/events", "slow")

    assert (first.status_code, second.status_code) == (200, 429)


async def test_stream_ends_at_the_limit(service):
    """Mutant: only the beginning of a stream is limited."""
    async with service.call("/v1/events/stream", "slower") as call:
        await call.begun()
        for n in range(3):
            await service.sms(**SMS, timestamp=1_789_990_000 + n)
            await asyncio.sleep(0.02)
        frames = []
        while (frame := await call.frame()) is not None:
            frames += [frame] if frame.startswith(b"id") else []

    assert 1 <= len(frames) < 3


def test_bucket_takes_several_and_the_next_caller_waits():
    now = 0.0
    bucket = Bucket(Rate(10, 10), lambda: now)

    assert bucket.take(15) == 0.0
    assert bucket.take(1) == pytest.approx(6.0)


# --- who


async def test_who_names_sinks_and_keys(service):
    """Mutants: a range that covers the event does not count; a sink that failed is left out."""
    event = await service.sms(**SMS)
    other = await service.sms(**SMS, timestamp=1_789_990_100)

    async def take(_outgoing):
        return Receipt(status=200)

    await service.settled(take)
    await service.data("/v1/events", "coder")
    await service.ask(f"/v1/events/{event}", "coder")
    await service.ask(f"/v1/events/{event}", "coder")
    answer = (await service.ask(f"/v1/audit/who/{event}", "auditor")).json()
    shown = (await service.ask(f"/v1/events/{event}", "admin")).json()
    of_other = (await service.ask(f"/v1/audit/who/{other}", "auditor")).json()["readers"]

    def seen(readers):
        return [(one["by"], one["how"], one["clear"], one["count"]) for one in readers]

    told = [
        ("sink/log", "delivery", True, 1),
        ("key/coder", "list", True, 1),
        ("key/coder", "event", True, 2),
    ]
    assert seen(answer["readers"]) == told
    assert seen(shown["readers"]) == [*told, ("key/admin", "event", True, 1)]
    assert seen(of_other) == told[:2]


@pytest.mark.parametrize("name", ["reader", "coder", "growth"])
async def test_who_needs_audit_read(service, name):
    event = await service.sms(**SMS)

    shown = await service.ask(f"/v1/events/{event}", name)
    answer = await service.ask(f"/v1/audit/who/{event}", name)

    assert "readers" not in shown.json()
    assert answer.status_code == 403


async def test_who_of_a_missing_event_is_not_found(service):
    answer = await service.ask("/v1/audit/who/01931c5e-0000-7000-8000-000000000000", "auditor")

    assert answer.status_code == 404


# --- all ways


class Walk:
    """A walk over ways of reading. It notes which events came in clear, for which key.

    `held` are calls that last.
    """

    def __init__(self, service):
        self.service = service
        self.saw, self.ids = set(), []
        self.held, self.orders = [], []

    def note(self, name, text):
        for n, id_ in enumerate(self.ids):
            if f"ZQ7-9182{n:03d}" in text:
                self.saw.add((f"key/{name}", id_))

    async def step(self, way, name, number):
        """Read in a way with a key; `number` chooses what."""
        service = self.service
        if way == 0 or not self.ids:
            await self.accept(is_delivered=number % 3 == 0)
            return
        nth = number % len(self.ids)
        event = self.ids[nth]
        path = {
            1: f"/v1/events/{event}",
            2: f"/v1/events/{event}?raw=true",
            3: f"/v1/events?limit={(1, 3, 100)[number % 3]}&order={('asc', 'desc')[number % 2]}",
            4: f"/v1/events/wait?timeout=0&since={('1h', '1s')[number % 2]}",
            5: f"/v1/consumers/app/events?limit={(1, 5)[number % 2]}",
            6: f"/v1/events/{event}/why",
            7: "/v1/deliveries",
            8: f"/v1/orders/{self.orders[nth]}",
        }.get(way)
        if path is not None:
            self.note(name, (await service.ask(path, name)).text)
        elif way == 9:
            sent = {"method": "POST", "json": {"reason": "a test"}}
            answer = await service.ask(f"/v1/events/{event}/reveal", name, **sent)
            self.note(name, answer.text)
        elif way == 10:
            await self.hold(name, "/v1/events/stream?after=start")
        else:
            await self.hold(name, "/v1/events/wait?since=1h&type=sms.received&code=false")

    async def accept(self, *, is_delivered):
        n, service = len(self.ids), self.service
        code = f"ZQ7-9182{n:03d}"
        sent = {"to": NUMBER[1:], "reply": f"{code} it is", "pin": code, "id": 900 + n}
        self.ids.append(await service.sms(**sent, timestamp=1_789_990_000 + n))
        body = {"source": "tellabot", "request_id": str(900 + n)}
        order = await service.ask("/v1/orders", method="POST", json=body)
        self.orders.append(order.json()["id"])
        if is_delivered:
            await service.settled(whole_echo)

    async def hold(self, name, path):
        call = self.service.call(path, name)
        await call.__aenter__()
        self.held.append((name, call))

    async def end(self):
        for name, call in self.held:
            await asyncio.sleep(0.02)
            sent = []
            while not call._sent.empty():
                sent.append(call._sent.get_nowait().get("body", b""))
            self.note(name, b"".join(sent).decode())
            await call.__aexit__()


async def whole_echo(outgoing):
    raise Failed("status", status=500, answer=outgoing.body)


#: Steps of a walk: the way, the key, and a number that chooses what is read.
STEPS = st.lists(
    st.tuples(st.integers(0, 11), st.sampled_from([*KEYS]), st.integers(0, 11)), max_size=60
)
EACH_WAY = [(way, name, n) for n, name in enumerate(KEYS) for way in range(12)]


@settings(
    max_examples=examples(3),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=STEPS)
@example(steps=EACH_WAY)
def test_who_names_all_that_clients_saw_in_clear(run, steps):
    """Mutants: a list, a wait, a stream, an answer or an order without its line; `who` reads ids
    only, or ranges only."""

    async def walked(folder):
        audit = AuditOptions(now=lambda: BEGIN, shown=str)
        async with run(folder, audit=audit, api=Api(keys=KEYS)) as service:
            walk = Walk(service)
            for step in steps:
                await walk.step(*step)
            await walk.end()
            told = set()
            for id_ in walk.ids:
                answer = await service.ask(f"/v1/audit/who/{id_}", "auditor")
                told |= {(one["by"], id_) for one in answer.json()["readers"] if one["clear"]}
            await lines(service)
            return walk.saw, told

    with tempfile.TemporaryDirectory() as folder:
        saw, told = asyncio.run(walked(Path(folder)))

    assert saw or steps != EACH_WAY
    assert saw <= told
    assert not [one for one in told if one[0] in ("key/reader", "key/auditor")]


# --- the table of reasons

#: The modules that open sealed parts, with the reasons that they give.
OPENERS = {
    "journal/sqlite/erasure.py": {"ERASE"},
    "journal/sqlite/outbox.py": {"LINE"},
    "journal/sqlite/sealed.py": {"FILTER", "JOIN", "ORDER"},
    "server/api/consumers.py": {"CONSUMER"},
    "server/api/deliveries.py": {"ANSWER"},
    "server/api/events.py": {"FILTER", "LIST", "RAW", "REPLAY", "SHOW"},
    "server/api/explain.py": {"FILTER"},
    "server/api/orders.py": {"LIST"},
    "server/api/quarantine.py": {"QUARANTINE"},
    "server/api/reveal.py": {"REVEAL"},
    "server/api/stream.py": {"STREAM"},
    "server/api/wait.py": {"WAIT"},
    "server/api/preview.py": {"FILTER"},
    "server/api/why.py": {"EXPLAIN"},
    "server/cli/audit_compare.py": {"COMPARE"},
    "server/cli/audit_prove.py": {"PROVE"},
    "server/runtime/backfill.py": {"ORDER"},
    "server/runtime/keys.py": {"FILTER", "REVEAL"},
    "server/runtime/redelivery.py": {"REPLAY"},
    "server/runtime/replays.py": {"REPLAY"},
    "sinks/attempt.py": {"DELIVERY"},
}


def test_every_reason_to_open_is_accounted_for():
    """A new caller, or a new reason, must say which line it leaves.

    Mutant: a module opens sealed parts and is in no table.
    """
    root = Path(__file__).parents[3]
    found = {}
    for package in ("core", "journal", "receiver", "routes", "server", "sinks"):
        for path in (root / package).rglob("*.py"):
            name = path.relative_to(root).as_posix()
            named = set(re.findall(r"\bReason\.([A-Z]+)", path.read_text()))
            if named and name not in ("journal/seal.py", "server/runtime/readers.py"):
                found[name] = named

    assert found == OPENERS
    assert set(ACCOUNTED) == set(Reason)


def test_fields_of_lines_are_those_that_are_sealed_as_codes():
    values = {"text": "t", "code": "c", "urls": ["u"]}
    body = json.dumps({"id": "1", "data": values}).encode()
    empty = json.dumps({"id": "1", "data": {"text": None, "code": None, "urls": []}}).encode()

    assert [("data", name) for name in secrets_of(body)] == list(CODES)
    assert secrets_of(empty) == ()
    assert Kind.CODES == "codes"
