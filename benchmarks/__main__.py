"""`python -m benchmarks`: measure, write the results and the report."""

import argparse
import secrets
import sys
from pathlib import Path

from .case import Case
from .cases import CASES
from .lab import journals, machine
from .lab.processes import Bench
from .report import results, write
from .report.goals import summary
from .run import Run, say

_HERE = Path(__file__).parent
_FULL, _QUICK = _HERE / "results" / "full.json", _HERE / "results" / "quick.json"


def main() -> int:
    """Exit 1 if a case failed."""
    asked, chosen = _asked()
    bench = _bench(quick=asked.quick)
    run = Run(bench, say, commit=machine.commit())
    run.take(chosen, repetitions=asked.repeats or (3 if asked.quick else 5))
    found = run.results()
    say(summary(found.goals))
    if asked.output == "json":
        # With PYTHONUNBUFFERED, `sys.stdout.buffer` may write a part only, and does not say so.
        with open(sys.stdout.fileno(), "wb", closefd=False) as out:
            out.write(results.document(found))
        return int(run.failed)
    # Only a whole run is kept: one with few cases or repetitions is just a look.
    path = _QUICK if asked.quick or asked.only or asked.repeats else _FULL
    path.write_bytes(results.document(found))
    say(f"wrote {path.relative_to(_HERE.parent)}")
    write.write(path)
    return int(run.failed)


def _asked() -> tuple[argparse.Namespace, list[Case]]:
    """Parse the arguments; return them and the chosen cases."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under two minutes, less exact")
    parser.add_argument("--repeats", type=int, help="repetitions. Default: 5; of a quick run 3")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="beginnings of names")
    parser.add_argument("--output", choices=["files", "json"], default="files")
    asked = parser.parse_args()
    if not asked.only:
        return asked, [case for case in CASES if case.quick or not asked.quick]
    chosen = [case for case in CASES if case.name.startswith(tuple(asked.only))]
    if not chosen:
        names = ", ".join(case.name for case in CASES)
        raise SystemExit(f"--only: no case begins with {' or '.join(asked.only)}; have {names}")
    return asked, chosen


def _bench(*, quick: bool) -> Bench:
    cache = journals.cache()
    folder = cache / "work"
    folder.mkdir(parents=True, exist_ok=True)
    return Bench(
        folder=folder,
        cache=cache,
        quick=quick,
        python=cache / "venv" / "bin" / "python",
        seconds=1.0 if quick else 3.0,
        secret=secrets.token_hex(32),
    )


if __name__ == "__main__":
    sys.exit(main())
