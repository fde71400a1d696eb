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
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
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

#: Spans that wait for the collector. Further ones are dropped.
QUEUED: Final = 2048
#: Spans of a request, and the seconds until a smaller number of them is sent.
BATCH, EVERY = 512, 5.0
#: Seconds for a request.
WITHIN: Final = 10.0
#: Events that are not sampled and are remembered, in case one of their deliveries fails.
REMEMBERED: Final = 1000
#: Seconds after which attempts and reads of an event have traces of their own.
_SOON = 60.0
#: A line of the log stands for all drops with fewer seconds between them.
_QUIET = 60.0
#: The first digit of the status of a batch that was taken.
_TAKEN = 2
#: Links of a span that reads many events.
_LINKS = 32
#: Kinds of spans, and the status of a failed one (opentelemetry/proto/trace/v1/trace.proto).
_INTERNAL, _SERVER, _PRODUCER = 1, 2, 4
_ERROR = 2
#: The randomness of a trace, and its end: the last 56 bits (W3C Trace Context, level 2).
_RANDOM = 1 << 56
#: The ids of these spans are that of `accept`, with one bit changed.
_CALLBACK, _COMMIT = 1, 2
_TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")

log = structlog.get_logger()


class SpanContext(NamedTuple):
    """The name of a span: ids in hexadecimal."""

    trace_id: str
    span_id: str

    @classmethod
    def of_event(cls, event_id: str, change: int = 0) -> "SpanContext":
        """Return the span in which an event was accepted, or another one of that time."""
        digits = event_id.replace("-", "")
        return cls(digits, f"{int(digits[16:], 16) ^ change:016x}" if change else digits[16:])

    @classmethod
    def of_header(cls, value: str | None) -> "SpanContext | None":
        """Return what a `traceparent` names; None: it names no span."""
        match = None if value is None else _TRACEPARENT.fullmatch(value)
        if match is None or not (int(match[1], 16) and int(match[2], 16)):
            return None
        return cls(match[1], match[2])


class AcceptedSpan(msgspec.Struct, frozen=True, kw_only=True):
    """The instants of an event's acceptance, in seconds since the epoch."""

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
    #: The first sampled event of the same commit; None: this one.
    first: str | None = None

    @property
    def spans(self) -> int:
        """Return the number of its spans."""
        return 2 if self.received is None else 3


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
        #: The smallest randomness of a sampled trace.
        self._threshold = _RANDOM
        #: Events that are not sampled, oldest first. None: a delivery failed, so it is sampled now.
        self._remembered: dict[str, AcceptedSpan | None] = {}
        #: The last commit with a sampled event, and that event.
        self._commit = (-1, "")

    def use(self, options: Tracing | None) -> None:
        """Trace by these options from now on. None: trace nothing."""
        self.is_on = options is not None
        self._threshold = _RANDOM
        self.exporter.use(options)
        if options is None:
            self._remembered.clear()
        else:
            self._threshold -= round(options.fraction * _RANDOM)

    def trace_id(self, event_id: str) -> str | None:
        """Return the id of the trace of an event; None: it is not sampled."""
        if not self.is_on:
            return None
        digits = event_id.replace("-", "")
        if int(digits[18:], 16) >= self._threshold:
            return digits
        return digits if self._remembered.get(event_id, self) is None else None

    # --- acceptance -----------------------------------------------------------------------

    def accept(self, accepted: AcceptedSpan) -> None:
        """Make the spans of an event that is durable, or remember it."""
        if self.trace_id(accepted.event_id) is None:
            self._remember(accepted.event_id, accepted)
            return
        commit, first = self._commit
        if commit == accepted.commit:
            accepted = msgspec.structs.replace(accepted, first=first)
        else:
            self._commit = accepted.commit, accepted.event_id
        self.exporter.put(accepted, accepted.spans)

    def _remember(self, event_id: str, accepted: AcceptedSpan | None) -> None:
        self._remembered.pop(event_id, None)
        self._remembered[event_id] = accepted
        if len(self._remembered) > REMEMBERED:
            del self._remembered[next(iter(self._remembered))]

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
            self.exporter.put(accepted, accepted.spans)
        _, trace_id, span_id, _ = traceparent.split("-")
        its = {
            "smshook.event_id": event_id,
            "smshook.sink": made.sink,
            "smshook.delivery_id": made.delivery_id,
            "smshook.attempt": made.number,
            "smshook.outcome": attempt.outcome,
            "smshook.error": attempt.error,
            "http.response.status_code": attempt.status,
            "server.address": made.host,
        }
        self._put(
            SpanContext(trace_id, span_id),
            f"deliver {made.sink}",
            _PRODUCER,
            (attempt.at, attempt.at + attempt.took_ms / 1000),
            its,
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
        its = {
            "smshook.key": key,
            "smshook.how": how,
            "smshook.events": len(events),
            "smshook.event_id": events[0] if len(events) == 1 else None,
        }
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
        attributes: Mapping[str, object],
        *,
        events: Sequence[str],
        error: str | None = None,
    ) -> None:
        """Make a span below the acceptance of its event, or linked to that of its events."""
        accepted = [SpanContext.of_event(event_id) for event_id in events]
        is_below = accepted[0].trace_id == context.trace_id
        span = _span(
            context,
            name,
            kind,
            times,
            [_attribute(key, value) for key, value in attributes.items() if value is not None],
            parent=accepted[0].span_id if is_below else "",
            links=() if is_below else accepted,
            error=error,
        )
        self.exporter.put(span)


def spans_of(accepted: AcceptedSpan) -> Sequence[str]:
    """Return the spans of an event's acceptance. Without a callback, there is none of it."""
    event_id, durable = accepted.event_id, accepted.durable
    own = SpanContext.of_event(event_id)
    callback = SpanContext.of_event(event_id, _CALLBACK)
    commit = SpanContext.of_event(event_id, _COMMIT)
    named = (_attribute("smshook.event_id", event_id), _about("smshook.source", accepted.source))
    spans = [
        _span(
            *(own, "accept", _INTERNAL, (accepted.planned, durable)),
            (*named, _about("smshook.type", accepted.type)),
            parent="" if accepted.received is None else callback.span_id,
        ),
        _span(
            *(commit, "commit", _INTERNAL, (accepted.waited, durable)),
            (*named, _about("smshook.commit", accepted.commit)),
            parent=own.span_id,
            links=[SpanContext.of_event(accepted.first, _COMMIT)] if accepted.first else (),
        ),
    ]
    if accepted.received is not None:
        spans.append(
            _span(
                *(callback, "callback", _SERVER, (accepted.received, durable)),
                (*named, _about("http.response.status_code", 200)),
                links=[] if accepted.origin is None else [accepted.origin],
            )
        )
    return spans


def _span(
    context: SpanContext,
    name: str,
    kind: int,
    times: tuple[float, float],
    attributes: Sequence[str],
    *,
    parent: str = "",
    links: Sequence[SpanContext] = (),
    error: str | None = None,
) -> str:
    """Return a span as OTLP has it in JSON. A template takes a fifth of the time of an encoder.

    Ids are in hexadecimal, and integers of 64 bits are texts.
    """
    begin, end = times
    below = f',"parentSpanId":"{parent}"' if parent else ""
    status = "" if error is None else f',"status":{{"code":{_ERROR},"message":{quote(error)}}}'
    linked = ",".join([f'{{"traceId":"{trace}","spanId":"{span}"}}' for trace, span in links])
    return (
        f'{{"traceId":"{context.trace_id}","spanId":"{context.span_id}"'
        f'{below},"name":{quote(name)},"kind":{kind}'
        f',"startTimeUnixNano":"{int(begin * 1_000_000)}000"'
        f',"endTimeUnixNano":"{int(end * 1_000_000)}000"'
        f',"attributes":[{",".join(attributes)}],"links":[{linked}]{status}}}'
    )


def _attribute(key: str, value: object) -> str:
    if isinstance(value, int):
        return f'{{"key":"{key}","value":{{"intValue":"{value}"}}}}'
    return f'{{"key":"{key}","value":{{"stringValue":{quote(str(value))}}}}}'


#: Of few values: sources, types, and the commit that many events share.
_about = lru_cache(maxsize=256)(_attribute)


class Exporter:
    """Sends spans to the collector in batches. Nobody waits for it: what is too much is dropped."""

    def __init__(self, ticks: Callable[[], float]) -> None:
        self._ticks = ticks
        self._options: Tracing | None = None
        #: Spans in JSON, and events. Each with the number of spans that it becomes.
        self._waiting: deque[tuple[str | AcceptedSpan, int]] = deque()
        #: Spans in `_waiting`.
        self.size = 0
        #: Spans since the start.
        self.sent = self.dropped = 0
        self._dropped_at = float("-inf")
        #: There is a whole batch, or other options.
        self._ready = asyncio.Event()

    def use(self, options: Tracing | None) -> None:
        """Send with these options from now on. None: forget what waits."""
        self._options = options
        if options is None:
            self._waiting.clear()
            self.size = 0
        self._ready.set()

    def put(self, span: str | AcceptedSpan, count: int = 1) -> None:
        """Send a span with one of the next batches, or drop it. It becomes `count` spans."""
        if self.size + count > QUEUED:
            self._drop(count, "full")
            return
        self._waiting.append((span, count))
        self.size += count
        if self.size >= BATCH:
            self._ready.set()

    async def run(self) -> None:
        """Send until cancelled."""
        while True:
            options = self._options
            if options is None:
                await self._gather(None)
                continue
            async with posting(options.traces_url, connections=1, within=WITHIN) as post:
                while self._options is options:
                    if self.size < BATCH:
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
        spans: list[str] = []
        while self._waiting and len(spans) + self._waiting[0][1] <= BATCH:
            one, count = self._waiting.popleft()
            self.size -= count
            spans.extend(spans_of(one) if isinstance(one, AcceptedSpan) else [one])
        headers = {name.lower(): value.reveal() for name, value in options.headers.items()}
        try:
            answer = await post(
                {**headers, "content-type": "application/json"}, encode(spans, options.name)
            )
        except (Failed, Unusable) as exc:
            self._drop(len(spans), exc.word if isinstance(exc, Failed) else "unusable")
            return False
        if answer.status // 100 != _TAKEN:
            self._drop(len(spans), "status", answer.status)
            return False
        self.sent += len(spans)
        return True

    def _drop(self, count: int, error: str, status: int | None = None) -> None:
        self.dropped += count
        now = self._ticks()
        if now - self._dropped_at > _QUIET:
            log.warning("tracing.dropping", error=error, status=status)
        self._dropped_at = now


def encode(spans: Sequence[str], service: str) -> bytes:
    """Return an ExportTraceServiceRequest in JSON."""
    its = [("service.name", service), ("service.version", __version__)]
    resource = ",".join([_attribute(*one) for one in its])
    scope = f'{{"name":"smshook","version":{quote(__version__)}}}'
    return (
        f'{{"resourceSpans":[{{"resource":{{"attributes":[{resource}]}}'
        f',"scopeSpans":[{{"scope":{scope},"spans":[{",".join(spans)}]}}]}}]}}'
    ).encode()
