"""Import a library without modules that it would import and smshook does not use."""

import contextlib
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def without(*names: str) -> Iterator[None]:
    """Hide the modules of these names inside the block."""
    there = {name: sys.modules[name] for name in names if name in sys.modules}
    # A None in place of a module tells Python not to look for it.
    sys.modules.update(dict.fromkeys(names))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in names:
            del sys.modules[name]
        sys.modules.update(there)
