"""When a provider sends a callback again, as it documents."""

from random import Random

import msgspec

#: Seconds for an answer where a provider does not say how long it waits.
_UNSAID_TIMEOUT = 30.0


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """The attempts after the first, each until one is answered with exactly 200."""

    #: Seconds from each attempt to the next: the least and the most.
    waits: tuple[tuple[float, float], ...]
    #: Seconds for an answer.
    timeout: float = _UNSAID_TIMEOUT
    #: What is documented, in a sentence.
    said: str

    def drawn(self, chance: Random, *, speed: float = 1.0) -> tuple[float, ...]:
        """Seconds from each attempt to the next; with a `speed` of 60 a minute is a second."""
        return tuple(chance.uniform(least, most) / speed for least, most in self.waits)


TELLABOT = Schedule(
    waits=((600.0, 600.0),) * 5,
    said="not answered 200: five more times at 10-minute intervals",
)
#: The spacing is not documented: evenly, as far apart as two hours allow.
SMS_ACTIVATE = Schedule(
    waits=((1020.0, 1020.0),) * 7,
    said="within 2 hours, no more than 8 times; their spacing is unknown, 17 minutes here",
)
#: 20 to 30 seconds apart, and three minutes at least in all: so 26 is the shortest that keeps both.
HEROSMS = Schedule(
    waits=((26.0, 30.0),) * 7,
    timeout=3.0,
    said="3 s for an answer; 7 more times, 20 to 30 s apart, over 3 minutes at least",
)
SMSBOWER = Schedule(
    waits=((60.0, 60.0), (300.0, 300.0)),
    said="2 more times: after 1 minute, then after 5 minutes",
)
SMS_ONLINE = Schedule(waits=(), said="once; it will not attempt to resend")
DAISYSMS = Schedule(waits=(), said="unknown whether it tries again: once here")
GRIZZLYSMS = Schedule(waits=(), said="it documents no callbacks: once here")
