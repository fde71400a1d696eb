"""Completion, in a real bash: commands, options, and names of the configuration."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import live
import pytest
from prompt import be_in, run

SCRIPT = """\
eval "$(_SMSHOOK_COMPLETE=bash_source smshook)"
complete_line() {
    COMPREPLY=()
    COMP_WORDS=("$@")
    COMP_CWORD=$(( $# - 1 ))
    _smshook_completion smshook
    echo "${COMPREPLY[*]}"
}
"""
#: A line as typed so far, and the words that are offered for its end.
LINES = {
    "smshook de": "deliveries dev",
    "smshook sources url ": "smsactivate tellabot",
    "smshook sinks pause ": "log",
    "smshook deliveries list --state de": "dead delivered",
    "smshook events list --type call": "call.received",
    "smshook events list --source tellabot --source ": "smsactivate",
    "smshook --config other.yaml sources url ": "elsewhere",
    "smshook sources url --config missing.yaml ": "",
    "smshook events list --ord": "--order",
}


@pytest.fixture
def configured(tmp_path):
    """A folder with an unset secret: names are completed without it."""
    config = live.CONFIG.replace(live.TOKEN, "${NOT_SET}")
    (tmp_path / "smshook.yaml").write_text(config)
    (tmp_path / "other.yaml").write_text("sources: {elsewhere: {}}\n")
    return tmp_path


#: In bash, which starts the command for each press of Tab.
TYPED = ("smshook de", "smshook events list --source tellabot --source ")


@pytest.mark.parametrize("line", LINES)
def test_line_is_completed_by_commands_and_names(configured, monkeypatch, line):
    """Mutants: names of another configuration; names that were given already."""
    be_in(configured, monkeypatch)
    typed = {"COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}

    result = run(**typed, _SMSHOOK_COMPLETE="bash_complete")

    offered = [one.partition(",")[2] for one in result.stdout.splitlines()]
    assert (" ".join(sorted(offered)), result.stderr) == (LINES[line], "")


def test_bash_completes_commands_and_names(configured):
    """Mutant: another shell's form of the words."""
    calls = [f"complete_line {' '.join(map(shlex.quote, line.split(' ')))}" for line in TYPED]
    bin_ = str(Path(live.command()).parent)
    environment = {name: text for name, text in os.environ.items() if "SMSHOOK" not in name}

    done = subprocess.run(
        ["bash", "-c", SCRIPT + "\n".join(calls)],
        cwd=configured,
        capture_output=True,
        text=True,
        check=True,
        env=environment | {"PATH": f"{bin_}:{os.environ['PATH']}"},
    )

    offered = [" ".join(sorted(line.split())) for line in done.stdout.splitlines()]
    assert offered == [LINES[line] for line in TYPED]
    assert done.stderr == ""


#: Run a command line, then print which of these modules it imported.
IMPORTED = """
import sys
from server.cli.main import main
names = set(sys.argv.pop(1).split(","))
try:
    main()
finally:
    print(*sorted(sys.modules.keys() & names), sep=",")
"""


def imported(folder, modules, *arguments, **environment):
    """Return the lines that a command prints; the last one lists the modules it imported."""
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED, ",".join(modules), *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | environment,
    )
    return done.stdout.splitlines()


def test_completion_imports_no_framework(configured):
    """Each press of Tab runs it. Mutant: the API is imported with the commands."""
    completing = {
        "_SMSHOOK_COMPLETE": "bash_complete",
        "COMP_WORDS": "smshook sources url ",
        "COMP_CWORD": "3",
    }

    printed = imported(configured, ["litestar", "server.service"], **completing)

    assert printed == ["plain,tellabot", "plain,smsactivate", ""]


def test_version_imports_only_what_it_prints(configured):
    """Mutant: all commands are imported at the start."""
    heavy = ["litestar", "server.service", "server.config.load", "httpx", "structlog", "yaml"]

    *printed, found = imported(configured, [*heavy, "click"], "version")

    assert (len(printed), found) == (3, "click")


@pytest.mark.parametrize("command", ["events list", "sources url tellabot", "orders list"])
def test_commands_import_no_framework(configured, command):
    """Mutants: times are read with a module of the API; structlog and httpx find `rich`."""
    heavy = ["litestar", "server.service", "rich.console"]

    printed = imported(configured, [*heavy, "click"], *command.split())

    assert printed[-1] == "click"
