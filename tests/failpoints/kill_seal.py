"""smshook, but it kills itself (kill -9) at a step of `seal migrate`.

Run `kill_seal.py STEP` with the arguments of the command, or with `serve`. The steps, in their
order:

covered    the keys of old rows are on disk; no row is sealed
sealing    rows are sealed in an open transaction
sealed     a step is on disk; its caller has no result, and other rows are in clear
emptying   all rows are sealed; the log holds pages in clear
emptied    the log is empty; its mark is still there
"""

import os
import signal
import sys
from pathlib import Path

from journal.keyring import Keyring
from journal.records import Unsealed
from journal.sqlite import unsealed
from journal.sqlite.batch import BatchWriter
from journal.writes import SealStored
from server.cli.main import main
from server.runtime import sealing


def die(*_args, **_kwargs):
    os.kill(os.getpid(), signal.SIGKILL)


cover, write = Keyring.cover, BatchWriter.write
seal_events = unsealed._ACTS[Unsealed.EVENTS]


def cover_and_die(self, kind, times):
    cover(self, kind, times)
    die()


def seal_and_die(*args):
    seal_events(*args)
    die()


def write_and_die(self, ops):
    results = write(self, ops)
    if any(type(getattr(op, "write", op)) is SealStored for op in ops):
        die()
    return results


STEPS = {
    "covered": lambda: setattr(Keyring, "cover", cover_and_die),
    "sealing": lambda: unsealed._ACTS.update({Unsealed.EVENTS: seal_and_die}),
    "sealed": lambda: setattr(BatchWriter, "write", write_and_die),
    "emptying": lambda: setattr(BatchWriter, "empty_log", die),
    "emptied": lambda: setattr(unsealed, "mark_log_empty", die),
}

if Path(sys.argv[0]).name == "kill_seal.py":
    sealing._STOPPED_ROWS = sealing._BUSY_ROWS = sealing._IDLE_ROWS = 2
    STEPS[sys.argv.pop(1)]()
    main()
