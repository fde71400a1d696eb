"""Erases content on request: of one event, or all that holds a number.

Rules that live here: the ids of what is erased are on disk, beside the journal, before a request is
answered. They are of events, of orders and of callbacks in quarantine. A restored backup erases
them again. No number is logged or stored.
"""

import asyncio
import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec
import structlog

from core.clock import WallClock, rfc3339
from core.erasure import CONTENT
from core.errors import Broken, Unavailable, Unchanged
from core.order import OrderState
from journal import Journal
from journal.keyring import Keyring
from journal.reads import (
    ErasedUpTo,
    EventById,
    EventsNaming,
    KnownOrders,
    OrderFilter,
    QuarantinedNaming,
    StoredSealed,
)
from journal.records import Erased
from journal.seal import Kind
from journal.writes import EraseContent, EraseNumber, LineNumber

from ..config.files import ERASED_IDS
from ..durable import sync_file, sync_folder, unfinished
from .hub import Hub
from .orders import Orders
from .retention import Pruner

#: Events of one transaction: callbacks wait for it.
_AT_ONCE = 50
#: Seconds between two transactions, so that callbacks come first.
_BETWEEN = 0.02
#: Seconds until the next try if the journal is unavailable.
_AGAIN = 1.0
#: Orders of one page.
_PAGE = 1000
#: Seconds between two looks for ids that may go from the file.
_SHORTEN_EVERY = 3600.0
#: The kinds of keys that seal the content of events.
_KINDS = (Kind.CODES, Kind.PEOPLE, Kind.RAW)

log = structlog.get_logger()


class ErasedNumbers(msgspec.Struct, frozen=True, kw_only=True):
    """The result of erasing a number; of a dry run, what would be erased."""

    events: int
    orders: int
    #: Callbacks that left quarantine; None: a dry run does not search them.
    quarantine: int | None


class NotListed(Unchanged):
    """The list of erased content cannot be written, so nothing was erased."""

    said = f"{ERASED_IDS} cannot be written; nothing was erased"


class Unfinished(Unavailable):
    """The journal failed during an erasure. The ids are listed."""

    said = "the journal is not available; the erasure may be unfinished, so send it again"


class ErasedIds:
    """The file with the ids of erased content. An id in it is on disk.

    A line is an id. If the event was never stored in clear, the start of the newest period that
    then had a key follows: the id can go when the keys up to it are destroyed.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, ids: Iterable[str], *, newest_keys: Mapping[str, float] = {}) -> None:
        """Append ids. Raises OSError.

        `newest_keys`: by id, the start of that period in seconds since the epoch. Others stay.
        """
        lines = [f"{id_} {rfc3339(newest_keys[id_])}" if id_ in newest_keys else id_ for id_ in ids]
        is_new = not self._path.exists()
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            size = os.fstat(descriptor).st_size
            # A power cut can leave half a line.
            start = b"\n" if size and os.pread(descriptor, 1, size - 1) != b"\n" else b""
            text = start + b"".join(f"{line}\n".encode() for line in lines)
            with open(descriptor, "ab", closefd=False) as file:
                file.write(text)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if is_new:
            sync_folder(self._path.parent)

    def read(self) -> Sequence[str]:
        """Return the ids, each once. Raises OSError."""
        return tuple(dict.fromkeys(line.split(" ")[0] for line in self._lines()))

    def shorten(self, destroyed_until: float) -> int:
        """Remove the ids with keys that ended before a time, and return their number.

        The last line stays: the journal knows by it what it has erased. Raises OSError. At each
        moment the old file or the new one is whole.
        """
        *lines, last = self._lines() or [""]
        until = rfc3339(destroyed_until)

        def stays(line: str) -> bool:
            newest_key = line.partition(" ")[2]
            # A power cut can leave half a time, which must not count.
            return len(newest_key) != len(until) or newest_key >= until

        kept = [*filter(stays, lines), last]
        if len(kept) <= len(lines):
            with unfinished(self._path) as temporary:
                temporary.write_text("".join(f"{line}\n" for line in kept), encoding="ascii")
                sync_file(temporary)
                temporary.rename(self._path)
                sync_folder(self._path.parent)
        return len(lines) + 1 - len(kept)

    def _lines(self) -> Sequence[str]:
        try:
            text = self._path.read_text(encoding="ascii", errors="replace")
        except FileNotFoundError:
            return ()
        return [line for line in text.splitlines() if line]


class Erasures:
    """Erases content of events in the journal and in memory."""

    def __init__(
        self,
        journal: Journal,
        ids: ErasedIds,
        *,
        pruner: Pruner,
        orders: Orders,
        hub: Hub,
        clock: WallClock,
        keys: Keyring | None = None,
    ) -> None:
        """`keys` are those that seal the journal."""
        self._journal, self._ids, self._pruner, self._keys = journal, ids, pruner, keys
        self._orders, self._hub, self._clock = orders, hub, clock
        self._erasing = asyncio.Lock()

    async def run(self) -> None:
        """Finish requests that an earlier start did not finish, then keep the file short.

        The file is made, even if it is empty: a restore without it could bring erased content back.
        """
        while True:
            try:
                await asyncio.to_thread(self._ids.add, ())
                await self.erase_again(after=await self._journal.ask(ErasedUpTo()))
            except OSError as exc:
                log.error("content.not_erased", error=f"{ERASED_IDS}: {exc.strerror}")  # noqa: TRY400 - a traceback says no more
                return
            except Broken:
                return
            except Unavailable:
                await asyncio.sleep(_AGAIN)
            else:
                break
        while self._keys is not None:
            await self.shorten(self._keys)
            await asyncio.sleep(_SHORTEN_EVERY)

    async def erase_again(self, *, after: str | None = None) -> None:
        """Erase the events of the file. Raises OSError, Broken and Unavailable.

        `after`: only those after this id, if it is in the file. An older copy of the journal, which
        was put in its place, has an earlier one.
        """
        async with self._erasing:
            ids = await asyncio.to_thread(self._ids.read)
            left = ids[ids.index(after) + 1 :] if after in ids else ids
            if left:
                await self._orders.cancel_erased(left)
                await self._erase(left)
                await self._journal.empty_log()

    async def shorten(self, keys: Keyring) -> None:
        """Remove the ids of events that no backup can bring back: their keys are destroyed."""
        until = min(keys.destroyed_until(kind) for kind in _KINDS)
        async with self._erasing:
            try:
                removed = await asyncio.to_thread(self._ids.shorten, until)
            except OSError as exc:
                log.warning("content.ids_kept", error=f"{ERASED_IDS}: {exc.strerror}")
                return
        if removed:
            log.info("content.ids_removed", ids=removed)

    async def erase_event(self, event_id: str) -> bool:
        """Erase the content of an event; False: there is no such event. Raises Unavailable."""
        with _failing_as(Unchanged):
            if await self._journal.ask(EventById(event_id)) is None:
                return False
        async with self._erasing:
            with _failing_as(Unchanged):
                await self._note([event_id])
            with _failing_as(Unfinished):
                leaf = await self._erase([event_id])
                await self._journal.empty_log()
        log.info("content.erased", event_id=event_id, leaf=leaf)
        return True

    async def count_number(self, number: str) -> ErasedNumbers:
        """Return what holds a number. Raises Unavailable."""
        with _failing_as(Unchanged):
            events, orders = await self._events(number), await self._orders_of(number)
        return ErasedNumbers(events=len(events), orders=len(orders), quarantine=None)

    async def erase_number(self, number: str) -> ErasedNumbers:
        """Erase all content that holds a number (E.164). Raises Unavailable.

        Open orders of the number are cancelled.
        """
        async with self._erasing:
            with _failing_as(Unchanged):
                orders, events = await self._orders_of(number), await self._events(number)
                quarantined = await self._journal.ask(QuarantinedNaming(number))
                noted = [*events, *(id_ for id_, _ in orders), *quarantined]
                await self._note(noted)
            line = LineNumber()
            with _failing_as(Unfinished):
                for id_, state in orders:
                    if state is OrderState.WAITING:
                        await self._orders.cancel(id_)
                await self._erase(events)
                write = EraseNumber(number, last=noted[-1] if noted else None)
                erased = await self._journal.submit(write, line=line)
                self._orders.forget_number(number)
                await self._journal.empty_log()
        log.info("content.erased", events=len(events), orders=erased.orders, leaf=line.n)
        return ErasedNumbers(events=len(events), orders=erased.orders, quarantine=erased.quarantine)

    async def _note(self, ids: Sequence[str]) -> None:
        keys: Mapping[str, float] = {}
        if self._keys is not None:
            newest = max(self._keys.periods(kind)[0] for kind in _KINDS) * 60.0
            sealed = await self._journal.ask(StoredSealed(tuple(ids)))
            keys = dict.fromkeys(sealed, newest)
        try:
            await asyncio.to_thread(self._ids.add, ids, newest_keys=keys)
        except OSError as exc:
            log.error("content.not_erased", error=f"{ERASED_IDS}: {exc.strerror}")  # noqa: TRY400 - a traceback says no more
            raise NotListed from None

    async def _erase(self, ids: Sequence[str]) -> int | None:
        """Erase the content of events; return the number of the last line about it."""
        line = LineNumber()
        for begin in range(0, len(ids), _AT_ONCE):
            write = EraseContent(
                tuple(ids[begin : begin + _AT_ONCE]),
                at=self._clock.now(),
                spared=self._pruner.spared(CONTENT),
            )
            self._forget(await self._journal.submit(write, line=line))
            await asyncio.sleep(_BETWEEN)
        return line.n

    def _forget(self, erased: Erased) -> None:
        """Remove the clear copies in memory."""
        self._hub.forget(erased.places)
        self._pruner.put_back(erased.deliveries)
        self._pruner.log_expired(erased.expired)

    async def _events(self, number: str) -> Sequence[str]:
        found: list[str] = []
        place: int | None = 0
        while place is not None:
            part = await self._journal.ask(EventsNaming(number, after=place))
            found += part.events
            place = part.next_seq
            await asyncio.sleep(0)
        return found

    async def _orders_of(self, number: str) -> Sequence[tuple[str, OrderState]]:
        found: dict[str, OrderState] = {}
        after: int | None = None
        has_more = True
        while has_more:
            page = await self._journal.ask(
                KnownOrders(filter=OrderFilter(number=(number,)), after=after, limit=_PAGE)
            )
            found |= {order.id: order.state for _, order in page.items}
            after, has_more = page.next_seq, page.has_more
        return tuple(found.items())


@contextlib.contextmanager
def _failing_as(error: type[Unavailable]) -> Iterator[None]:
    try:
        yield
    except NotListed:
        raise
    except Unavailable as exc:
        raise error from exc
