"""The script makes all pictures of the terminal."""

import re
import sys
from pathlib import Path

import pytest
import yaml

#: Sets a colour of a terminal (ECMA-48, 8.3.117).
COLOUR = re.compile("\x1b\\[[0-9;]*m")
DOCS = Path(__file__).parents[2] / "docs"
sys.path.insert(0, str(DOCS / "pictures"))
import take  # noqa: E402 - this module is beside the pictures, not in a package


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("pictures")


@pytest.fixture(scope="module")
def taken(folder):
    return take.taken(folder)


def test_script_takes_each_picture_of_the_folder(taken):
    """Mutant: a picture that is no longer taken stays in the folder."""
    assert {path.stem for path in (DOCS / "pictures").glob("*.svg")} == set(taken)


def test_each_picture_is_shown_on_a_page():
    pages = "".join(page.read_text() for page in [*DOCS.rglob("*.md"), DOCS.parent / "README.md"])
    shown = set(re.findall(r"pictures/([a-z-]+)\.svg", pages))

    assert shown == {path.stem for path in (DOCS / "pictures").glob("*.svg")}


def test_pictures_hold_no_token_and_no_path(taken, folder):
    """Mutants: `_TOKEN` masks nothing; the path of the command is drawn as it is."""
    drawn = "".join(take.drawn(command, text) for command, text in taken.values())

    sources = yaml.safe_load((folder / "smshook.yaml").read_text())["sources"].values()
    tokens = [token for source in sources for token in source["tokens"]]
    assert len(tokens) == 2
    assert [token for token in tokens if token in drawn] == []
    assert "/in/tellabot/***" in drawn
    assert str(DOCS.parent) not in drawn


def test_pictures_fit_eighty_columns(taken):
    """A row of a table is one line. The log may wrap, as it does on a terminal."""
    tables = [text for picture, (_, text) in taken.items() if picture != "serve"]

    plain = [COLOUR.sub("", line) for text in tables for line in text.splitlines()]

    assert [line for line in plain if len(line) > 80] == []
