"""The outcome of an attempt, and its line in the log.

Rules that live here: a probe is shown as an attempt marked `probe`.
"""

from collections.abc import Callable, Mapping

import msgspec
import structlog

from core.delivery import Attempt, SettledAttempt, State
from core.secret import without_numbers

from .lanes import Taken

log = structlog.get_logger()


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """The next state of a delivery."""

    state: State
    #: None: no attempt was made.
    attempt: Attempt | None = None
    #: When it is tried again.
    due_at: float | None = None
    #: The sum of the clock's jumps when `due_at` was computed.
    stamp: float = 0.0
    #: The sink named `due_at` itself; `fixed`: by a date, which no step of the clock moves.
    asked: bool = False
    fixed: bool = False
    #: It waits because of an outage.
    held: bool = False
    #: The trace of the attempt; None: it is not sampled.
    trace_id: str | None = None

    def without_answer(self) -> "Outcome":
        """Return the same without a status and word that the journal cannot store."""
        if self.attempt is None:
            return self
        attempt = msgspec.structs.replace(self.attempt, status=None, error="fault")
        return msgspec.structs.replace(self, attempt=attempt)


class Tested(msgspec.Struct, frozen=True, kw_only=True):
    """A sample that was sent to a sink and is stored nowhere."""

    #: The request as text; the sink's own secrets are masked.
    request: str
    attempt: Attempt


class _Service(msgspec.Struct, frozen=True):
    id: str | None = None
    name: str | None = None


class _DescribedData(msgspec.Struct, frozen=True):
    service: _Service | None = None


class _DescribedEvent(msgspec.Struct, frozen=True):
    type: str
    source: str
    data: _DescribedData = _DescribedData()


_decode = msgspec.json.Decoder(_DescribedEvent).decode


def describe(body: bytes) -> Mapping[str, str | None]:
    """Return `type`, `source` and `service` of an event's JSON: values without a secret.

    The result is empty for other bytes: a log line must not fail for them.
    """
    try:
        event = _decode(body)
    except msgspec.MsgspecError:
        return {}
    service = event.data.service
    name = None if service is None else service.name or service.id
    shown = name and without_numbers(name)
    return {"type": event.type, "source": event.source, "service": shown}


def log_attempted(attempt: SettledAttempt) -> None:
    log.info("delivery.attempted", **attempt.fields())


def log_outcome(
    taken: Taken,
    outcome: Outcome,
    *,
    sink: str,
    shown: Callable[[int], str],
    accepted_at: float,
    log_attempted: Callable[[SettledAttempt], None] | None,
    leaf: int | None,
) -> None:
    """Log a settled outcome.

    `shown` returns a delivery's id as the API shows it. `accepted_at` is on the clock of now.
    `log_attempted` None: no line for attempts.
    `leaf` is the number of its first line in the audit log, if it has one.
    """
    delivery, attempt = taken.delivery, outcome.attempt
    ended = outcome.state is State.DEAD or outcome.state is State.EXPIRED
    if not ended and (attempt is None or log_attempted is None):
        return
    about, delivery_id = describe(delivery.body), shown(delivery.id)
    if attempt is not None and log_attempted is not None:
        since_ms = (attempt.at - accepted_at) * 1000 + attempt.took_ms
        log_attempted(
            SettledAttempt(
                event_id=delivery.event_id,
                about=about,
                sink=sink,
                delivery_id=delivery_id,
                attempt=delivery.attempts + 1,
                probe=True if attempt.probes else None,
                outcome=attempt.outcome,
                state=outcome.state.value,
                status=attempt.status,
                error=attempt.error,
                took_ms=attempt.took_ms,
                since_ms=round(since_ms, 1),
                due_at=outcome.due_at,
                trace_id=outcome.trace_id,
                leaf=leaf,
            )
        )
    if ended:
        is_dead = outcome.state is State.DEAD
        log.warning(
            "delivery.dead" if is_dead else "delivery.expired",
            event_id=delivery.event_id,
            **about,
            sink=sink,
            delivery_id=delivery_id,
            attempt=delivery.attempts + is_dead,
            trace_id=outcome.trace_id,
            leaf=None if leaf is None else leaf + (attempt is not None),
        )
