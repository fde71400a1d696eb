"""Imports of a library that would bring others with it, of which nothing is used here."""

import contextlib
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def without(*names: str) -> Iterator[None]:
    """Modules of these names are not found meanwhile; afterwards they are as they were."""
    there = {name: sys.modules[name] for name in names if name in sys.modules}
    # None in place of a module is Python's own word for: do not look for it.
    sys.modules.update(dict.fromkeys(names))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in names:
            del sys.modules[name]
        sys.modules.update(there)
