"""Each sampled stack belongs to exactly one stage."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import stages
from benchmarks.stages import Frame, Sample

LOOP = (
    Frame("<module>", "smshook"),
    Frame("serve", "server/process.py"),
    Frame("Runner.run", "asyncio/runners.py"),
    Frame("Loop__run", "loop.c"),
    Frame("RequestResponseCycle.run_asgi", "uvicorn/protocols/http/httptools_impl.py"),
)
DOOR = (*LOOP, Frame("Door.__call__", "receiver/door.py"))


def sample(*frames, name="MainThread", thread=1, seen=1):
    return Sample(thread, name, frames, seen)


def inside(*more):
    return sample(*DOOR, *(stages.frame(text) for text in more))


@pytest.mark.parametrize(
    ("stack", "stage"),
    [
        (sample(*LOOP), "socket and protocol"),
        (inside(), "door"),
        (inside("Door._body (receiver/door.py:99)", "timeout (asyncio/timeouts.py:9)"), "door"),
        (inside("decode (receiver/decode.py:40)", "_form (receiver/decode.py:74)"), "decode"),
        (inside("TellABot.normalize (receiver/providers/tellabot/callbacks.py:5)"), "normalize"),
        (inside("Recorder.accept (server/runtime/accept.py:94)"), "plan"),
        (inside("Planner.draft (server/runtime/accept.py:238)"), "encode"),
        (
            inside("Planner.draft (server/runtime/accept.py:238)", "plan (routes/table.py:3)"),
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
            inside("Door._respond (receiver/door.py:2)", "_Line.write (httpd/protocol.py:69)"),
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
def test_the_innermost_frame_that_belongs_to_a_stage_decides(stack, stage):
    assert stages.stage_of(stack) == stage


def test_a_collection_of_garbage_is_nobodys_stage_wherever_it_comes():
    in_the_loop = inside(
        "links (receiver/fields/text.py:32)", "gc_collect_main (libpython3.11.so.1.0)"
    )
    in_the_thread = sample(Frame("gc_collect_main", "libpython3.11.so.1.0"), name="journal_0")

    assert stages.stage_of(in_the_loop) == "garbage collection"
    assert stages.stage_of(in_the_thread) == "garbage collection"


@pytest.mark.parametrize(
    ("name", "stage"),
    [
        ("journal_0", "journal, writing thread"),
        ("journal-read_0", "journal, reading"),
        ("tokio-runtime-w", "outbound HTTP"),
    ],
)
def test_a_threads_time_is_its_own_whatever_it_calls(name, stage):
    stack = (Frame("BatchWriter.write", "journal/sqlite/batch.py"),)

    assert stages.stage_of(sample(*stack, name=name)) == stage


@given(
    st.lists(
        st.tuples(
            st.sampled_from([*(one.function for one in DOOR), "gc_collect_main", "x"]),
            st.sampled_from([*(one.file for one in DOOR), "routes/", "sinks/", "journal/", ""]),
        )
    ),
    st.sampled_from(["MainThread", "journal_0", ""]),
    st.integers(1, 1000),
)
def test_every_sample_is_counted_in_exactly_one_known_stage(frames, name, seen):
    one = sample(*(Frame(*pair) for pair in frames), name=name, seen=seen)

    counts = stages.counted([one])

    assert tuple(counts) == stages.STAGES
    assert sum(counts.values()) == seen


def test_what_the_profiler_wrote_is_read_back_whole():
    raw = (
        "thread (12614): MainThread;<module> (smshook:6);links.<locals>.<genexpr>"
        " (receiver/fields/text.py:32);write (libc.so.6) 20\n"
        "thread (12628);0x7fba68e61b27 (pyreqwest/_p.cpython-311-x86_64-linux-gnu.so) 3\n"
        "thread (12622): journal_0 1\n"
    )

    assert list(stages.samples(raw)) == [
        Sample(
            12614,
            "MainThread",
            (
                Frame("<module>", "smshook"),
                Frame("links.<locals>.<genexpr>", "receiver/fields/text.py"),
                Frame("write", "libc.so.6"),
            ),
            20,
        ),
        Sample(
            12628,
            "",
            (Frame("0x7fba68e61b27", "pyreqwest/_p.cpython-311-x86_64-linux-gnu.so"),),
            3,
        ),
        Sample(12622, "journal_0", (), 1),
    ]


def test_output_that_names_no_thread_is_refused_with_its_beginning():
    with pytest.raises(ValueError, match="names no thread: 'main "):
        list(stages.samples("main (a.py:1) 3"))


def test_who_waits_is_known_beneath_frames_that_have_no_name():
    """Mutant: with the innermost frame taken as it is, a wait for a lock counted as work."""
    nameless = Frame("0x7fba6b4a3f16", "libc.so.6")
    lock = sample(Frame("PyThread_acquire_lock_timed", "libpython3.11.so.1.0"), nameless)
    disk = sample(Frame("sqlite3WalFrames", "libsqlite3.so"), Frame("fdatasync", "libc.so.6"))
    work = sample(Frame("sqlite3VdbeExec", "libsqlite3.so"), nameless)

    assert [stages.waits(one) for one in (lock, disk, work)] == [True, True, False]
    assert [stages.waits_for_disk(one) for one in (lock, disk, work)] == [False, True, False]
