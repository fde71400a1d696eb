"""What one sink is owed, and what came of it."""

import enum

import msgspec


class State(enum.StrEnum):
    """Where a delivery stands.

    sending -> delivered | pending | dead | expired; pending -> sending;
    dead, expired -> pending where a person asks for a retry

    In the journal `sending` means taken by this start of the process. Readers are shown `sending`
    only while an attempt is under way, which the workers know, and else `pending`.
    """

    PENDING = "pending"  # to be attempted at `due_at`
    SENDING = "sending"
    DELIVERED = "delivered"  # the sink has it for good
    DEAD = "dead"  # given up
    EXPIRED = "expired"  # not delivered before its `expire_after`


class WaitsFor(enum.StrEnum):
    """What a pending delivery waits for."""

    RETRY = "retry"  # its next attempt is due later
    RATE = "rate"  # the sink's `rate`, or the sink said that it was asked too often
    ORDER = "order"  # another of the same `ordered_by` value is not over
    PAUSE = "pause"  # the sink is paused, or no sink of that name is configured
    SLOT = "slot"  # all `concurrency` attempts are under way


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """One event owed to one sink, taken by this start of the process."""

    id: int
    event_id: str
    #: The CloudEvent as kept, encoded once.
    body: bytes
    sink: str
    #: Attempts made so far, the coming one excluded.
    attempts: int
    #: How many of them its schedule does not count: a person's retry began it anew.
    begun: int = 0
    #: When the event was accepted, or this delivery asked for again: seconds since the epoch.
    accepted_at: float
    #: When it is due by its schedule, where it was taken before that: a probe.
    due_at: float | None = None
    #: The sink named `due_at` itself; `fixed`: by a date. Known of a probe only.
    asked: bool = False
    fixed: bool = False
    #: Of deliveries of one sink that have the same here, one is sent at a time; None: no order.
    ordering: str | None = None
    #: Asked for by somebody, after it was owed at acceptance.
    replay: bool = False

    @property
    def failures(self) -> int:
        """Attempts that its schedule counts, all of them failed."""
        return self.attempts - self.begun


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One try at a delivery, with its outcome; or the last of several probes, counted."""

    #: Seconds since the epoch.
    at: float
    #: `delivered`, `failed` or `refused`.
    outcome: str
    #: The sink's own status, such as an HTTP status.
    status: int | None = None
    #: A word of ours, never a library's text: that may hold a secret.
    error: str | None = None
    #: Milliseconds.
    took_ms: float
    #: How the sink's answer begins; it may repeat what was sent.
    answer: bytes | None = None
    #: 0: an attempt of the schedule. Else so many attempts before its time, which use none of the
    #: schedule up, and of which this was the last.
    probes: int = 0
