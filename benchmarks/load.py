"""Callbacks sent by wrk, as fast as they are answered."""

import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import msgspec

_SCRIPT = Path(__file__).with_name("callbacks.lua")
_SENT = re.compile(r"(\d+) requests in")
_NOT_2XX = re.compile(r"Non-2xx or 3xx responses: (\d+)")
_ERRORS = re.compile(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)")


class NoWrk(Exception):
    """wrk is not there, or did not run."""


class WrongAnswers(Exception):
    """Not every callback was answered with 2xx."""


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    #: Answered with 2xx.
    answered: int
    seconds: float


def send(
    url: str,
    *,
    form: str,
    seconds: float,
    connections: int = 64,
    distinct: int = 0,
    second: int | None = None,
) -> Sent:
    """Unique callbacks, or the same `distinct` ones over and over, sent in `second`."""
    program = shutil.which("wrk")
    if program is None:
        raise NoWrk("wrk is not there: apt install wrk")
    numbers = {
        "FORM": form,
        # Another range for each run of a process: what was sent before is not sent again.
        "FIRST": "0" if distinct else str(time.monotonic_ns() // 1000 % 10_000_000),
        "DISTINCT": str(distinct),
        "SECOND": str(second or int(time.time())),
    }
    began = time.monotonic()
    done = subprocess.run(  # noqa: S603 - the words are ours
        [program, "-t1", f"-c{connections}", f"-d{seconds:.0f}s", "-s", _SCRIPT, url],
        env=os.environ | numbers,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise NoWrk(f"wrk ended with {done.returncode}: {done.stderr.strip() or done.stdout}")
    return _read(done.stdout, time.monotonic() - began)


def _read(said: str, seconds: float) -> Sent:
    for pattern in (_NOT_2XX, _ERRORS):
        found = pattern.search(said)
        if found and any(map(int, found.groups())):
            raise WrongAnswers(found[0])
    sent = _SENT.search(said)
    if sent is None:
        raise NoWrk(f"wrk said something that is not understood: {said[-300:]}")
    return Sent(answered=int(sent[1]), seconds=seconds)
