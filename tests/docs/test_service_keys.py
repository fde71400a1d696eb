"""The page of former keys shows the tables in the code."""

import runpy
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "service_keys.py"


def test_page_of_service_keys_shows_the_tables():
    """Mutant: a key renamed in the table only."""
    made = runpy.run_path(str(PAGE))

    assert made["PAGE"].read_text(encoding="utf-8") == made["page"](), "run: make docs"
