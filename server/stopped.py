"""Prunes the journal of a stopped service."""

import asyncio
from collections.abc import Callable, Mapping

from core.clock import WallClock
from journal.lock import Lock
from journal.records import Retained

from .config.options import Config
from .runtime.identity import Chance, Identity
from .runtime.retention import Pruner
from .service import open_journal, restore

#: Seconds between two reports of the progress.
_LOOK = 0.3


def prune(
    config: Config, *, dry_run: bool, progress: Callable[[Mapping[str, int]], None]
) -> Mapping[str, int]:
    """Prune the journal, or only count with `dry_run`; return the rows of each kind.

    `progress` gets the rows so far. Raises journal.lock.Held, WrongJournal and Unavailable.
    """
    with Lock(config.journal.path) as lock:
        lock.hold()
        return asyncio.run(_prune(config, dry_run=dry_run, progress=progress))


async def _prune(
    config: Config, *, dry_run: bool, progress: Callable[[Mapping[str, int]], None]
) -> Mapping[str, int]:
    identity, clock = Identity(config.server.secret.reveal(), Chance()), WallClock()
    journal = await open_journal(config, identity, now=clock.now())
    try:
        parts = await restore(config, journal, identity, clock=clock)
        if dry_run:
            return _named(parts.pruner, await parts.pruner.count())
        pruning = asyncio.create_task(parts.pruner.prune(gently=False))
        while not pruning.done():
            await asyncio.wait([pruning], timeout=_LOOK)
            if parts.pruner.last is not None:
                progress(_named(parts.pruner, parts.pruner.last.counts))
        return _named(parts.pruner, pruning.result().counts)
    finally:
        await journal.close()


def _named(pruner: Pruner, counts: Mapping[Retained, int]) -> Mapping[str, int]:
    return {kind.value: counts.get(kind, 0) for kind in pruner.limits}
