"""The reference pages, made from the code: `make docs`.

They have no list of their own: every option, command and event is on them. The words are those of
the `#:` comments, the docstrings and the help texts; change them there.
"""

import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import yaml

from core.event import Data, Event, kinds
from core.secret import Secret
from core.units import Duration, Rate, Size
from server.cli.main import smshook
from server.config.options import Options
from server.config.shapes import Group, Kind, Leaf, ListOf, MapOf, OneOf, Option
from server.config.show import plain
from server.metrics import METRICS

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
_OF = " of "


def pages() -> Mapping[str, str]:
    """Return the text of each page, by file name."""
    return {
        "options.md": _options(),
        "cli.md": _commands(),
        "events.md": _events(),
        "metrics.md": _metrics(),
    }


# Options


def _options() -> str:
    parts = [_OPTIONS]
    for key, option in Group(Options).options.items():
        parts += [f"## {key}", option.comment]
        for kind in option.shape.kinds:
            parts += _section(key, kind)
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


def _section(place: str, kind: Kind) -> Iterator[str]:
    """Yield what is below a place: a mapping by name, or options."""
    match kind:
        case MapOf(items=of):
            yield from _section(f"{place}.NAME", of.kinds[0])
        case OneOf():
            yield from _choices(place, kind)
        case Group():
            yield from _table_of(place, kind.options.values())


def _choices(place: str, kind: OneOf) -> Iterator[str]:
    """Yield the common options, then those of each choice."""
    tag = kind.tag_field
    tags = ", ".join(f"`{each}`" for each in kind.groups)
    common = Group(kind.base).options
    first = (f"`{tag}`", f"one of {tags}", "required", "Which it is; its own options are below.")
    yield from _table_of(place, common.values(), first)
    own = {group: _without(group, common) for group in kind.groups.values()}
    for name, group in kind.groups.items():
        yield f"### {tag}: {name}"
        yield _prose(group.struct)
        yield _polling_defaults(group.struct)
        # A choice that is its base class, if the options are the same.
        same = (
            other.tag
            for other in own
            if other != group
            and issubclass(group.struct, other.struct)
            and not _without(group, other.options)
        )
        like = next(same, None)
        if not own[group]:
            yield "No options but the common ones."
        elif like is not None:
            yield f"Options as {_link(f'`{like}`', f'{tag}: {like}')}."
        else:
            yield from _table_of(f"{place}{_OF}{name}", own[group])


def _polling_defaults(struct: type) -> str:
    """Return the defaults of `backfill` that a provider declares; empty for other choices."""
    api = getattr(struct, "polling_api", None)
    if api is None:
        return ""
    every, interval = plain(Duration(api.every)), plain(Duration(api.min_interval))
    user = " `user` is required." if api.requires_user else ""
    return (
        f"Defaults of `backfill`: `every: {every}`, `min_interval: {interval}`, "
        f"`api_url: {api.api_url}`.{user}"
    )


def _without(group: Group, common: Mapping[str, Option]) -> list[Option]:
    """Return the options that are not the same among the common ones."""
    seen = {key: (option.shape, _default(option)) for key, option in common.items()}
    return [
        option
        for key, option in group.options.items()
        if seen.get(key) != (option.shape, _default(option))
    ]


def _table_of(place: str, options: Iterable[Option], *first: Sequence[str]) -> Iterator[str]:
    """Yield a table of options, then those that are below them."""
    path, of, choice = place.partition(_OF)
    # `sinks.NAME.rotate of file`: its own heading, though another type has a `rotate`.
    below = [(option, f"{path}.{option.key}{of}{choice}") for option in options]
    rows = [
        (f"`{option.key}`", _type(option, heading), _default(option), option.comment)
        for option, heading in below
    ]
    yield _table(("option", "type", "default", "meaning"), [*first, *rows])
    for option, heading in below:
        for kind in option.shape.kinds:
            named = isinstance(kind, MapOf) and kind.is_named
            one = kind.items.kinds[0] if isinstance(kind, MapOf) else kind
            if isinstance(one, Group):
                name = f"{heading}.NAME" if named else heading
                yield f"### {name}"
                yield _prose(one.struct)
                yield from _section(name, one)


def _type(option: Option, heading: str) -> str:
    words = []
    for kind in option.shape.kinds:
        if isinstance(kind, Group):
            words.append(_link("mapping", heading))
        elif isinstance(kind, MapOf) and kind.is_named:
            words.append(_link("mapping by name", f"{heading}.NAME"))
        else:
            words.append(_word(kind))
    return " or ".join(words)


def _word(kind: Kind) -> str:
    """Return a type as people call it."""
    match kind:
        case Leaf(type=type_, words=words):
            return f"one of {', '.join(f'`{it}`' for it in words)}" if words else _WORDS[type_]
        case ListOf(items=of):
            return f"list of {_word(of.kinds[0]).removeprefix('one of ')}"
        case MapOf(items=of) if not kind.is_free:
            return f"mapping of {_word(of.kinds[0])}"
    return "mapping"


def _default(option: Option) -> str:
    if option.required:
        return "required"
    value = plain(option.default)
    if isinstance(value, dict) and value:
        return "see there"
    written = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True)
    return f"`{written.removesuffix(chr(10)).removesuffix('...').strip()}`"


# Commands


def _commands() -> str:
    # Without what is typed: an option's help does not need it.
    root = smshook.make_context(
        "smshook", [], resilient_parsing=True, terminal_width=_WIDTH, max_content_width=_WIDTH
    )
    leaves = list(_leaves(root))
    rows = [
        (_link(f"`{path}`", path), command.get_short_help_str(_WIDTH))
        for path, command, _ in leaves
    ]
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
    """Yield each command as people type it."""
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


# Events


def _events() -> str:
    common = Group(Data).options
    groups = {kind: Group(kind) for kind in kinds()}
    nested = dict.fromkeys(
        kind
        for group in groups.values()
        for option in group.options.values()
        for kind in option.shape.kinds
        if isinstance(kind, Group)
    )
    types = ", ".join(_link(f"`{kind.type}`", kind.type) for kind in groups)
    parts = [
        _EVENTS,
        "## Attributes",
        _prose(Event),
        _fields(Group(Event).options.values()),
        "## data",
        f"{_prose(Data)} Then come those of its type: {types}.",
        _fields(common.values()),
    ]
    for kind, group in groups.items():
        own = [option for key, option in group.options.items() if key not in common]
        parts += [f"## {kind.type}", _prose(kind), _fields(own)]
    for group in nested:
        parts += [f"## {_name(group)}", _prose(group.struct), _fields(group.options.values())]
    return _page(parts)


_EVENTS = f"""\
# Fields of events

{_MADE}

Every type of event and every field. A whole event, and how times, numbers and codes are read, is in
[events](../events.md). Every field of a type is always there, except `erasedtime`; where "or null"
is said it is null when it was not sent. The `retention` of the service erases fields: they are null
then, too. Fields and types are only ever added."""


def _fields(options: Iterable[Option]) -> str:
    rows = []
    for option in options:
        words = " or ".join(map(_field_word, option.shape.kinds))
        null = " or null" if option.shape.optional else ""
        rows.append((f"`{option.key}`", words + null, option.comment))
    return _table(("field", "type", "meaning"), rows)


def _field_word(kind: Kind) -> str:
    if isinstance(kind, Group):
        return _link("object", _name(kind))
    return _word(kind).replace("mapping", "object")


def _name(group: Group) -> str:
    return group.struct.__name__.lower()


# Metrics

#: The heading of metrics with these beginnings. The first one counts.
_METRIC_HEADINGS = {
    "smshook_callback": "Callbacks",
    "smshook_rejections": "Callbacks",
    "smshook_quarantine": "Callbacks",
    "smshook_source": "Sources",
    "smshook_backfill": "Sources",
    "smshook_order": "Orders",
    "smshook_audit": "Audit log and erasure",
    "smshook_seal": "Audit log and erasure",
    "smshook_erasure": "Audit log and erasure",
    "smshook_trace": "Traces",
    "smshook_journal": "Journal",
    "smshook_disk": "Journal",
    "smshook_build": "Service",
    "smshook_start": "Service",
    "smshook_ready": "Service",
    "smshook_": "Events and deliveries",
    "": "Process",
}
_METRIC_WORDS = {
    "Service": "Its versions and its state.",
    "Callbacks": "Requests to the callback door.",
    "Events and deliveries": "Recorded events and their deliveries.",
    "Sources": "The providers' side: the last callback, clocks and backfills.",
    "Orders": "Numbers that were taken, and their codes.",
    "Audit log and erasure": "The audit log and its copies, and the erasure of old data.",
    "Traces": "The spans for an OpenTelemetry collector.",
    "Journal": "The file with all events, and its disk.",
    "Process": "The process and its garbage collector, named as prometheus_client names them.",
}


def _metrics() -> str:
    tables: dict[str, list[tuple[str, ...]]] = {}
    for metric in METRICS:
        beginning = next(one for one in _METRIC_HEADINGS if metric.name.startswith(one))
        labels = ", ".join(f"`{label}`" for label in metric.labels.split()) or "-"
        row = (f"`{metric.name}`", metric.kind, labels, metric.help)
        tables.setdefault(_METRIC_HEADINGS[beginning], []).append(row)
    parts = [_METRICS]
    for heading, rows in tables.items():
        words = _METRIC_WORDS[heading]
        parts += [f"## {heading}", words, _table(("metric", "type", "labels", "meaning"), rows)]
    return _page(parts)


_METRICS = f"""\
# Metrics

{_MADE}

Every metric of `GET /metrics`, in the order of the answer. How to collect them is in
[operations](../operations.md#metrics). Times and durations are in seconds; a moment is in seconds
since 1970. Sizes are in bytes."""


# Markdown


def _page(parts: Iterable[str]) -> str:
    return "\n\n".join(part.strip("\n") for part in parts if part) + "\n"


def _prose(type_: type) -> str:
    """Return the docstring that is its own, with all paragraphs."""
    return inspect.cleandoc(type_.__dict__.get("__doc__") or "")


def _table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    cells = ([text.replace("|", r"\|") for text in row] for row in rows)
    lines = [headers, ["---"] * len(headers), *cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _link(text: str, heading: str) -> str:
    """Return a link to a heading of the same page."""
    kept = (char for char in heading.lower() if char.isalnum() or char in " _-")
    return f"[{text}](#{''.join(kept).replace(' ', '-')})"


if __name__ == "__main__":
    for name, text in pages().items():
        (_FOLDER / name).write_text(text, encoding="utf-8")
