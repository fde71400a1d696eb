"""Every sink there is."""

from .file import File
from .http import Http
from .slack import Slack

SINKS = (File, Http, Slack)
