"""The scripts make all pictures, and the pages show them."""

import io
import re
import sys
from pathlib import Path

import pytest
import tools
import yaml
from PIL import Image

#: Sets a colour of a terminal (ECMA-48, 8.3.117).
COLOUR = re.compile("\x1b\\[[0-9;]*m")
DOCS = Path(__file__).parents[2] / "docs"
sys.path.insert(0, str(DOCS / "pictures"))
import console  # noqa: E402 - this module is beside the pictures, not in a package
import take  # noqa: E402 - this one, too

CONSOLE = {f"console-{name}-{scheme}" for name in console.PAGES for scheme in console.SCHEMES}


def pages():
    """Return the text of all pages."""
    files = [*DOCS.rglob("*.md"), DOCS.parent / "README.md"]
    return "".join(page.read_text() for page in files)


def opened(path):
    return Image.open(io.BytesIO(path.read_bytes()))


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
    shown = set(re.findall(r"pictures/([a-z-]+)\.svg", pages()))

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


# The console


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    "only", [("phone", "sink"), pytest.param(tuple(console.PAGES), marks=pytest.mark.nightly)]
)
def test_script_takes_the_pages_of_the_console(only, tmp_path):
    """Mutants: one scheme for both; the phone's page is as wide as the others."""
    tools.require(tools.missing("chromium"))

    console.main(tmp_path, only)

    taken = {path.stem: opened(path) for path in tmp_path.iterdir()}
    sizes = {name: one.size for name, one in taken.items()}
    assert sizes == {
        f"console-{name}-{scheme}": (320, 740) if name == "phone" else (1280, 800)
        for name in only
        for scheme in console.SCHEMES
    }
    light, dark = (
        taken[f"console-{only[0]}-{scheme}"].convert("L").getpixel((2, 2))
        for scheme in console.SCHEMES
    )
    assert light - dark > 128


def test_each_page_of_the_console_has_its_pictures():
    """Mutant: a page that is no longer taken keeps its picture."""
    files = [*(DOCS / "pictures").glob("*.png")]

    assert {path.stem for path in files} == CONSOLE
    assert sum(path.stat().st_size for path in files) < 1_500_000


def test_each_picture_of_the_console_is_shown_in_both_schemes():
    """Mutants: a picture that no page shows; light and dark of different pages; no text."""
    shown = re.findall(
        r"""(?x)<picture>\n
        <source[ ]media="\(prefers-color-scheme:[ ]dark\)"[ ]
            srcset="(?:docs/)?pictures/([\w-]+)\.png">\n
        <img[ ]src="(?:docs/)?pictures/([\w-]+)\.png"[ ]alt="([^"]{40,})">\n
        </picture>\n\n""",
        pages(),
    )

    names = [name for dark, light, _ in shown for name in (dark, light)]
    assert set(names) == CONSOLE
    assert len(names) == pages().count(".png")
    assert [dark for dark, light, _ in shown if dark != light.replace("-light", "-dark")] == []


def test_picture_of_a_page_that_says_the_same_stays(tmp_path):
    """Mutant: each `make docs` writes each picture."""
    path = tmp_path / "page.png"
    drawn = (DOCS / "pictures/console-sink-light.png").read_bytes()
    other = (DOCS / "pictures/console-sink-dark.png").read_bytes()
    console.keep(path, drawn, "a sink")
    first = path.read_bytes()

    console.keep(path, other, "a sink")
    same = path.read_bytes()
    console.keep(path, other, "another sink")

    assert (same == first, path.read_bytes() == first) == (True, False)
