"""The assembled service: configuration, pipeline, HTTP API and command line."""

from importlib.metadata import version

__version__ = version("smshook")
