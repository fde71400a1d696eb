"""Every sink there is."""

from .file import File

SINKS = (File,)
