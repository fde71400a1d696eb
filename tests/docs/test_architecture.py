"""The page on the architecture follows the code."""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text()
sys.path.insert(0, str(ROOT / "docs" / "pictures"))
import rooms  # noqa: E402 - this module is beside the pictures, not in a package


def test_picture_shows_the_real_imports():
    """Mutant: a new import between two rooms. `make docs` draws the picture again."""
    assert rooms.PICTURE.read_text() == rooms.draw()


def test_named_files_exist():
    """Mutant: a file that moved."""
    paths = re.findall(r"`([a-z_]+/[a-z_/.]*)(?:NAME[a-z_/.]*)?`", PAGE)

    assert len(paths) > 20
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_rooms_are_those_of_the_picture():
    """Mutant: a row that is there twice."""
    named = re.findall(r"(?m)^\| `([a-z._]+)` \| \w", PAGE)

    assert sorted(named) == sorted({*rooms.imports(), "journal.sqlite"})
