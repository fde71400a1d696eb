"""The table of stages sums to the processor time of the process."""

import itertools
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.lab import profile as profiles
from benchmarks.lab.profile import STAGES, Frame, ProfileFailed, Stack, Usage

ROOT = Path(__file__).parents[3]
DOOR = Frame("Door.take", "receiver/door.py")
WORKER = Frame("Worker._send_all", "sinks/worker.py")
SQLITE = Frame("sqlite3_step", "libsqlite3.so.0")
LOCK = Frame("PyThread_acquire_lock_timed", "libpython3.11.so")
DISK = Frame("fdatasync", "libc.so.6")

NOTHING = Usage(whole=0.0, threads={}, names={})


def loop(*frames, seen):
    return Stack(1, "MainThread", frames, seen)


def writer(*frames, seen):
    return Stack(2, "journal_0", frames, seen)


def used(whole=2.0, **threads):
    numbered = {int(name[1:]): time for name, time in threads.items()}
    return Usage(whole=whole, threads=numbered, names=dict.fromkeys(numbered, "smshook"))


def rows(found):
    return {stage: time for stage, time in found.stages.items() if time}


def test_time_of_a_thread_is_divided_by_its_own_samples():
    seen = [loop(DOOR, seen=30), loop(WORKER, seen=10), writer(SQLITE, seen=1000)]

    found = profiles.profile(
        seen, NOTHING, used(2.0, t1=1.6, t2=0.4), events=1000, while_sampled=1000
    )

    expected = {"door": 1200.0, "worker": 400.0, "journal, writing thread": 400.0}
    assert rows(found) == pytest.approx(expected)
    assert found.microseconds == pytest.approx(2000.0)


def test_waiting_costs_nothing_and_the_disk_is_shown_apart():
    """Mutant: waiting samples count, so an idle loop costs as much as a busy one."""
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


def test_thread_never_seen_at_work_goes_by_its_name():
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
def test_stages_always_sum_to_the_whole(stacks, whole, of_loop, events):
    seen = [loop(frame, seen=times) for frame, times in stacks]

    found = profiles.profile(
        seen, NOTHING, used(whole, t1=of_loop, t2=1.0), events=events, while_sampled=events
    )

    assert list(found.stages) == list(STAGES)
    assert sum(found.stages.values()) == pytest.approx(whole * 1e6 / events)


@pytest.mark.parametrize(("events", "whole", "said"), [(0, 1.0, "no event"), (1, 0.0, "no proc")])
def test_profile_without_events_or_time_is_an_error(events, whole, said):
    with pytest.raises(ProfileFailed, match=said):
        profiles.profile(
            [loop(DOOR, seen=1)],
            NOTHING,
            used(whole, t1=whole),
            events=events,
            while_sampled=events,
        )


def test_used_time_is_read_from_the_kernel():
    before = profiles.used(os.getpid())
    until = time.thread_time() + 0.05
    while time.thread_time() < until:
        pass
    after = profiles.used(os.getpid())

    assert after.threads[os.getpid()] - before.threads[os.getpid()] >= 0.04
    assert after.whole >= before.whole
    assert after.names.keys() == after.threads.keys()


def test_figures_have_the_whole_beside_the_stages():
    found = profiles.profile(
        [loop(DOOR, seen=1)], NOTHING, used(1.0, t1=1.0), events=10, while_sampled=10
    )

    figures = profiles.values("accept", found)

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
def test_running_process_is_profiled():
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as busy:
        try:
            found = profiles.record(busy.pid, itertools.count(0, 1000).__next__, seconds=1.0)
        finally:
            busy.kill()

    assert found.events == 1000
    assert rows(found) == pytest.approx({"other": found.microseconds})
    assert found.samples > 0


LOOP = (
    Frame("<module>", "smshook"),
    Frame("serve", "server/process.py"),
    Frame("Runner.run", "asyncio/runners.py"),
    Frame("Loop__run", "loop.c"),
    Frame("RequestResponseCycle.run_asgi", "uvicorn/protocols/http/httptools_impl.py"),
)
IN_THE_DOOR = (*LOOP, Frame("Door.take", "receiver/door.py"))


def sample(*frames, name="MainThread", thread=1, seen=1):
    return Stack(thread, name, frames, seen)


def inside(*more):
    return sample(*IN_THE_DOOR, *(profiles.frame(text) for text in more))


@pytest.mark.parametrize(
    ("stack", "stage"),
    [
        (sample(*LOOP), "socket and protocol"),
        (inside(), "door"),
        (inside("Door.admit (receiver/door.py:99)", "timeout (asyncio/timeouts.py:9)"), "door"),
        (inside("decode (receiver/decode.py:40)", "_form (receiver/decode.py:74)"), "decode"),
        (inside("TellABot.normalize (receiver/providers/tellabot/callbacks.py:5)"), "normalize"),
        (inside("Recorder.accept (server/runtime/accept.py:94)"), "plan"),
        (inside("Planner.plan (server/runtime/planner.py:238)"), "encode"),
        (
            inside("Planner.plan (server/runtime/planner.py:238)", "plan (routes/table.py:3)"),
            "plan",
        ),
        (
            inside("Identity._hash (server/runtime/identity.py:91)", "digest (hmac.py:198)"),
            "keys and ids",
        ),
        (
            inside(
                "Recorder._log_recorded (server/runtime/accept.py:291)",
                "meth (structlog/_native.py:1)",
            ),
            "log",
        ),
        (inside("GroupCommit.submit (journal/commit.py:80)"), "journal, event loop"),
        (
            inside("Door._answer (receiver/door.py:2)", "_Line.write (httpd/protocol.py:69)"),
            "socket and protocol",
        ),
        (sample(*LOOP, Frame("Worker._settle", "sinks/worker.py")), "settle"),
        (sample(*LOOP, Frame("Worker._send_all", "sinks/worker.py")), "worker"),
        (sample(*LOOP, Frame("_Way._answer", "sinks/http/client.py")), "outbound HTTP"),
        (sample(Frame("0x7fba68e61b27", "pyreqwest/_pyreqwest.so")), "outbound HTTP"),
        (sample(Frame("main", "elsewhere.py")), "other"),
        (sample(), "other"),
    ],
)
def test_innermost_frame_of_a_stage_decides(stack, stage):
    assert profiles.stage_of(stack) == stage


def test_garbage_collection_is_a_stage_of_its_own():
    in_the_loop = inside(
        "links (receiver/fields/text.py:32)", "gc_collect_main (libpython3.11.so.1.0)"
    )
    in_the_thread = sample(Frame("gc_collect_main", "libpython3.11.so.1.0"), name="journal_0")

    assert profiles.stage_of(in_the_loop) == "garbage collection"
    assert profiles.stage_of(in_the_thread) == "garbage collection"


@pytest.mark.parametrize(
    ("name", "stage"),
    [
        ("journal_0", "journal, writing thread"),
        ("journal-read_0", "journal, reading"),
        ("tokio-runtime-w", "outbound HTTP"),
    ],
)
def test_time_of_a_named_thread_is_its_own(name, stage):
    stack = (Frame("BatchWriter.write", "journal/sqlite/batch.py"),)

    assert profiles.stage_of(sample(*stack, name=name)) == stage


@given(
    st.lists(
        st.tuples(
            st.sampled_from([*(one.function for one in IN_THE_DOOR), "gc_collect_main", "x"]),
            st.sampled_from(
                [*(one.file for one in IN_THE_DOOR), "routes/", "sinks/", "journal/", ""]
            ),
        )
    ),
    st.sampled_from(["MainThread", "journal_0", ""]),
    st.integers(1, 1000),
)
def test_every_sample_belongs_to_a_known_stage(frames, name, seen):
    one = sample(*(Frame(*pair) for pair in frames), name=name, seen=seen)

    assert profiles.stage_of(one) in STAGES


def test_output_of_the_profiler_is_parsed():
    raw = (
        "thread (12614): MainThread;<module> (smshook:6);links.<locals>.<genexpr>"
        " (receiver/fields/text.py:32);write (libc.so.6) 20\n"
        "thread (12628);0x7fba68e61b27 (pyreqwest/_p.cpython-311-x86_64-linux-gnu.so) 3\n"
        "thread (12622): journal_0 1\n"
    )

    assert list(profiles.samples(raw)) == [
        Stack(
            12614,
            "MainThread",
            (
                Frame("<module>", "smshook"),
                Frame("links.<locals>.<genexpr>", "receiver/fields/text.py"),
                Frame("write", "libc.so.6"),
            ),
            20,
        ),
        Stack(
            12628,
            "",
            (Frame("0x7fba68e61b27", "pyreqwest/_p.cpython-311-x86_64-linux-gnu.so"),),
            3,
        ),
        Stack(12622, "journal_0", (), 1),
    ]


def test_output_without_a_thread_is_an_error():
    with pytest.raises(ValueError, match="names no thread: 'main "):
        list(profiles.samples("main (a.py:1) 3"))


def test_waiting_is_seen_below_frames_without_a_name():
    """Mutant: nameless frames are not skipped, and a wait for a lock counts as work."""
    nameless = Frame("0x7fba6b4a3f16", "libc.so.6")
    lock = sample(Frame("PyThread_acquire_lock_timed", "libpython3.11.so.1.0"), nameless)
    disk = sample(Frame("sqlite3WalFrames", "libsqlite3.so"), Frame("fdatasync", "libc.so.6"))
    work = sample(Frame("sqlite3VdbeExec", "libsqlite3.so"), nameless)

    assert [profiles.waits(one) for one in (lock, disk, work)] == [True, True, False]
    assert [profiles.waits_for_disk(one) for one in (lock, disk, work)] == [False, True, False]


def test_rules_name_files_of_the_product_that_exist():
    """Mutant: a module was moved, and its time counts as `other`."""
    ours = [rule.file for rule in profiles._RULES if (ROOT / rule.file.split("/")[0]).is_dir()]

    assert len(ours) > 15
    assert [file for file in ours if file and not (ROOT / file).exists()] == []
