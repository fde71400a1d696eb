"""Which stage of an event's way a sampled stack belongs to. Pure: same stack, same stage."""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

#: In the order of the way of one event; a table shows them like this.
STAGES = (
    "socket and protocol",
    "door",
    "decode",
    "normalize",
    "keys and ids",
    "encode",
    "plan",
    "journal, event loop",
    "journal, writing thread",
    "journal, reading",
    "log",
    "worker",
    "outbound HTTP",
    "settle",
    "garbage collection",
    "other",
)


class Frame(NamedTuple):
    """One function on a stack, and the file or shared library that it is in."""

    function: str
    file: str


class Sample(NamedTuple):
    """A stack, outermost frame first, and how often it was seen."""

    #: The kernel's number of the thread.
    thread: int
    #: Python's name of the thread, or nothing where it has none.
    name: str
    frames: tuple[Frame, ...]
    seen: int


class _Rule(NamedTuple):
    stage: str
    #: What the file's path begins with.
    file: str
    #: What the function's name begins with.
    function: str = ""


#: The first that fits decides, so what is special comes before what is general.
_RULES = (
    _Rule("garbage collection", "", "gc_collect"),
    _Rule("log", "structlog/"),
    _Rule("log", "server/log/setup.py"),
    _Rule("log", "server/runtime/accept.py", "Pipeline._say"),
    _Rule("log", "server/runtime/accept.py", "masked"),
    _Rule("log", "sinks/outcome.py", "log_outcome"),
    _Rule("socket and protocol", "httpd/protocol.py"),
    _Rule("socket and protocol", "uvicorn/"),
    _Rule("socket and protocol", "httptools/"),
    _Rule("door", "receiver/door.py"),
    _Rule("door", "receiver/addresses.py"),
    _Rule("decode", "receiver/decode.py"),
    # What `Callback` does, in receiver/source.py, is done for whoever asks it.
    _Rule("normalize", "receiver/providers/"),
    _Rule("normalize", "receiver/fields/reader.py"),
    _Rule("normalize", "receiver/fields/text.py"),
    _Rule("normalize", "receiver/fields/times.py"),
    _Rule("normalize", "receiver/fields/numbers.py"),
    _Rule("normalize", "receiver/fields/dedupe.py"),
    _Rule("keys and ids", "server/runtime/identity.py"),
    _Rule("keys and ids", "server/runtime/accept.py", "Pipeline.request_id"),
    _Rule("encode", "server/runtime/accept.py", "Pipeline._draft"),
    _Rule("worker", "server/runtime/accept.py", "Pipeline._hand_over"),
    _Rule("worker", "server/runtime/handover.py"),
    _Rule("plan", "server/runtime/accept.py"),
    _Rule("plan", "routes/"),
    _Rule("plan", "sinks/worker.py", "Worker.owe"),
    _Rule("settle", "sinks/worker.py", "Worker._settle"),
    _Rule("settle", "sinks/recovery.py", "Recovery.learn"),
    _Rule("worker", "sinks/worker.py"),
    _Rule("worker", "sinks/feed.py"),
    _Rule("worker", "sinks/lanes.py"),
    _Rule("worker", "sinks/recovery.py"),
    _Rule("worker", "sinks/outages.py"),
    _Rule("worker", "sinks/attempt.py"),
    _Rule("worker", "sinks/health.py"),
    _Rule("worker", "sinks/retry.py"),
    _Rule("outbound HTTP", "sinks/"),
    _Rule("outbound HTTP", "pyreqwest/"),
    _Rule("journal, event loop", "journal/"),
    # Inside the loop, and in none of the above: it turns, and looks at its sockets.
    _Rule("socket and protocol", "server/service.py"),
)

#: What all of a thread's time belongs to, by what its name begins with.
_THREADS = {
    "journal-read": "journal, reading",
    "journal": "journal, writing thread",
    "tokio": "outbound HTTP",
    "pyreqwest": "outbound HTTP",
}

#: A thread whose innermost call is one of these uses no processor: it waits.
_DISK = {"fdatasync", "fsync"}
_WAITS = _DISK | {
    "PyThread_acquire_lock_timed",
    "clock_nanosleep",
    "epoll_pwait",
    "epoll_wait",
    "poll",
    "pthread_cond_timedwait",
    "pthread_cond_wait",
    "sem_timedwait",
    "sem_wait",
}

_THREAD = re.compile(r"thread \((\d+)\)(?:: (.*))?")
_FRAME = re.compile(r"(.*) \(([^()]*?)(?::\d+)?\)")
#: What the profiler has no name for, such as the inside of the C library.
_NAMELESS = re.compile(r"0x[0-9a-f]+")


def samples(raw: str) -> Iterator[Sample]:
    """What `py-spy record --format raw --threads` wrote: a line for each stack, and its count."""
    for line in raw.splitlines():
        stack, _, count = line.rpartition(" ")
        first, *rest = stack.split(";")
        thread = _THREAD.fullmatch(first)
        if thread is None:
            raise ValueError(f"py-spy's output has a line that names no thread: {first[:80]!r}")
        frames = tuple(frame(text) for text in rest)
        yield Sample(int(thread[1]), thread[2] or "", frames, int(count))


def frame(text: str) -> Frame:
    """A frame as py-spy writes it: `write (loop.c:110189)`, `<module> (smshook:6)`."""
    parts = _FRAME.fullmatch(text)
    return Frame(parts[1], parts[2]) if parts else Frame(text, "")


def stage_of(sample: Sample) -> str:
    """The stage of the innermost frame that belongs to one.

    What a stage asks of a library, it does itself; a collection of garbage is nobody's, wherever
    it happens to come.
    """
    by_thread = stage_of_thread(sample.name)
    for one in reversed(sample.frames):
        stage = _stage_of_frame(one)
        if stage is not None:
            return stage if by_thread is None or stage == "garbage collection" else by_thread
    return by_thread or "other"


def stage_of_thread(name: str) -> str | None:
    return next((stage for begin, stage in _THREADS.items() if name.startswith(begin)), None)


def waits(sample: Sample) -> bool:
    """Its thread is held up, by a lock, a disk or for want of work, and uses no processor."""
    return _innermost(sample.frames) in _WAITS


def waits_for_disk(sample: Sample) -> bool:
    return _innermost(sample.frames) in _DISK


def counted(seen: Iterable[Sample]) -> dict[str, int]:
    """How many samples each stage has."""
    counts = dict.fromkeys(STAGES, 0)
    for sample in seen:
        counts[stage_of(sample)] += sample.seen
    return counts


def _stage_of_frame(one: Frame) -> str | None:
    for rule in _RULES:
        if one.file.startswith(rule.file) and one.function.startswith(rule.function):
            return rule.stage
    return None


def _innermost(frames: Sequence[Frame]) -> str:
    named = (one.function for one in reversed(frames) if not _NAMELESS.fullmatch(one.function))
    return next(named, "")
