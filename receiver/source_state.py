"""A source's tokens, addresses, pace and health while the service runs."""

from collections.abc import Callable

from core.bucket import Bucket

from .addresses import Allowed
from .source import Source
from .source_health import SourceHealth
from .tokens import Tokens


class SourceState:
    """The state of one configured source. `ticks` returns seconds that only go forward."""

    def __init__(self, name: str, source: Source, ticks: Callable[[], float]) -> None:
        self.name, self.source = name, source
        self.health = SourceHealth(
            ticks=ticks,
            timezone=getattr(source, "timezone", None),
            expect_every=source.expect_every,
        )
        self.tokens = Tokens(source.tokens)
        self.allowed = Allowed(source.allow_from, source.documented)
        self._bucket = None if source.rate is None else Bucket(source.rate, ticks)

    def wait(self) -> float:
        """Return 0 and count a callback, or return the seconds until the rate allows one."""
        return self._bucket.take() if self._bucket else 0.0
