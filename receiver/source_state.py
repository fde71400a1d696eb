"""A source's tokens, addresses and pace while the service runs."""

from collections.abc import Callable

from core.bucket import Bucket
from core.units import Rate

from .addresses import Allowed
from .source import Source
from .source_health import Watch
from .tokens import Tokens


class SourceState:
    """One configured source, ready to be asked."""

    def __init__(self, name: str, source: Source, ticks: Callable[[], float]) -> None:
        """`ticks` gives seconds that only go forward."""
        self.name, self.source = name, source
        self.watch = Watch(
            ticks=ticks,
            timezone=getattr(source, "timezone", None),
            expect_every=source.expect_every,
        )
        self.tokens = Tokens(source.tokens)
        self.allowed = Allowed(source.allow_from, source.documented)
        self._bucket = _bucket(source.rate, ticks)

    def wait(self) -> float:
        """Seconds until the source's rate allows another callback; 0 takes it."""
        return self._bucket.take() if self._bucket else 0.0


def _bucket(rate: Rate | None, ticks: Callable[[], float]) -> Bucket | None:
    return None if rate is None else Bucket(rate, ticks)
