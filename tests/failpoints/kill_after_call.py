"""smshook, but it kills itself (kill -9) when a call with an `Idempotency-Key` is on disk.

No byte of its answer is sent. `kill_after_call.py MUTANT` with the arguments of the command: with
the mutant `apart`, the call is stored in a transaction of its own, after its act.
"""

import os
import signal
import sys

import journal.sqlite.calls
from journal.sqlite.batch import BatchWriter
from journal.writes import OnBehalf, Once
from server.cli.main import main

write = BatchWriter.write


def write_and_die(self, ops):
    results = write(self, ops)
    if any(isinstance(op.write if isinstance(op, OnBehalf) else op, Once) for op in ops):
        os.kill(os.getpid(), signal.SIGKILL)
    return results


BatchWriter.write = write_and_die
if sys.argv[1] == "apart":
    del sys.argv[1]
    journal.sqlite.calls.CallsOfBatch.store = lambda _self, _results: None
main()
