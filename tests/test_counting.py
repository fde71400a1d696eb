"""The coverage of threads that start at the same moment, and of properties."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PROGRAM = """
import sys, threading

sys.addaudithook(lambda event, args: None)  # as conftest.py does

import counting

sys.setswitchinterval(1e-6)
errors = []
sys.unraisablehook = lambda about: errors.append(about.exc_value)
threading.excepthook = lambda about: errors.append(about.exc_value)


def work(done):
    done.append(1)


def begin_threads():
    for _ in range(300):
        done = []
        thread = threading.Thread(target=work, args=(done,))
        thread.start()
        thread.join()
        if not done:
            errors.append("it did not run")


threads = [threading.Thread(target=begin_threads) for _ in range(4)]
for thread in threads:
    thread.start()
for _ in range(300):
    with counting.uncounted(), counting.counted():
        work([])
for thread in threads:
    thread.join()
print(errors)
"""


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="CPython 3.12 sets traces otherwise")
def test_threads_of_one_moment_are_all_traced(tmp_path):
    """Mutants: `_set_trace` has no lock; it calls nothing; it sets nothing."""
    (tmp_path / "program.py").write_text(PROGRAM)

    done = covered(tmp_path, "run", "--branch", "--include=program.py", "program.py")
    report = covered(tmp_path, "report", "--format=total")

    assert ("[]\n", "") == (done.stdout, done.stderr)
    assert int(report.stdout) >= 85


PROPERTY = """
import sys

from hypothesis import given, settings
from hypothesis import strategies as st

traced = []


@settings(database=None, derandomize=True, max_examples=300)
@given(st.integers(0, 1000))
def holds(number):
    traced.append(sys.gettrace() is not None)
    if number > 500:
        assert number > 0
    else:
        assert number < 501
"""
RUN = """
import counting
from program import holds, traced

with counting.uncounted(), counting.of_examples(holds.hypothesis):
    holds()
print(traced[0], traced[-1], sum(traced) < 200)
"""


def test_first_examples_of_a_property_are_counted(tmp_path):
    """Mutants: all of them are; none is; the other branch is not."""
    (tmp_path / "program.py").write_text(PROPERTY)
    (tmp_path / "run.py").write_text(RUN)

    done = covered(tmp_path, "run", "--branch", "--include=program.py", "run.py")
    report = covered(tmp_path, "report", "--format=total")

    assert ("True False True\n", "") == (done.stdout, done.stderr)
    assert "100" == report.stdout.strip()


def covered(folder, *arguments):
    """Run coverage in that folder."""
    return subprocess.run(
        [sys.executable, "-m", "coverage", *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(TESTS), "COVERAGE_FILE": ".coverage"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
