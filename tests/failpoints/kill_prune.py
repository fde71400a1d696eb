"""smshook, but it kills itself (kill -9) at a step of pruning or of an erasure.

Run `kill_prune.py STEP [MUTANT]` with the arguments of the command. The steps, in their order:

listed     the id of an event to erase is on disk; its content is in the journal
erasing    content is erased in an open transaction
erased     content is erased on disk; the log still has it
emptied    the log is empty; no byte of the answer is sent
removing   events are removed in an open transaction
removed    a step of the removal is on disk; its caller has no result
"""

import os
import signal
import sys
from pathlib import Path

from journal.records import Retained
from journal.sqlite import batch, retention
from journal.sqlite.batch import BatchWriter
from journal.writes import EraseContent, OnBehalf, Prune
from server.cli.main import main
from server.runtime.erasure import ErasedIds, Erasures


def die(*_args, **_kwargs):
    os.kill(os.getpid(), signal.SIGKILL)


add, write, empty_log = ErasedIds.add, BatchWriter.write, BatchWriter.empty_log
remove = retention._ACTS[Retained.EVENTS]
erase = batch._OF_OUTBOX[EraseContent]


def then_die(act):
    def act_and_die(*args, **kwargs):
        act(*args, **kwargs)
        die()

    return act_and_die


def die_after(kind, is_it):
    def write_and_die(self, ops):
        results = write(self, ops)
        acts = [op.write if type(op) is OnBehalf else op for op in ops]
        if any(
            type(op) is kind and is_it(op, result) for op, result in zip(acts, results, strict=True)
        ):
            die()
        return results

    return write_and_die


def list_and_die(self, ids, **named):
    add(self, ids, **named)
    if ids:  # each start makes the file
        die()


def is_removal(op, pruned):
    return op.kind is Retained.EVENTS and pruned.count > 0


STEPS = {
    "listed": lambda: setattr(ErasedIds, "add", list_and_die),
    "erasing": lambda: batch._OF_OUTBOX.update({EraseContent: then_die(erase)}),
    "erased": lambda: setattr(
        BatchWriter, "write", die_after(EraseContent, lambda _op, result: bool(result.events))
    ),
    "emptied": lambda: setattr(BatchWriter, "empty_log", then_die(empty_log)),
    "removing": lambda: retention._ACTS.update({Retained.EVENTS: then_die(remove)}),
    "removed": lambda: setattr(BatchWriter, "write", die_after(Prune, is_removal)),
}


async def resume_nothing(_self):
    """The mutant: a start does not read the list."""


if Path(sys.argv[0]).name == "kill_prune.py":
    STEPS[sys.argv.pop(1)]()
    if sys.argv[1] == "forgets":
        Erasures.run = resume_nothing
        del sys.argv[1]
    main()
