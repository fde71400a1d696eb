"""Lines of callbacks, delivery attempts and codes that were read, made from templates."""

from collections.abc import Sequence
from functools import lru_cache
from json.encoder import encode_basestring_ascii as quote

import msgspec
import structlog
from msgspec.structs import asdict

from core.delivery import SettledAttempt
from core.event import Event

from .fields import event_fields, service_and_number
from .setup import LEVELS, json_output, json_value

#: The longest name of a service that is cached: a provider may send any text.
_LONGEST = 80


class Received(msgspec.Struct, frozen=True):
    """The request that brought a callback, as log lines show it."""

    request_id: str
    source: str
    peer: str
    #: Length of the body.
    bytes: int
    #: None: an ordinary callback.
    channel: str | None = None
    #: None: the event is not traced.
    trace_id: str | None = None
    #: The number of its line in the audit log, if it has one.
    leaf: int | None = None


class FrequentLines:
    """Logs what structlog would log, byte for byte, in a fraction of its time.

    Only JSON has templates. structlog makes the lines for people.
    """

    def __init__(self) -> None:
        self._log = structlog.get_logger().bind()  # once: looking it up costs as much as a line
        self._json = json_output()

    def accepted(self, event: Event, sinks: Sequence[str], received: Received) -> None:
        """Log a new event with deliveries to `sinks`."""
        if self._json is None:
            fields = event_fields(event, sinks)
            self._log.info("callback.accepted", **fields, **asdict(received))
            return
        service, to = service_and_number(event.data)
        number = "" if to is None else f',"to":{quote(to)}'
        self._json(
            f'callback.accepted","event_id":"{event.id}","type":"{event.type}"'
            f'{_service(service)}{number},"sinks":[{_names(*sinks) if sinks else ""}]'
            f"{_of(received)}"
        )

    def duplicate(self, event_id: str, received: Received) -> None:
        """Log a further copy of a known event."""
        if self._json is None:
            self._log.info("callback.duplicate", event_id=event_id, **asdict(received))
            return
        self._json(f'callback.duplicate","event_id":"{event_id}"{_of(received)}')

    def attempted(self, one: SettledAttempt) -> None:
        """Log a settled attempt."""
        if self._json is None:
            self._log.info("delivery.attempted", **one.fields())
            return
        status = one.status
        # A sink may return any object.
        its = f',"status":{status}' if type(status) is int else _field("status", status)
        due = "" if one.due_at is None else f',"due_at":{one.due_at}'
        self._json(
            f'delivery.attempted","event_id":"{one.event_id}"{_about(*one.about.items())}'
            f'{_known("sink", one.sink)},"delivery_id":"{one.delivery_id}"'
            f',"attempt":{one.attempt}{"" if one.probe is None else _field("probe", one.probe)}'
            f',"outcome":"{one.outcome}","state":"{one.state}"{its}'
            f"{'' if one.error is None else _field('error', one.error)}"
            f',"took_ms":{one.took_ms},"since_ms":{one.since_ms}'
            f"{due}"
            f"{'' if one.trace_id is None else _field('trace_id', one.trace_id)}"
            f"{'' if one.leaf is None else _field('leaf', one.leaf)}"
        )

    def read(self, key: str | None, how: str, count: int, leaf: int) -> None:
        """Log that a key got `count` events in clear; `leaf` is the line of the audit log."""
        if self._json is None:
            self._log.info("code.read", key=key, how=how, count=count, leaf=leaf)
            return
        self._json(f'code.read"{_about(("key", key), ("how", how))},"count":{count},"leaf":{leaf}')


def frequent_lines() -> FrequentLines | None:
    """Return the lines, or None if the level hides them. Call it after `configure`."""
    shown = structlog.get_logger().bind().is_enabled_for(LEVELS["info"])
    return FrequentLines() if shown else None


def _of(received: Received) -> str:
    line = (
        f',"request_id":"{received.request_id}"{_about_caller(received.source, received.peer)}'
        f',"bytes":{received.bytes}'
    )
    if received.channel is not None:
        line += _field("channel", received.channel)
    if received.trace_id is not None:
        line += f',"trace_id":"{received.trace_id}"'
    return line if received.leaf is None else f'{line},"leaf":{received.leaf}'


@lru_cache(maxsize=256)
def _names(*sinks: str) -> str:
    return ",".join([quote(name) for name in sinks])


def _field(name: str, value: object) -> str:
    """Return a field with its comma, or nothing in place of None."""
    return "" if value is None else f',"{name}":{json_value(value)}'


#: The same with a cache, for short values that repeat: names of sinks and services.
_known = lru_cache(maxsize=1024)(_field)


def _service(service: str | None) -> str:
    is_short = service is None or len(service) <= _LONGEST
    return (_known if is_short else _field)("service", service)


@lru_cache(maxsize=1024)
def _about_caller(source: str, peer: str) -> str:
    return _field("source", source) + _field("peer", peer)


@lru_cache(maxsize=256)
def _about(*fields: tuple[str, str | None]) -> str:
    return "".join([_field(name, value) for name, value in fields])
