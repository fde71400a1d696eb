"""The page of `smshook dev` in a headless Chromium: looks, events, log."""

import types

import httpx
import pytest
from browsers import chromium
from developing import Developing

from server.console.assets import FOLDER

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
TEXT = '<img src=x onerror="alert(1)"> 804-036 is your code'
EXTRA = "  broken: {type: http, url: 'http://127.0.0.1:9/', retry: {schedule: [0s, 1h]}}\nroutes:"


@pytest.fixture(scope="module")
def dev(tmp_path_factory):
    """The command, with a sink that does not answer."""
    folder = tmp_path_factory.mktemp("dev")
    with Developing(folder, "--output", "json"):
        pass
    path = folder / ".smshook-dev" / "smshook.yaml"
    text = path.read_text().replace("routes:", EXTRA, 1).replace("to: [log]", "to: [log, broken]")
    path.write_text(text)
    with Developing(folder, "--output", "json") as dev:
        yield dev


@pytest.fixture(scope="module")
def tab(dev):
    with chromium() as browser:
        where = types.SimpleNamespace(admin_url=dev.said["page"])
        tab = browser.tab(where)
        yield tab
        tab.close()


def test_page_shows_what_becomes_of_a_message(dev, tab):
    """Mutants: no key of the page, another source's events, the log without the last lines.

    The tab ends with an error if the policy stops anything, or if the text becomes an element.
    """
    page = tab.page
    page.goto("/")
    page.get_by_role("link", name="smsbower").click()
    page.get_by_role("textbox", name="Service").fill("tg")
    page.get_by_role("button", name="Take: activation").click()
    page.get_by_role("cell", name="tg").wait_for()
    page.get_by_role("textbox", name="Text").fill(TEXT)
    page.get_by_role("button", name="Send a message to").click()

    box = page.locator("#events li")
    box.get_by_text("● log delivered").wait_for()
    box.get_by_text("◆ broken pending").wait_for()
    page.locator("#log").get_by_text("sms.received smsbower Telegram → log ok").wait_for()
    [event] = [one for one in dev.events() if one["source"] == "smsbower"]

    link = box.get_by_role("link").get_attribute("href")
    assert f"{dev.said['console']}events/{event['id']}" == link
    assert "sms.received Telegram" in box.text_content()
    assert 1 == page.get_by_role("cell", name=TEXT).count()
    assert 0 == page.locator("img").count()
    assert dev.said["key"] not in page.content()
    page.goto("/tellabot/rehearsal/")
    page.get_by_text("No events yet.").wait_for()


def test_fault_is_added_and_removed(tab):
    """Mutants: `times` is sent as text; a fault is not shown."""
    page = tab.page
    page.goto("/herosms/rehearsal/")
    page.get_by_label("Fault").select_option("duplicate")
    page.get_by_label("Times").fill("3")
    page.get_by_role("button", name="Add").click()
    page.get_by_text("Next: duplicate, 3 more times").wait_for()

    page.get_by_role("button", name="Remove all").click()

    page.get_by_text("Next:").wait_for(state="detached")


def test_refusal_is_said(dev, tab):
    """Mutant: the page is loaded again, and says nothing."""
    order = dev.post("daisysms/rehearsal/orders", number="")
    page = tab.page
    page.goto("/daisysms/rehearsal/")

    page.get_by_role("button", name=f"Send a message to {order['id']}").click()

    page.get_by_role("status").get_by_text("the order still waits for its number").wait_for()
    # The browser itself reports an answer of 400.
    tab.seen[:] = [line for line in tab.seen if "400 (Bad Request)" not in line]


def test_focus_comes_back_after_each_act(dev, tab):
    """By keys alone: the next Enter sends again. Mutant: the focus is lost with the page."""
    order = dev.post("grizzlysms/rehearsal/orders", service="tg")
    page = tab.page
    page.goto("/grizzlysms/rehearsal/")
    button = page.get_by_role("button", name=f"Send a message to {order['number']}")

    button.press("Enter")
    said = page.get_by_role("status").get_by_text("Done: Send a message to")
    said.wait_for()
    focused = button.evaluate("button => button === document.activeElement")
    page.reload()

    assert (focused, said.count()) == (True, 0)


def test_page_says_when_nothing_answers(tab):
    """Mutants: it looks as if nothing happened; it does not say that it works again."""
    page = tab.page
    page.goto("/smspins/rehearsal/")
    status = page.get_by_role("status")
    page.route("**/rehearsal/**", lambda route: route.abort())

    status.get_by_text("does not answer").wait_for()
    page.unroute("**/rehearsal/**")
    status.get_by_text("It answers again.").wait_for()
    page.route("**/rehearsal/faults", lambda route: route.abort())
    page.get_by_role("button", name="Add").click()
    status.get_by_text("does not answer").wait_for()

    page.unroute("**/rehearsal/faults")
    tab.seen[:] = [line for line in tab.seen if "net::ERR_FAILED" not in line]


def test_page_is_accessible(dev, tab):
    """Light, dark, on a phone. Mutants: a field without a label; a table wider than a phone."""
    order = dev.post("herosms/rehearsal/orders", service="tg")
    dev.post(f"herosms/rehearsal/orders/{order['id']}/messages", text=TEXT)
    tab.page.goto("/herosms/rehearsal/")
    tab.page.locator("#events li").wait_for()

    assert [] == tab.faults()


def test_page_has_the_style_sheet_of_the_console(dev):
    """Mutant: a copy that differs."""
    answer = httpx.get(f"{dev.said['page']}tellabot/rehearsal/page.css", trust_env=False)

    assert (FOLDER / "console.css").read_text() == answer.text
