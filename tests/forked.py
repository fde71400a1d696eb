"""Processes of the product, forked from one that has imported it: a start without the imports."""

import functools
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
from multiprocessing import forkserver
from pathlib import Path
from unittest import mock


@functools.cache
def forks():
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["preloaded"])
    # Otherwise the server would not find `preloaded`.
    with mock.patch.dict(os.environ, PYTHONPATH=str(Path(__file__).parent)):
        forkserver.ensure_running()
    return context


def can_fork(program):
    """Return whether a program is the installed command, or this interpreter and a file.

    The coverage of a process needs a start of Python.
    """
    own = Path(sys.executable)
    is_script = program[0] == str(own.with_name("smshook")) or (
        program[0] == str(own) and program[1].endswith(".py")
    )
    return is_script and "COVERAGE_PROCESS_CONFIG" not in os.environ


def become(arguments, folder, environment, out, errors):
    """In the new process: become what `Popen(arguments, …)` would be, and run it."""
    os.setsid()
    os.chdir(folder)
    for number, path in ((1, out), (2, errors)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC), number)
    os.environ.clear()
    os.environ.update(environment)
    # The streams of the server remember whether they can seek.
    sys.stdout, sys.stderr = (open(number, "w", closefd=False) for number in (1, 2))  # noqa: SIM115 - open to the end
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(write_through=True)
    script = arguments[1] if arguments[0] == sys.executable else arguments[0]
    sys.argv = arguments[arguments.index(script) :]
    runpy.run_path(script, run_name="__main__")


class Forked:
    """The part of `subprocess.Popen` that tests use.

    `arguments` are a Python script and its arguments, or this interpreter before them; `out` and
    `errors` are paths, to which the process appends.
    """

    def __init__(self, arguments, folder, environment, out, errors):
        self._process = forks().Process(
            target=become, args=(arguments, folder, environment, out, errors), daemon=True
        )
        self._process.start()
        self.pid = self._process.pid

    @property
    def returncode(self):
        return self._process.exitcode

    def poll(self):
        return self._process.exitcode

    def wait(self, timeout=None):
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(self.pid, timeout)
        return self.returncode

    def send_signal(self, number):
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self):
        self.send_signal(signal.SIGKILL)


def run(arguments, folder, environment, *, within=30.0):
    """Run a program until it ends, and return its `subprocess.CompletedProcess` with text."""
    if not can_fork(arguments):
        return subprocess.run(
            arguments,
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=within,
            env=environment,
        )
    with tempfile.TemporaryDirectory() as streams:
        out, errors = Path(streams, "out"), Path(streams, "errors")
        process = Forked(arguments, folder, environment, out, errors)
        try:
            code = process.wait(within)
        finally:
            process.kill()
        return subprocess.CompletedProcess(arguments, code, out.read_text(), errors.read_text())
