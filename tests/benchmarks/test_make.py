"""`make bench` checks its tools and passes its options on."""

import os
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]


def make(*words, **kwargs):
    return subprocess.run(
        [shutil.which("make"), *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        **kwargs,
    )


def test_make_bench_without_wrk_says_what_to_install(tmp_path):
    """Before anything is installed or measured. Mutant: Python's traceback at the first load."""
    (tmp_path / "sh").symlink_to(shutil.which("sh"))

    done = make("bench", env={**os.environ, "PATH": str(tmp_path)})

    said = "wrk is not there: apt install wrk, then run make bench again\n"
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(said)


def test_make_passes_its_options_on():
    """Mutants: QUICK=1 that measures for an hour; only the first of several names."""
    plain, quick = make("-n", "bench"), make("-n", "bench", "QUICK=1", "ONLY=noop pipeline/http")

    assert plain.stdout.splitlines()[-1].split() == [".venv/bin/python", "-m", "benchmarks"]
    assert quick.stdout.splitlines()[-1].endswith(
        "python -m benchmarks --quick --only noop pipeline/http"
    )
