"""Delivers to the configured sinks, and follows their options when these change."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, MutableMapping, Sequence
from functools import partial
from pathlib import Path

import msgspec

from journal import Journal
from journal.links import follow_links
from journal.records import SinkRecord
from journal.writes import Clamp, Reorder
from sinks.attempt import Clock
from sinks.health import Pause
from sinks.retry import LONGEST_RETRY_AFTER
from sinks.sink import Sink
from sinks.worker import Worker

from .sink_runner import SinkRunner
from .supervisor import Supervisor, finish

#: Seconds for the attempts under way when a sink changes. Then they are cut, and made again.
GRACE = 8.0
#: Seconds between two steps that put the stored deliveries of a sink in another order. Callbacks go
#: first.
BETWEEN = 0.02


class SinkOptions(msgspec.Struct, frozen=True):
    """The options of a sink, and the versions of the files that it reads when it opens."""

    sink: Sink
    #: By option: device, inode, size and time of the last change; None: there is no such file.
    files: Mapping[tuple[str, ...], tuple[int, ...] | None]
    #: The files that it writes, with links followed, in order.
    written: tuple[Path, ...]


def read_options(sinks: Mapping[str, Sink]) -> Mapping[str, SinkOptions]:
    """Return the options of sinks by name. It looks at files."""
    return {
        name: SinkOptions(
            sink,
            {at: _version(path) for at, path in sink.read_files().items()},
            tuple(sorted(map(follow_links, sink.written_files().values()))),
        )
        for name, sink in sinks.items()
    }


def _version(path: Path) -> tuple[int, ...] | None:
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


async def prepare(sinks: Mapping[str, Sink]) -> None:
    """Make the parts that all sinks of a type share. Raises Unusable."""
    for kind in {type(sink): sink for sink in sinks.values()}.values():
        await kind.prepare()


async def adapt(
    journal: Journal, name: str, sink: Sink, *, now: float, between: float = 0.0
) -> None:
    """Adapt the stored deliveries of a sink to its options. Raises Unavailable.

    No worker may hold deliveries of the sink. `between`: seconds that each step leaves to others.
    """
    after = await journal.submit(Reorder(name, ordered_by=sink.ordered_by))
    while after is not None:
        await asyncio.sleep(between)
        after = await journal.submit(Reorder(name, ordered_by=sink.ordered_by, after=after))
    # The clock may have been wrong when they were made due, or the schedule is shorter now.
    longest = sink.retry.longest
    await journal.submit(Clamp(name, now=now, longest=longest, asked=LONGEST_RETRY_AFTER))


class ConfiguredSinks:
    """The configured sinks, each with a worker and a task of its own.

    If the options of a sink change, it begins no attempt, and those under way end within GRACE
    seconds. Its other deliveries are sent with the new options. All other sinks go on meanwhile.
    Deliveries of a removed sink wait in the journal. `workers` gets the workers, by the names of
    the sinks.
    """

    def __init__(
        self,
        options: Mapping[str, SinkOptions],
        *,
        journal: Journal,
        workers: MutableMapping[str, Worker],
        make_worker: Callable[[str, Sink, SinkRecord | None], Worker],
        clock: Clock,
        records: Mapping[str, SinkRecord],
    ) -> None:
        """`records` are the stored states of sinks."""
        self._journal, self._workers = journal, workers
        self._make_worker, self._clock = make_worker, clock
        #: By name, as they are to be.
        self.options = options
        self._supervisor: Supervisor | None = None
        #: For each sink that runs or ends: set when its options changed.
        self._changed: dict[str, asyncio.Event] = {}
        #: Of each file that a sink writes, held while it is open.
        self._files: dict[Path, asyncio.Lock] = {}
        for name, wanted in options.items():
            workers[name] = make_worker(name, wanted.sink, records.get(name))

    def start(self, supervisor: Supervisor) -> None:
        """Deliver until the tasks of the supervisor end."""
        self._supervisor = supervisor
        for name, wanted in self.options.items():
            self._begin(name, wanted)

    def use(self, options: Mapping[str, SinkOptions], records: Mapping[str, SinkRecord]) -> None:
        """Deliver to these sinks from now on. `records` are the stored states of sinks."""
        before, self.options = self.options, options
        for name in before:
            if before[name] != options.get(name) and name in self._changed:
                self._changed[name].set()
        for name, wanted in options.items():
            if name in self._workers:
                continue  # it goes on, or its task finds the new options when it has ended
            self._workers[name] = self._make_worker(name, wanted.sink, records.get(name))
            self._begin(name, None)

    def _begin(self, name: str, adapted: SinkOptions | None) -> None:
        if self._supervisor is not None:
            self._changed[name] = asyncio.Event()
            self._supervisor.run(f"sink {name}", self._keep(name, self._supervisor, adapted))

    async def _keep(self, name: str, supervisor: Supervisor, adapted: SinkOptions | None) -> None:
        """Deliver to a sink as it is configured, until it is removed.

        `adapted`: the options that its deliveries have already.
        """
        worker, changed = self._workers[name], self._changed[name]
        give_up = partial(supervisor.give_up, f"sink {name}", "unusable")
        while name in self.options:
            changed.clear()
            wanted = self.options[name]
            async with self._alone(wanted.written):
                if wanted is not adapted:
                    await finish(partial(self._adapt, name, worker, wanted.sink))
                runner = SinkRunner(wanted.sink, worker, ticks=self._clock.ticks, give_up=give_up)
                async with asyncio.TaskGroup() as tasks:
                    running = tasks.create_task(runner.run())
                    await changed.wait()
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(GRACE):
                            await worker.stop()
                    running.cancel()
        del self._workers[name], self._changed[name]

    async def _adapt(self, name: str, worker: Worker, sink: Sink) -> bool:
        """Give new options to a worker that does not run. Returns False: no work is left."""
        # From here on, new events have the order that the journal gives to the stored ones.
        worker.change(sink)
        await adapt(self._journal, name, sink, now=self._clock.now(), between=BETWEEN)
        worker.read_again()
        if worker.paused is Pause.FAILING and sink.pause_after is None:
            # Without `pause_after` nothing would ever resume the sink.
            await worker.resume(by=Pause.FAILING)
        return False

    @contextlib.asynccontextmanager
    async def _alone(self, written: Sequence[Path]) -> AsyncIterator[None]:
        """Wait until no other sink has one of these files open.

        Another sink may have had the file until the reload. Two writers would spoil it.
        """
        async with contextlib.AsyncExitStack() as stack:
            for path in written:
                await stack.enter_async_context(self._files.setdefault(path, asyncio.Lock()))
            yield
