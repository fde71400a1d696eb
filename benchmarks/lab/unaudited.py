"""The `smshook` command without an audit log, to measure what the log costs.

    python -m benchmarks.lab.unaudited serve

Only this benchmark has the switch; the product does not.
"""

from collections.abc import Callable
from inspect import signature
from typing import Any

from journal.sqlite.batch import BatchWriter
from server.cli.main import main


def record_nothing() -> None:
    """Let the journal write no line into its log."""
    write: Callable[..., None] = BatchWriter.__init__
    if "audit" not in signature(write).parameters:
        raise SystemExit("BatchWriter has no `audit` any more: adapt this benchmark")

    def without(self: BatchWriter, *args: Any, **options: Any) -> None:
        write(self, *args, **{**options, "audit": None})

    BatchWriter.__init__ = without  # type: ignore[method-assign]


if __name__ == "__main__":
    record_nothing()
    main()
