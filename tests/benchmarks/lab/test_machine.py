"""Growing memory and pauses of the machine are seen."""

import itertools
import os
import time
from pathlib import Path

import pytest

from benchmarks.lab import machine
from benchmarks.lab.machine import Memory, Stalls, stalls, watch_stalls


def test_slope_is_that_of_the_best_line_through_the_second_half():
    """Mutant: the slope between the first and the last of these points, 10."""
    points = ((0.0, 9.0), (1.0, 9.0), (2.0, 9.0), (3.0, 1.0), (4.0, 3.0), (5.0, 2.0), (6.0, 2.0))

    assert Memory(points).slope == pytest.approx(0.2 * 1000 * 60)


def test_slope_of_memory_is_in_kilobytes_a_minute():
    """A megabyte in a hundred seconds is 600 KB a minute."""
    grows = Memory(tuple((float(second), 80 + second / 100) for second in range(60)))

    assert grows.slope == pytest.approx(600)
    assert grows.most == pytest.approx(80.59)


def test_memory_filled_in_the_first_half_is_no_growth():
    """Mutant: over all points, a cache that fills once looked like a leak."""
    filled = Memory(tuple((float(second), min(50.0 + second, 70.0)) for second in range(60)))

    assert filled.slope == pytest.approx(0)


def test_memory_is_sampled_while_the_work_runs(monkeypatch):
    monkeypatch.setattr(machine, "_SAMPLE_EVERY", 0.02)

    seen = machine.watch_memory(lambda: 42.0, lambda: time.sleep(0.2))

    assert len(seen.points) > 5
    assert seen.points[0] == (0.0, 42.0)
    assert seen.points[-1][0] >= 0.2
    assert seen.most == 42.0


def test_growth_is_found_by_kind_of_memory(monkeypatch):
    """Mutants: a kind that comes later is left out; the slope of the first half."""
    monkeypatch.setattr(machine, "_SAMPLE_EVERY", 0.02)
    monkeypatch.setattr(machine, "_KINDS_EVERY", 0.0)
    seconds = itertools.count()

    def kinds():
        second = next(seconds)
        return {"heap": 10.0, "anonymous": 5.0 + second} if second else {"heap": 10.0}

    seen = machine.watch_memory(lambda: 42.0, lambda: time.sleep(0.3), kinds=kinds)

    assert seen.grew["heap"] == pytest.approx(0.0)
    assert seen.grew["anonymous"] > 0


def test_mapped_memory_sums_to_the_resident_memory():
    """Mutant: mappings without a name are left out."""
    kept = bytearray(50_000_000)

    found = machine.mapped(os.getpid())

    assert found["objects of Python"] > len(kept) / 1e6
    assert found["programs and libraries"] > 1
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6
    assert sum(found.values()) == pytest.approx(resident, rel=0.1)


@pytest.mark.parametrize(
    ("start", "path", "kind"),
    [
        (0x7F3A_8000_0000, "", "heaps of threads"),
        (0x7F3A_8010_0000, "", "objects of Python"),
        (0x5581_0000_0000, "[heap]", "heap of the main thread"),
        (0x7FFC_0000_0000, "[stack]", "other"),
        (0x7F3A_8000_0000, "/a/smshook.db-shm", "journal"),
        (0x7F3A_8000_0000, "/usr/lib/libc.so.6", "programs and libraries"),
    ],
)
def test_mapping_has_a_kind(start, path, kind):
    """Mutant: what SQLite allocates in its thread counts as objects of Python."""
    assert machine.kind_of(start, path) == kind


def test_error_of_watched_work_is_raised():
    def fails():
        raise OSError("no such server")

    with pytest.raises(OSError, match="no such server"):
        machine.watch_memory(lambda: 42.0, fails)


def test_usual_counts_are_no_stall():
    assert stalls([1.0, 1.1, 4.9, 1.0, 0.9]) == Stalls(share=0.0, longest=0.0)


def test_successive_slow_counts_are_one_stall():
    """Mutant: the longest single count, 30 s."""
    seen = stalls([1.0, 20.0, 30.0, 1.0, 6.0, *[1.0] * 10])

    assert seen.longest == pytest.approx(50_000)


def test_share_is_the_lost_part_of_slow_counts():
    """Mutant: the whole of a slow count is called lost."""
    seen = stalls([1.0, 1.0, 1.0, 11.0])

    assert seen.share == pytest.approx(10 / 14)


def test_pause_of_the_machine_is_seen():
    times = iter([0.0, 0.0, 1.0, 1.0, 2.0, 2.0, 42.0, 42.0, 43.0, 43.0, 44.0, 99.0])

    seen = watch_stalls(50.0, clock=lambda: next(times))

    assert seen.longest == pytest.approx(40_000)
