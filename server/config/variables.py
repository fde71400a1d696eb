"""Replacement of `${NAME}`, `${NAME:-default}` and `${file:path}` in the texts of a configuration.

It follows parsing: a value that holds quotes, colons or newlines stays one text. What is no text
after it has a complaint.
"""

import re
from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Any

from core.printable import is_utf8

from .complaints import Complaints
from .pipes import read_file
from .yaml import Path, Scalar, Style

_REFERENCE = re.compile(r"\$\$\{|\$\{(?P<inner>[^}]*)\}|\$\{")
_NAMED = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>.*))?", re.DOTALL)
#: Of a complaint about a variable, after its name.
NOT_SET = "is not set in the environment"
# A secret is a line of text. A larger file is the wrong file, or a device without end.
_MAX_SECRET = 64 * 1024


class _Unreplaced(Exception):
    """A reference cannot be replaced. The message says why, without a value."""


def without_line_end(text: str) -> str:
    """Return the value of a variable or file, without one line end.

    `echo`, `base64`, editors and Kubernetes add one, and no option wants it.
    """
    return text.removesuffix("\n").removesuffix("\r")


def line_end_dropped(name: str) -> str:
    return f"the variable {name} ends with a newline, which is dropped"


def replace(reading: Complaints, environ: Mapping[str, str], folder: FilePath) -> None:
    """Replace all references in `reading.value`. Paths of files are relative to `folder`."""
    reading.value = _Replacement(reading, environ, folder).value((), reading.value)


class _Replacement:
    def __init__(self, reading: Complaints, environ: Mapping[str, str], folder: FilePath) -> None:
        self.reading, self.environ, self.folder = reading, environ, folder

    def value(self, path: Path, value: Any) -> Any:
        """Return the value; None in place of a scalar with a complaint."""
        if isinstance(value, dict):
            items = {key: self.value((*path, key), item) for key, item in value.items()}
            return {key: item for key, item in items.items() if self.is_text((*path, key), key)}
        if isinstance(value, list):
            return [self.value((*path, i), item) for i, item in enumerate(value)]
        if not isinstance(value, Scalar):
            return value
        replaced = self.replaced(path, value)
        return replaced if replaced and self.is_text(path, replaced.text) else None

    def is_text(self, path: Path, text: str) -> bool:
        """Complain of what no event, path or header can hold. YAML and JSON can escape both."""
        if "\0" in text:
            self.reading.complain(path, "has the character NUL; leave it out")
        elif not is_utf8(text):
            self.reading.complain(path, "not UTF-8; write ordinary text")
        else:
            return True
        return False

    def replaced(self, path: Path, value: Scalar) -> Scalar | None:
        if "${" in value.text:
            is_file = any(
                (match["inner"] or "").startswith("file:")
                for match in _REFERENCE.finditer(value.text)
            )
            try:
                text = _REFERENCE.sub(lambda match: self.reference(path, match), value.text)
            except _Unreplaced as exc:
                self.reading.complain(path, str(exc))
                return None
            return Scalar(text, Style.FILE if is_file else Style.VARIABLE)
        return value

    def reference(self, path: Path, match: re.Match[str]) -> str:
        if match[0] == "$${":
            return "${"
        inner = match["inner"]
        if inner is None or "${" in inner:
            raise _Unreplaced("a `${` without its `}`, or inside another; a literal is `$${`")
        if inner.startswith("file:"):
            file = self.folder / inner.removeprefix("file:")
            self.reading.read_files.setdefault(path, []).append(file)
            return _content(file)
        named = _NAMED.fullmatch(inner)
        if named is None:
            raise _Unreplaced("write ${NAME}, ${NAME:-default} or ${file:path}; a literal is `$${`")
        name, default = named["name"], named["default"]
        written = self.environ.get(name)
        value = written and without_line_end(written)
        # As in a shell, `:-` also replaces an empty value.
        if default is not None and not value:
            return default
        if value is None:
            raise _Unreplaced(f"{name} {NOT_SET}; set it, or ${{{name}:-…}}")
        if value != written:
            self.reading.notes.append((path, line_end_dropped(name)))
        return value


def _content(file: FilePath) -> str:
    try:
        data = read_file(file, _MAX_SECRET + 1)
    except (OSError, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "not a file name"
        raise _Unreplaced(f"cannot read {file}: {reason}") from None
    if len(data) > _MAX_SECRET:
        raise _Unreplaced(f"{file} is larger than {_MAX_SECRET} bytes; is it the right file?")
    try:
        return without_line_end(data.decode())
    except UnicodeDecodeError:
        raise _Unreplaced(f"{file} is not UTF-8 text") from None
