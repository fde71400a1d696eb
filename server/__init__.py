"""Where it is put together: configuration, pipeline, HTTP API, command line."""

from importlib.metadata import version

__version__ = version("smshook")
