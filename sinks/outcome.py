"""What came of an attempt, for the log and for a test send."""

import msgspec

from core.delivery import Attempt, State


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What an attempt makes of its delivery."""

    state: State
    #: None: there was none.
    attempt: Attempt | None = None
    #: When it is tried again.
    due_at: float | None = None
    #: How far the wall clock had jumped when `due_at` was made.
    stamp: float = 0.0
    #: It was not sent: what becomes of it says nothing of the sink.
    unsent: bool = False
    #: The sink named `due_at` itself; `fixed`: by a date, which no step of the clock moves.
    asked: bool = False
    fixed: bool = False
    #: It waits because of an outage.
    held: bool = False


class Tested(msgspec.Struct, frozen=True, kw_only=True):
    """A sample that was sent to a sink, and is kept nowhere."""

    #: What was sent, for people; the sink's own secrets are masked.
    request: str
    attempt: Attempt


def _plain(outcome: Outcome) -> Outcome:
    """A status or word that cannot be stored costs the sink those, not the delivery."""
    if outcome.attempt is None:
        return outcome
    attempt = msgspec.structs.replace(outcome.attempt, status=None, error="fault")
    return msgspec.structs.replace(outcome, attempt=attempt)
