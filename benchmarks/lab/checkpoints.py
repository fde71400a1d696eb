"""The `smshook` command, which notes how long each checkpoint holds up a commit.

    python -m benchmarks.lab.checkpoints serve

Only this benchmark has the notes; the product does not.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from journal.sqlite.batch import BatchWriter
from journal.writes import Write
from server.cli.main import main

#: A line for each checkpoint: milliseconds of it and of the commit after it. A callback that
#: arrives as the checkpoint begins waits at most this long.
NOTES = "checkpoints.log"


def note_checkpoints(notes: Path) -> None:
    """Append to `notes` after each checkpoint and the next commit."""
    checkpoint, write = BatchWriter.checkpoint, BatchWriter.write
    held: list[float] = []

    def timed_checkpoint(self: BatchWriter) -> bool:
        began = time.perf_counter()
        done = checkpoint(self)
        held.append(time.perf_counter() - began)
        return done

    def timed_write(self: BatchWriter, ops: Sequence[Write[Any]]) -> list[Any]:
        began = time.perf_counter()
        results = write(self, ops)
        if held:
            took = sum(held) + time.perf_counter() - began
            held.clear()
            with notes.open("a") as file:
                file.write(f"{took * 1000:.3f}\n")
        return results

    BatchWriter.checkpoint = timed_checkpoint  # type: ignore[method-assign]
    BatchWriter.write = timed_write  # type: ignore[method-assign]


if __name__ == "__main__":
    note_checkpoints(Path(NOTES))
    main()
