"""Texts and JSON bodies of the user, with `{data.code}` for a value of the event. Pure.

A placeholder is a dotted path, and never code. Values are not searched for placeholders: a text
that holds `{data.code}` stays as it is.
"""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final
from urllib.parse import quote

import msgspec

from core.paths import MISSING, Path, parse, value_at

#: Takes an event as plain JSON values.
FillText = Callable[[Mapping[str, object]], str]
FillJson = Callable[[Mapping[str, object]], object]

_DEEPEST = 32
_TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_BRACES: Final = {"{{": "{", "}}": "}"}
_LONE: Final = {
    "{": "this { is not closed; write {{",
    "}": "this } has no opening {; write }}",
}
_PLACEHOLDER = re.compile(r"\{[^{}]+\}")
#: Signs of format strings, which are not supported. A path has none of them.
_FORMATS = frozenset("!:[]()")
#: The integers that the encoder can write.
_SMALLEST, _GREATEST = -(2**63), 2**64 - 1


def compile_text(template: str) -> FillText:
    """Return a function that makes a text of an event.

    `{{` and `}}` are braces. Null and missing values become an empty text; true and false become
    words. The items of a list are joined by ", "; an object becomes compact JSON.

    Raises ValueError with the character and a hint.
    """
    return _filled(tuple(_parts(template)))


def compile_url_path(template: str) -> Callable[[Mapping[str, object]], str | None]:
    """Return a function that makes the end of a URL of an event. Its values are percent-encoded.

    It returns None for an event that would lead to another place: a value is empty, `.` or `..`.

    Raises ValueError with the character and a hint.
    """
    parts = tuple(_parts(template))

    def fill(event: Mapping[str, object]) -> str | None:
        values = [None if isinstance(it, str) else _as_text(value_at(event, it)) for it in parts]
        if any(value in ("", ".", "..") for value in values):
            return None
        return "".join(
            str(part) if value is None else quote(value, safe="")
            for part, value in zip(parts, values, strict=True)
        )

    return fill


def compile_json(template: object) -> FillJson:
    """Return a function that fills the placeholders in the strings of JSON; keys are literal.

    A string that is only a placeholder becomes the value itself, of any type; a missing one is
    null. Inside other text a value becomes text.

    Raises ValueError with the place (`json.blocks[0].text`) and a hint.
    """
    return _json(template, "json", _DEEPEST)


def paths_of(template: object) -> tuple[Path, ...]:
    """Return the paths in a text, or in the strings of a JSON. Raises ValueError."""
    if isinstance(template, str):
        return tuple(part for part in _parts(template) if not isinstance(part, str))
    below = template.values() if isinstance(template, Mapping) else template
    if isinstance(below, str) or not isinstance(below, Iterable):
        return ()
    return tuple(path for one in below for path in paths_of(one))


def _filled(parts: Sequence[str | Path]) -> FillText:
    return lambda event: "".join(
        part if isinstance(part, str) else _as_text(value_at(event, part)) for part in parts
    )


def _json(template: object, place: str, deeper: int) -> FillJson:
    if isinstance(template, str):
        return _string(template, place)
    if isinstance(template, Mapping | list | tuple) and not deeper:
        raise ValueError(f"{place}: nested more than {_DEEPEST} deep")
    if isinstance(template, Mapping):
        fills = {}
        for key, below in template.items():
            if not isinstance(key, str):
                raise ValueError(f"{place}: a key must be a text; write it in quotes")  # noqa: TRY004 - msgspec reports these
            if _PLACEHOLDER.search(key):
                raise ValueError(f"{place}: keys are literal; write placeholders in values only")
            fills[key] = _json(below, f"{place}.{key}", deeper - 1)
        return lambda event: {key: fill(event) for key, fill in fills.items()}
    if isinstance(template, list | tuple):
        parts = [_json(it, f"{place}[{at}]", deeper - 1) for at, it in enumerate(template)]
        return lambda event: [fill(event) for fill in parts]
    is_integer = isinstance(template, int) and _SMALLEST <= template <= _GREATEST
    is_number = is_integer or (isinstance(template, float) and math.isfinite(template))
    if template is not None and not is_number:
        raise ValueError(f"{place}: is not a JSON value; write it as a text, in quotes")
    return lambda _event: template


def _string(template: str, place: str) -> FillJson:
    try:
        parts = tuple(_parts(template))
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from None
    if len(parts) == 1 and not isinstance(parts[0], str):
        path = parts[0]
        return lambda event: None if (value := value_at(event, path)) is MISSING else value
    return _filled(parts)


def _parts(template: str) -> Iterator[str | Path]:
    """Yield literal texts and the paths between them. Raises ValueError."""
    end = 0
    for token in _TOKEN.finditer(template):
        if token.start() > end:
            yield template[end : token.start()]
        end, name = token.end(), token[1]
        if token[0] in _BRACES:
            yield _BRACES[token[0]]
            continue
        at = f"character {token.start() + 1}"
        if name is None:
            raise ValueError(f"{at}: {_LONE[token[0]]} for a brace, {{data.code}} for a value")
        if not name:
            raise ValueError(
                f"{at}: {{}} has no path; write one of the event, such as {{data.code}}"
            )
        if _FORMATS & set(name):
            raise ValueError(f"{at}: a placeholder is only a path, such as {{data.code}}")
        try:
            path = parse(name)
        except ValueError as error:
            raise ValueError(f"{at}: {error}") from None
        yield path
    if end < len(template):
        yield template[end:]


def _as_text(value: object) -> str:
    if isinstance(value, str):
        return value
    if value is None or value is MISSING:
        return ""
    if isinstance(value, list | tuple):
        return ", ".join(map(_as_text, value))
    return msgspec.json.encode(value).decode()
