"""Whether the audit log reaches its file, its anchors and its witnesses."""

from collections.abc import Callable

import structlog

log = structlog.get_logger()


class Output:
    """The state of one of them, such as `anchor/disk2`. Its log has the begin and end of failing.

    `now` returns seconds since the epoch, as all times here.
    """

    def __init__(self, name: str, now: Callable[[], float]) -> None:
        self.name, self._now = name, now
        #: None: it does not fail.
        self.failing_since: float | None = None
        self._error = ""
        #: None: it has not worked since the start.
        self.succeeded_at: float | None = None
        #: How many lines it got last, and how many a witness refused last; 0: not known.
        self.size = self.refused_size = 0

    def failed(self, error: str) -> None:
        """Note a failure; `error` is one of our words. Another word is logged again."""
        if self.failing_since is None:
            self.failing_since = self._now()
        if error != self._error:
            self._error = error
            log.warning("audit.output_failing", to=self.name, error=error, then="tried again")

    def succeeded(self, size: int = 0) -> None:
        self.succeeded_at, self.size = self._now(), size
        if self.failing_since is not None:
            lasted = round(self.succeeded_at - self.failing_since, 1)
            self.failing_since, self._error = None, ""
            log.info("audit.output_recovered", to=self.name, seconds=lasted)
