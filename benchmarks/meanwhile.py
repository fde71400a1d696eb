"""Work beside other work, none of whose failures is lost."""

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor


@contextlib.contextmanager
def meanwhile(work: Callable[[], object]) -> Iterator[Future[object]]:
    """Do `work` in a thread while the block lasts, and wait for its end.

    What it raises is raised there: rather than what the block raised, of which it is most often
    the cause.
    """
    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(work)
        try:
            yield working
        finally:
            working.result()
