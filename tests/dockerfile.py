"""Reads a Dockerfile, strictly: what a user's engine may read in another way is refused."""

import fnmatch
import json
import re
import shlex
from pathlib import Path
from typing import NamedTuple

KNOWN = frozenset(
    {"FROM", "RUN", "COPY", "ENV", "ARG", "LABEL", "USER", "WORKDIR", "VOLUME", "EXPOSE"}
    | {"STOPSIGNAL", "HEALTHCHECK", "ENTRYPOINT", "CMD"}
)


class Instruction(NamedTuple):
    name: str
    #: `--from=build` and the like.
    options: tuple[str, ...]
    text: str

    def words(self):
        """Of the exec form, or of what stands between blanks."""
        return json.loads(self.text) if self.is_exec() else shlex.split(self.text)

    def is_exec(self):
        return self.text.startswith("[")

    def pairs(self):
        """`NAME=value` each, of ENV, ARG and LABEL."""
        return dict(word.partition("=")[::2] for word in shlex.split(self.text))


class Stage(NamedTuple):
    name: str
    of: str
    instructions: tuple[Instruction, ...]

    def all(self, name):
        return [one for one in self.instructions if one.name == name]


def read(text):
    """The stages. Raises ValueError for what is no Dockerfile."""
    stages = []
    for line in logical_lines(text):
        instruction = parsed(line)
        if instruction.name == "FROM":
            match = re.fullmatch(r"(\S+)(?: AS (\w+))?", instruction.text)
            if not match:
                raise ValueError(f"not `FROM image AS name`: {line}")
            stages.append(Stage(match[2] or "final", match[1], ()))
        elif not stages:
            raise ValueError(f"before the first FROM: {line}")
        else:
            last = stages[-1]
            stages[-1] = last._replace(instructions=(*last.instructions, instruction))
    return stages


def logical_lines(text):
    """Comments away, also between the lines of one instruction; what ends in a backslash joined."""
    lines = [line.strip() for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n+", "", "\n".join(lines))
    if joined.rstrip().endswith("\\"):
        raise ValueError("the last line goes on nowhere")
    return [line for line in joined.split("\n") if line]


def parsed(line):
    name, _, rest = line.partition(" ")
    if name not in KNOWN:
        raise ValueError(f"no instruction: {line}")
    options = []
    while match := re.match(r"\s*(--[a-z-]+(?:=\S+)?)\s+", rest):
        options.append(match[1])
        rest = rest[match.end() :]
    if not rest.strip():
        raise ValueError(f"says nothing: {line}")
    return Instruction(name, tuple(options), rest.strip())


def context(root, ignore):
    """The files that a build sees: relative path -> file, as `.dockerignore` leaves them."""
    patterns = [line for line in ignore.splitlines() if line and not line.startswith("#")]
    files = (path.relative_to(root) for path in walk(root))
    return {path.as_posix(): root / path for path in files if not ignored(path, patterns)}


def walk(folder):
    # Not rglob: it would look through .venv and .git, which take longer than the rest.
    for path in sorted(Path(folder).iterdir()):
        if path.name in {".git", ".venv"}:
            continue
        if path.is_dir() and not path.is_symlink():
            yield from walk(path)
        else:
            yield path


def ignored(path, patterns):
    """The last pattern that fits a path or a folder above it decides."""
    above = [path, *path.parents][:-1]
    verdict = False
    for line in patterns:
        pattern = line.removeprefix("!").strip("/")
        if any(fits(place.as_posix(), pattern) for place in above):
            verdict = not line.startswith("!")
    return verdict


def fits(place, pattern):
    if pattern.startswith("**/"):
        return fnmatch.fnmatchcase(Path(place).name, pattern[3:])
    # In a pattern of one name `*` does not cross a slash.
    return place.count("/") == pattern.count("/") and fnmatch.fnmatchcase(place, pattern)
