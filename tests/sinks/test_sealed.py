"""Deliveries that are taken from a sealed journal."""

import json

import pytest
from contracts.journal import planned, record
from period_keys import MemoryKeys
from worlds import World, until

from core.delivery import Delivery, State
from core.erasure import touches
from core.secret import Secret
from core.units import Duration
from journal.reads import SinkRecords
from journal.records import Owed
from journal.seal import Kind, Opener, Reason
from sinks.attempt import Attempts, real_clock
from sinks.file.sink import File
from sinks.http.sink import Http
from sinks.redact import compile_redact
from sinks.retry import Retry
from sinks.sink import Failed, Receipt
from sinks.slack.sink import Slack

EVERYTHING = ("subject", "data.text", "data.code", "data.urls", "data.to", "data.from")
SAID = {
    "to": "+18505550123",
    "from_": "+18505550177",
    "text": "ZQ7-918273 is your code",
    "code": "ZQ7-918273",
    "urls": ("https://example.com/ZQ7-918273",),
}
BY_NUMBER, BY_REQUEST = "number/+18505550123", "request/1"


class Bodies:
    """A destination that keeps the bytes; it gives these answers, then receipts."""

    def __init__(self, *answers):
        self.answers, self.bodies = list(answers), []

    async def send(self, outgoing):
        self.bodies.append(outgoing.body)
        if self.answers:
            raise self.answers.pop(0)
        return Receipt(status=200)


@pytest.fixture
def keys():
    return MemoryKeys()


@pytest.fixture
async def world(tmp_path, keys):
    world = World(tmp_path / "smshook.db")
    await world.start(keys)
    yield world
    await world.end()


async def taken_later(world, subject=BY_REQUEST):
    """Record an event with a delivery that a worker takes from the journal."""
    late = Owed(sink="log", wait=5.0)
    plan = planned(owed=[late], at=world.hands.at, subject=subject, **SAID)
    await record(world.journal, plan)
    world.hands.at += 5
    return plan


@pytest.mark.parametrize(
    ("redact", "subject", "opened"),
    [
        (None, BY_REQUEST, 2),
        (None, BY_NUMBER, 2),
        ("codes", BY_REQUEST, 1),
        ("people", BY_REQUEST, 0),
        ("people", BY_NUMBER, 0),
        (("data.text", "data.code"), BY_REQUEST, 2),
        (("data.price",), BY_REQUEST, 2),
        (("data.to", "data.from"), BY_REQUEST, 1),
        (EVERYTHING, BY_NUMBER, 0),
    ],
)
async def test_taken_event_is_sent_as_the_same_bytes(world, redact, subject, opened):
    """Mutants: the masked body is sent; everything is opened for a sink that is redacted."""
    plan, destination = await taken_later(world, subject), Bodies()

    await world.run(destination, redact=redact)
    await world.until(delivered=1)

    mask = compile_redact(redact)
    assert destination.bodies == [plan.body if mask is None else mask(plan.body)]
    assert world.journal.opener.opened == ({Reason.DELIVERY: opened} if opened else {})


async def test_event_that_is_sent_at_once_is_not_opened(world):
    """Mutant: its sealed parts are opened, although its bytes are there."""
    destination = Bodies()
    worker = await world.run(destination)

    await world.accept(worker, **SAID)
    await world.until(delivered=1)

    assert json.loads(destination.bodies[0])["data"]["code"] == SAID["code"]
    assert world.journal.opener.opened == {}


async def test_retried_event_is_whole_again(world):
    destination = Bodies(Failed("refused"))
    worker = await world.run(destination, retry=Retry(first_wait=Duration(1)))
    await world.accept(worker, **SAID)
    await world.until(pending=1)

    world.hands.at += 10
    await world.until(delivered=1)

    first, second = destination.bodies
    assert first == second
    assert json.loads(first)["data"]["text"] == SAID["text"]


async def test_delivery_that_needs_an_erased_field_expires(world, keys):
    """Mutants: the masked body is sent; the sink counts as failing."""
    plan, destination = await taken_later(world), Bodies()
    keys.destroy(Kind.CODES)

    worker = await world.run(destination)
    await world.until(expired=1)

    kept = await world.delivery(plan.event.id)
    assert destination.bodies == []
    assert [(one.outcome, one.error) for one in kept.attempts] == [("refused", "erased")]
    assert kept.state is State.EXPIRED
    assert not worker.is_failing
    assert await world.journal.ask(SinkRecords()) == {}


async def test_delivery_that_needs_no_erased_field_is_sent(world, keys):
    """Mutants: it expires; an erased field is null where the sink gets a mask."""
    plan, destination = await taken_later(world), Bodies()
    keys.destroy(Kind.CODES)

    await world.run(destination, redact="codes")
    await world.until(delivered=1)

    assert destination.bodies == [compile_redact("codes")(plan.body)]


async def test_deliveries_in_order_have_hashes(world):
    """Mutant: the value of `ordered_by` is planned."""
    worker = await world.run(Bodies(), ordered_by="data.to")

    owed = worker.plan_delivery({"data": SAID})

    assert owed.ordering == world.journal.sealer.hash_line('"+18505550123"')
    assert list(worker.plans_by) == [Kind.PEOPLE]
    await world.accept(worker, **SAID)
    await until(lambda: worker.is_idle)


URL = Secret("https://example.com/hook")


@pytest.mark.parametrize(
    ("sink", "read"),
    [
        (File(path="x"), {"text", "code", "urls", "to", "subject"}),
        (Http(url=URL), {"text", "code", "urls", "to", "subject"}),
        (Http(url=URL, json={"a": ["{data.service.name}", 1]}), set()),
        (Http(url=URL, json={"a": ["x {data.code}"], "b": "{subject}"}), {"code", "subject"}),
        (Http(url=URL, json="{data}"), {"text", "code", "urls", "to"}),
        (Slack(url=URL), {"text", "code", "urls", "to", "subject"}),
        (Slack(url=URL, message="{data.to}: {{data.code}}"), {"to"}),
    ],
)
def test_sink_uses_the_paths_of_its_template(sink, read):
    """Mutants: a path inside a list is missed; a parent of the field is missed."""
    paths = {name: ("data", name) for name in ("text", "code", "urls", "to")}
    paths["subject"] = ("subject",)

    used = sink.used_paths()
    found = {name for name, path in paths.items() if used is None or touches(path, used)}
    assert found == read


@pytest.mark.parametrize(
    ("template", "is_sent"), [("{data.service.name}", True), ("{data.code}", False)]
)
def test_template_without_erased_fields_is_sent(template, is_sent):
    """Mutant: all fields are needed, whatever the template says."""
    masked = b'{"subject":"request/1","data":{"code":"***","to":null}}'
    delivery = Delivery(
        id=1,
        event_id="e",
        body=masked,
        is_masked=True,
        codes=b"",
        sink="log",
        owner=1,
        attempts=0,
        accepted_at=0.0,
    )
    attempts = Attempts("log", Http(url=URL, json={"text": template}), real_clock(lambda: 0.0))

    body = attempts.open(Opener(None, journal=""), delivery)

    assert body == (masked if is_sent else None)
