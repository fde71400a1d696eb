"""Traces of sampled events, for an OpenTelemetry collector: OTLP over HTTP, as JSON.

The trace of an event has the digits of the event's id, and the ids of its first spans follow from
it. So nothing is stored: an attempt after a restart still finds the trace. Decision 50 has the
reasons.

| span | begins | ends |
|---|---|---|
| `callback` | its last byte is here | all is durable |
| `accept`, below it | the event is planned | the same |
| `commit`, below that | the event waits for a transaction | the same |
| `deliver` | an attempt at a sink | its end |
| `read` | a call of the API | before its answer |
"""

import asyncio
import contextlib
import re
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from json.encoder import encode_basestring_ascii as quote
from typing import Final, NamedTuple

import msgspec
import structlog

from core.event import id_of
from sinks.http.client import Post, posting
from sinks.sink import Failed, Unusable
from sinks.tracing import AttemptMade

from . import __version__
from .config.options import Tracing

#: The most spans that wait for the collector. Further ones are dropped.
QUEUED: Final = 2048
#: Spans of a request, and the seconds until a smaller number of them is sent.
BATCH, EVERY = 512, 5.0
#: The most spans that wait after a failed request. The next request will probably fail, too.
TRIED: Final = 64
#: Seconds for a request.
WITHIN: Final = 10.0
#: Events that are not sampled and are remembered, in case one of their deliveries fails.
REMEMBERED: Final = 1000
#: Seconds after which attempts and reads of an event have traces of their own.
_SOON = 60.0
#: Drops that follow each other within this many seconds share one line of the log.
_QUIET = 60.0
#: The first digit of the status if the collector accepted a batch.
_TAKEN = 2
#: No event has more than three spans, so no more than QUEUED wait.
_MOST = QUEUED - 2
#: Links of a span that reads many events.
_LINKS = 32
#: Kinds of spans, and the status of a failed one (opentelemetry/proto/trace/v1/trace.proto).
_INTERNAL, _SERVER, _PRODUCER = 1, 2, 4
_ERROR = 2
#: The randomness of a trace: its last 56 bits (W3C Trace Context, level 2).
_RANDOM = 1 << 56
#: Where it begins in the id of an event, after which one hyphen comes.
_RANDOM_AT = 21
#: No digits are as large: nothing is sampled.
_NOTHING = "g"
#: The ids of `callback` and `commit` are that of `accept`, with one bit of the last digit changed.
_ENDS = {f"{digit:x}": (f"{digit ^ 1:x}", f"{digit ^ 2:x}") for digit in range(16)}
_TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")

log = structlog.get_logger()


class SpanContext(NamedTuple):
    """The name of a span: ids in hexadecimal."""

    trace_id: str
    span_id: str

    @classmethod
    def of_event(cls, event_id: str) -> "SpanContext":
        """Return the span in which an event was accepted."""
        digits = event_id.replace("-", "")
        return cls(digits, digits[16:])

    @classmethod
    def of_header(cls, value: str | None) -> "SpanContext | None":
        """Return what a `traceparent` names; None: it names no span."""
        match = None if value is None else _TRACEPARENT.fullmatch(value)
        if match is None or not (int(match[1], 16) and int(match[2], 16)):
            return None
        return cls(match[1], match[2])


class AcceptedSpan(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The instants of an event's acceptance, in seconds since the epoch.

    Thousands of them wait at a time, and none is part of a cycle: the collector of garbage skips
    them.
    """

    event_id: str
    source: str
    type: str
    #: When its callback was here; None: no callback brought it.
    received: float | None
    planned: float
    waited: float
    durable: float
    #: The number of its commit since the start.
    commit: int
    #: What the provider said that the callback belongs to. It is not believed, only linked.
    origin: SpanContext | None = None


class Tracer:
    """Decides which events are sampled, and makes their spans.

    `chance(size)` returns random bytes, `ticks` seconds that only go forward.
    """

    def __init__(
        self, chance: Callable[[int], bytes], *, ticks: Callable[[], float] = time.monotonic
    ) -> None:
        self._chance = chance
        self.exporter = Exporter(ticks)
        #: Whether anything is traced.
        self.is_on = False
        #: The smallest randomness of a sampled trace, written as in the id of an event.
        self._threshold = _NOTHING
        #: Events that are not sampled, oldest first. None: a delivery failed, so it is sampled now.
        self._remembered: OrderedDict[str, AcceptedSpan | None] = OrderedDict()

    def use(self, options: Tracing | None) -> None:
        """Trace by these options from now on. None: trace nothing."""
        self.is_on = options is not None
        self.exporter.use(options)
        if options is None:
            self._remembered.clear()
        sampled = 0 if options is None else round(options.fraction * _RANDOM)
        smallest = f"{_RANDOM - sampled:014x}"
        self._threshold = f"{smallest[:2]}-{smallest[2:]}" if sampled else _NOTHING

    def trace_id(self, event_id: str) -> str | None:
        """Return the id of the trace of an event; None: it is not sampled."""
        if not self.is_on:
            return None
        # Digits of one length have the order of their numbers.
        is_sampled = event_id[_RANDOM_AT:] >= self._threshold
        if is_sampled or self._remembered.get(event_id, self) is None:
            return event_id.replace("-", "")
        return None

    # --- acceptance -----------------------------------------------------------------------

    def accept(self, accepted: AcceptedSpan) -> str | None:
        """Make the spans of an event that is durable, or remember it.

        Return the id of its trace; None: it is not sampled, or its spans are dropped.
        """
        event_id = accepted.event_id
        if event_id[_RANDOM_AT:] < self._threshold:
            self._remember(event_id, accepted)
        elif self.exporter.put(accepted, 2 if accepted.received is None else 3):
            return event_id.replace("-", "")
        return None

    def skip(self, event_id: str, *, received: bool) -> None:
        """Count the spans of a durable event as dropped: call it while the exporter is full.

        `received`: a callback brought the event.
        """
        if event_id[_RANDOM_AT:] >= self._threshold:
            self.exporter.drop(3 if received else 2)

    def _remember(self, event_id: str, accepted: AcceptedSpan | None) -> None:
        self._remembered[event_id] = accepted
        self._remembered.move_to_end(event_id)
        if len(self._remembered) > REMEMBERED:
            self._remembered.popitem(last=False)

    # --- attempts -------------------------------------------------------------------------

    def begin_attempt(self, event_id: str, *, at: float, replay: bool) -> str | None:
        """See AttemptTracer."""
        if not self.is_on:
            return None
        sampled = self.trace_id(event_id) is not None
        its = self._begin(event_id, at=at, alone=replay)
        return f"00-{its.trace_id}-{its.span_id}-{sampled:02x}"

    def end_attempt(self, traceparent: str, made: AttemptMade) -> str | None:
        """See AttemptTracer."""
        attempt, event_id = made.attempt, made.event_id
        failed = attempt.outcome != "delivered"
        if self.trace_id(event_id) is None:
            accepted = self._remembered.get(event_id)
            if not failed or accepted is None:
                return None
            self._remember(event_id, None)
            self.exporter.put(accepted, 2 if accepted.received is None else 3)
        if self.exporter.is_full:
            self.exporter.drop(1)
            return None
        _, trace_id, span_id, _ = traceparent.split("-")
        self._put(
            SpanContext(trace_id, span_id),
            f"deliver {made.sink}",
            _PRODUCER,
            (attempt.at, attempt.at + attempt.took_ms / 1000),
            (
                _attribute("smshook.event_id", event_id),
                _about("smshook.sink", made.sink),
                _attribute("smshook.delivery_id", made.delivery_id),
                _about("smshook.attempt", made.number),
                _about("smshook.outcome", attempt.outcome),
                _about("smshook.error", attempt.error),
                _about("http.response.status_code", attempt.status),
                _about("server.address", made.host),
            ),
            events=(event_id,),
            error=(attempt.error or attempt.outcome) if failed else None,
        )
        return trace_id

    # --- reads ----------------------------------------------------------------------------

    def read(
        self, how: str, key: str, bodies: Iterable[bytes], *, began: float, ended: float
    ) -> None:
        """Make the span of a call by which a key got events, if one of them is sampled.

        `bodies`: the events as stored; `began`, `ended`: seconds since the epoch.
        """
        if not self.is_on:
            return
        events = [id_of(body) for body in bodies]
        sampled = [event_id for event_id in events if self.trace_id(event_id) is not None]
        if not sampled:
            return
        if self.exporter.is_full:
            self.exporter.drop(1)
            return
        its = (
            _attribute("smshook.key", key),
            _about("smshook.how", how),
            _attribute("smshook.events", len(events)),
            _attribute("smshook.event_id", events[0] if len(events) == 1 else None),
        )
        context = self._begin(sampled[0], at=began, alone=len(events) > 1)
        self._put(context, "read", _SERVER, (began, ended), its, events=sampled[:_LINKS])

    # --- spans ----------------------------------------------------------------------------

    def _begin(self, event_id: str, *, at: float, alone: bool) -> SpanContext:
        """Return a new span: in the trace of the event, or in one of its own."""
        own = SpanContext.of_event(event_id)
        if alone or at - int(own.trace_id[:12], 16) / 1000 > _SOON:
            own = SpanContext(self._chance(16).hex(), "")
        return SpanContext(own.trace_id, self._chance(8).hex())

    def _put(
        self,
        context: SpanContext,
        name: str,
        kind: int,
        times: tuple[float, float],
        attributes: Sequence[str],
        *,
        events: Sequence[str],
        error: str | None = None,
    ) -> None:
        """Make a span below the acceptance of its event, or linked to that of its events."""
        accepted = [SpanContext.of_event(event_id) for event_id in events]
        is_below = accepted[0].trace_id == context.trace_id
        self.exporter.put(
            _span(
                *(context, name, kind, times, attributes),
                parent=accepted[0].span_id if is_below else "",
                links=() if is_below else accepted,
                error=error,
            )
        )


# --- templates: they take a tenth of the time of an encoder ---------------------------------------
# Ids are in hexadecimal, and integers of 64 bits are texts.


def spans_of(accepted: AcceptedSpan, first: str | None = None) -> str:
    """Return the spans of an event's acceptance. Without a callback, it has no span `callback`.

    `first`: the first of several events of the same commit; None: this one.
    """
    event_id, received = accepted.event_id, accepted.received
    trace_id = event_id.replace("-", "")
    accept, (for_callback, for_commit) = trace_id[16:], _ENDS[trace_id[31]]
    callback, commit = accept[:15] + for_callback, accept[:15] + for_commit
    source, type_ = _named(accepted.source, accepted.type)
    begin = f'{{"traceId":"{trace_id}","spanId":"'
    end = (
        f'000","endTimeUnixNano":"{int(accepted.durable * 1_000_000)}000","attributes":['
        f'{{"key":"smshook.event_id","value":{{"stringValue":"{event_id}"}}}}{source}'
    )
    below = "" if received is None else f',"parentSpanId":"{callback}"'
    spans = (
        f'{begin}{accept}"{below},"name":"accept","kind":{_INTERNAL}'
        f',"startTimeUnixNano":"{int(accepted.planned * 1_000_000)}{end}{type_}]}}'
        f',{begin}{commit}","parentSpanId":"{accept}","name":"commit","kind":{_INTERNAL}'
        f',"startTimeUnixNano":"{int(accepted.waited * 1_000_000)}{end}'
        f"{_about('smshook.commit', accepted.commit)}]{_to_commit(first)}}}"
    )
    if received is None:
        return spans
    origin = "" if accepted.origin is None else _links([accepted.origin])
    return (
        f'{spans},{begin}{callback}","name":"callback","kind":{_SERVER}'
        f',"startTimeUnixNano":"{int(received * 1_000_000)}{end}{_ANSWERED}]{origin}}}'
    )


def _span(
    context: SpanContext,
    name: str,
    kind: int,
    times: tuple[float, float],
    attributes: Sequence[str],
    *,
    parent: str,
    links: Sequence[SpanContext],
    error: str | None,
) -> str:
    begin, end = times
    below = f',"parentSpanId":"{parent}"' if parent else ""
    status = "" if error is None else f',"status":{{"code":{_ERROR},"message":{quote(error)}}}'
    return (
        f'{{"traceId":"{context.trace_id}","spanId":"{context.span_id}"'
        f'{below},"name":{quote(name)},"kind":{kind}'
        f',"startTimeUnixNano":"{int(begin * 1_000_000)}000"'
        f',"endTimeUnixNano":"{int(end * 1_000_000)}000"'
        f',"attributes":[{"".join(attributes)[1:]}]{_links(links)}{status}}}'
    )


def _links(spans: Sequence[SpanContext]) -> str:
    linked = ",".join([f'{{"traceId":"{trace}","spanId":"{span}"}}' for trace, span in spans])
    return f',"links":[{linked}]'


@lru_cache(maxsize=4)
def _to_commit(event_id: str | None) -> str:
    if event_id is None:
        return ""
    trace_id, accept = SpanContext.of_event(event_id)
    return _links([SpanContext(trace_id, accept[:-1] + _ENDS[accept[-1]][1])])


def _attribute(key: str, value: object) -> str:
    """Return a comma and the attribute, or nothing in place of None."""
    if value is None:
        return ""
    if isinstance(value, int):
        return f',{{"key":"{key}","value":{{"intValue":"{value}"}}}}'
    return f',{{"key":"{key}","value":{{"stringValue":{quote(str(value))}}}}}'


#: Cached, because few values are in use: sinks, words, and the commit that many events share.
_about = lru_cache(maxsize=256)(_attribute)
#: Only callbacks that were answered so have spans.
_ANSWERED = _attribute("http.response.status_code", 200)


@lru_cache(maxsize=256)
def _named(source: str, type_: str) -> tuple[str, str]:
    return _attribute("smshook.source", source), _attribute("smshook.type", type_)


class Exporter:
    """Sends spans to the collector in batches. Nothing waits for it: further spans are dropped."""

    def __init__(self, ticks: Callable[[], float]) -> None:
        self._ticks = ticks
        self._options: Tracing | None = None
        #: Spans in JSON, and events whose spans are made when they are sent.
        self._waiting: deque[str | AcceptedSpan] = deque()
        #: Spans in `_waiting`, and how many there may be before others are dropped.
        self.size, self._most = 0, _MOST
        #: Whether a span would be dropped: do not make it. True without options.
        self.is_full = True
        #: The last commit of an event that was sent, and the first event of it.
        self._commit = (-1, "")
        #: Spans since the start.
        self.sent = self.dropped = 0
        #: Whether spans were dropped since it was full, and when that last ended.
        self._drops, self._dropped_at = False, float("-inf")
        #: There is enough for a request, or there are other options.
        self._ready = asyncio.Event()

    def use(self, options: Tracing | None) -> None:
        """Send with these options from now on. None: forget what waits."""
        self._options, self._most = options, _MOST
        if options is None:
            self._waiting.clear()
            self.size = 0
        self._measure()
        self._ready.set()

    def put(self, one: str | AcceptedSpan, count: int = 1) -> bool:
        """Send a span, or the `count` spans of an event, with one of the next batches.

        Return False if they are dropped.
        """
        if self.is_full:
            self.drop(count)
            return False
        self._waiting.append(one)
        self.size += count
        if self.size >= min(BATCH, self._most):
            self._measure()
            self._ready.set()
        return True

    def drop(self, count: int, error: str = "full", status: int | None = None) -> None:
        """Count spans as dropped. The first of many drops is logged."""
        self.dropped += count
        if not self._drops:
            self._drops = True
            if self._ticks() - self._dropped_at > _QUIET:
                log.warning("tracing.dropping", error=error, status=status)

    def _measure(self) -> None:
        """Find out whether there is room for a span."""
        self.is_full = self._options is None or self.size >= self._most
        if self._drops and not self.is_full:
            self._drops, self._dropped_at = False, self._ticks()

    async def run(self) -> None:
        """Send until cancelled."""
        while True:
            options = self._options
            if options is None:
                await self._gather(None)
                continue
            async with posting(options.traces_url, connections=1, within=WITHIN) as post:
                while self._options is options:
                    if self.size < min(BATCH, self._most):
                        await self._gather(EVERY)
                    if self.size and not await self._send(options, post):
                        await asyncio.sleep(EVERY)  # what comes meanwhile may be dropped

    async def finish(self) -> None:
        """Send what waits, until a request fails."""
        options = self._options
        if options is None or not self.size:
            return
        async with posting(options.traces_url, connections=1, within=WITHIN) as post:
            while self.size and await self._send(options, post):
                pass

    async def _gather(self, within: float | None) -> None:
        self._ready.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                await self._ready.wait()

    async def _send(self, options: Tracing, post: Post) -> bool:
        """Send a batch. Return False if the collector did not take it."""
        count, spans = self._take()
        headers = {name.lower(): value.reveal() for name, value in options.headers.items()}
        error, status = None, None
        try:
            answer = await post(
                {**headers, "content-type": "application/json"}, encode(spans, options.name)
            )
        except (Failed, Unusable) as exc:
            error = exc.word if isinstance(exc, Failed) else "unusable"
        else:
            if answer.status // 100 != _TAKEN:
                error, status = "status", answer.status
        if options is self._options:
            # Until the collector accepts a batch, make only a few spans.
            self._most = _MOST if error is None else TRIED
        if error is None:
            self.sent += count
        else:
            self.drop(count, error, status)
        self._measure()
        return error is None

    def _take(self) -> tuple[int, Sequence[str]]:
        """Take the spans of a batch out of the queue. Return their number, and their JSON."""
        count, spans = 0, []
        while self._waiting:
            one = self._waiting[0]
            more = 1 if isinstance(one, str) else 2 if one.received is None else 3
            if count + more > BATCH:
                break
            self._waiting.popleft()
            count += more
            if isinstance(one, str):
                spans.append(one)
                continue
            commit, first = self._commit
            spans.append(spans_of(one, first if commit == one.commit else None))
            # An event that was remembered may be of an earlier commit.
            if one.commit > commit:
                self._commit = one.commit, one.event_id
        self.size -= count
        return count, spans


def encode(spans: Sequence[str], service: str) -> bytes:
    """Return an ExportTraceServiceRequest in JSON. A text may have several spans."""
    its = [("service.name", service), ("service.version", __version__)]
    resource = "".join([_attribute(*one) for one in its])[1:]
    scope = f'{{"name":"smshook","version":{quote(__version__)}}}'
    return (
        f'{{"resourceSpans":[{{"resource":{{"attributes":[{resource}]}}'
        f',"scopeSpans":[{{"scope":{scope},"spans":[{",".join(spans)}]}}]}}]}}'
    ).encode()
