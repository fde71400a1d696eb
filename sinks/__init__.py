"""The types of sinks, and the workers that deliver to them."""

from .file.sink import File
from .http.sink import Http
from .slack.sink import Slack

SINKS = (File, Http, Slack)
