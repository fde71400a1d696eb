"""The product, broken on purpose: `kills.py MUTANT`, then the arguments of the command."""

import gzip
import sys
from contextlib import asynccontextmanager

from journal.sqlite import schema
from server.cli.main import main
from sinks.file import rotation, sink
from sinks.sink import Receipt
from sinks.worker import Worker

initialize, configure = Worker.__init__, schema.configure


def without_order(self, *args, **named):
    """A worker that ignores `ordered_by`."""
    initialize(self, *args, **named)
    self._order = None


@asynccontextmanager
async def confirm_first(self):
    """A file sink that confirms a delivery before its line is written."""
    async with sink.appending(self.path, self.rotate) as append:

        async def send(outgoing):
            append(outgoing.body + b"\n").add_done_callback(lambda done: done.exception())
            return Receipt()

        yield send


def compress_in_place(self):
    """A rotation that removes the plain file before the compressed one is whole."""
    plain, compressed = self._aside(1)
    data = plain.read_bytes()
    plain.unlink()
    with gzip.open(compressed, "wb") as target:
        for line in data.splitlines(keepends=True):
            target.write(line)
            target.flush()
            self._fsync(target.fileno())


def release_all(conn, filters, opener):
    """A start that makes everything due that waits for its turn."""
    found = configure(conn, filters, opener)
    conn.execute(
        "update deliveries set due_at = accepted_at where state = 'pending' and due_at is null"
    )
    return found


MUTANTS = {
    "without_order": (Worker, "__init__", without_order),
    "confirm_first": (sink.File, "open", confirm_first),
    "compress_in_place": (rotation.Rotation, "_compress_newest", compress_in_place),
    "release_all": (schema, "configure", release_all),
}
setattr(*MUTANTS[sys.argv.pop(1)])
main()
