"""Tools for programs that speak the Model Context Protocol; needs the extra `mcp`."""

from importlib.util import find_spec


def is_installed() -> bool:
    """Return whether the extra is installed. This does not import it."""
    return find_spec("mcp") is not None
