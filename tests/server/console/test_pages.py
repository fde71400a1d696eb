"""What holds for every page, without a browser."""

import re

import pytest
from consoles import ConsoleService, Parsed

from core.errors import Unavailable
from server.config.options import ConsoleOptions
from server.console.inbox import delivered, search
from server.console.page import Page, Request, View
from server.console.render import duration, environment, utc

#: Bytes of a page with a hundred rows, and of the static files.
PAGE, CSS, JS = 80_000, 10_000, 12_000
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}


def headers_of(answer):
    return {name: answer.headers.get(name) for name in HEADERS}


def test_page_is_sound(admin, page):
    """Mutants: an id twice; a field without a label; `style=`, `onclick=`; a script in the page."""
    answer = admin.get(page)
    parsed = Parsed(answer.text)
    ids = [its["id"] for _, its in parsed.elements if "id" in its]
    fields = [
        its for its in parsed.all("input", "select", "textarea") if its.get("type") != "hidden"
    ]
    ours = {name for _, its in parsed.elements for name in its}

    assert answer.status_code == 200
    assert HEADERS == headers_of(answer)
    assert len(answer.content) < PAGE
    assert sorted(set(ids)) == sorted(ids)
    assert [] == [its for its in fields if its not in parsed.labelled and "aria-label" not in its]
    assert [] == [name for name in ours if name == "style" or name.startswith("on")]
    assert all(its.get("src") for its in parsed.all("script"))
    assert [] == parsed.all("style", "iframe", "object", "base")
    assert 1 == len(parsed.all("h1"))
    assert 1 == len(parsed.all("main"))
    assert re.search(r"<title>.+ - smshook</title>", answer.text)


@pytest.fixture(scope="module")
def answers():
    """The status by link, for all pages: they share the links of the navigation."""
    return {}


def test_links_of_page_answer(admin, answers, page):
    """Mutant: a link to a page that is not there."""
    parsed = Parsed(admin.get(page).text)
    links = {its["href"] for its in parsed.all("a", "link") if not its["href"].startswith("#")}
    links |= {its["src"] for its in parsed.all("script", "img")}
    links = {link for link in links if "{id}" not in link}  # in what the script fills
    links |= {its.get("action", page) for its in parsed.all("form") if its.get("method") == "get"}

    answers |= {link: admin.get(link).status_code for link in links - answers.keys()}

    assert [] == [link for link in links if answers[link] not in {200, 303}]


def test_forms_of_page_have_a_handler(admin, page):
    """A form without its token is refused, and not unknown: 403, not 404 or 405.

    Mutant: an action that is misspelt.
    """
    parsed = Parsed(admin.get(page).text)
    actions = {
        its["action"]
        for its in parsed.all("form")
        if its.get("method") == "post" and "action" in its
    }
    actions |= {its["formaction"] for its in parsed.all("button") if "formaction" in its}

    answers = {action: admin.post(action, csrf="wrong").status_code for action in actions}

    assert set(answers.values()) <= {403}, answers


def test_static_files_are_small_and_kept(admin):
    """Mutants: a name without the hash of the content; `no-store`; another type."""
    parsed = Parsed(admin.get("/").text)
    [script], style = parsed.all("script"), parsed.all("link")[0]

    css, js = admin.get(style["href"]), admin.get(script["src"])

    assert len(css.content) <= CSS
    assert len(js.content) <= JS
    assert {answer.headers["cache-control"] for answer in (css, js)} == {
        "public, max-age=31536000, immutable"
    }
    assert [answer.headers["content-type"] for answer in (css, js)] == [
        "text/css; charset=utf-8",
        "text/javascript; charset=utf-8",
    ]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/console/nothing", 404),
        ("GET", "/console/static/nothing.js", 404),
        ("PUT", "/console/", 403),
        ("GET", "/console", 303),
        ("HEAD", "/console/", 200),
    ],
)
def test_every_answer_has_the_headers(admin, method, path, status):
    answer = admin.request(method, path)

    assert status == answer.status_code
    assert HEADERS == headers_of(answer)


def test_page_of_a_hundred_rows_is_small(tmp_path):
    """Mutant: a hundred forms in place of one."""
    with ConsoleService(tmp_path) as service:
        for number in range(101):
            service.sms(number)
            service.post(f"event=order.refund&id={number}".encode())
        admin = service.browser("admin")
        answer, quarantine = admin.get("/"), admin.get("/quarantine")

    assert 100 == quarantine.text.count("Delete…")
    assert len(quarantine.content) < PAGE
    assert 100 == answer.text.count('<tr role="row" data-id="0')
    assert "Older" in answer.text
    assert len(answer.content) < PAGE


def test_fault_is_500_with_the_headers(person, service, monkeypatch, capsys):
    """Mutants: no headers; the text of the exception is shown or logged."""

    async def fail(_request):
        raise ZeroDivisionError("a secret")

    page = Page(path="/sinks/fault", answer=fail)
    monkeypatch.setattr("server.console.app.PAGES", (page,))

    answer = person("admin").get("/sinks/fault")

    assert 500 == answer.status_code
    assert HEADERS == headers_of(answer)
    assert "Internal error; the log has its request id" in answer.text
    assert "a secret" not in answer.text + capsys.readouterr().out
    assert service.url


def test_journal_that_does_not_work_is_503(person, monkeypatch):
    async def fail(_request):
        raise Unavailable("a secret")

    page = Page(path="/sinks/fault", answer=fail)
    monkeypatch.setattr("server.console.app.PAGES", (page,))

    answer = person("admin").get("/sinks/fault")

    assert (503, "5") == (answer.status_code, answer.headers["retry-after"])


def test_template_that_fails_is_500(person, monkeypatch):
    """A name that a template misses is a fault, and not an empty place."""

    async def answer(_request):
        return View(template="inbox.html", title="x")

    page = Page(path="/sinks/fault", answer=answer)
    monkeypatch.setattr("server.console.app.PAGES", (page,))

    shown = person("admin").get("/sinks/fault")

    assert 500 == shown.status_code
    assert HEADERS == headers_of(shown)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("google", {"service": ["google"]}),
        ("+18505550001", {"number": ["18505550001"]}),
        ("18505550001", {"number": ["18505550001"]}),
        ("1850", {"service": ["1850"]}),
        ("request/10000001", {"subject": ["request/10000001"]}),
        ("signup-42", {"reference": ["signup-42"]}),
        ("google 18505550001", {"service": ["google"], "number": ["18505550001"]}),
    ],
)
async def test_words_of_the_search(query, expected):
    """Mutants: one kind of word is read as another."""

    class Api:
        async def get(self, _path, *, reference, limit):
            assert 1 == limit
            return {"data": [{}] if reference == "signup-42" else []}

    asked = await search(request_of(Api(), [("q", query), ("since", "all")]))

    assert expected == asked


def test_inbox_without_messages_says_what_to_do(tmp_path):
    """The first message changes that, also where the filter finds none.

    Mutants: each empty page says so; people without the right get a button that fails.
    """
    with ConsoleService(tmp_path) as service:
        writer, reader = service.browser("writer"), service.browser("reader")
        shown = reader.get("/?since=10m").text
        assert "smshook sources url NAME" in shown
        assert "/sample" not in shown
        form = "/sources/tellabot/sample"
        assert f'action="/console{form}"' in writer.get("/").text
        assert writer.post(form).status_code == 303
        after = writer.get("/?service=none&since=10m").text

    assert "smshook sources url NAME" not in after
    assert "/sample" not in after
    assert "No message matches in the last 10 minutes." in after


async def test_filters_of_the_page_are_those_of_the_api():
    query = [
        ("with", "code"),
        ("source", "a"),
        ("source", "b"),
        ("number", " 1850"),
        ("after", "c"),
    ]

    asked = await search(request_of(None, query))

    assert {
        "code": "true",
        "source": ["a", "b"],
        "number": ["1850"],
        "since": "24h",
        "after": "c",
    } == asked


def request_of(api, query):
    return Request(path="/", query=query, session=None, api=api, options=ConsoleOptions(), now=0.0)


@pytest.mark.parametrize(
    ("states", "kind", "words", "is_owed"),
    [
        ([], "off", "no route", False),
        (["delivered"], "ok", "1 of 1", False),
        (["delivered", "pending"], "wait", "1 of 2", True),
        (["delivered", "dead", "expired"], "bad", "1 of 3, 2 given up", False),
        (["dead", "sending"], "bad", "0 of 2, 1 given up", True),
    ],
)
def test_state_of_all_deliveries(states, kind, words, is_owed):
    assert {"kind": kind, "words": words, "is_owed": is_owed} == delivered(states)


def test_states_of_rows_are_those_of_the_page(admin, person, service):
    """Mutants: the rights of a key with a `when`; without a bound; an event without deliveries."""
    ids = [service.events[name] for name in ("plain", "failing", "unrouted")]
    path = f"/states?{'&'.join(f'event={id_}' for id_ in ids)}"

    found = admin.get(path).json()

    assert {
        ids[0]: ({"kind": "ok", "mark": "●", "words": "1 of 1"}, False),
        ids[1]: ({"kind": "bad", "mark": "▲", "words": "1 of 4, 2 given up"}, True),
        ids[2]: ({"kind": "off", "mark": "○", "words": "no route"}, False),
    } == {id_: (one["texts"], one["is_owed"]) for id_, one in found.items()}
    text = admin.get("/?since=all&q=telegram").text
    [cell, blank] = re.findall(r'<td role="cell" class="owed">.*', text)
    assert ("1 of 4, 2 given up" in cell, "{words}" in blank) == (True, True)
    assert 403 == person("growth").get(path).status_code
    assert [400, 400] == [
        admin.get(path).status_code for path in ("/states", f"/states?{'event=a&' * 101}")
    ]


def test_key_that_sees_no_deliveries_has_no_column_for_them(admin, person):
    """Rows and the template of live rows lack it. Mutant: live rows say `new` for ever."""
    shown = [Parsed(one.get("/?since=all").text) for one in (admin, person("growth"))]

    assert [True, False] == ["Delivered" in page.text for page in shown]
    assert [2, 1] == [page.text.count("{words}") for page in shown]


def test_search_for_an_id_leads_to_the_event(admin, service):
    event = service.events["plain"]

    answer = admin.get(f"/?q={event}")

    assert (303, f"/console/events/{event}") == (answer.status_code, answer.headers["location"])


def test_number_has_a_page_of_its_own(admin):
    """`+` of an address that somebody typed is a blank."""
    for number in ("+18505550001", "%2B18505550001", "18505550001"):
        answer = admin.get(f"/?number={number}&since=all")
        assert "<h1>+18505550001</h1>" in answer.text


def test_number_has_its_order_above(admin, person):
    """Mutants: the order of another number; an order for keys that may not list orders."""
    text = Parsed(admin.get("/?number=18505550006&since=all").text).text

    assert "Order signup-42 ● received, ordered" in " ".join(text.split())
    assert "Order " not in Parsed(admin.get("/?number=18505550001").text).text
    assert "signup-42" not in person("growth").get("/?number=18505550006").text


def test_wrong_parameter_is_400(admin):
    for path in ("/?since=yesterday", "/?since=1h&since=2h", "/?after=x", "/?q=%ff"):
        assert 400 == admin.get(path).status_code


@pytest.mark.parametrize(
    ("name", "shown"),
    [("a b", '<a href="/console/sinks/a%20b">a b</a>'), ("removed", "removed")],
)
def test_name_of_sink_is_a_link_to_its_page(name, shown):
    """Mutant: a link to the page of a removed sink, which is 404."""
    text = '{% import "macros.html" as m with context %}{{ m.sink(name, ["a b"]) }}'

    assert environment().from_string(text).render(name=name) == shown


def test_durations_and_instants():
    assert ["0 s", "59 s", "4 min", "3 h", "2 d"] == [
        duration(seconds) for seconds in (0, 59, 240, 3 * 3600, 2 * 86_400)
    ]
    assert "2026-12-01T10:00:00Z" == utc("2026-12-01T10:00:00.123456Z")
