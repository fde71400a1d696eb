"""Follows symbolic links."""

import os
from pathlib import Path


def follow_links(path: Path) -> Path:
    """Return the path that links lead to. For a loop of links, opening it raises OSError.

    `Path.resolve` would raise RuntimeError before Python 3.13.
    """
    return Path(os.path.realpath(path))
