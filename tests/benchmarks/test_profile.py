"""The table of stages sums to what the process used, whatever the profiler saw."""

import itertools
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import profile as profiles
from benchmarks.profile import ProfileFailed, Usage
from benchmarks.stages import STAGES, Frame, Sample

DOOR = Frame("Door.__call__", "receiver/door.py")
WORKER = Frame("Worker._send_all", "sinks/worker.py")
SQLITE = Frame("sqlite3_step", "libsqlite3.so.0")
LOCK = Frame("PyThread_acquire_lock_timed", "libpython3.11.so")
DISK = Frame("fdatasync", "libc.so.6")

NOTHING = Usage(whole=0.0, threads={}, names={})


def loop(*frames, seen):
    return Sample(1, "MainThread", frames, seen)


def writer(*frames, seen):
    return Sample(2, "journal_0", frames, seen)


def used(whole=2.0, **threads):
    numbered = {int(name[1:]): time for name, time in threads.items()}
    return Usage(whole=whole, threads=numbered, names=dict.fromkeys(numbered, "smshook"))


def rows(found):
    return {row.stage: row.microseconds for row in found.rows if row.microseconds}


def test_each_threads_time_is_shared_out_by_its_own_samples():
    seen = [loop(DOOR, seen=30), loop(WORKER, seen=10), writer(SQLITE, seen=1000)]

    found = profiles.profile(
        seen, NOTHING, used(2.0, t1=1.6, t2=0.4), events=1000, while_sampled=1000
    )

    expected = {"door": 1200.0, "worker": 400.0, "journal, writing thread": 400.0}
    assert rows(found) == pytest.approx(expected)
    assert found.microseconds == pytest.approx(2000.0)


def test_who_waits_costs_nothing_and_waiting_for_the_disk_is_told():
    """Mutant: with waiting samples counted, a loop that was idle half the time cost as much."""
    seen = [
        loop(DOOR, seen=10),
        loop(WORKER, LOCK, seen=990),
        writer(SQLITE, seen=5),
        writer(DISK, seen=100),
    ]

    found = profiles.profile(
        seen, NOTHING, used(2.0, t1=1.0, t2=1.0), events=500, while_sampled=500
    )

    assert rows(found) == pytest.approx({"door": 2000.0, "journal, writing thread": 2000.0})
    assert found.disk_microseconds == pytest.approx(100 / profiles.RATE * 1e6 / 500)
    assert found.samples == 15


def test_a_thread_that_was_never_seen_at_work_goes_by_its_name():
    after = Usage(
        whole=1.0,
        threads={1: 0.5, 3: 0.25, 4: 0.25},
        names={1: "smshook", 3: "tokio-runtime-w", 4: "strange"},
    )

    found = profiles.profile([loop(DOOR, seen=1)], NOTHING, after, events=1, while_sampled=1)

    expected = {"door": 500_000.0, "outbound HTTP": 250_000.0, "other": 250_000.0}
    assert rows(found) == pytest.approx(expected)


@given(
    st.lists(st.tuples(st.sampled_from([DOOR, WORKER, LOCK, DISK, SQLITE]), st.integers(1, 99))),
    st.floats(0.01, 100),
    st.floats(0.01, 100),
    st.integers(1, 10_000),
)
def test_the_rows_always_sum_to_the_whole(stacks, whole, of_loop, events):
    seen = [loop(frame, seen=times) for frame, times in stacks]

    found = profiles.profile(
        seen, NOTHING, used(whole, t1=of_loop, t2=1.0), events=events, while_sampled=events
    )

    assert [row.stage for row in found.rows] == list(STAGES)
    assert sum(row.microseconds for row in found.rows) == pytest.approx(whole * 1e6 / events)
    assert sum(row.share for row in found.rows) == pytest.approx(1.0)


@pytest.mark.parametrize(("events", "whole", "said"), [(0, 1.0, "no event"), (1, 0.0, "no proc")])
def test_a_profile_of_nothing_is_refused(events, whole, said):
    with pytest.raises(ProfileFailed, match=said):
        profiles.profile(
            [loop(DOOR, seen=1)],
            NOTHING,
            used(whole, t1=whole),
            events=events,
            while_sampled=events,
        )


def test_what_this_process_uses_is_read_from_the_kernel():
    before = profiles.used(os.getpid())
    until = time.thread_time() + 0.05
    while time.thread_time() < until:
        pass
    after = profiles.used(os.getpid())

    assert after.threads[os.getpid()] - before.threads[os.getpid()] >= 0.04
    assert after.whole >= before.whole
    assert after.names.keys() == after.threads.keys()


def test_the_figures_carry_the_whole_beside_the_stages():
    found = profiles.profile(
        [loop(DOOR, seen=1)], NOTHING, used(1.0, t1=1.0), events=10, while_sampled=10
    )

    figures = dict(profiles.values("accept", found))

    assert figures["accept/door"] == pytest.approx(100_000.0)
    assert figures["accept/whole"] == pytest.approx(100_000.0)
    assert figures.keys() == {
        *(f"accept/{stage}" for stage in STAGES),
        "accept/whole",
        "accept/waiting for the disk",
    }


@pytest.mark.slow
@pytest.mark.skipif(
    not Path(sys.executable).with_name("py-spy").exists(), reason="py-spy is the benchmark's"
)
def test_a_running_process_is_profiled_whole():
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as busy:
        try:
            found = profiles.taken(busy.pid, itertools.count(0, 1000).__next__, seconds=1.0)
        finally:
            busy.kill()

    assert found.events == 1000
    assert rows(found) == pytest.approx({"other": found.microseconds})
    assert found.samples > 0
