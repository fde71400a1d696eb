"""The coverage of threads that start at the same moment."""

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

    done = subprocess.run(
        [sys.executable, "-m", "coverage", "run", "--branch", "--include=program.py", "program.py"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(TESTS), "COVERAGE_FILE": ".coverage"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    report = subprocess.run(
        [sys.executable, "-m", "coverage", "report", "--format=total"],
        cwd=tmp_path,
        env=os.environ | {"COVERAGE_FILE": ".coverage"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert ("[]\n", "") == (done.stdout, done.stderr)
    assert int(report.stdout) >= 85
