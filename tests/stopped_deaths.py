"""A restore and a pruning of a sealed journal, in processes that end after one of their steps."""

import inspect
import os
import shutil

from deaths import DIED
from forked import forks
from services import clock_of, configured

from core.secret import Secret
from core.units import Duration
from journal import key_file
from journal.keyring import Keyring
from journal.records import Retained
from journal.sqlite import batch, retention, schema
from journal.sqlite.batch import BatchWriter
from journal.writes import EraseContent, ForgetPruned, Prune, PruneKeys
from server import stopped
from server.config.options import Retention, Sealing

ROOT = Secret("the root key of these tests, 0123456789")
DAY = 86_400.0


def always(_args):
    return True


def writes(kind):
    """Return whether a batch has a write of that kind, also on behalf of somebody."""
    return lambda args: any(type(getattr(op, "write", op)) is kind for op in args[1])


#: The function that ends each step, and whether a call of it does. `erasing` is in a transaction.
RESTORE = {
    "copied": (shutil, "copyfileobj", always),
    "checked": (stopped, "check", always),
    "migrated": (schema, "_migrate", always),
    "begun": (stopped, "begin_generation", always),
    "opened": (stopped, "open_journal", always),
    "erasing": (batch._OF_OUTBOX, EraseContent, always),
    "erased": (BatchWriter, "write", writes(EraseContent)),
    "emptied": (BatchWriter, "empty_log", always),
    "closed": (stopped, "_erase_again", always),
    "synced": (stopped, "sync_file", always),
    "placed": (stopped, "put_new", always),
}
PRUNE = {
    "destroying": (key_file, "replace", always),
    "destroyed": (Keyring, "destroy", always),
    "erasing codes": (retention._ACTS, Retained.CODES, always),
    "erasing numbers": (retention._ACTS, Retained.PEOPLE, always),
    "removing quarantine": (retention._ACTS, Retained.QUARANTINE, always),
    "erased": (BatchWriter, "write", writes(Prune)),
    "removing events": (retention._ACTS, Retained.EVENTS, always),
    "emptied": (BatchWriter, "empty_log", always),
    "removing keys": (batch._OF_OUTBOX, PruneKeys, always),
    "forgetting": (batch._OF_OUTBOX, ForgetPruned, always),
}


def options(folder):
    """Return a configuration that seals, and keeps everything for a day."""
    kept = dict.fromkeys(("events", "codes", "people", "quarantine"), Duration(DAY))
    return configured(
        folder,
        seal=Sealing(root=(ROOT,), file=str(folder / "smshook.keys")),
        retention=Retention(**kept),
        retention_is_set=True,
    )


def restored(folder, made):
    """Restore the journal of a folder from a backup."""
    with made.open("rb") as source:
        return stopped.restore(source, options(folder))


def pruned(folder, at):
    """Prune the journal of a folder, at that time."""
    real = stopped.WallClock
    stopped.WallClock = lambda: clock_of(lambda: at)
    try:
        return stopped.prune(options(folder), dry_run=False, progress=lambda _counts: None)
    finally:
        stopped.WallClock = real


def _run(steps, step, function, args):
    owner, name, is_it = steps[step]
    real = owner[name] if isinstance(owner, dict) else getattr(owner, name)

    def ends(args):
        if is_it(args):
            os._exit(DIED)

    def called(*args, **named):
        result = real(*args, **named)
        ends(args)
        return result

    async def awaited(*args, **named):
        result = await real(*args, **named)
        ends(args)
        return result

    wrapped = awaited if inspect.iscoroutinefunction(real) else called
    if isinstance(owner, dict):
        owner[name] = wrapped
    else:
        setattr(owner, name, wrapped)
    function(*args)
    os._exit(0)


def run_restore(step, *args):
    _run(RESTORE, step, restored, args)


def run_prune(step, *args):
    _run(PRUNE, step, pruned, args)


def die(function, step, *args):
    """Call one of the two in a process that ends after that step."""
    process = forks().Process(target=function, args=(step, *args))
    process.start()
    process.join(60)
    assert process.exitcode == DIED
