"""Where the time of one event goes: a table of stages that sums to the whole."""

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from . import stages
from .stages import Sample

#: Samples a second, of each thread.
RATE = 200
#: Given to the profiler beyond the time it samples: reading symbols takes it a while.
PATIENCE = 60.0


class ProfileFailed(Exception):
    """The profiler could not be run, or saw nothing; says why."""


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds of processor that a process has used so far."""

    whole: float
    #: By the kernel's number of the thread.
    threads: Mapping[int, float]
    #: What the kernel calls each thread.
    names: Mapping[int, str]


class Row(msgspec.Struct, frozen=True, kw_only=True):
    stage: str
    #: Of processor, an event.
    microseconds: float
    share: float


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    #: As many as were accepted while it was recorded.
    events: int
    #: Samples of threads that worked; a share is no more exact than these allow.
    samples: int
    #: Of processor, an event: the sum of the rows.
    microseconds: float
    rows: tuple[Row, ...]
    #: For which the writing thread waited for the disk, an event; no processor was used.
    disk_microseconds: float


def taken(pid: int, accepted: Callable[[], int], *, seconds: float) -> Profile:
    """The profile of a process that somebody else keeps under load for twice `seconds`.

    `accepted` says how many events were accepted so far. What an event costs is measured first,
    undisturbed; then the profiler, which halts the process at each sample, says where.
    """
    before, first = used(pid), accepted()
    time.sleep(seconds)
    after, undisturbed = used(pid), accepted()
    seen = recorded(pid, seconds=seconds)
    return profile(
        seen,
        before,
        after,
        events=undisturbed - first,
        while_sampled=accepted() - undisturbed,
    )


def recorded(pid: int, *, seconds: float) -> list[Sample]:
    """What py-spy sees of a process; native frames too, or waiting could not be told from work."""
    with tempfile.TemporaryDirectory(prefix="smshook-profile-") as folder:
        raw = Path(folder) / "raw.txt"
        _spy(pid, seconds, raw)
        seen = list(stages.samples(raw.read_text()))
    if not seen:
        raise ProfileFailed(f"py-spy saw no thread of process {pid} at work; is there any load?")
    return seen


def used(pid: int) -> Usage:
    """From /proc: the process as a whole, and its threads to the nanosecond."""
    threads, names = {}, {}
    for task in _tasks(pid):
        # A thread may end between being listed and being looked at.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            nanoseconds = int((task / "schedstat").read_text().split()[0])
            threads[int(task.name)] = nanoseconds / 1e9
            names[int(task.name)] = (task / "comm").read_text().strip()
    # The name in the second field may hold blanks; what follows it does not.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ticks = int(fields[11]) + int(fields[12])
    return Usage(whole=ticks / os.sysconf("SC_CLK_TCK"), threads=threads, names=names)


def profile(
    seen: Sequence[Sample], before: Usage, after: Usage, *, events: int, while_sampled: int
) -> Profile:
    """Share out the processor time between two looks, of so many events, among the stages.

    Each thread's own time is shared out by its own samples: the profiler samples threads that wait
    for a lock or the disk as well, and would make them as costly as one that works.
    """
    if events <= 0 or while_sampled <= 0:
        raise ProfileFailed("no event was accepted while it was recorded; is there any load?")
    spent = dict.fromkeys(stages.STAGES, 0.0)
    for thread, spell in _between(before, after).items():
        for stage, share in _shares(thread, seen, after.names.get(thread, "")).items():
            spent[stage] += spell * share
    # The kernel counts the whole in ticks and the threads in nanoseconds: the whole is what is
    # shared out, the threads say in which proportion.
    whole, of_threads = after.whole - before.whole, sum(spent.values())
    if whole <= 0 or of_threads <= 0:
        raise ProfileFailed("the process used no processor while it was recorded")
    each = whole * 1e6 / events
    return Profile(
        events=events,
        samples=sum(one.seen for one in seen if not stages.waits(one)),
        microseconds=each,
        rows=tuple(
            Row(stage=stage, microseconds=each * spell / of_threads, share=spell / of_threads)
            for stage, spell in spent.items()
        ),
        disk_microseconds=_disk(seen) * 1e6 / while_sampled,
    )


def values(name: str, found: Profile) -> Iterator[tuple[str, float]]:
    """The table as figures: `name/STAGE`, in microseconds an event, and their sum."""
    for row in found.rows:
        yield f"{name}/{row.stage}", row.microseconds
    yield f"{name}/whole", found.microseconds
    yield f"{name}/waiting for the disk", found.disk_microseconds


def _between(before: Usage, after: Usage) -> dict[int, float]:
    return {
        thread: spell - before.threads.get(thread, 0.0) for thread, spell in after.threads.items()
    }


def _shares(thread: int, seen: Sequence[Sample], name: str) -> Mapping[str, float]:
    """How a thread's time is divided among stages; the shares sum to one."""
    its = [one for one in seen if one.thread == thread]
    counts = stages.counted(one for one in its if not stages.waits(one))
    whole = sum(counts.values())
    if whole:
        return {stage: count / whole for stage, count in counts.items()}
    # It never was seen at work: its name is all there is to go by.
    called = next((one.name for one in its), "") or name
    return {stages.stage_of_thread(called) or "other": 1.0}


def _disk(seen: Sequence[Sample]) -> float:
    """Seconds for which the writing thread stood before the disk."""
    return sum(one.seen for one in seen if stages.waits_for_disk(one)) / RATE


def _tasks(pid: int) -> list[Path]:
    return list(Path(f"/proc/{pid}/task").iterdir())


def _spy(pid: int, seconds: float, to: Path) -> None:
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
