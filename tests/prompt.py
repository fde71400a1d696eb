"""Commands as they are typed where a service runs."""

import os
import re

from click.testing import CliRunner

from server.cli.main import smshook

ID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"


def be_in(folder, monkeypatch):
    """The current folder; nothing of smshook in the environment, and no width of a terminal."""
    monkeypatch.delenv("COLUMNS", raising=False)
    for name in os.environ:
        if name.startswith("SMSHOOK"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(folder)


def run(*arguments, **environment):
    return CliRunner().invoke(smshook, arguments, prog_name="smshook", env=environment)


def printed(*arguments, **environment):
    """What a command prints that must succeed."""
    result = run(*arguments, **environment)
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout


def sent(*arguments):
    """The ids of the events that `send` made."""
    return re.findall(ID, printed("send", *arguments))
