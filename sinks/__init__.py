"""Every sink there is."""

from .file import File
from .slack import Slack

SINKS = (File, Slack)
