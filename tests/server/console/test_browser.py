"""Every page in a headless Chromium: accessibility, sizes, errors."""

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def views(browser, service):
    """Tabs that are signed in: light, dark and phone."""
    tabs = {
        "light": browser.tab(service, "admin"),
        "dark": browser.tab(service, "admin", dark=True),
        "phone": browser.tab(service, "admin", phone=True),
    }
    yield tabs
    for tab in tabs.values():
        tab.close()


@pytest.mark.parametrize("view", ["light", "dark", "phone"])
def test_page_is_accessible(views, page, view):
    """Mutants: grey text on white; a field without a label; a table wider than a phone."""
    tab = views[view]
    tab.goto(page)

    assert [] == tab.findings()
    assert 0 == tab.overflow()


def test_checker_finds_faults(tab):
    """Controls: it reports grey text and a field without a label."""
    one = tab()
    one.page.evaluate(
        """() => {
          const text = document.createElement("p"), field = document.createElement("input");
          text.textContent = "grey"; text.style.color = "#ccc";
          document.querySelector("main").append(text, field);
        }"""
    )

    found = {rule for rule, _ in one.findings()}
    one.seen.clear()

    assert {"color-contrast", "label"} <= found


def test_policy_stops_scripts_in_the_page(tab):
    """Controls: a script in the page and HTML of a text are stopped, and each is seen."""
    one = tab()
    html = one.page.evaluate(
        """() => {
          const script = document.createElement("script");
          try { script.textContent = "document.title = 'ran'"; } catch { return "stopped"; }
        }"""
    )
    with pytest.raises(Exception, match="TrustedHTML"):
        one.page.evaluate("document.body.innerHTML = '<b>x</b>'")

    assert (html, one.page.title()) == ("stopped", "Inbox - smshook")
    assert any("policy: require-trusted-types-for" in line for line in one.seen)
    one.seen.clear()
