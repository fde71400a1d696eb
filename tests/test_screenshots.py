"""A failed test of a page leaves a screenshot of each tab."""

import os
import sys
from pathlib import Path

import browsers
import pytest

pytest_plugins = ["pytester"]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

TESTS = """
import types
import pytest
from browsers import chromium

PAGE = "data:text/html,<h1>Shown</h1><script>console.info('said by the page')</script>"

@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser

@pytest.fixture
def tab(browser):
    tab = browser.tab(types.SimpleNamespace(admin_url="http://127.0.0.1:9"))
    tab.page.goto(PAGE)
    yield tab
    tab.close()

def test_passes(tab):
    pass

def test_fails(tab):
    assert not tab.page.get_by_text("Shown").is_visible()

def test_ends_with_a_fault(tab):
    tab.page.evaluate("console.error('a fault')")
"""


def test_failed_test_leaves_screenshots(pytester, monkeypatch):
    """Mutants: a tab that ends with a fault leaves nothing; tests that pass leave files, too."""
    browsers.program()
    pytester.makepyfile(TESTS)
    tests = Path(__file__).parent
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tests), str(tests.parent)]))
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")

    run = pytester.run(
        *(sys.executable, "-m", "pytest", "-p", "screenshots", f"--basetemp={pytester.path}/base")
    )

    run.assert_outcomes(passed=2, failed=1, errors=1)
    files = sorted((pytester.path / "base" / "screenshots").iterdir())
    assert [
        "test_failed_test_leaves_screenshots.py-test_ends_with_a_fault-teardown-1.png",
        "test_failed_test_leaves_screenshots.py-test_fails-call-1.png",
    ] == [file.name for file in files]
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in files)
    shown = run.stdout.str()
    assert all(str(file) in shown for file in files)
    assert 2 == shown.count("info: said by the page")
    assert "error: a fault" in shown
