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
    #: What the provider documents, in a sentence.
    description: str

    def drawn(self, chance: Random, *, speed: float = 1.0) -> tuple[float, ...]:
        """Seconds from each attempt to the next; with a `speed` of 60 a minute is a second."""
        return tuple(chance.uniform(least, most) / speed for least, most in self.waits)
