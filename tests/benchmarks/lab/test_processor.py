"""Processor time is that of the whole process, and its parts by thread sum to it."""

import os
import subprocess
import sys

import pytest

from benchmarks.lab import processor
from benchmarks.lab.processor import LOOP, OTHERS, Meter, Usage, spent_between, used

BUSY = """
import os, threading, time
def count():
    until = time.thread_time() + 0.2
    while time.thread_time() < until: pass
ended = threading.Thread(target=count)
ended.start(); ended.join()
# The kernel ends the thread a moment after Python.
while len(os.listdir("/proc/self/task")) > 1: time.sleep(0.01)
print("ended", flush=True)
input()
count()
print("counted", flush=True)
input()
"""


@pytest.fixture
def busy():
    """A process. Its thread used 0.2 s and ended. For each line it reads, it uses 0.2 s more."""
    with subprocess.Popen(
        [sys.executable, "-c", BUSY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "ended\n"
        yield process
        process.kill()


def test_ended_thread_counts_in_the_whole(busy):
    """Mutant: the sum of the threads that are left."""
    found = used(busy.pid)

    assert found.whole > 0.2
    assert found.whole - sum(found.threads.values()) == pytest.approx(0.2, abs=0.05)


def test_meter_divides_by_the_events(busy):
    """Mutants: ticks of 10 ms; the time before the load counts."""
    meter = Meter(busy.pid)
    busy.stdin.write("\n")
    busy.stdin.flush()
    assert busy.stdout.readline() == "counted\n"

    found = meter.values("accept", 1000)

    assert found["processor/accept"] == pytest.approx(200, rel=0.2)
    assert found[f"processor/accept/{LOOP}"] == pytest.approx(200, rel=0.2)
    assert round(found["processor/accept"] * 1000) % 10_000 != 0


def usage(whole, **threads):
    numbered = {int(name[1:]): seconds for name, seconds in threads.items()}
    return Usage(whole=whole, threads=numbered, names=dict.fromkeys(numbered, "smshook"))


def test_threads_are_named_by_python_or_the_kernel():
    """Mutants: no thread that began during the load; parts that sum to less than the whole."""
    after = usage(10.0, t1=4.0, t2=3.0, t3=0.5, t4=1.0, t5=0.25)
    after.names[4] = "pyreqwest-0"

    found = spent_between(
        usage(1.0, t1=1.0),
        after,
        1,
        {1: "MainThread", 2: "journal_0", 3: "journal-read_1", 5: "signals"},
    )

    assert found == {
        LOOP: 3.0,
        "writing the journal": 3.0,
        "reading the journal": 0.5,
        "outbound HTTP": 1.0,
        OTHERS: 0.25 + 1.25,
    }
    assert sum(found.values()) == 9.0


def test_names_are_missing_without_the_profiler(monkeypatch, tmp_path):
    monkeypatch.setattr(processor.sys, "executable", str(tmp_path / "python"))

    assert processor.python_names(os.getpid()) == {}
