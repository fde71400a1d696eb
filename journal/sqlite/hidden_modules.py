"""Import a library without some of the modules that it imports if it can."""

import contextlib
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def hide_modules(*names: str) -> Iterator[None]:
    """Hide the modules of these names while the context is open."""
    hidden = {name: sys.modules[name] for name in names if name in sys.modules}
    # With None in place of a module, Python does not look for it.
    sys.modules.update(dict.fromkeys(names))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in names:
            del sys.modules[name]
        sys.modules.update(hidden)
