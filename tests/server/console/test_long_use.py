"""The console in its second hour: filters, lists and sessions that last, and hands in a hurry."""

import json
import re

import live
import pytest
from consoles import SAME_SITE, ConsoleService, Parsed, stream

from core.units import Duration
from server.config.options import ConsoleOptions, SessionTimes

pytestmark = pytest.mark.timeout(240)
CLIPBOARD = {"permissions": ["clipboard-read", "clipboard-write"]}
IDLE = 60


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    """A service whose sessions end after a minute without a request."""
    times = SessionTimes(idle=Duration(IDLE), longest=Duration(3600))
    folder = tmp_path_factory.mktemp("short")
    with ConsoleService(folder, console=ConsoleOptions(session=times)) as service:
        yield service


# Filters


def fields_of(text):
    """Return what the form of the filters sends, as browsers read the page."""
    form = re.search(r'<form class="filters".*?</form>', text, re.DOTALL)[0]
    sent = re.findall(r'<input type="(?:hidden|search)" name="(\w+)" value="([^"]+)"', form)
    for name, options in re.findall(r'<select name="(\w+)"[^>]*>(.*?)</select>', form, re.DOTALL):
        chosen = re.findall(r"<option(?: value=\"([^\"]*)\")? selected>(.*?)</option>", options)
        sent += [(name, value or words) for value, words in chosen]
    return sorted(sent)


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        (
            "/deliveries?state=dead&state=expired&sink=removed&since=30m",
            [("since", "30m"), ("sink", "removed"), ("state", "dead"), ("state", "expired")],
        ),
        (
            "/orders?state=received&state=expired&source=tellabot",
            [("source", "tellabot"), ("state", "expired"), ("state", "received")],
        ),
        (
            "/?number=%2B18505550001&subject=request/1&service=a%20b&since=3h&with=code",
            [
                ("number", "+18505550001"),
                ("service", "a b"),
                ("since", "3h"),
                ("subject", "request/1"),
                ("with", "code"),
            ],
        ),
        ("/audit?do=key.&do=session.opened&since=3h", [("do", "key."), ("do", "session.opened")]),
    ],
)
def test_form_keeps_the_filter_of_the_address(admin, path, sent):
    """Mutants: one of several values is chosen; without `kept`; a value of no option is lost."""
    text = admin.get(path).text
    several = re.findall(r'<select name="(\w+)" multiple size="8">', text)
    names = [name for name, _ in sent]

    assert [pair for pair in fields_of(text) if pair[0] in names] == sent
    assert several == [name for name in dict.fromkeys(names) if names.count(name) > 1]


def test_newest_deliveries_continue(admin, service):
    """None to `log` is dead or failing. Mutant: Older asks for those that are."""
    for number in range(1301, 1383):
        service.sms(number)

    first = admin.get("/deliveries?sink=log")
    older = [one["href"] for one in Parsed(first.text).all("a") if one.get("rel") == "next"]

    assert "No delivery is dead or failing" in first.text
    assert "No deliveries match" not in admin.get(older[0]).text


# Sessions


@pytest.mark.parametrize("path", ["/states?event=x", "/overview/events.svg", "/stream?after=x"])
def test_what_an_open_page_polls_is_no_use(short, path):
    """Mutants: each of them extends the session; a plot is answered by the page to sign in at."""
    person = short.browser("reader")
    for _ in range(3):
        short.moved += IDLE / 2
        answer = person.get(path)

    assert answer.status_code == 401


def test_stream_ends_when_its_session_is_idle(short, monkeypatch):
    """Nobody else asks for a page.

    Mutants: old sessions end with the next request only; the end is missed while a stream begins.
    """
    monkeypatch.setattr("server.api.stream.HEARTBEAT", 0.1)
    with stream(short.browser("reader"), "since=all") as (answer, row):
        assert answer.status_code == 200
        short.moved += IDLE + 1
        short.sms(830)
        assert row() is None


def test_stream_of_an_empty_list_has_its_place(person, service):
    """What comes before the stream begins is not lost. Mutant: it begins when it is opened."""
    one = person("reader")
    place = re.search(r'data-after="([^"]+)"', one.get("/?q=placed").text)[1]
    event = service.sms(831, service="Placed")

    with stream(one, f"q=placed&after={place}") as (_, row):
        assert row()[1]["texts"]["id"] == event


# What is not there


def code_alone(service, number):
    """Send a message that has a code and no text; return the id of its event."""
    fields = {"activationId": 10_000_000 + number, "service": "go", "code": live.code(number)}
    return service.post(json.dumps(fields).encode(), "smsactivate")["events"][0]


def reveal(person, event, what):
    json_ = {"Accept": "application/json", **SAME_SITE}
    return person.post(f"/events/{event}/reveal", {"what": what}, headers=json_)


def test_code_without_a_text_is_copied_and_revealed(admin, service):
    """Providers may send no more. Mutants: its rows or its page have no buttons."""
    event = code_alone(service, 841)

    rows = admin.get("/?q=activation/10000841&since=all").text
    own = admin.get(f"/events/{event}").text
    with stream(admin, "q=activation/10000841&since=all&after=start") as (_, row):
        shown = row()[1]

    for text in (rows, own):
        assert 'aria-label="Copy the code from Google' in text
        assert 'aria-label="Reveal the code from Google' in text
    assert (shown["copies"], shown["reveals"], shown["texts"]["what"]) == (True, True, "code")
    assert reveal(admin, event, "text").json() == {"code": live.code(841), "seconds": 60}
    assert reveal(admin, event, "copy").json() == {"code": live.code(841), "seconds": 60}


def test_erased_content_is_said(admin, service):
    """A page from before still has its buttons. Mutant: nothing is copied, and `Copied` said."""
    event = service.sms(842)
    assert "Erased" not in admin.get(f"/events/{event}").text

    service.api(f"/events/{event}/content", method="DELETE")

    for what in ("copy", "text"):
        answer = reveal(admin, event, what)
        assert (answer.status_code, answer.json()["code"]) == (410, "erased")
    assert "○</span> Erased" in admin.get(f"/events/{event}").text


# In a browser


@pytest.mark.slow
def test_code_is_copied_from_orders(tab, service):
    """Mutant: the script looks for the event elsewhere."""
    order = {"source": "tellabot", "request_id": "10000832", "reference": "hurry-1"}
    id_ = service.api("/orders", method="POST", json=order).json()["id"]
    service.sms(832)
    page = tab("support", **CLIPBOARD).goto("/orders?reference=hurry-1")

    for path in ("/orders?reference=hurry-1", f"/orders/{id_}"):
        page.goto(f"/console{path}")
        page.evaluate("navigator.clipboard.writeText('')")
        page.get_by_role("button", name="Copy the code").click()
        page.get_by_text("Copied. It was recorded.").wait_for()
        assert page.evaluate("navigator.clipboard.readText()") == live.code(832)


@pytest.mark.slow
def test_keys_walk_through_each_list_and_back(tab, service):
    """Mutants: the link of the sink is that of the row; Back names another list."""
    one = tab()
    for number in (833, 834):
        service.sms(number)
    page = one.goto("/deliveries?state=delivered&sink=log")

    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url("**/events/*")
    assert page.locator("[data-back]").text_content() == "Deliveries"
    before = page.url
    page.keyboard.press("k")
    page.wait_for_url(lambda url: "/events/" in url and url != before)
    event = page.url.rpartition("/")[2]
    page.keyboard.press("u")
    page.wait_for_url(f"**/deliveries?state=delivered&sink=log#{event}")
    assert page.locator(":focus").get_attribute("href") == f"/console/events/{event}"

    for path in ("/sinks", "/orders", "/quarantine"):
        page.goto(f"/console{path}")
        page.keyboard.press("j")
        page.keyboard.press("Enter")
        page.wait_for_url(f"**{path}/*")
        page.keyboard.press("u")
        page.wait_for_url(f"**{path}#*")
        assert page.locator("tbody tr :focus").count() == 1


@pytest.mark.slow
def test_keys_act_on_their_row_alone(tab, service):
    """Mutant: a row without a code copies that of the first row."""
    one = tab("support", **CLIPBOARD)
    service.sms(835, service="Codeless", text="Hello there", pin="")
    event = service.sms(836, service="Codeless")
    page = one.goto("/?q=codeless")
    page.keyboard.press("j")
    page.keyboard.press("j")

    page.keyboard.press("c")
    page.keyboard.press("r")
    page.get_by_text("Hello there").wait_for()

    assert page.locator("#said").text_content().strip() == ""
    assert [one for one in service.leaves("code.read") if one.get("event") == event] == []


@pytest.mark.slow
def test_second_click_reveals_once(tab, service):
    """Mutants: two requests; the second time to hide shows the code again, for ever."""
    one = tab("support")
    event = service.sms(837, service="Doubled")
    page = one.goto("/?q=doubled")
    page.clock.install()

    page.locator("[formaction]").evaluate("button => { button.click(); button.click(); }")
    page.get_by_text(f"{live.code(837)} is your").wait_for()
    page.clock.run_for(62_000)

    assert live.code(837) not in page.content()
    assert page.get_by_role("button", name="Reveal the text from Doubled").count() == 1
    assert 1 == len([leaf for leaf in service.leaves("code.read") if leaf.get("event") == event])


@pytest.mark.slow
def test_place_shows_the_last_reveal_for_a_minute(tab, service):
    """The answers of an event share a place. Mutant: the first one comes back, for ever."""
    page = tab("admin").goto(f"/events/{service.events['failing']}")
    page.clock.install()
    place, buttons = (
        page.locator("[data-shows=answer]"),
        page.locator("[data-reveal=answer] button"),
    )
    buttons.nth(1).click()
    place.get_by_text("said by the sink").wait_for()
    page.clock.run_for(20_000)

    buttons.nth(2).click()
    page.get_by_role("button", name="Hide 60 s").wait_for()
    hiding = page.get_by_role("button", name="Hide").count()
    page.clock.run_for(41_000)
    still = place.is_visible()
    page.clock.run_for(21_000)

    assert (hiding, still, place.is_visible(), place.text_content()) == (1, True, False, "")


@pytest.mark.slow
def test_reveal_ends_while_the_tab_sleeps(tab, service):
    """No timer runs meanwhile. Mutant: the seconds are counted by ticks."""
    event = service.sms(844, service="Asleep")
    page = tab("support").goto(f"/events/{event}")
    page.clock.install()
    page.get_by_role("button", name="Reveal the text").click()
    page.get_by_text(f"{live.code(844)} is your").wait_for()

    page.clock.fast_forward(3_600_000)

    assert live.code(844) not in page.content()


@pytest.mark.slow
def test_reveal_without_network_says_so(tab, service):
    """And works again. Mutants: nothing is said; the next click does nothing."""
    one = tab("support")
    service.sms(838, service="Offline")
    page = one.goto("/?q=offline")
    page.route("**/reveal", lambda route: route.abort())
    button = page.get_by_role("button", name="Reveal the text from Offline")

    button.click()
    page.get_by_text("The service does not answer.").wait_for()
    page.unroute("**/reveal")
    button.click()
    page.get_by_text(f"{live.code(838)} is your").wait_for()

    assert all("net::ERR_FAILED" in line for line in one.seen)
    one.seen.clear()


@pytest.mark.slow
@pytest.mark.parametrize("path", ["/?q=lasting", "/overview"])
def test_open_page_gives_way_when_its_session_ends(browser, short, path, monkeypatch):
    """Mutant: it says `not connected` for ever, and shows its messages to whoever comes."""
    monkeypatch.setattr("server.api.stream.HEARTBEAT", 0.5)
    one = browser.tab(short, "reader")
    one.page.clock.install()
    page = one.goto(path)
    short.moved += IDLE + 1

    page.clock.run_for(10_100)  # the plots are asked for again
    page.get_by_label("API key").wait_for()

    assert "/console/login?next=" in page.url
    assert all("401" in line for line in one.seen)
    one.seen.clear()
    one.close()


@pytest.mark.slow
def test_long_live_list_continues_with_older(tab, service):
    """Each message is on a page. Mutants: Older begins behind the rows of the first page."""
    page = tab("support").goto("/?q=many")
    page.get_by_text("● live").wait_for()
    ids = [service.sms(number, service="Many") for number in range(1000, 1240)][::-1]
    page.locator(f'tr[data-id="{ids[0]}"]').wait_for()

    found, rows = [], page.locator("#rows tr")
    while True:
        found.append(rows.evaluate_all("rows => rows.map((row) => row.dataset.id)"))
        older = page.get_by_role("link", name="Older")
        if not older.count():
            break
        page.goto(older.get_attribute("href"))

    assert [one for part in found for one in part] == ids
    assert len(found[0]) <= 200


@pytest.mark.slow
def test_paper_has_all_columns(tab):
    """A4 portrait, also from a dark screen. Mutants: tables scroll in their frames; dark paper."""
    one = tab()
    one.page.set_viewport_size({"width": 718, "height": 1000})
    one.page.emulate_media(media="print", color_scheme="dark")
    cut = []
    for path in ("/?since=all", "/deliveries?state=any", "/sinks", "/sources", "/orders", "/audit"):
        page = one.goto(path)
        cut += page.locator(".frame").evaluate_all(
            "frames => frames.map((one) => one.scrollWidth - one.clientWidth)"
        )
        colour = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
        cut += [0] if colour == "rgb(255, 255, 255)" else [colour]

    assert set(cut) == {0}


@pytest.mark.slow
def test_code_alone_is_revealed_in_its_row(tab, service):
    """Mutant: an empty line below it."""
    page = tab("support").goto("/?q=activation/10000843")
    page.get_by_text("● live").wait_for()
    code_alone(service, 843)

    page.get_by_role("button", name="Reveal the code from Google").click()
    page.get_by_text(live.code(843)).wait_for()

    assert page.locator("tr.text").count() == 0
