"""Replays of many events: they go on in small steps, also after a restart.

Each step makes the deliveries of some events and moves the replay's place in one transaction. The
workers send replays when no new event waits.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence

import msgspec
import structlog

from core.errors import Broken, Unavailable
from journal import Journal
from journal.reads import (
    EventFilter,
    Events,
    FirstSinks,
    Page,
    ReplayById,
    RunningReplays,
    VisibleEvents,
)
from journal.records import Owed, ReplayState, StoredReplay
from journal.writes import AdvanceReplay, CancelReplay, Guard, StartReplay, unguarded
from sinks.worker import Worker

from .keys import KeyFilter, Keys
from .redelivery import check_sinks

#: Events of one step.
STEP = 100
#: Seconds between two steps, so that callbacks come first.
BETWEEN = 0.02
#: Seconds until the next try if the journal is unavailable.
PAUSE = 1.0

log = structlog.get_logger()


class Replays:
    """The replays that run. `now`: seconds since the epoch.

    `sees` returns whether a sink may get an event: a subscription may not get all events.
    """

    def __init__(
        self,
        *,
        journal: Journal,
        workers: Mapping[str, Worker],
        keys: Keys,
        sees: Callable[[str, Mapping[str, object]], bool],
        now: Callable[[], float],
    ) -> None:
        self._journal, self._workers, self._keys, self._now = journal, workers, keys, now
        self._sees = sees
        #: Ids, in the order of the next steps.
        self._running: dict[str, None] = {}
        self._changed = asyncio.Event()

    async def load(self) -> None:
        """Continue the replays of an earlier start. Raises Unavailable."""
        for replay in await self._journal.ask(RunningReplays()):
            self._follow(replay)

    def check(self, sinks: Sequence[str]) -> None:
        """Raise UnknownSinks if a sink is not configured."""
        check_sinks(sinks, self._workers)

    async def start(self, replay: StoredReplay, guard: Guard = unguarded) -> StoredReplay:
        """Store a replay, and begin it. Raises UnknownSinks, or Unavailable."""
        self.check(replay.sinks or ())

        # It begins even if the caller is gone.
        def then(outcome: object) -> None:
            if isinstance(outcome, StoredReplay):
                self._follow(outcome)

        return await self._journal.submit(guard(StartReplay(replay)), then=then)

    async def cancel(self, replay_id: str) -> None:
        """End a replay, if it runs. Its deliveries stay. Raises Unavailable."""
        stored = await self._journal.submit(CancelReplay(replay_id, at=self._now()))
        if stored is not None and replay_id in self._running:
            del self._running[replay_id]
            _log_end(stored)

    def _follow(self, replay: StoredReplay) -> None:
        self._running[replay.id] = None
        self._changed.set()

    async def run(self) -> None:
        """Advance all replays in turn, until cancelled or until the journal is broken."""
        while True:
            self._changed.clear()
            if not self._running:
                await self._changed.wait()
            for replay_id in tuple(self._running):
                try:
                    await self._advance(replay_id)
                    await asyncio.sleep(BETWEEN)
                except Broken:
                    return
                except Unavailable:
                    await asyncio.sleep(PAUSE)

    async def _advance(self, replay_id: str) -> None:
        # Read it again each time: an outcome may be unknown, or a person may have cancelled it.
        replay = await self._journal.ask(ReplayById(replay_id))
        if replay is not None and replay.state is ReplayState.RUNNING:
            replay = await self._step(replay)
        if (
            replay is None or replay.state is not ReplayState.RUNNING
        ) and replay_id in self._running:
            del self._running[replay_id]
            if replay is not None:
                _log_end(replay)

    async def _step(self, replay: StoredReplay) -> StoredReplay | None:
        """Make the deliveries of the next events; return the new state of the replay."""
        key = self._keys.with_id(replay.key)
        # A key that is removed or expired, or may not replay any more, replays nothing more.
        if key is None or not key.may("deliveries:write"):
            return await self._journal.submit(CancelReplay(replay.id, at=self._now()))
        page = await self._page(replay, key.sees)
        if page is None:
            return replay
        items = [(seq, body) for seq, body in page.items if seq <= replay.last]
        ends = not page.has_more or len(items) < len(page.items) or page.next_seq >= replay.last
        owed = await self._plan(replay, items)
        return await self._journal.submit(
            AdvanceReplay(
                replay.id,
                after=replay.place,
                to=replay.last if ends else page.next_seq,
                owed=owed,
                at=self._now(),
                ends=ends,
            )
        )

    async def _page(self, replay: StoredReplay, sees: KeyFilter | None) -> Page[bytes] | None:
        """Return the next events; None: the index of the key's events is not complete yet."""
        wanted = EventFilter(
            type=replay.types, source=replay.sources, since=replay.since, until=replay.until
        )
        if sees is None:
            return await self._journal.ask(Events(filter=wanted, after=replay.place, limit=STEP))
        return await self._journal.ask(
            VisibleEvents(shown_to=sees.digest, filter=wanted, after=replay.place, limit=STEP)
        )

    async def _plan(
        self, replay: StoredReplay, items: Sequence[tuple[int, bytes]]
    ) -> tuple[tuple[int, tuple[Owed, ...]], ...]:
        named = replay.sinks
        first: Mapping[int, Sequence[str]] = {}
        if named is None:
            first = await self._journal.ask(FirstSinks(tuple(seq for seq, _ in items)))
        owed = []
        for seq, body in items:
            names = first.get(seq, ()) if named is None else named
            event = msgspec.json.decode(body)
            workers = [
                self._workers[name]
                for name in names
                if name in self._workers and self._sees(name, event)
            ]
            owed.append((seq, tuple([worker.plan_delivery(event) for worker in workers])))
        return tuple(owed)


def _log_end(replay: StoredReplay) -> None:
    log.info(
        "replay.finished",
        replay_id=replay.id,
        outcome=replay.state,
        events=replay.replayed,
        deliveries=replay.created,
    )
