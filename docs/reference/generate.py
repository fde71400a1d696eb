"""The reference pages, made from the code: `make docs`.

They have no list of their own: what is an option, a command or an event is on them. The words are
those of the `#:` comments, the docstrings and the help texts; change them there.
"""

import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import click
import msgspec
import yaml
from msgspec.structs import FieldInfo, fields

from core.event import Data, Event
from core.secret import Secret
from core.units import Duration, Rate, Size
from server.cli.main import smshook
from server.config.convert import default_of, shape, tag_field_of, tag_of, wanted
from server.config.load import CHOICES
from server.config.options import Options
from server.config.schema import comments
from server.config.show import plain

Struct = type[msgspec.Struct]

_FOLDER = Path(__file__).parent
_MADE = "<!-- Made from the code by `make docs`: change it there. -->"
#: Columns of a help text: what a page shows without scrolling.
_WIDTH = 100
_WORDS: Mapping[Any, str] = {
    Duration: "duration",
    Size: "size",
    Rate: "rate",
    Secret: "secret text",
    str: "text",
    int: "whole number",
    float: "number",
    bool: "`true` or `false`",
    Any: "anything",
}
_SEE = "see there"
_OF = " of "


def pages() -> Mapping[str, str]:
    """Name of the file -> its text."""
    return {"options.md": _options(), "cli.md": _commands(), "events.md": _events()}


# Options


def _options() -> str:
    notes = comments(Options)
    parts = [_OPTIONS]
    for field in fields(Options):
        name = field.encode_name
        parts += [f"## {name}", notes.get(field.name, ""), *_section(name, field.type)]
    return _page(parts)


_OPTIONS = f"""\
# Options

{_MADE}

Every option of `smshook.yaml`. How the file is written, and what a `when` can say, is in
[configuration](../configuration.md); a whole file with a reason to change each option is
[config.example.yaml](../../config.example.yaml). `NAME` is a name of your own.

| type | |
|---|---|
| duration | {inspect.getdoc(Duration)} |
| size | {inspect.getdoc(Size)} |
| rate | {inspect.getdoc(Rate)} |
| secret text | Shown by no command and in no log; write `${{NAME}}` or `${{file:/path}}`. |

`null` stands for what is not set."""


def _section(place: str, type_: Any) -> Iterator[str]:
    """What is below a place: a mapping by name, or options."""
    [one] = wanted(type_).types
    if get_origin(one) is not None and shape(one) is dict:
        place, one = f"{place}.NAME", get_args(one)[1]
    if one in CHOICES:
        yield from _choices(place, one)
    else:
        yield from _table_of(place, one, fields(one))


def _choices(place: str, base: Struct) -> Iterator[str]:
    """What all have in common, then what is each one's own."""
    tag = tag_field_of(base)
    tags = ", ".join(f"`{tag_of(each)}`" for each in CHOICES[base])
    first = (f"`{tag}`", f"one of {tags}", "required", "Which it is; its own options are below.")
    yield from _table_of(place, base, fields(base), first)
    for each in CHOICES[base]:
        yield f"### {tag}: {tag_of(each)}"
        yield _prose(each)
        yield _polling_defaults(each)
        like = _same_options(each, base)
        if not _own(each, base):
            yield "No options but the common ones."
        elif like is not None:
            yield f"Options as {_link(f'`{tag_of(like)}`', f'{tag}: {tag_of(like)}')}."
        else:
            yield from _table_of(f"{place}{_OF}{tag_of(each)}", each, _own(each, base))


def _polling_defaults(type_: Struct) -> str:
    """Return the defaults of `backfill` that a provider declares; empty for other choices."""
    api = getattr(type_, "polling_api", None)
    if api is None:
        return ""
    every, interval = plain(Duration(api.every)), plain(Duration(api.min_interval))
    user = " `user` is required." if api.requires_user else ""
    return (
        f"Defaults of `backfill`: `every: {every}`, `min_interval: {interval}`, "
        f"`api_url: {api.api_url}`.{user}"
    )


def _same_options(type_: Struct, base: Struct) -> Struct | None:
    """Another choice that it is a kind of, and all of whose options it has unchanged."""
    for other in CHOICES[base]:
        if other is not type_ and issubclass(type_, other) and not _own(type_, other):
            return other
    return None


def _own(type_: Struct, base: Struct) -> list[FieldInfo]:
    """Options that the base has not, or has otherwise."""
    common = {field.name: (field.type, _default(field)) for field in fields(base)}
    return [
        field for field in fields(type_) if common.get(field.name) != (field.type, _default(field))
    ]


def _table_of(
    place: str, type_: Struct, options: Iterable[FieldInfo], *first: Sequence[str]
) -> Iterator[str]:
    """Options, and those that are below them."""
    notes = comments(type_)
    options = list(options)
    rows = [
        (f"`{field.encode_name}`", _type(place, field), _default(field), notes.get(field.name, ""))
        for field in options
    ]
    yield _table(("option", "type", "default", "what it is"), [*first, *rows])
    for field in options:
        for below in _structs(field.type):
            yield f"### {_below(place, field)}"
            yield _prose(below)
            yield from _section(_below(place, field), below)
        for named in _named(field.type):
            yield f"### {_below(place, field)}.NAME"
            yield _prose(named)
            yield from _table_of(f"{_below(place, field)}.NAME", named, fields(named))


def _below(place: str, field: FieldInfo) -> str:
    """`sinks.NAME.rotate of file`: each its own heading, though another kind has a `rotate`."""
    path, of, kind = place.partition(_OF)
    return f"{path}.{field.encode_name}{of}{kind}"


def _structs(type_: Any) -> list[Struct]:
    """Those of a type that are mappings of options."""
    return [each for each in wanted(type_).types if get_origin(each) is None and _is_options(each)]


def _named(type_: Any) -> list[Struct]:
    """Those that it is a mapping of."""
    mappings = [each for each in wanted(type_).types if get_origin(each) and shape(each) is dict]
    return [of for each in mappings if _is_options(of := get_args(each)[1])]


def _is_options(type_: Any) -> bool:
    return isinstance(type_, type) and issubclass(type_, msgspec.Struct) and shape(type_) is dict


def _type(place: str, field: FieldInfo) -> str:
    if _structs(field.type):
        words = _link("mapping", _below(place, field))
        others = [each for each in wanted(field.type).types if not _is_options(each)]
        return " or ".join([words, *map(_word, others)])
    if _named(field.type):
        return _link("mapping by name", f"{_below(place, field)}.NAME")
    return " or ".join(map(_word, wanted(field.type).types))


def _word(type_: Any) -> str:
    """A type as people call it."""
    if get_origin(type_) is Literal:
        return f"one of {', '.join(f'`{each}`' for each in get_args(type_))}"
    if get_origin(type_) is not None and shape(type_) is list:
        [one] = wanted(get_args(type_)[0]).types
        return f"list of {_word(one).removeprefix('one of ')}"
    if get_origin(type_) is not None:
        of = get_args(type_)[1]
        return "mapping" if of is Any else f"mapping of {_word(of)}"
    return _WORDS[type_]


def _default(field: FieldInfo) -> str:
    if field.required:
        return "required"
    value = plain(default_of(field))
    if isinstance(value, dict) and value:
        return _SEE
    written = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True)
    return f"`{written.removesuffix(chr(10)).removesuffix('...').strip()}`"


# Commands


def _commands() -> str:
    # Without what is typed: an option's help does not need it.
    root = smshook.make_context(
        "smshook", [], resilient_parsing=True, terminal_width=_WIDTH, max_content_width=_WIDTH
    )
    leaves = list(_leaves(root))
    rows = [(_link(f"`{path}`", path), _short(command)) for path, command, _ in leaves]
    parts = [_CLI, _table(("command", "does"), rows)]
    for path, command, context in leaves:
        parts += [f"## {path}", f"```\n{command.get_help(context)}\n```"]
    return _page(parts)


_CLI = f"""\
# Commands

{_MADE}

What `smshook COMMAND --help` says. After `make run`, the command is `.venv/bin/smshook`.

Exit codes: 0 done; 1 it failed; 2 the command line or the configuration is wrong, nothing was
started or written. Complaints go to stderr. `--config` may stand before or after the command's
name."""


def _leaves(above: click.Context) -> Iterator[tuple[str, click.Command, click.Context]]:
    """Each command as it is typed."""
    assert isinstance(above.command, click.Group)  # noqa: S101 - for mypy
    group = above.command
    for name in group.commands or group.list_commands(above):
        command = group.get_command(above, name)
        assert command is not None  # noqa: S101 - for mypy
        context = command.make_context(name, [], parent=above, resilient_parsing=True)
        if isinstance(command, click.Group):
            yield from _leaves(context)
        else:
            yield context.command_path, command, context


def _short(command: click.Command) -> str:
    return command.get_short_help_str(_WIDTH)


# Events


def _events() -> str:
    nested = dict.fromkeys(
        struct for kind in _kinds() for field in fields(kind) for struct in _structs(field.type)
    )
    types = ", ".join(_link(f"`{kind.type}`", kind.type) for kind in _kinds())
    parts = [
        _EVENTS,
        "## Attributes",
        _prose(Event),
        _fields(Event, fields(Event)),
        "## data",
        f"{_prose(Data)} Then come those of its type: {types}.",
        _fields(Data, fields(Data)),
    ]
    common = {field.name for field in fields(Data)}
    for kind in _kinds():
        own = [field for field in fields(kind) if field.name not in common]
        parts += [f"## {kind.type}", _prose(kind), _fields(kind, own)]
    for struct in nested:
        parts += [f"## {_name(struct)}", _prose(struct), _fields(struct, fields(struct))]
    return _page(parts)


_EVENTS = f"""\
# Fields of events

{_MADE}

Every type of event and every field. A whole event, and how times, numbers and codes are read, is in
[events](../events.md). Every field of a type is always there; where "or null" is said it is null
when it was not sent. Fields and types are only ever added."""


def _kinds(base: type[Data] = Data) -> Iterator[type[Data]]:
    for kind in base.__subclasses__():
        yield kind
        yield from _kinds(kind)


def _fields(type_: Struct, chosen: Iterable[FieldInfo]) -> str:
    notes = comments(type_)
    rows = [
        (f"`{field.encode_name}`", _field_type(field), notes.get(field.name, ""))
        for field in chosen
    ]
    return _table(("field", "type", "what it is"), rows)


def _field_type(field: FieldInfo) -> str:
    types, optional, _ = wanted(field.type)
    words = " or ".join(_field_word(each) for each in types)
    return f"{words} or null" if optional else words


def _field_word(type_: Any) -> str:
    if _is_options(type_):
        return _link("object", _name(type_))
    return _word(type_).replace("mapping", "object")


def _name(struct: Struct) -> str:
    return struct.__name__.lower()


# Markdown


def _page(parts: Iterable[str]) -> str:
    return "\n\n".join(part.strip("\n") for part in parts if part) + "\n"


def _prose(type_: type) -> str:
    """Its own docstring, paragraphs and all; none where it has none."""
    return inspect.cleandoc(type_.__dict__.get("__doc__") or "")


def _table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [headers, ["---"] * len(headers), *([_cell(each) for each in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", r"\|")


def _link(text: str, heading: str) -> str:
    """To a heading of the same page."""
    kept = (char for char in heading.lower() if char.isalnum() or char in " _-")
    return f"[{text}](#{''.join(kept).replace(' ', '-')})"


if __name__ == "__main__":
    for name, text in pages().items():
        (_FOLDER / name).write_text(text, encoding="utf-8")
