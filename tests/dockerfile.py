"""Instructions of the Dockerfile, enough of them to compare with other files."""

import json
import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "Dockerfile").read_text()


def instructions(name):
    """Return the texts of all instructions of that name, continued lines joined."""
    lines = re.sub(r"(?m)^\s*#.*\n", "", TEXT).replace("\\\n", " ").splitlines()
    split = (line.split(None, 1) for line in lines if line.strip())
    return [" ".join(text.split()) for found, text in split if found == name]


def last(name):
    """Return the last one: that of the final stage."""
    return instructions(name)[-1]


def words(text):
    """Return the words of an instruction in exec form, or those between blanks."""
    return json.loads(text) if text.startswith("[") else shlex.split(text)


def pairs(name):
    """Return `NAME=value` of all ENV, ARG or LABEL instructions."""
    split = (word.partition("=") for text in instructions(name) for word in words(text))
    return {key: value for key, _, value in split}
