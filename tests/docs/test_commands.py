"""Every `smshook …` on a page is a command of this version, with its options."""

import re
import shlex
from pathlib import Path

import click
import pytest

from server.cli.main import smshook

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])

_BLOCK = re.compile(r"(?ms)^ *```(\w*)\n(.*?)^ *```$")
#: A command ends at a pipe, a comment, the end of `$(…)`, of the line or of the code.
_COMMAND = re.compile(r"(?:(?<=^)|(?<=[\s(/`]))smshook +([^\n|)\"`;&#>]+)", re.MULTILINE)

#: Prefixes that run a command elsewhere: in a container, as another user.
_ELSEWHERE = re.compile(r"docker (?:compose )?exec smshook |runuser -u smshook -- (?:env \S+ )?")
#: Commands with smshook as the name of a user, an image, a container or a unit.
_NAMESAKES = re.compile(
    r"(?m)^ *(?:docker|useradd|install|ln|journalctl|systemctl|systemd-analyze|cat|sh)\b.*$"
)


def typed(text):
    """Yield the commands in blocks."""
    for language, block in _BLOCK.findall(text):
        if language in {"", "sh"}:
            lines = re.sub(r"(?m)^ *Usage: .*$|(?<=\s)#.*$", "", block.replace("\\\n", " "))
            yield from _commands(lines)


def mentioned(text):
    """Yield the commands in sentences, which may leave arguments out."""
    for span in re.findall(r"`([^`]+)`", _BLOCK.sub("", text)):
        yield from _commands(span.replace("\n", " "))


def _commands(code):
    code = _NAMESAKES.sub("", _ELSEWHERE.sub("", code))
    found = (" ".join(command.split()) for command in _COMMAND.findall(code))
    return (command for command in found if not command.startswith("COMMAND "))


def found(kind):
    return sorted({(page, command) for page in PAGES for command in kind(page.read_text())})


TYPED, MENTIONED = found(typed), found(mentioned)


def name_of(command):
    return " ".join(command.split()[:2])


def resolve(command):
    """Return the click command and its arguments. Raises click.UsageError."""
    arguments, meant = shlex.split(command), smshook
    if arguments[0] == "--config":
        arguments = arguments[2:]
    context = click.Context(smshook, info_name="smshook")
    while isinstance(meant, click.Group) and not arguments[0].startswith("-"):
        _, meant, arguments = meant.resolve_command(context, arguments)
        if isinstance(meant, click.Group) and not arguments:
            raise click.UsageError(f"{command} is a group of commands")
    return meant, arguments


def parse(command):
    """Parse a command without running it. Raises click.UsageError."""
    meant, arguments = resolve(command)
    root = click.Context(smshook, info_name="smshook")
    try:
        meant.make_context(command, [*arguments], parent=root).close()
    except click.exceptions.Exit:
        assert {"-h", "--help"} & set(arguments)


def problem_of(command, *, may_be_short=False):
    """Return the complaint about a command; None if it is right.

    A short command is a name without its arguments.
    """
    try:
        parse(command)
    except click.UsageError as exc:
        is_short = isinstance(exc, click.MissingParameter) and name_of(command) == command
        return None if is_short and may_be_short else exc.format_message()
    return None


def problems(commands, **allowed):
    return [
        f"{page.relative_to(ROOT)}: smshook {command}: {problem}"
        for page, command in commands
        if (problem := problem_of(command, **allowed))
    ]


def test_commands_in_blocks_exist():
    """Mutants: a misspelt command, an unknown option, an argument too many or too few."""
    assert problems(TYPED) == []


def test_commands_in_sentences_exist():
    """Mutants: as above."""
    assert problems(MENTIONED, may_be_short=True) == []


def test_commands_of_a_page_are_found():
    page = """Say `smshook check`, or
    ```
    curl -i "$(.venv/bin/smshook sources url NAME)"   # smshook is not a command here
    smshook events list --output json \\
      | jq . | xargs -n 1 smshook events show
    Usage: smshook [OPTIONS]
    smshook.yaml:14: no
    ```
    """

    assert list(mentioned(page)) == ["check"]
    assert list(typed(page)) == [
        *("sources url NAME", "events list --output json", "events show"),
    ]


@pytest.mark.parametrize(
    "command",
    [
        "chekc",
        "events",
        "events lsit",
        "events list --limt 3",
        "check x",
        "send",
        "events show a b",
    ],
)
def test_unknown_command_is_an_error(command):
    with pytest.raises(click.UsageError):
        parse(command)
