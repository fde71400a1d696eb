"""smshook, but it kills itself (kill -9) after a step of a replay.

The step is on disk, and its caller has no result. Run `kill_replay.py STEPS [MUTANT]` with the
arguments of the command.
"""

import itertools
import os
import signal
import sys
from pathlib import Path

import msgspec

from journal import decide
from journal.sqlite.batch import BatchWriter
from journal.writes import AdvanceReplay
from server.cli.main import main
from server.runtime.replays import Replays

write, advance, step = BatchWriter.write, decide._Batch.advance_replay, Replays._step
numbers = itertools.count(1)
#: The place of each replay that the mutant has not moved yet.
moves = {}


def die_after(last):
    def write_and_die(self, ops):
        results = write(self, ops)
        if any(isinstance(op, AdvanceReplay) and next(numbers) == last for op in ops):
            os.kill(os.getpid(), signal.SIGKILL)
        return results

    return write_and_die


def without_the_place(batch, op):
    kept = advance(batch, op)
    if not op.owed:
        return kept
    moves[op.id] = op.to
    return batch._put_replay(msgspec.structs.replace(kept, place=op.after))


async def then_the_place(self, replay):
    await step(self, replay)
    to = moves[replay.id]
    move = AdvanceReplay(replay.id, replay.place, to, (), self._now(), ends=to == replay.last)
    return await self._journal.submit(move)


def move_the_place_later():
    """The mutant: deliveries and place are written in two transactions."""
    decide._DECISIONS[AdvanceReplay] = without_the_place
    Replays._step = then_the_place


if Path(sys.argv[0]).name == "kill_replay.py":
    BatchWriter.write = die_after(int(sys.argv.pop(1)))
    if sys.argv[1] == "move_later":
        move_the_place_later()
        del sys.argv[1]
    main()
