"""A source's tokens, addresses, pace and health while the service runs."""

from collections.abc import Callable

from core.bucket import Bucket

from .addresses import Allowed
from .source import Source
from .source_health import SourceHealth
from .tokens import Tokens


class SourceState:
    """The state of one configured source. `ticks` returns seconds that only go forward."""

    def __init__(
        self,
        name: str,
        source: Source,
        ticks: Callable[[], float],
        before: "SourceState | None" = None,
    ) -> None:
        """`before` is the state of the source with its former options: its health goes on."""
        self.name, self.source = name, source
        #: Whether the provider may sign its callbacks.
        self.signs = type(source).verify is not Source.verify
        self.takes_lists, self.secret_headers = source.takes_lists, source.secret_headers
        #: The answer to a stored callback; None: our JSON.
        self.reply = source.answer or source.default_answer
        timezone: str | None = getattr(source, "timezone", None)
        if before is None:
            self.health = SourceHealth(
                ticks=ticks, timezone=timezone, expect_every=source.expect_every
            )
        else:
            self.health = before.health
            self.health.change(timezone=timezone, expect_every=source.expect_every)
        self.tokens = Tokens(source.tokens)
        self.allowed = Allowed(source.allow_from, source.documented)
        self.bucket: Bucket | None
        if before is not None and source.rate == before.source.rate:
            self.bucket = before.bucket
        else:
            self.bucket = None if source.rate is None else Bucket(source.rate, ticks)

    def wait(self) -> float:
        """Return 0 and count a callback, or return the seconds until the rate allows one."""
        return self.bucket.take() if self.bucket else 0.0
