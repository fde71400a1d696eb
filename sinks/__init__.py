"""Every sink there is."""

from .file import File
from .http import Http

SINKS = (File, Http)
