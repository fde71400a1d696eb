"""What holds for every page, without a browser."""

import re

import pytest
from consoles import Parsed

#: Bytes of a page with a hundred rows, and of the static files.
PAGE, CSS, JS = 80_000, 10_240, 12_288
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


def test_links_of_page_answer(admin, page):
    """Mutant: a link to a page that is not there."""
    parsed = Parsed(admin.get(page).text)
    links = {its["href"] for its in parsed.all("a", "link") if not its["href"].startswith("#")}
    links |= {its["src"] for its in parsed.all("script", "img")}
    links |= {its.get("action", page) for its in parsed.all("form") if its.get("method") == "get"}

    answers = {link: admin.get(link).status_code for link in links}

    assert set(answers.values()) <= {200, 303}, answers


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
