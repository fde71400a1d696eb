"""The retries that a provider documents."""

from random import Random

import msgspec

#: Seconds for an answer if a provider documents no timeout.
_DEFAULT_TIMEOUT = 30.0


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """The attempts after the first, until one is answered with exactly 200."""

    #: Seconds from each attempt to the next: the least and the most.
    waits: tuple[tuple[float, float], ...]
    #: Seconds for an answer.
    timeout: float = _DEFAULT_TIMEOUT
    #: The provider's documentation, in a sentence.
    description: str

    def draw(self, chance: Random, *, speed: float = 1.0) -> tuple[float, ...]:
        """Return the seconds between attempts. At a `speed` of 60 a minute takes a second."""
        return tuple(chance.uniform(least, most) / speed for least, most in self.waits)
