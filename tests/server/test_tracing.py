"""Spans are those of the table, only of sampled events, and cost nothing that grows."""

import asyncio
import contextlib
import itertools
import json

import collectors
import endpoint
import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from core.delivery import Attempt
from core.secret import Secret
from server import tracing
from server.config.options import Tracing
from server.runtime.identity import Chance, Identity
from server.tracing import (
    BATCH,
    QUEUED,
    REMEMBERED,
    TRIED,
    AcceptedSpan,
    SpanContext,
    Tracer,
)
from sinks.tracing import AttemptMade

AT = 1_796_140_000.25
#: What a provider may send.
FOREIGN = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7")


def event_id(number=1, *, at=AT):
    """The id of an event of that moment; its last 56 bits are the number."""
    ms = int(at * 1000)
    digits = f"{ms:012x}7c3d9e{number:014x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


EVENT = event_id(0x4F0123456789AB)
TRACE = EVENT.replace("-", "")
ACCEPT = TRACE[16:]


def accepted(id_=EVENT, **changed):
    its = {
        "event_id": id_,
        "source": "tellabot",
        "type": "sms.received",
        "received": AT,
        "planned": AT + 0.001,
        "waited": AT + 0.002,
        "durable": AT + 0.005,
        "commit": 7,
    }
    return AcceptedSpan(**its | changed)


def made(id_=EVENT, *, outcome="delivered", error=None, status=200, at=AT + 1):
    attempt = Attempt(at=at, outcome=outcome, status=status, error=error, took_ms=12.5)
    return AttemptMade(
        event_id=id_, sink="crm", host="crm.example", delivery_id="d7", number=1, attempt=attempt
    )


def options(end=None, **changed):
    its = {"endpoint": "http://127.0.0.1:1" if end is None else end.url, "sample": 1.0}
    return Tracing(**its | changed)


@pytest.fixture
def tracer():
    """A tracer of all events that sends nothing. Its random bytes count up."""
    numbers = itertools.count(1)
    ticks = itertools.count()
    tracer = Tracer(lambda size: next(numbers).to_bytes(size), ticks=lambda: next(ticks) / 1000)
    tracer.use(options())
    return tracer


@pytest.fixture
async def sent():
    """Return a function that sends what a tracer has to a collector, and returns the spans."""
    async with endpoint.endpoint() as end:

        async def sent(tracer):
            tracer.exporter.use(options(end))
            await tracer.exporter.finish()
            return collectors.spans(end.requests)

        yield sent


# --- acceptance ---------------------------------------------------------------------------------


async def test_accepted_event_has_three_spans_of_one_trace(tracer, sent):
    """Mutants: ids in base64; milliseconds; the commit is not below the acceptance."""
    tracer.accept(accepted())

    accept, commit, callback = await sent(tracer)
    named = {"smshook.event_id": EVENT, "smshook.source": "tellabot"}
    assert [span.name for span in (callback, accept, commit)] == ["callback", "accept", "commit"]
    assert {span.trace_id.hex() for span in (callback, accept, commit)} == {TRACE}
    assert len({span.span_id for span in (callback, accept, commit)}) == 3
    assert callback.parent_span_id == b""
    assert accept.parent_span_id == callback.span_id
    assert commit.parent_span_id == accept.span_id
    assert (callback.kind, accept.kind) == (callback.SPAN_KIND_SERVER, accept.SPAN_KIND_INTERNAL)
    assert collectors.attributes(callback) == named | {"http.response.status_code": 200}
    assert collectors.attributes(accept) == named | {"smshook.type": "sms.received"}
    assert collectors.attributes(commit) == named | {"smshook.commit": 7}
    assert collectors.seconds(callback) == pytest.approx((AT, AT + 0.005), abs=1e-5)
    assert collectors.seconds(accept) == pytest.approx((AT + 0.001, AT + 0.005), abs=1e-5)
    assert collectors.seconds(commit) == pytest.approx((AT + 0.002, AT + 0.005), abs=1e-5)


async def test_event_without_a_callback_begins_with_its_acceptance(tracer, sent):
    """Mutant: its parent is a callback that does not exist."""
    tracer.accept(accepted(received=None))

    accept, _ = await sent(tracer)
    assert (accept.name, accept.parent_span_id) == ("accept", b"")


async def test_trace_of_a_provider_is_linked_and_not_continued(tracer, sent):
    """Mutant: it is the parent, so a provider decides which traces are large."""
    origin = SpanContext.of_header(f"00-{FOREIGN[0]}-{FOREIGN[1]}-01")
    tracer.accept(accepted(origin=origin))

    callback = (await sent(tracer))[2]
    assert (callback.trace_id.hex(), callback.parent_span_id) == (TRACE, b"")
    assert collectors.linked(callback) == [FOREIGN]


@pytest.mark.parametrize(
    "value",
    [
        *(None, "", "00", f"00-{FOREIGN[0]}-{FOREIGN[1]}", f"00-{FOREIGN[0]}-{FOREIGN[1]}-01-x"),
        *(f"00-{'0' * 32}-{FOREIGN[1]}-01", f"00-{FOREIGN[0]}-{'0' * 16}-01"),
        *(f"00-{FOREIGN[0].upper()}-{FOREIGN[1]}-01", f"00-{FOREIGN[0]}-{FOREIGN[1]}-01\n"),
    ],
)
def test_wrong_traceparent_names_no_span(value):
    assert SpanContext.of_header(value) is None


async def test_spans_of_a_commit_are_linked_to_the_first_of_them(tracer, sent):
    """Mutant: each commit span stands alone."""
    for number, commit in ((1, 7), (2, 7), (3, 8), (4, 8)):
        tracer.accept(accepted(event_id(number), received=None, commit=commit))

    commits = [span for span in await sent(tracer) if span.name == "commit"]
    links = [collectors.linked(span) for span in commits]
    assert [len(one) for one in links] == [0, 1, 0, 1]
    for first, second in ((0, 1), (2, 3)):
        its = commits[first].trace_id.hex(), commits[first].span_id.hex()
        assert links[second] == [its]


# --- sampling -----------------------------------------------------------------------------------


@given(st.floats(0, 1), st.integers(0, (1 << 56) - 1))
def test_sampling_follows_the_random_bits_of_the_id(sample, random):
    """As OpenTelemetry samples by probability, so that others choose the same events."""
    tracer = Tracer(Chance())
    tracer.use(options(sample=sample))

    is_sampled = tracer.trace_id(event_id(random)) is not None
    assert is_sampled is (random >= (1 << 56) - round(sample * (1 << 56)))


def test_a_tenth_of_real_ids_is_sampled():
    """Mutant: the time in an id decides, too."""
    identity, tracer = Identity("s" * 40, Chance()), Tracer(Chance())
    tracer.use(options(sample=None))

    ids = [identity.event_id(AT + n / 1000) for n in range(10_000)]
    assert 800 < sum(tracer.trace_id(id_) is not None for id_ in ids) < 1200


def test_nothing_is_traced_without_options():
    tracer = Tracer(Chance())
    tracer.use(None)
    tracer.read("list", "admin", [b"not looked at"], began=AT, ended=AT)

    assert not tracer.is_on
    assert tracer.trace_id(EVENT) is None
    assert tracer.begin_attempt(EVENT, at=AT, replay=False) is None


async def test_failed_delivery_of_an_event_makes_its_spans(tracer, sent):
    """Mutants: only the attempt has a span; a later attempt has none; they are made twice."""
    tracer.use(options(sample=0.0))
    tracer.accept(accepted())
    first = tracer.begin_attempt(EVENT, at=AT + 1, replay=False)
    assert tracer.exporter.size == 0

    assert tracer.end_attempt(first, made(outcome="failed", error="timeout", status=None)) == TRACE
    second = tracer.begin_attempt(EVENT, at=AT + 2, replay=False)
    assert tracer.end_attempt(second, made(at=AT + 2)) == TRACE

    spans = await sent(tracer)
    names = ["accept", "commit", "callback", "deliver crm", "deliver crm"]
    assert [span.name for span in spans] == names
    assert (first[-3:], second[-3:]) == ("-00", "-01")
    failed, delivered = spans[3:]
    assert (failed.status.code, failed.status.message) == (
        failed.status.STATUS_CODE_ERROR,
        "timeout",
    )
    assert delivered.status.code == delivered.status.STATUS_CODE_UNSET


def test_events_that_are_not_sampled_are_forgotten(tracer):
    """A thousand are remembered. Mutants: all are; the newest is forgotten."""
    tracer.use(options(sample=0.0))
    for number in range(REMEMBERED + 1):
        tracer.accept(accepted(event_id(number)))

    def fails(number):
        context = tracer.begin_attempt(event_id(number), at=AT + 1, replay=False)
        return tracer.end_attempt(context, made(event_id(number), outcome="failed"))

    assert [fails(number) is not None for number in (0, 1, REMEMBERED)] == [False, True, True]
    assert len(tracer._remembered) == REMEMBERED


# --- attempts -----------------------------------------------------------------------------------


async def test_attempt_belongs_to_the_trace_of_its_event(tracer, sent):
    """Mutant: the id in the header is another than that of the span."""
    traceparent = tracer.begin_attempt(EVENT, at=moment(EVENT) + 59, replay=False)
    tracer.end_attempt(traceparent, made())

    [span] = await sent(tracer)
    assert traceparent == f"00-{TRACE}-{span.span_id.hex()}-01"
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, ACCEPT)
    assert span.kind == span.SPAN_KIND_PRODUCER
    assert collectors.linked(span) == []
    assert collectors.seconds(span) == pytest.approx((AT + 1, AT + 1.0125), abs=1e-5)
    assert collectors.attributes(span) == {
        "smshook.event_id": EVENT,
        "smshook.sink": "crm",
        "smshook.delivery_id": "d7",
        "smshook.attempt": 1,
        "smshook.outcome": "delivered",
        "http.response.status_code": 200,
        "server.address": "crm.example",
    }


def moment(id_):
    """When an event was accepted, by its id."""
    return int(id_.replace("-", "")[:12], 16) / 1000


@pytest.mark.parametrize(("late", "replay"), [(61, False), (1, True)])
async def test_late_attempt_has_a_trace_of_its_own_with_a_link(tracer, sent, late, replay):
    """Mutants: a retry after hours makes a trace of hours; it has no link."""
    traceparent = tracer.begin_attempt(EVENT, at=moment(EVENT) + late, replay=replay)
    trace_id = tracer.end_attempt(traceparent, made())

    [span] = await sent(tracer)
    assert span.trace_id.hex() == trace_id == traceparent[3:35] != TRACE
    assert span.parent_span_id == b""
    assert collectors.linked(span) == [(TRACE, ACCEPT)]


# --- reads --------------------------------------------------------------------------------------


def body(id_):
    return json.dumps({"id": id_, "type": "sms.received", "source": "s", "data": {}}).encode()


async def test_read_of_one_event_belongs_to_its_trace(tracer, sent):
    at = moment(EVENT)
    tracer.read("wait", "crm", [body(EVENT)], began=at + 1, ended=at + 3)

    [span] = await sent(tracer)
    assert (span.name, span.trace_id.hex(), span.parent_span_id.hex()) == ("read", TRACE, ACCEPT)
    assert collectors.attributes(span) == {
        "smshook.key": "crm",
        "smshook.how": "wait",
        "smshook.events": 1,
        "smshook.event_id": EVENT,
    }
    assert collectors.seconds(span) == pytest.approx((at + 1, at + 3), abs=1e-5)


async def test_read_of_many_events_is_linked_to_the_sampled_ones(tracer, sent):
    """Mutants: events that are not sampled are linked; a link for each of a thousand."""
    tracer.use(options(sample=0.5))
    ids = [event_id(number << 49) for number in range(128)]
    tracer.read("list", "crm", [body(id_) for id_ in ids], began=AT, ended=AT + 1)
    tracer.read("list", "crm", [body(ids[0])], began=AT, ended=AT + 1)

    [span] = await sent(tracer)
    wanted = [SpanContext.of_event(id_) for id_ in ids[64:96]]
    assert collectors.linked(span) == [tuple(one) for one in wanted]
    assert collectors.attributes(span)["smshook.events"] == 128


# --- sending ------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def exporting(tracer):
    """Run the exporter."""
    task = asyncio.create_task(tracer.exporter.run())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def until(check):
    async with asyncio.timeout(20):
        while not check():  # noqa: ASYNC110 - a counter has no event
            await asyncio.sleep(0.01)


async def test_request_names_the_service_and_has_the_headers(tracer):
    """Mutants: the header is masked; the path is not added."""
    async with endpoint.endpoint() as end:
        its = options(end, headers={"X-Api-Key": Secret("s3cret")}, service_name="smshook-eu")
        tracer.use(its)
        tracer.accept(accepted())
        await tracer.exporter.finish()

    [request] = end.requests
    [resource] = collectors.parsed(request.body).resource_spans
    assert (request.method, request.target) == ("POST", "/v1/traces")
    assert request.headers["x-api-key"] == "s3cret"
    assert request.headers["content-type"] == "application/json"
    assert collectors.attributes(resource.resource)["service.name"] == "smshook-eu"
    assert tracer.exporter.sent == 3


async def test_spans_are_sent_in_batches(tracer, monkeypatch):
    """Mutants: a request for each span; a small number of spans waits for ever."""
    monkeypatch.setattr(tracing, "EVERY", 0.2)
    async with endpoint.endpoint() as end:
        tracer.use(options(end))
        for number in range(BATCH):
            tracer.accept(accepted(event_id(number), received=None))
        tracer.accept(accepted(event_id(BATCH), received=None))
        async with exporting(tracer):
            await until(lambda: tracer.exporter.sent == 2 * BATCH + 2)

    sizes = [len(collectors.spans([request])) for request in end.requests]
    assert sizes == [BATCH, BATCH, 2]
    assert tracer.exporter.dropped == 0


async def test_other_options_hold_for_the_next_batch(tracer, monkeypatch):
    """Mutant: a reload changes the sampling only."""
    monkeypatch.setattr(tracing, "EVERY", 0.05)
    async with endpoint.endpoint() as first, endpoint.endpoint() as second, exporting(tracer):
        for end in (first, second):
            tracer.use(None)
            await asyncio.sleep(0.1)
            tracer.use(options(end))
            tracer.accept(accepted())
            await until(lambda: end.requests)  # noqa: B023 - it is called in this turn

    assert [len(end.requests) for end in (first, second)] == [1, 1]


@pytest.mark.parametrize("answers", ["nothing", "status"])
async def test_dead_collector_costs_spans_and_one_line(tracer, monkeypatch, answers):
    """Mutants: the queue has no end; the batch is sent again for ever; a line for each drop."""
    monkeypatch.setattr(tracing, "EVERY", 0.05)
    async with endpoint.endpoint() as end:
        end.says(*[endpoint.reply(503)] * 100)
        tracer.use(options(end if answers == "status" else None))
        with capture_logs() as lines:
            async with exporting(tracer):
                for number in range(3 * QUEUED):
                    tracer.accept(accepted(event_id(number)))
                assert tracer.exporter.size <= QUEUED
                waiting = tracer.exporter.size
                await until(lambda: tracer.exporter.size < waiting)
                await until(lambda: tracer.exporter.dropped == 9 * QUEUED)

    exporter = tracer.exporter
    assert (exporter.sent, exporter.dropped) == (0, 9 * QUEUED)
    assert [(line["event"], line["error"]) for line in lines] == [("tracing.dropping", "full")]


async def test_no_span_is_made_while_the_collector_fails(tracer, monkeypatch):
    """A few spans wait for the next try. After it, there is room for all again.

    Mutants: all of them wait after a failed request, or a whole batch; no more than a few after one
    that was taken; spans of events that are not sampled count as dropped.
    """
    monkeypatch.setattr(tracing, "EVERY", 0.05)
    exporter = tracer.exporter
    async with endpoint.endpoint() as end:
        end.says(endpoint.reply(503))
        tracer.use(options(end, sample=0.5))
        ids = [event_id((1 << 55) + number) for number in range(QUEUED)]
        for id_ in ids[:4]:
            tracer.accept(accepted(id_))
        await exporter.finish()
        assert (exporter.size, exporter.sent, exporter.dropped) == (0, 0, 12)

        traces = [tracer.accept(accepted(id_)) for id_ in ids]
        kept = exporter.size
        assert TRIED <= kept < TRIED + 3
        assert traces.count(None) == len(ids) - kept // 3
        assert exporter.dropped == 12 + 3 * QUEUED - kept
        assert exporter.is_full
        before = exporter.dropped
        # The last is not sampled.
        for id_ in (*ids[:2], event_id(1)):
            tracer.skip(id_, received=True)
        tracer.skip(ids[0], received=False)
        assert exporter.dropped == before + 8

        await exporter.finish()
        assert (exporter.size, exporter.sent) == (0, kept)
        for id_ in ids[:BATCH]:
            assert not exporter.is_full
            tracer.accept(accepted(id_))
        assert exporter.size == 3 * BATCH


async def test_minute_without_a_drop_ends_the_silence_of_the_log(tracer, monkeypatch):
    """Mutants: a line for each failed request; none after the first."""
    now = 0.0
    monkeypatch.setattr(tracer.exporter, "_ticks", lambda: now)
    async with endpoint.endpoint() as end:
        end.says(endpoint.reply(503), endpoint.reply(503), endpoint.reply(200), endpoint.reply(503))
        tracer.use(options(end))
        with capture_logs() as lines:
            for now in (0.0, 50.0, 100.0, 120.0):  # noqa: B007 - the clock of the exporter
                tracer.accept(accepted())
                await tracer.exporter.finish()

    assert [line["status"] for line in lines] == [503, 503]


async def test_attempt_and_read_are_dropped_while_the_collector_fails(tracer, monkeypatch):
    """Mutants: their spans are made; a line of the log names a trace that does not exist."""
    with capture_logs() as lines:
        for number in range(QUEUED):
            tracer.accept(accepted(event_id(number)))
        before = tracer.exporter.dropped
        traceparent = tracer.begin_attempt(EVENT, at=moment(EVENT), replay=False)
        assert tracer.end_attempt(traceparent, made()) is None
        monkeypatch.setattr(tracer, "_chance", None)  # a span of a read would need it
        tracer.read("list", "crm", [body(EVENT)], began=AT, ended=AT + 1)

    assert tracer.exporter.dropped == before + 2
    assert len(lines) == 1


async def test_late_event_of_an_earlier_commit_is_linked_to_no_other(tracer, sent):
    """A delivery failed. Mutant: later events of a commit are linked to the late one."""
    tracer.use(options(sample=0.5))
    late, first, second = event_id(1), event_id(1 << 55), event_id((1 << 55) + 1)
    tracer.accept(accepted(late, received=None, commit=3))
    tracer.accept(accepted(first, received=None, commit=7))
    traceparent = tracer.begin_attempt(late, at=AT, replay=False)
    tracer.end_attempt(traceparent, made(late, outcome="failed"))
    tracer.accept(accepted(second, received=None, commit=7))

    spans = [span for span in await sent(tracer) if span.name == "commit"]
    its = spans[0].trace_id.hex(), spans[0].span_id.hex()
    assert [collectors.linked(span) for span in spans] == [[], [], [its]]


async def test_line_of_a_drop_has_our_word(tracer):
    with capture_logs() as lines:
        tracer.accept(accepted())
        await tracer.exporter.finish()

    assert lines == [
        {"event": "tracing.dropping", "log_level": "warning", "error": "refused", "status": None}
    ]


def test_spans_hold_no_content():
    """What a tracer is given has no body, text, number or URL. Mutant: a field with the body."""
    fields = {*AcceptedSpan.__struct_fields__, *AttemptMade.__struct_fields__}
    attempt = {*Attempt.__struct_fields__}

    assert fields == {
        *("event_id", "source", "type", "received", "planned", "waited", "durable", "commit"),
        *("origin", "sink", "host", "delivery_id", "number", "attempt"),
    }
    written = tracing.spans_of(accepted())
    assert "answer" not in written
    assert attempt >= {"answer"}
