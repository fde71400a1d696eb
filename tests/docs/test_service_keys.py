"""The page of former keys says what the tables say."""

import runpy
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "service_keys.py"


def test_page_of_service_keys_is_what_the_tables_say():
    """Mutant: a key renamed in the table, and the page left as it was."""
    made = runpy.run_path(str(PAGE))

    assert made["PAGE"].read_text(encoding="utf-8") == made["page"](), "run: make docs"
