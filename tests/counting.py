"""Where the coverage counts: tracing more than doubles the work of Python."""

import contextlib
import functools
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
#: The same for the examples of a property, which begin with the smallest ones.
ENOUGH_EXAMPLES = 100


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


class Runs:
    """Decides which runs of a test function or of a property are counted.

    A function of many parameters runs the same lines many times. After `ENOUGH` runs that added no
    line and no branch, the others are not counted. So the coverage can only be too low.
    """

    def __init__(self):
        self._idle = {}

    @contextlib.contextmanager
    def of(self, key, *, enough=ENOUGH):
        """Yield whether to count this run; afterwards, see whether it added something."""
        idle = self._idle.get(key, 0)
        before = _size() if idle < enough else 0
        yield idle < enough
        if idle < enough:
            self._idle[key] = idle + 1 if _size() == before else 0


@contextlib.contextmanager
def of_examples(handle):
    """Count examples of a property, and nothing that Hypothesis does between them."""
    test, runs = handle.inner_test, Runs()

    @functools.wraps(test)
    def run(*args, **named):
        with runs.of(test, enough=ENOUGH_EXAMPLES) as counts:
            if not counts:
                return test(*args, **named)
            with counted():
                return test(*args, **named)

    handle.inner_test = run
    try:
        yield
    finally:
        handle.inner_test = test


def _size():
    """Return the number of lines and branches that this process has counted so far."""
    running = coverage.Coverage.current()
    # Its public interface writes them to a file first.
    return sum(map(len, running._collector.data.values())) if running else 0
