"""Every page in a headless Chromium: accessibility, sizes, errors."""

import json
import shlex

import live
import pytest
from consoles import HOSTILE, PAGES, ConsoleService

from core.printable import plain

#: The hostile text as a page shows it.
HOSTILE_SHOWN = plain(HOSTILE)

#: Pages with the template of another page. The nightly run checks them.
ALIKE = {
    "/?q=google&since=all&with=code",
    "/events/{hostile}",
    "/events/{plain}/again?sink=log",
    "/orders?state=expired&state=cancelled",
    "/orders?reference=nobody-has-this",
    "/audit?since=all&do=key.&do=session.opened&q=key/admin",
    "/audit?since=all&q=nothing-has-this-name",
    "/overview?span=7d",
    "/deliveries?state=delivered&sink=crm",
    "/sinks/log",
    "/quarantine?source=tellabot&reason=address",
}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def reader(browser, service):
    """A tab that shows all pages."""
    tab = browser.tab(service, "admin")
    yield tab
    tab.close()


@pytest.mark.parametrize(
    ("page", "whole"),
    [
        *((page, False) for page in PAGES if page not in ALIKE),
        *(pytest.param(page, True, marks=pytest.mark.nightly) for page in PAGES),
    ],
    indirect=["page"],
)
def test_page_is_accessible(reader, page, whole):
    """Light, dark, on a phone, and at 400 % of 1280 pixels, which is 320.

    Mutants: grey text on white; a field without a label; a table wider than a phone.
    """
    reader.goto(page)

    assert [] == reader.faults(whole=whole)


def test_inbox_without_messages_is_accessible(browser, tmp_path):
    """The first message takes the place of its words. Mutant: they stay."""
    with ConsoleService(tmp_path) as service:
        one = browser.tab(service, "admin")
        one.goto("/")
        faults = one.faults()
        service.sms(1)
        one.page.locator("#rows tr").first.wait_for()
        gone = one.page.locator("#empty").count() == 0
        one.close()

    assert (faults, gone) == ([], True)


def test_words_in_tables_are_whole(reader):
    """Narrow tables scroll in their frames. Mutant: `overflow-wrap: anywhere` for all cells."""
    broken = []
    for phone in (False, True):
        reader.look(phone=phone, dark=False)
        for path in ("/sources", "/sinks", "/audit"):
            broken += reader.goto(path).evaluate(BROKEN)

    assert [] == broken


@pytest.mark.parametrize("width", [320, 390])
def test_state_of_a_delivery_is_in_sight_on_a_phone(reader, width):
    """Mutant: the state comes after the sink and the event."""
    event = reader.service.events["failing"]
    reader.page.set_viewport_size({"width": width, "height": 800})
    for path in ("/deliveries", "/deliveries?state=any", f"/events/{event}"):
        ends = reader.goto(path).evaluate(
            """[...document.querySelectorAll("td .state")].map(
              (one) => one.getBoundingClientRect().right)"""
        )
        assert 0 < len(ends)
        assert max(ends) <= width - 16, path


#: The words of cells, and of titles, that take more than one line.
BROKEN = r"""() => {
  const found = [], range = document.createRange();
  const texts = document.createTreeWalker(document.querySelector("main"), NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const text = texts.currentNode;
    if (!text.parentElement.closest("td, th")) continue;
    for (const word of text.data.matchAll(/[\w.]{2,24}/g)) {
      range.setStart(text, word.index);
      range.setEnd(text, word.index + word[0].length);
      const lines = new Set([...range.getClientRects()].map((box) => Math.round(box.top)));
      if (lines.size > 1) found.push(word[0]);
    }
  }
  return found;
}"""


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


# The inbox and an event, as people use them


def test_new_message_appears_masked(tab, service):
    """Mutants: the filter is dropped by the stream; codes are in it; text is taken for HTML."""
    one = tab("support")
    page = one.goto("/?q=vivid")
    page.get_by_text("● live").wait_for()

    service.sms(201, service="Google")
    # Not the same as the service of another event, which is stored in clear.
    service.sms(202, service="Vivid", **{"from": f"from {HOSTILE}"})
    row = page.locator("#rows tr").first
    row.get_by_text("+18505550202").wait_for()

    assert 1 == page.locator("#rows tr").count()
    assert "••••••" in row.text_content()
    assert HOSTILE_SHOWN in row.text_content()
    assert 0 == page.locator("#rows img").count()
    assert live.code(202) not in page.content()
    assert page.locator("#empty").count() == 0
    assert [] == one.findings()


def test_new_messages_wait_while_somebody_reads(tab, service):
    """Mutant: new rows go in, and the focus is lost."""
    one = tab("support")
    service.sms(211, service="Quiet")
    page = one.goto("/?q=quiet")
    page.get_by_text("● live").wait_for()
    page.keyboard.press("j")

    service.sms(212, service="Quiet")
    page.get_by_role("button", name="1 new").wait_for()

    assert 1 == page.locator("#rows tr").count()
    assert "+18505550211" == page.locator(":focus").text_content()
    page.get_by_role("button", name="1 new").click()
    assert 2 == page.locator("#rows tr").count()


def test_stream_resumes_without_gap(tab, service):
    """A hidden tab stops. Shown again, it gets what it missed, once."""
    one = tab("support")
    page = one.goto("/?q=gapless")
    page.get_by_text("● live").wait_for()
    service.sms(221, service="Gapless")
    page.get_by_text("+18505550221").wait_for()
    hide = """(hidden) => {
      Object.defineProperty(document, "hidden", {value: hidden, configurable: true});
      document.dispatchEvent(new Event("visibilitychange"));
    }"""
    page.evaluate(hide, True)
    service.sms(222, service="Gapless")

    page.evaluate(hide, False)
    page.get_by_text("+18505550222").wait_for()

    numbers = page.locator("#rows td:first-child a").all_text_contents()
    assert ["+18505550222", "+18505550221"] == numbers


def test_menu_and_deliveries_of_a_live_row(tab, service):
    """The row is revealed and has the focus while its delivery is made, and keeps both.

    Mutants: the whole row is put again; live rows have no menu; the page does not ask again.
    """
    one = tab("admin", permissions=["clipboard-read", "clipboard-write"])
    page = one.goto("/?q=followed")
    page.get_by_text("● live").wait_for()
    service.api("/sinks/log/pause", method="POST")
    event = service.sms(261, service="Followed")
    row = page.locator(f'tr[data-id="{event}"]')
    row.get_by_text("◆ 0 of 1").wait_for()
    row.get_by_role("button", name="Reveal the text from Followed").click()
    page.get_by_text(f"{live.code(261)} is your").wait_for()
    row.locator("summary").press("Enter")

    service.api("/sinks/log/resume", method="POST")
    row.get_by_text("● 1 of 1").wait_for()

    assert "More about Followed for +18505550261" == page.locator(":focus").get_attribute(
        "aria-label"
    )
    assert page.get_by_text(f"{live.code(261)} is your").is_visible()
    one.look(phone=True, dark=False)
    assert ([], 0) == (one.findings(), one.overflow())
    row.get_by_role("button", name="Copy as curl").click()
    page.get_by_text("Copied.", exact=True).wait_for()
    [curl, flag, header, url] = shlex.split(page.evaluate("navigator.clipboard.readText()"))
    assert ("curl", "-H", "Authorization: Bearer $SMSHOOK_API_KEY") == (curl, flag, header)
    assert f"{service.admin_url}/v1/events/{event}" == url
    to = row.get_by_role("link", name="Send again").get_attribute("href")
    assert f"/console/events/{event}#again" == to

    page.reload()
    row.locator("summary").press("Enter")
    row.get_by_role("link", name="Why").click()
    page.wait_for_url(f"**/events/{event}#why")
    page.get_by_role("button", name="Copy the event, as it is shown").click()
    page.get_by_text("Copied.", exact=True).wait_for()
    copied = json.loads(page.evaluate("navigator.clipboard.readText()"))
    assert service.api(f"/events/{event}", "reader").json()["event"] == copied


def test_copy_puts_the_code_on_the_clipboard_and_shows_it_nowhere(tab, service):
    """Mutant: the code is put into the page."""
    one = tab("support", permissions=["clipboard-read", "clipboard-write"])
    event = service.sms(231, service="Copied")
    page = one.goto("/?q=copied")
    page.keyboard.press("j")

    page.keyboard.press("c")
    page.get_by_text("Copied. It was recorded.").wait_for()

    assert live.code(231) == page.evaluate("navigator.clipboard.readText()")
    assert live.code(231) not in page.content()
    [line] = [leaf for leaf in service.leaves("code.read") if leaf.get("event") == event]
    assert ("key/support", "console", ["code"]) == (line["by"], line["how"], line["fields"])


def test_reveal_is_shown_for_a_minute(tab, service):
    """Mutants: it stays; it is in the title, the address or the storage."""
    one = tab("support")
    service.sms(241, service="Shown")
    page = one.goto("/?q=shown")
    page.clock.install()
    code = live.code(241)
    assert code not in page.content()

    page.get_by_role("button", name="Reveal the text from Shown").click()
    page.get_by_text(f"{code} is your Google verification code.").wait_for()
    stored = page.evaluate("JSON.stringify([localStorage, sessionStorage, history.state, name])")
    assert code not in stored + page.title() + page.url
    assert [] == one.findings()
    page.clock.run_for(62_000)

    assert code not in page.content()
    assert "••••••" in page.locator("#rows tr").first.text_content()


def test_keys_walk_through_the_list_and_back(tab, service):
    """Mutants: keys work in fields; `u` forgets the filter; the row has no focus."""
    one = tab("support")
    ids = [service.sms(number, service="Walked") for number in (251, 252, 253)]
    page = one.goto("/?q=walked")

    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/events/{ids[1]}")
    page.keyboard.press("j")
    page.wait_for_url(f"**/events/{ids[0]}")
    page.keyboard.press("u")
    page.wait_for_url(f"**/console/?q=walked#{ids[0]}")
    assert "+18505550251" == page.locator(":focus").text_content()
    page.keyboard.press("/")
    page.keyboard.type("jkcr?")
    assert "jkcr?" == page.get_by_label("Number, order, service").input_value()


def test_keys_can_be_turned_off(tab):
    """WCAG 2.1.4. Mutant: a key right after the dialog closed is lost."""
    one = tab("support")
    page = one.page
    page.keyboard.press("?")
    assert [] == one.findings()
    page.get_by_label("Use these shortcuts").uncheck()
    page.get_by_role("button", name="Close").click()

    page.keyboard.press("j")
    assert 0 == page.locator("tr :focus").count()
    page.keyboard.press("?")
    page.get_by_label("Use these shortcuts").check()
    page.evaluate(
        """() => {
          document.querySelector("#help button").focus();
          document.querySelector("#help button").click();
          const key = new KeyboardEvent("keydown", { key: "j", bubbles: true });
          document.activeElement.dispatchEvent(key);
        }"""
    )
    assert 1 == page.locator("tr :focus").count()


def test_page_is_gone_after_sign_out(tab):
    """Back shows nothing: `no-store` keeps the page out of the cache of the browser."""
    one = tab("support")
    one.goto("/?since=all")
    one.page.get_by_role("button", name="Sign out").click()
    one.page.wait_for_url("**/console/login")

    one.page.go_back()

    one.page.wait_for_url("**/console/login?next=*")


def test_console_cannot_be_framed(tab, service):
    """Mutant: `frame-ancestors` is left out."""
    one = tab()
    page = one.page
    page.route("**/frame", lambda route: route.fulfill(body=FRAME, content_type="text/html"))
    page.goto(f"{service.admin_url}/frame")
    page.wait_for_timeout(500)

    inner = [frame for frame in page.frames if frame.parent_frame is not None]
    shown = [frame.content() for frame in inner]
    one.seen.clear()

    assert all("Inbox" not in text for text in shown)


FRAME = '<iframe src="/console/"></iframe>'
