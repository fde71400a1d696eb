"""The reference is generated from the code."""

import re
import runpy
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import click
import msgspec
import pytest

from core.event import Data, Event
from core.secret import Secret
from core.units import Duration
from receiver.providers import PROVIDERS
from server.cli.main import commands, smshook
from server.config.shapes import CHOICES
from sinks import SINKS
from sinks.sink import Sink

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"
GENERATOR = runpy.run_path(str(REFERENCE / "generate.py"))
PAGES = GENERATOR["pages"]()


@pytest.mark.parametrize("name", PAGES)
def test_page_matches_the_code(name):
    """Mutant: an option, a comment, a help text or a field changed without `make docs`."""
    committed = (REFERENCE / name).read_text(encoding="utf-8")

    assert committed == PAGES[name], f"docs/reference/{name} is not what the code says: make docs"


def test_all_pages_of_the_folder_are_generated():
    assert {path.name for path in REFERENCE.glob("*.md")} == set(PAGES)


def headings(name):
    return re.findall(r"(?m)^##+ (.+)$", PAGES[name])


def test_heading_occurs_once():
    """Mutant: the options of two sinks that both have a `tls` under one heading."""
    for name in PAGES:
        assert len(set(headings(name))) == len(headings(name)) > 3


def test_each_provider_and_sink_has_a_heading():
    chosen = [f"provider: {tag(each)}" for each in PROVIDERS]
    chosen += [f"type: {tag(each)}" for each in SINKS]

    assert [heading for heading in headings("options.md") if ": " in heading] == chosen


def tag(struct):
    return struct.__struct_config__.tag


class Rotate(msgspec.Struct, frozen=True, kw_only=True):
    """Differs from the rotation of files."""

    #: When.
    every: Duration


class Pigeon(Sink, tag="pigeon", frozen=True, kw_only=True):
    """Takes a while."""

    #: To where | whom.
    loft: Secret
    #: Its keys.
    keys: Mapping[str, Secret] = {}
    #: At what time.
    hours: tuple[Literal["day", "night"], ...] = ("day",)
    #: Words, or a whole letter.
    letter: str | Mapping[str, Any] | None = None
    #: When another one flies.
    rotate: Rotate | None = None


def test_new_sink_is_added_to_the_options(monkeypatch):
    """Mutants: a list of sinks in the generator; one heading for two kinds of `rotate`."""
    monkeypatch.setitem(CHOICES, Sink, (*SINKS, Pigeon))

    page = GENERATOR["pages"]()["options.md"]

    head = "| option | type | default | meaning |\n| --- | --- | --- | --- |\n"
    assert page.partition("### type: pigeon\n")[2].partition("\n## routes")[0] == (
        f"\nTakes a while.\n\n{head}"
        "| `loft` | secret text | required | To where \\| whom. |\n"
        "| `keys` | mapping of secret text | `{}` | Its keys. |\n"
        "| `hours` | list of `day`, `night` | `[day]` | At what time. |\n"
        "| `letter` | text or mapping | `null` | Words, or a whole letter. |\n"
        "| `rotate` | [mapping](#sinksnamerotate-of-pigeon) | `null` | When another one flies. |\n"
        "\n### sinks.NAME.rotate of pigeon\n\nDiffers from the rotation of files.\n\n"
        f"{head}| `every` | duration | required | When. |\n"
    )


def test_each_command_has_a_heading():
    """Mutant: only the commands outside of groups."""
    typed = commands(smshook, click.Context(smshook))

    assert headings("cli.md") == [f"smshook {name}" for name, _ in typed]


def test_each_type_of_event_has_all_its_fields():
    """Mutant: inherited fields left out."""
    kinds = [kind for kind in kinds_of(Data) if hasattr(kind, "type")]
    common = {field.encode_name for field in msgspec.structs.fields(Data)}

    shown = {kind.type: set(fields_of("events.md", kind.type)) | common for kind in kinds}

    assert shown == {
        kind.type: {field.encode_name for field in msgspec.structs.fields(kind)} for kind in kinds
    }
    attributes = [field.encode_name for field in msgspec.structs.fields(Event)]
    assert fields_of("events.md", "Attributes") == attributes


def kinds_of(base):
    for kind in base.__subclasses__():
        yield kind
        yield from kinds_of(kind)


def fields_of(name, heading):
    section = PAGES[name].partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(r"(?m)^\| `(\w+)` \|", section)


def test_everything_has_a_description():
    """Mutants: an option or a field without its `#:` comment; a type of event without docstring."""
    for text in PAGES.values():
        rows = re.findall(r"(?m)^\| .* \|$", text)

        assert [row for row in rows if re.search(r"\|\s*\|$", row) and row != "| type | |"] == []
        assert re.findall(r"(?m)^##+ .+\n\n(?=\|)", text) == []


def test_defaults_are_written_as_in_the_configuration():
    options = PAGES["options.md"]

    assert "| `timeout` | duration | `30s` |" in options
    assert "| `max_body` | size | `64KiB` |" in options
    assert "| `rate` | rate | `null` |" in options
    assert "| `secret` | secret text | required |" in options
