"""The browser test of docs/how-to/test-a-sign-up.md, in a headless Chromium."""

import shutil
import sys
from pathlib import Path

import browsers
import pytest
from pages import blocks

pytest_plugins = ["pytester"]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

#: What pytest-playwright brings, with Debian's browser.
PAGE = """
import pytest
from playwright.sync_api import sync_playwright

@pytest.fixture(scope="session")
def browser():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=PROGRAM, args=FLAGS)
        yield browser
        browser.close()

@pytest.fixture
def page(browser):
    page = browser.new_page()
    page.set_default_timeout(30_000)
    yield page
    page.close()
"""
SEND_AGAIN = """
def test_send_again(page, sms, application):
    order = sms.order(service="acme")
    page.goto(application)
    page.get_by_label("Phone").fill(order.number)
    page.get_by_role("button", name="Send code").click()
    first = order.wait_for_code(timeout=30)
    page.get_by_role("button", name="Send again").click()
    page.get_by_label("Code").fill(order.wait_for_code(timeout=30))
    page.get_by_role("button", name="Sign up").click()
    page.get_by_role("heading", name="Welcome").wait_for()

    page.go_back()
    page.get_by_label("Code").fill(first)
    page.get_by_role("button", name="Sign up").click()
    page.get_by_role("heading", name="Wrong code").wait_for()
"""


def test_sign_up_in_a_browser_gets_its_code(pytester, monkeypatch):
    """Mutant: a code is made up beside that of the application."""
    browser = f"PROGRAM, FLAGS = {browsers.program()!r}, {browsers.FLAGS!r}"
    test, conftest, _ = blocks("how-to/test-a-sign-up.md", "python")
    shutil.copy(Path(__file__).parents[1] / "sign_up.py", pytester.path)
    pytester.makeconftest(conftest + browser + PAGE)
    pytester.makepyfile(test + SEND_AGAIN)
    monkeypatch.delenv("SMSHOOK_URL", raising=False)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")

    run = pytester.run(sys.executable, "-m", "pytest", "-p", "smshook_client.pytest_plugin")

    run.assert_outcomes(passed=2)
