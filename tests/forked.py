"""Start the product by forking a process that has imported it.

The imports take 0.7 s of processor time, and tests start the product some hundred times. Each
process is a child of the tests; it shares with the others only what the imports left in memory.
A test of the installed command itself runs `live.command()`.
"""

import atexit
import ctypes
import functools
import gc
import importlib
import io
import json
import os
import resource
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

_SET_CHILD_SUBREAPER = 36
_LOCK = threading.Lock()


class Process:
    """A child of this process, with those methods of subprocess.Popen that tests use."""

    def __init__(self, pid):
        self.pid, self.returncode = pid, None

    def poll(self):
        if self.returncode is None:
            ended, status = os.waitpid(self.pid, os.WNOHANG)
            if ended:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout=None):
        if self.poll() is None:
            descriptor = os.pidfd_open(self.pid)
            try:
                waiting = select.poll()
                waiting.register(descriptor)
                waiting.poll(None if timeout is None else timeout * 1000)
            finally:
                os.close(descriptor)
        if self.poll() is None:
            raise subprocess.TimeoutExpired(["smshook"], timeout)
        return self.returncode

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self):
        self.send_signal(signal.SIGTERM)

    def kill(self):
        self.send_signal(signal.SIGKILL)


def start(command, *, cwd, env, stdout, stderr):
    """Start `smshook`, or a script that changes it, in a session of its own.

    `command` begins with the path of the one or the other; streams are files or descriptors.
    """
    request = {
        "argv": command,
        "cwd": str(cwd),
        "env": env,
        "files": resource.getrlimit(resource.RLIMIT_NOFILE),
    }
    descriptors = [0, *(it if isinstance(it, int) else it.fileno() for it in (stdout, stderr))]
    with _LOCK:
        control = _parent()
        prctl = ctypes.CDLL(None, use_errno=True).prctl
        # The new process loses its parent at once and becomes our child: we can wait for it.
        prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        try:
            socket.send_fds(control, [json.dumps(request).encode()], descriptors)
            pid = int(control.recv(100))
            control.recv(100)
        finally:
            prctl(_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
    return Process(pid)


@functools.cache
def _parent():
    """Return the connection to the process that forks. It ends when this process ends."""
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    kept = {name: text for name, text in os.environ.items() if "COVERAGE" not in name}
    process = subprocess.Popen(
        [sys.executable, __file__, str(its.fileno())],
        pass_fds=[its.fileno()],
        env=kept | {"PYTHONUNBUFFERED": "1"},
        start_new_session=True,  # Ctrl-C is for the tests
    )
    its.close()

    @atexit.register
    def end():
        ours.close()
        process.wait()

    return ours


def fork_each(control):
    """Fork at each request; return in the new process, with what is asked of it."""
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, 200_000, 3)
        if not message:
            os._exit(0)
        between = os.fork()
        if between == 0:
            pid = os.fork()
            if pid == 0:
                control.close()
                return json.loads(message), descriptors
            control.send(str(pid).encode())
            os._exit(0)
        os.waitpid(between, 0)
        control.send(b"orphaned")
        for descriptor in descriptors:
            os.close(descriptor)


def become(request, descriptors):
    """Make this process what Popen would have made."""
    os.setsid()
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    # The wrappers of before may think that they can seek.
    sys.stdout, sys.stderr = (
        io.TextIOWrapper(io.FileIO(number, "w", closefd=False), write_through=True)
        for number in (1, 2)
    )
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    resource.setrlimit(resource.RLIMIT_NOFILE, request["files"])
    sys.argv = request["argv"]
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGTTOU):
        signal.signal(number, signal.SIG_DFL)


if __name__ == "__main__":
    del sys.path[0]  # the tests' modules are no part of the product
    connection = socket.socket(fileno=int(sys.argv.pop()))
    # The welcome says how the command was called.
    sys.argv = [str(Path(sys.executable).with_name("smshook"))]
    main = importlib.import_module("server.cli.main")
    for module in {*main._MODULES.values()}:
        importlib.import_module(f"server.cli.{module}")
    importlib.import_module("server.process")
    gc.freeze()
    become(*fork_each(connection))
    if sys.argv[0].endswith(".py"):
        runpy.run_path(sys.argv[0], run_name="__main__")
    else:
        main.main()
