"""Pauses of the coverage, which more than doubles the work of Python."""

import contextlib
import sys
import threading


@contextlib.contextmanager
def uncounted():
    """Pause the coverage of this thread and of the threads that start meanwhile.

    Use it only around hooks of pytest: a counted function that is running would lose lines.
    """
    here, of_new_threads = sys.gettrace(), threading.gettrace()
    sys.settrace(None)
    threading.settrace(None)
    try:
        yield
    finally:
        threading.settrace(of_new_threads)
        sys.settrace(here)
