"""Commands as a person types them in a service's folder."""

import contextlib
import json
import os
import re

import canary
from click.testing import CliRunner

from server.cli.main import smshook

ID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"


def be_in(folder, monkeypatch):
    """Make the folder the current one. Unset SMSHOOK variables and the width of a terminal."""
    monkeypatch.delenv("COLUMNS", raising=False)
    for name in os.environ:
        if name.startswith("SMSHOOK"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(folder)


def run(*arguments, stdin=None, **environment):
    priority = os.getpriority(os.PRIO_PROCESS, 0)
    result = CliRunner().invoke(
        smshook, arguments, prog_name="smshook", env=environment, input=stdin
    )
    # The command ran in this process, which tests others with it.
    with contextlib.suppress(PermissionError):  # only root can go back
        os.setpriority(os.PRIO_PROCESS, 0, priority)
    canary.check_complaint(result.stderr)
    return result


def printed(*arguments, stderr="", **rest):
    """Return the output of a command that must succeed."""
    result = run(*arguments, **rest)
    ended = result.exit_code, result.stderr
    assert ended == (0, stderr), ended
    return result.stdout


def read(*arguments, **rest):
    """Return the JSON that a command prints."""
    return json.loads(printed(*arguments, "--output", "json", **rest))


def cells(text):
    """Return the cells of each line of a table, the header first."""
    return [re.split(r"  +", line.rstrip()) for line in text.splitlines()]


def sent(*arguments):
    """Return the ids of the events that `send` made."""
    return re.findall(ID, printed("send", *arguments))
