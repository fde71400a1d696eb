"""Every sink there is."""

from .file.sink import File
from .http.sink import Http
from .slack.sink import Slack

SINKS = (File, Http, Slack)
