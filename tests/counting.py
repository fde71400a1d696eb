"""Where the coverage counts: tracing more than doubles the work of Python."""

import contextlib
import sys
import threading

import coverage

_LOCK = threading.RLock()
_settrace = sys.settrace


def _set_trace(function):
    """Do what `sys.settrace` does, in one thread at a time.

    CPython 3.11 raises RuntimeError if a thread sets its trace function while another one does. It
    calls the audit hooks of conftest.py meanwhile, and in these the threads can switch.
    """
    with _LOCK:
        _settrace(function)
        # At its first call, a tracer of coverage sets itself again, without `sys.settrace`.
        _do_nothing()


def _do_nothing():
    pass


if sys.gettrace() is not None:
    sys.settrace = _set_trace

#: What coverage installed in this thread, and for threads that start: None without coverage.
TRACES = sys.gettrace(), threading.gettrace()

#: After this many cases without a new line or branch, the other cases of a test are not counted.
ENOUGH = 2


@contextlib.contextmanager
def _traced(here, of_new_threads):
    before = sys.gettrace(), threading.gettrace()
    if before[0] is here:
        yield
        return
    sys.settrace(here)
    threading.settrace(of_new_threads)
    try:
        yield
    finally:
        sys.settrace(before[0])
        threading.settrace(before[1])


def uncounted():
    """Pause the coverage of this thread and of the threads that start meanwhile.

    Use it only around hooks of pytest: a counted function that is running would lose lines.
    """
    return _traced(None, None)


def counted():
    """End the pause for a while. The same rule applies."""
    return _traced(*TRACES)


class Cases:
    """Decides which cases of a test function are counted.

    A function of many parameters runs the same lines many times. After `ENOUGH` cases that added
    no line and no branch, its other cases are not counted. So the coverage can only be too low.
    """

    def __init__(self):
        self._idle = {}

    @contextlib.contextmanager
    def run(self, item):
        """Yield whether to count this item; afterwards, see whether it added something."""
        function = item.nodeid.partition("[")[0]
        idle = self._idle.get(function, 0)
        counts = idle < ENOUGH and not item.get_closest_marker("uncounted")
        before = _size() if counts else 0
        yield counts
        if counts:
            self._idle[function] = idle + 1 if _size() == before else 0


def _size():
    """Return the number of lines and branches that this process has counted so far."""
    running = coverage.Coverage.current()
    # Its public interface writes them to a file first.
    return sum(map(len, running._collector.data.values())) if running else 0
