"""Where the processor time of one event goes: a table of stages that sums to the whole."""

import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from .processor import Usage, used

#: Samples a second, of each thread.
RATE = 200
#: Extra seconds for the profiler, which first reads symbols.
PATIENCE = 60.0

#: In the order of an event's life, as tables show them.
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
#: Rows that stand beside the stages: their sum, and a wait that uses no processor.
WHOLE = "whole"
DISK = "waiting for the disk"


class Frame(NamedTuple):
    """One function on a stack, and its file or shared library."""

    function: str
    file: str


class Stack(NamedTuple):
    """A stack, outermost frame first, and the number of samples that had it."""

    #: The kernel's number of the thread.
    thread: int
    #: Python's name of the thread, or empty.
    name: str
    frames: tuple[Frame, ...]
    seen: int


class _Rule(NamedTuple):
    stage: str
    #: The beginning of the file's path.
    file: str
    #: The beginning of the function's name.
    function: str = ""


#: The first that matches decides: special rules stand before general ones.
_RULES = (
    _Rule("garbage collection", "", "gc_collect"),
    _Rule("log", "structlog/"),
    _Rule("log", "server/log/"),
    _Rule("log", "server/runtime/accept.py", "Recorder._log_recorded"),
    _Rule("log", "sinks/outcome.py", "log_outcome"),
    _Rule("socket and protocol", "httpd/"),
    _Rule("socket and protocol", "uvicorn/"),
    _Rule("socket and protocol", "httptools/"),
    _Rule("door", "receiver/door.py"),
    _Rule("door", "receiver/addresses.py"),
    _Rule("door", "receiver/intake.py"),
    _Rule("door", "receiver/source_state.py"),
    _Rule("door", "receiver/tokens.py"),
    _Rule("door", "server/runtime/credentials.py"),
    _Rule("door", "server/runtime/intake.py"),
    _Rule("decode", "receiver/decode.py"),
    # Methods of `Callback`, in receiver/callback.py, count for their caller.
    _Rule("normalize", "receiver/providers/"),
    _Rule("normalize", "receiver/fields/"),
    _Rule("keys and ids", "server/runtime/identity.py"),
    _Rule("encode", "server/runtime/planner.py", "Planner.plan"),
    _Rule("plan", "server/runtime/accept.py"),
    _Rule("plan", "server/runtime/planner.py"),
    _Rule("plan", "routes/"),
    _Rule("plan", "sinks/worker.py", "Worker.plan_delivery"),
    _Rule("settle", "sinks/worker.py", "Worker._settle"),
    _Rule("settle", "sinks/recovery.py", "Recovery.learn"),
    _Rule("worker", "sinks/worker.py"),
    _Rule("worker", "sinks/attempt.py"),
    _Rule("worker", "sinks/feed.py"),
    _Rule("worker", "sinks/health.py"),
    _Rule("worker", "sinks/lanes.py"),
    _Rule("worker", "sinks/outages.py"),
    _Rule("worker", "sinks/recovery.py"),
    _Rule("worker", "sinks/retry.py"),
    _Rule("outbound HTTP", "sinks/"),
    _Rule("outbound HTTP", "pyreqwest/"),
    _Rule("journal, event loop", "journal/"),
    # Inside the loop and in no other rule: it turns, and polls its sockets.
    _Rule("socket and protocol", "server/process.py"),
)

#: The stage of all of a thread's time, by the beginning of its name.
_THREADS = {
    "journal-read": "journal, reading",
    "journal": "journal, writing thread",
    "tokio": "outbound HTTP",
    "pyreqwest": "outbound HTTP",
}

#: A thread with one of these innermost calls waits, and uses no processor.
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
#: A function without a name, such as those inside the C library.
_NAMELESS = re.compile(r"0x[0-9a-f]+")


class ProfileFailed(Exception):
    """The profiler could not run, or saw nothing."""


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    #: Events accepted while the time was measured.
    events: int
    #: Samples of working threads. A share is no more exact than their number allows.
    samples: int
    #: Processor time an event: the sum of the stages.
    microseconds: float
    #: The same by stage.
    stages: Mapping[str, float]
    #: Time an event that the writing thread waited for the disk, using no processor.
    disk_microseconds: float


def record(pid: int, accepted: Callable[[], int], *, seconds: float) -> Profile:
    """Profile a process that is under load for twice `seconds`. Raises ProfileFailed.

    `accepted` returns the number of events so far. The cost of an event is measured first, without
    the profiler; it halts the process at each sample. Then the profiler says where the time goes.
    """
    before, first = used(pid), accepted()
    time.sleep(seconds)
    after, undisturbed = used(pid), accepted()
    with tempfile.TemporaryDirectory(prefix="smshook-profile-") as folder:
        raw = Path(folder) / "raw.txt"
        _spy(pid, seconds, raw)
        seen = list(samples(raw.read_text()))
    if not seen:
        raise ProfileFailed(f"py-spy saw no thread of process {pid} at work; is there any load?")
    return profile(
        seen,
        before,
        after,
        events=undisturbed - first,
        while_sampled=accepted() - undisturbed,
    )


def profile(
    seen: Sequence[Stack], before: Usage, after: Usage, *, events: int, while_sampled: int
) -> Profile:
    """Divide the processor time between `before` and `after` among the stages.

    Each thread's own time is divided by its own samples. The profiler also samples threads that
    wait for a lock or the disk, which would look as costly as one that works.
    """
    if events <= 0 or while_sampled <= 0:
        raise ProfileFailed("no event was accepted while it was recorded; is there any load?")
    spent = dict.fromkeys(STAGES, 0.0)
    for thread, until_now in after.threads.items():
        shares = _shares(thread, seen, after.names.get(thread, ""))
        for stage, share in shares.items():
            spent[stage] += share * (until_now - before.threads.get(thread, 0.0))
    # Threads that have ended count in the whole alone: it is divided in the proportions of the
    # others.
    whole, of_threads = after.whole - before.whole, sum(spent.values())
    if whole <= 0 or of_threads <= 0:
        raise ProfileFailed("the process used no processor while it was recorded")
    each = whole * 1e6 / events
    on_disk = sum(one.seen for one in seen if waits_for_disk(one)) / RATE
    return Profile(
        events=events,
        samples=sum(one.seen for one in seen if not waits(one)),
        microseconds=each,
        stages={stage: each * spell / of_threads for stage, spell in spent.items()},
        disk_microseconds=on_disk * 1e6 / while_sampled,
    )


def values(name: str, found: Profile) -> dict[str, float]:
    """The figures of a profile: `name/STAGE`, their sum and the wait for the disk."""
    rows = {**found.stages, WHOLE: found.microseconds, DISK: found.disk_microseconds}
    return {f"{name}/{row}": value for row, value in rows.items()}


def samples(raw: str) -> Iterator[Stack]:
    """Parse the output of `py-spy record --format raw --threads`: a line and a count a stack."""
    for line in raw.splitlines():
        stack, _, count = line.rpartition(" ")
        first, *rest = stack.split(";")
        thread = _THREAD.fullmatch(first)
        if thread is None:
            raise ValueError(f"py-spy's output has a line that names no thread: {first[:80]!r}")
        frames = tuple(frame(text) for text in rest)
        yield Stack(int(thread[1]), thread[2] or "", frames, int(count))


def frame(text: str) -> Frame:
    """Parse a frame as py-spy writes it: `write (loop.c:110189)`, `<module> (smshook:6)`."""
    parts = _FRAME.fullmatch(text)
    return Frame(parts[1], parts[2]) if parts else Frame(text, "")


def stage_of(sample: Stack) -> str:
    """Return the stage of the innermost frame that belongs to one.

    A stage's calls into a library count as its own. A garbage collection belongs to no stage.
    """
    by_thread = _stage_of_thread(sample.name)
    for one in reversed(sample.frames):
        for rule in _RULES:
            if one.file.startswith(rule.file) and one.function.startswith(rule.function):
                collects = rule.stage == "garbage collection"
                return rule.stage if by_thread is None or collects else by_thread
    return by_thread or "other"


def waits(sample: Stack) -> bool:
    """Whether its thread uses no processor: it waits for a lock, the disk or work."""
    return _innermost(sample) in _WAITS


def waits_for_disk(sample: Stack) -> bool:
    return _innermost(sample) in _DISK


def _shares(thread: int, seen: Sequence[Stack], name: str) -> Mapping[str, float]:
    """How a thread's time is divided among the stages; the shares sum to one."""
    its = [one for one in seen if one.thread == thread]
    counts: Counter[str] = Counter()
    for one in its:
        if not waits(one):
            counts[stage_of(one)] += one.seen
    if whole := counts.total():
        return {stage: count / whole for stage, count in counts.items()}
    # It was never seen at work: only its name is known.
    called = next((one.name for one in its), "") or name
    return {_stage_of_thread(called) or "other": 1.0}


def _stage_of_thread(name: str) -> str | None:
    return next((stage for begin, stage in _THREADS.items() if name.startswith(begin)), None)


def _innermost(sample: Stack) -> str:
    named = (one.function for one in reversed(sample.frames))
    return next((function for function in named if not _NAMELESS.fullmatch(function)), "")


def _spy(pid: int, seconds: float, to: Path) -> None:
    """Run py-spy; native frames show whether a thread waits or works."""
    program = Path(sys.executable).with_name("py-spy")
    if not program.exists():
        raise ProfileFailed(f"{program} is not there: make bench installs it")
    command = [str(program), "record", "--pid", str(pid), "--duration", str(round(seconds))]
    command += ["--rate", str(RATE), "--threads", "--native", "--format", "raw"]
    command += ["--output", str(to)]
    done = subprocess.run(  # noqa: S603 - our own program on our own process
        command, capture_output=True, text=True, check=False, timeout=seconds + PATIENCE
    )
    if done.returncode or not to.exists():
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        raise ProfileFailed(f"py-spy: {lines[-1] if lines else f'exit {done.returncode}'}")
