"""Deliveries and their attempts."""

import enum
from collections.abc import Mapping
from typing import Final

import msgspec

#: The error of a delivery that expired, because content that its sink needs was erased.
ERASED: Final = "erased"


class State(enum.StrEnum):
    """The state of a delivery.

    pending -> delivered | dead | expired;
    dead, expired -> pending where a person asks for a retry

    The journal stores no `sending`: only the workers know that an attempt is under way.
    """

    PENDING = "pending"  # to be attempted at `due_at`
    SENDING = "sending"  # pending, with an attempt under way
    DELIVERED = "delivered"  # the sink has it for good
    DEAD = "dead"  # given up
    EXPIRED = "expired"  # not delivered before its `expire_after`, or before it was erased


class WaitsFor(enum.StrEnum):
    """The reason why a pending delivery waits."""

    RETRY = "retry"  # its next attempt is due later
    RATE = "rate"  # the sink's `rate`, or the sink limits requests
    ORDER = "order"  # another of the same `ordered_by` value is not over
    PAUSE = "pause"  # the sink is paused, or no sink of that name is configured
    SLOT = "slot"  # all `concurrency` attempts are under way


class Turn(enum.StrEnum):
    """The kind of a delivery's next attempt: it decides which delivery goes first."""

    FRESH = "fresh"  # the first attempt of a new event: before all others
    RETRIED = "retried"
    REPLAYED = "replayed"  # the first attempt of a replay: it takes turns with retries

    @classmethod
    def of(cls, attempts: int, *, replay: bool) -> "Turn":
        """Return the turn of a delivery with that many attempts so far."""
        if attempts:
            return cls.RETRIED
        return cls.REPLAYED if replay else cls.FRESH


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """One event owed to one sink, taken by this start of the process."""

    id: int
    event_id: str
    #: The CloudEvent as stored, encoded once.
    body: bytes
    #: Whether sealed parts are masked in `body`, and these parts.
    is_masked: bool = False
    codes: bytes | None = None
    people: bytes | None = None
    sink: str
    #: The start of the process that sends it. The journal believes only the owner.
    owner: int
    #: Attempts made so far, without the next one.
    attempts: int
    #: The attempts that its schedule does not count, because a person asked for a retry.
    begun: int = 0
    #: When the event was accepted or the retry requested: seconds since the epoch.
    accepted_at: float
    #: When it is due by its schedule. Set only for a probe, which is taken earlier.
    due_at: float | None = None
    #: Whether the sink itself named `due_at`, and whether as a date (`fixed`). Only for a probe.
    asked: bool = False
    fixed: bool = False
    #: Deliveries of one sink with the same value are sent one at a time; None: in no order.
    ordering: str | None = None
    #: Requested by a person, after acceptance.
    replay: bool = False

    @property
    def failures(self) -> int:
        """Return the failed attempts that its schedule counts."""
        return self.attempts - self.begun

    @property
    def turn(self) -> Turn:
        return Turn.of(self.attempts, replay=self.replay)


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One try at a delivery, with its outcome.

    Or the last of several probes, which are stored as one.
    """

    #: Seconds since the epoch.
    at: float
    #: `delivered`, `failed` or `refused`.
    outcome: str
    #: The sink's own status, such as an HTTP status.
    status: int | None = None
    #: One of our words; a library's text may contain a secret.
    error: str | None = None
    #: Milliseconds.
    took_ms: float
    #: The beginning of the sink's answer, which may repeat what was sent.
    answer: bytes | None = None
    #: The number of probes before it was due, this one included; they use up no part of the
    #: schedule. 0: an attempt of the schedule.
    probes: int = 0


class SettledAttempt(msgspec.Struct, frozen=True):
    """A settled attempt, as a log line shows it."""

    event_id: str
    #: `type`, `source` and `service` of the event, or nothing.
    about: Mapping[str, str | None]
    sink: str
    #: The id as the API shows it.
    delivery_id: str
    #: 1: the first.
    attempt: int
    #: True or None.
    probe: bool | None
    outcome: str
    state: str
    status: int | None
    error: str | None
    took_ms: float
    #: Since the event was accepted.
    since_ms: float
    due_at: float | None
    #: None: the attempt is not traced.
    trace_id: str | None = None
    #: The number of its line in the audit log, if it has one.
    leaf: int | None = None

    def fields(self) -> Mapping[str, object]:
        """Return the fields of the line, in order."""
        rest = msgspec.structs.asdict(self)
        return {"event_id": rest.pop("event_id"), **rest.pop("about"), **rest}
