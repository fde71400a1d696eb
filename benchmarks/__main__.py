"""`python -m benchmarks`: run cases, print what they measured as JSON."""

import argparse
import sys
import tempfile
from pathlib import Path

import msgspec

from . import prefill
from .case import Case
from .cases import scale

CASES: tuple[Case, ...] = (*scale.CASES,)


def main() -> None:
    asked = _arguments()
    chosen = [case for case in CASES if not asked.only or case.name in asked.only]
    repeated = [case for case in chosen if not case.once]
    for repetition in range(asked.repeats if repeated else 0):
        for case in repeated:  # all in each repetition, so that they alternate in one run
            _run(case, repetition + 1, quick=asked.quick)
    for case in chosen:
        if case.once:
            _run(case, 1, quick=asked.quick)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="short windows, what is kept only")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=[case.name for case in CASES], default=[])
    return parser.parse_args()


def _run(case: Case, repetition: int, *, quick: bool) -> None:
    prefill.cache().mkdir(parents=True, exist_ok=True)
    # Beside the journals that are kept, on the same disk.
    with tempfile.TemporaryDirectory(dir=prefill.cache(), prefix=f"{case.name}-") as folder:
        measured = case.run(Path(folder), quick=quick)
    line = {"case": case.name, "repetition": repetition, "measured": measured}
    sys.stdout.buffer.write(msgspec.json.encode(line) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
