"""The page of an event, its reveals, and what is done with it."""

import json
import re
import threading

import canary
import live
import pytest
from consoles import HOSTILE, KEYS, SAME_SITE, ConsoleService, Parsed, key
from live import eventually

from core.printable import plain
from core.units import Rate
from journal.records import AccountBalance
from server.config.options import Api, ConsoleOptions
from server.console.api import ApiCalls
from server.console.events import boxes, choices, concerns
from server.runtime.keys import in_console

JSON = SAME_SITE | {"Accept": "application/json"}
#: What people and programs send that pages, terminals and tables may take for their own.
HOSTILE_TEXTS = [
    HOSTILE,
    "<script>alert(1)</script>",
    "</script><script>alert(1)</script>",
    "<svg onload=alert(1)>",
    "<img src=x onerror=alert(1)>",
    "'\"><b>x</b>",
    "javascript:alert(1)",
    "<a href=javascript:alert(1)>x</a>",
    "<iframe srcdoc='<script>alert(1)</script>'>",
    "<template><script>alert(1)</script></template>",
    "<math><mtext></mtext><style><img src onerror=alert(1)>",
    "<!--<img src=x onerror=alert(1)>-->",
    "<![CDATA[<img src=x onerror=alert(1)>]]>",
    "&lt;img src=x onerror=alert(1)&gt;",
    "&#60;img src=x onerror=alert(1)&#62;",
    "{{ 7*7 }}",
    "{% include 'base.html' %}",
    "${7*7}",
    "#{7*7}",
    "=1+1",
    "+1+1",
    "-1+1",
    "@SUM(1)",
    '=HYPERLINK("http://evil.example";"x")',
    "\u202etxt.exe",
    "\u2066\u2067\u2068\u2069",
    "\u200b\u200c\u200d\u200e\u200f",
    "\ufeffbom",
    "\x1b[31mred\x1b[0m",
    "\x1b]8;;http://evil.example\x07link\x1b]8;;\x07",
    "\x9b31m",
    "\x08\x08\x08",
    "\u05e9\u05dc\u05d5\u05dd 123456",
    "\u0645\u0631\u062d\u0628\u0627",
    "a" * 2_000,
    "w i d e " * 200,
    "line\nline\r\nline",
    "\t\ttabs",
    "\ud7ff\ue000\uf8ff",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467",
]


def reveal(person, event, **fields):
    return person.post(f"/events/{event}/reveal", fields, headers=JSON)


def reads(service, event):
    return [
        (leaf["by"], leaf["how"], leaf["fields"])
        for leaf in service.leaves("code.read")
        if event in (leaf.get("event"), *leaf.get("events", ()))
    ]


def test_event_shows_why_it_is_where_it_is(admin, service):
    text = Parsed(admin.get(f"/events/{service.events['failing']}").text).text

    assert "callback from 127.0.0.1, token " in text
    assert "telegram matched" in text
    assert "last: 503" in text
    assert "dead after 1 attempt" in text
    assert "expired after 1 attempt" in text


def test_event_names_the_first_clause_that_failed(admin, service):
    """Mutants: the value seen or wanted is left out."""
    text = Parsed(admin.get(f"/events/{service.events['unrouted']}").text).text

    assert 'telegram did not match: data.service.key is "nobody", expected "telegram"' in text
    assert "no sink gets the event" in text


def test_event_names_its_copies(admin, service):
    text = Parsed(admin.get(f"/events/{service.events['plain']}").text).text

    assert "received 1 more time; still one event" in text
    assert "duplicate by callback from 127.0.0.1" in text


def test_boxes_of_an_event_without_a_callback():
    """An event of the service itself, and clauses within others."""
    clause = {"clause": "a", "missing": True, "saw": None, "wanted": 1, "below": []}
    joined = {"clause": "$or", "missing": False, "saw": None, "wanted": None, "below": [clause]}
    route = {"name": "r", "matched": False, "fails": joined}
    why = {
        "door": None,
        "dedupe": {"copies": [{"how": "copy", "channel": "poll", "peer": "p"}] * 5},
        "routes": [route],
        "subscriptions": [],
        "deliveries": [],
    }

    door, copies, routes, none = boxes(why, [])

    assert ["made by smshook itself, or the callback is no longer stored"] == door.lines
    assert "and 2 more" == copies.lines[-1]
    assert ["r did not match: $or: a is missing, expected 1"] == routes.lines
    assert ("off", "off") == (routes.kind, none.kind)


@pytest.mark.parametrize(
    ("subject", "page"),
    [
        ("sink/crm", "/console/sinks/crm"),
        ("sink/a b", "/console/sinks/a%20b"),
        ("sink/removed", None),
        ("source/tellabot", "/console/sources"),
        ("request/10000001", None),
        ("", None),
    ],
)
def test_alert_links_to_its_subject(subject, page):
    """Mutants: a link for each event; a link to the page of a removed sink, which is 404."""
    assert page == concerns(subject, ["crm", "a b"])


def test_sinks_of_an_event_are_links(admin, person, service):
    """Mutants: names only; links that answer 403 for a key with a `when`."""
    event = service.events["failing"]

    def links(one):
        answer = one.get(f"/events/{event}")
        assert answer.status_code == 200
        found = Parsed(answer.text).all("a")
        return [its["href"].rpartition("/")[2] for its in found if "/sinks/" in its["href"]]

    sinks = {"log", "crm", "old", "late"}
    strip, table = links(admin)[:4], links(admin)[4:]

    assert (set(strip), set(table)) == (sinks, sinks)
    assert set(links(person("reader"))) == sinks
    assert links(person("growth")) == []


def test_send_again_begins_with_a_sink_that_lacks_the_event():
    """Mutants: by name only; one that has it by a replay; one that gets it soon; one that was
    removed; one to which it is being sent.
    """
    names = ("delivered", "dead", "again", "none", "pending", "sending")
    sinks = [{"name": name, "type": "http"} for name in names]
    sinks.append({"name": "removed", "type": None})
    deliveries = [{"sink": name, "state": name} for name in names if name not in ("again", "none")]
    deliveries += [{"sink": "again", "state": state} for state in ("expired", "delivered")]

    assert choices(sinks, deliveries) == ["dead", "none", "delivered", "again", "pending"]


def test_event_without_a_callback_offers_none(admin, service):
    """Mutant: a button that reveals nothing."""
    alert = service.api("/alerts/disk_low/test", method="POST").json()["event"]

    texts = [admin.get(f"/events/{event}").text for event in (alert, service.events["plain"])]

    assert ["The callback, as received" in text for text in texts] == [False, True]
    assert ['data-reveal="callback"' in text for text in texts] == [False, True]


def test_unknown_event_is_404(admin):
    for path in ("/events/01a00000-0000-7000-8000-000000000000", "/events/x", "/events/a%2fb"):
        assert 404 == admin.get(path).status_code


# Reveals


def test_code_is_nowhere_before_a_reveal(admin, service):
    """Mutant: a page reads with the rights of the key."""
    event = service.events["plain"]

    pages = [admin.get(path).text for path in ("/?since=all", f"/events/{event}")]

    assert [] == [text for text in pages if live.code(1) in text]


def test_reveal_is_recorded_with_its_reader(admin, service):
    """Mutants: `how` of the API; all fields for a copy."""
    event = service.sms(301)

    text = reveal(admin, event).json()
    copied = reveal(admin, event, what="copy").json()

    assert {
        "code": live.code(301),
        "text": f"{live.code(301)} is your Google verification code.",
        "seconds": 60,
    } == text
    assert {"code": live.code(301), "seconds": 60} == copied
    assert [
        ("key/admin", "console", ["code"]),
        ("key/admin", "console", ["text", "code"]),
    ] == reads(service, event)


def test_reveal_waits_until_it_is_on_disk(admin, service):
    """The writer of the journal stands still: no answer comes.

    Mutant: the reveal answers before the line.
    """
    event = service.sms(302)
    commits = service.parts.journal._commits
    write, goes_on, answers = commits._write, threading.Event(), []

    def stand_still(ops):
        goes_on.wait(20)
        return write(ops)

    commits._write = stand_still
    asking = threading.Thread(target=lambda: answers.append(reveal(admin, event)))
    asking.start()
    asking.join(0.7)
    before = list(answers)
    commits._write = write
    goes_on.set()
    asking.join(20)

    assert [] == before
    assert live.code(302) in answers[0].text


def test_reveal_without_script_is_shown_for_a_minute(admin, service):
    """Mutant: the page stays."""
    event = service.sms(303)

    answer = admin.post(f"/events/{event}/reveal")

    assert live.code(303) in answer.text
    assert f"60; url=/console/events/{event}" == answer.headers["refresh"]
    assert "no-store" == answer.headers["cache-control"]
    assert live.code(303) not in admin.get(f"/events/{event}").text


def test_callback_and_answers_need_a_key_that_reads_codes(admin, person, service):
    """Mutants: `codes:reveal` is enough; no line is written."""
    event = service.events["failing"]
    found = service.api(f"/deliveries?event={event}", "reader").json()["data"]
    delivery = next(one["id"] for one in found if one["sink"] == "old")
    support = person("support")

    callback = reveal(admin, event, what="callback").json()["callback"]
    answer = reveal(admin, event, what="answer", delivery=delivery).json()["answer"]

    assert "from 127.0.0.1\n" in callback
    assert f"pin={live.code(2)}" in callback
    assert f"attempt 1: said by the sink {plain(HOSTILE)}" == answer
    assert {
        ("key/admin", "raw", ("text", "code", "callback")),
        ("key/admin", "answer", ("answer",)),
    } <= {(by, how, tuple(fields)) for by, how, fields in reads(service, event)}
    assert 403 == reveal(support, event, what="callback").status_code
    masked = reveal(support, event, what="answer", delivery=delivery).json()["answer"]
    assert "said by the sink" not in masked
    other = service.events["plain"]
    assert 400 == reveal(admin, other, what="answer", delivery=delivery).status_code
    assert 400 == reveal(admin, event, what="everything").status_code


def test_event_is_shown_as_json_without_invisible_characters(admin, service):
    """It can be copied. Mutants: `\\u{202e}`, which is no JSON; a code."""
    event = service.events["hostile"]

    page = Parsed(admin.get(f"/events/{event}").text).text

    written, _ = json.JSONDecoder().raw_decode(page[page.index("{\n") :])
    assert service.api(f"/events/{event}", "reader").json()["event"] == written
    assert "\\u202etxt.exe" in page


# Writes


def test_event_is_sent_again_after_a_preview(person, service):
    """Mutants: GET sends; another sink; nothing is said."""
    writer, event = person("writer"), service.sms(311)
    eventually(lambda: len(service.api(f"/events/{event}").json()["deliveries"]) == 1)

    preview = writer.get(f"/events/{event}/again?sink=log")
    before = len(service.api(f"/events/{event}").json()["deliveries"])
    answer = writer.post(f"/events/{event}/again", {"sink": "log"})
    then = writer.get(answer.headers["location"]).text

    assert "Send again to log?" in preview.text
    assert f"{canary.NUMBER}0311" in preview.text
    assert live.code(311) not in preview.text
    assert (1, 303) == (before, answer.status_code)
    assert "Sent again: 1 delivery" in then
    assert "Sent again" not in writer.get(f"/events/{event}").text
    eventually(lambda: len(service.api(f"/events/{event}").json()["deliveries"]) == 2)


def test_preview_shows_the_request_of_the_sink(admin, service):
    """Mutants: the body in clear; the URL with its secrets."""
    event = service.events["failing"]

    text = Parsed(admin.get(f"/events/{event}/again?sink=old").text).text

    assert "POST http://127.0.0.1" in text
    assert f"webhook-id: {event}" in text
    assert '"code":"***"' in text
    assert 422 == admin.get(f"/events/{event}/again?sink=nothing").status_code


def test_pending_delivery_is_made_due_and_not_sent_twice(person, service):
    """Mutant: a replay beside the pending delivery."""
    writer, event = person("writer"), service.sms(312, service="Telegram")

    def is_pending():
        found = service.api(f"/deliveries?event={event}&sink=crm").json()["data"]
        return found[0] if found[0]["state"] == "pending" and found[0]["attempts"] else None

    pending = eventually(is_pending)
    preview = writer.get(f"/events/{event}/again?sink=crm").text
    answer = writer.post(f"/events/{event}/again", {"delivery": pending["id"]})

    assert pending["id"] in preview
    assert 303 == answer.status_code
    assert "Due now: 1 delivery" in writer.get(f"/events/{event}").text
    assert 1 == len(service.api(f"/deliveries?event={event}&sink=crm").json()["data"])


def buttons(person, event):
    """Return the buttons of the strip of an event: their words, with the forms around them."""
    strip = person.get(f"/events/{event}").text.partition('class="strip">')[2].partition("</ol>")[0]
    found = re.findall(r'action="([^"]+)">(.*?)<button[^>]*>([^<]+)<', strip, re.DOTALL)
    named = {words: (action, Parsed(fields).all("input")) for action, fields, words in found}
    return {
        words: (action, {its["name"]: its["value"] for its in inputs if its["name"] != "csrf"})
        for words, (action, inputs) in named.items()
    }


def test_delivery_is_steered_where_it_is_explained(person, service, monkeypatch):
    """Mutants: `Now` while it is sent, or while its sink is paused; for keys that may not write;
    the way back leads to the sink."""
    writer, event = person("writer"), service.events["failing"]
    shown = buttons(writer, event)
    [pending] = service.api(f"/deliveries?event={event}&sink=crm").json()["data"]
    to = {"event": event}
    steered = ("/console/sinks/crm/pause", to), ("/console/sinks/crm/resume", to)

    assert {
        "Now": (f"/console/events/{event}/again", {"delivery": pending["id"]}),
        "Pause crm": steered[0],
    } == shown
    assert [{}, {}] == [buttons(person(name), event) for name in ("reader", "growth")]
    paused = writer.post(*steered[0])
    assert f"/console/events/{event}" == paused.headers["location"]
    assert {"Resume crm": steered[1]} == buttons(writer, event)
    writer.post(*steered[1])
    call = ApiCalls.call

    async def sending(api, method, path, *args, **named):
        found = await call(api, method, path, *args, **named)
        if path.endswith("/why"):
            for one in found["deliveries"]:
                one["state"] = one["state"].replace("pending", "sending")
        return found

    monkeypatch.setattr(ApiCalls, "call", sending)
    assert {"Pause crm": steered[0]} == buttons(writer, event)


def test_content_is_erased_after_a_question(admin, service):
    """Mutants: GET erases; no question."""
    event = service.sms(321)

    asked = admin.get(f"/events/{event}/erase")
    unsure = admin.post(f"/events/{event}/erase")
    done = admin.post(f"/events/{event}/erase", {"sure": "yes"})

    assert "Erase the content?" in asked.text
    assert (400, 303) == (unsure.status_code, done.status_code)
    shown = admin.get(f"/events/{event}").text
    assert "Erased: text, code" in shown
    assert "/erase" not in shown


# Hostile texts


def test_hostile_texts_are_shown_as_texts(admin, browser, service):
    """In service, sender and text; by the page, by a reveal and by the live list.

    Mutants: `|safe` on the text; `finalize` without `plain_lines`; `innerHTML` in the script.
    """
    tab = browser.tab(service, "admin")
    page = tab.goto("/?source=tellabot&since=10m")
    page.get_by_text("● live").wait_for()
    ours = "main *:not(td, tr, a, span, time, button, small, details, summary)"
    before = len(page.query_selector_all(ours))
    events = [
        service.sms(
            400 + at,
            service=text[:100],
            text=f"{text} end",
            pin="",
            **{"from": f"from {text[:60]}"},
        )
        for at, text in enumerate(HOSTILE_TEXTS)
    ]
    page.locator(f'tr[data-id="{events[-1]}"]').wait_for()

    after = len(page.query_selector_all(ours))
    assert before == after
    assert 0 == tab.overflow()
    for event, text in zip(events, HOSTILE_TEXTS, strict=True):
        shown = admin.post(f"/events/{event}/reveal").text
        parsed = Parsed(shown)
        assert [] == parsed.all("img", "iframe", "svg", "b", "math")
        assert 2 == len(parsed.all("script", "base")) + 1
        assert not {"\u202e", "\u2066", "\x1b", "\x9b", "\u200b"} & set(shown)
        if text == "\u202etxt.exe":
            assert plain(text) in parsed.text
    tab.close()


def test_hostile_labels_and_answers_are_shown_as_texts(admin, service, monkeypatch):
    """Texts of source, sink and provider. Mutants: `|safe` on event, answer, test or balance."""
    event = service.events["failing"]
    found = service.api(f"/deliveries?event={event}&sink=old").json()["data"]
    asked = {"what": "answer", "delivery": found[0]["id"]}
    balance = AccountBalance(source="tellabot", amount=HOSTILE, currency=HOSTILE, at=0.0, low=False)
    monkeypatch.setattr(service.parts.balances, "of", lambda _name: balance)

    label = admin.get(f"/events/{event}")
    answer = admin.post(f"/events/{event}/reveal", asked)
    tested = admin.post("/sinks/old/test")
    balances = admin.get("/sources")

    for page, shown in (
        (label, r"onerror=alert(1)>\u202etxt.exe\u2066\u001b[31m"),
        (answer, f"said by the sink {plain(HOSTILE)}"),
        (tested, f"said by the sink {plain(HOSTILE)}"),
        (balances, f"balance {plain(HOSTILE)} {plain(HOSTILE)}"),
    ):
        parsed = Parsed(page.text)
        assert shown in parsed.text
        assert [] == parsed.all("img")
        assert not {"\u202e", "\u2066", "\x1b"} & set(page.text)


# Options


@pytest.fixture(scope="module")
def asking(tmp_path_factory):
    """A service that asks for reasons."""
    keys = Api(keys={**KEYS, "support": key("support", "codes:reveal", reads=Rate(3, 3600))})
    folder = tmp_path_factory.mktemp("asking")
    with ConsoleService(folder, console=ConsoleOptions(ask_reason=True), api=keys) as service:
        yield service


def test_reveal_asks_for_the_reason_once_in_ten_minutes(asking):
    """Mutants: the option is ignored; the reason is not recorded; it is kept forever."""
    admin, event = asking.browser("admin"), asking.sms(1)

    refused = reveal(admin, event)
    given = reveal(admin, event, reason=f" ticket 4711, {live.code(1)}")
    kept = reveal(admin, event)
    reasons = [leaf.get("reason") for leaf in asking.leaves("code.read")]

    assert (422, "reason_required") == (refused.status_code, refused.json()["code"])
    assert [200, 200] == [given.status_code, kept.status_code]
    assert ["ticket 4711, ***"] * 2 == reasons[:2]
    other = asking.browser("admin")
    assert 422 == reveal(other, event).status_code
    assert reveal(other, event, what="callback", reason="why").json()["callback"]
    assert ["raw", "console"] == [leaf["how"] for leaf in asking.leaves("code.read")][:2]


@pytest.mark.parametrize(
    ("path", "form", "shown", "do"),
    [
        ("/quarantine/{kept}/reveal", {}, "Body as hex", "code.read"),
        ("/sources/tellabot/url", {}, live.TOKEN, "source.url_read"),
        ("/events/{event}/reveal", {"what": "callback"}, "from 127.0.0.1", "code.read"),
    ],
)
def test_every_reveal_asks_for_the_reason_without_a_script(asking, path, form, shown, do):
    """Mutants: it is shown without a reason; the form loses what was asked; the line has none."""
    admin, event = asking.browser("admin"), asking.sms(4)
    kept = asking.post(f"event=new.kind&id=8&text={live.code(8)}".encode())["id"]
    path = path.format(event=event, kept=kept)

    asked = admin.post(path, form)
    before = len(asking.leaves(do))
    inputs = [its for its in Parsed(asked.text).all("input") if "name" in its]
    fields = {its["name"]: its.get("value", "") for its in inputs}
    given = admin.post(path, fields | {"reason": "ticket 4711"})
    again = admin.post(path, form)

    assert (422, False) == (asked.status_code, shown in asked.text)
    assert f'action="/console{path}"' in asked.text
    assert form.items() <= fields.items()
    assert [200, 200] == [given.status_code, again.status_code]
    assert [True, True] == [shown in answer.text for answer in (given, again)]
    leaves = asking.leaves(do)
    lines = [leaf for leaf in leaves[: len(leaves) - before] if leaf.get("how") != "raw"]
    assert ["ticket 4711"] * 2 == [leaf["reason"] for leaf in lines]


def test_reason_does_not_repeat_a_revealed_code(asking):
    """Mutants: codes of quarantined callbacks stay; the length of a reason has no limit."""
    admin = asking.browser("admin")
    kept = asking.post(f"event=new.kind&id=9&text={live.code(9)}".encode())["id"]

    long = admin.post(f"/quarantine/{kept}/reveal", {"reason": "a" * 501})
    admin.post(f"/quarantine/{kept}/reveal", {"reason": f"ticket 4711, code {live.code(9)}"})

    assert 400 == long.status_code
    assert "ticket 4711, code ***" == asking.leaves("code.read")[0]["reason"]


def test_dialog_asks_for_the_reason(browser, asking):
    """Mutants: the reason is lost; the dialog is not closed."""
    asking.sms(2, service="Asked")
    tab = browser.tab(asking, "admin")
    page = tab.goto("/?q=asked")

    page.get_by_role("button", name="Reveal the text from Asked").click()
    page.get_by_label("Reason, such as a ticket").fill("ticket 4712")
    assert [] == tab.findings()
    page.get_by_role("button", name="Reveal", exact=True).click()
    page.get_by_text(live.code(2)).first.wait_for()

    assert "ticket 4712" == asking.leaves("code.read")[0]["reason"]
    other = browser.tab(asking, "admin")
    other.goto("/sources").get_by_role("button", name="Callback URL of tellabot").click()
    other.page.get_by_label("Reason, such as a ticket").first.wait_for()
    assert [] == other.findings()
    other.seen = [line for line in other.seen if "422" not in line]
    other.close()
    tab.seen = [line for line in tab.seen if "422" not in line]
    tab.close()


def test_reveals_are_limited(asking):
    """A session has 60 an hour, or as many as its key. Mutant: no limit."""
    support, admin = asking.browser("support"), asking.browser("admin")
    event = asking.sms(3)

    answers = [reveal(support, event, reason="r").status_code for _ in range(4)]

    assert [200, 200, 200, 429] == answers
    assert Rate(60, 3600) == admin_rate(asking)
    assert 200 == reveal(admin, event, reason="r").status_code


def admin_rate(service):
    key_ = service.parts.keys.find(KEYS["admin"].key.reveal().encode())
    return in_console(key_, lambda: True).reads_rate
