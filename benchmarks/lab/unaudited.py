"""The `smshook` command without an audit log, to measure what the log costs.

    python -m benchmarks.lab.unaudited serve

Only this benchmark has the switch; the product does not.
"""

from collections.abc import Sequence
from typing import Any

from journal.sqlite.audit import AuditBatch
from journal.sqlite.batch import BatchWriter
from journal.writes import SignCheckpoint, Write
from server.cli.main import main


def record_nothing() -> None:
    """Let the journal write no line. The log, which is empty, is still signed."""
    write = BatchWriter.write

    def without(self: BatchWriter, ops: Sequence[Write[Any]]) -> list[Any]:
        log = self._audit
        if not any(type(op) is SignCheckpoint for op in ops):
            self._audit = None
        try:
            return write(self, ops)
        finally:
            self._audit = log

    BatchWriter.write = without  # type: ignore[method-assign]
    AuditBatch.add = lambda self, fact: None  # type: ignore[method-assign]  # noqa: ARG005


if __name__ == "__main__":
    record_nothing()
    main()
