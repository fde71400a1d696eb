"""Who may have which page: the scopes of each, and what the API hides."""

import pytest
from consoles import KEYS, SAME_SITE

from journal.actor import Actor
from server.api.app import create_api
from server.api.errors import Problem
from server.console.api import ApiCalls
from server.console.page import Page
from server.console.pages import PAGES
from server.runtime.keys import in_console

PEOPLE = [name for name in KEYS if name != "nothing"]
#: Parts of paths, of things that do not exist.
PARTS = {
    "id": "01a00000-0000-7000-8000-000000000000",
    "name": "nothing",
    "plot": "nothing",
    "line": "999999",
}


def may(name, page):
    """Whether a key has one of the scopes, as the API says it."""
    key = KEYS[name]
    included = {
        "codes:read": ("events:read", "codes:reveal"),
        "codes:reveal": ("events:read",),
    }
    scopes = {one for scope in key.scopes for one in (scope, *included.get(scope, ()))}
    has = "admin" in scopes or bool(scopes & set(page.scopes))
    return has and not (page.whole and key.when)


@pytest.fixture(scope="module")
def people(service):
    """A person for each key."""
    return {name: service.browser(name) for name in PEOPLE}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.method} {page.path}")
@pytest.mark.parametrize("name", PEOPLE)
def test_page_needs_its_scope(people, name, page):
    """The things that they ask for do not exist, so nothing is changed.

    Mutants: `allows` looks at one scope only; it is not called for POST.
    """
    if page.path == "/stream":
        pytest.skip("it lasts; test_browser has it")
    path = page.path.format(**PARTS)

    answer = people[name].request(
        page.method,
        f"/console{path}",
        headers={**SAME_SITE, "X-CSRF": people[name].csrf, "Accept": "application/json"},
    )
    refused = answer.status_code == 403 and answer.json()["code"] == "missing_scope"
    # Instead of the first page, those who may not have it get the first that they may have.
    refused |= path == "/" and answer.headers.get("location") == "/console/audit"

    assert refused != may(name, page), answer.text


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.method} {page.path}")
def test_write_needs_the_token_of_the_form(people, page):
    """Mutant: a page that is called before the token is checked."""
    if page.method == "GET":
        pytest.skip("it changes nothing")
    path = page.path.format(**PARTS)

    assert 403 == people["admin"].post(path, csrf="0" * 32).status_code
    assert 403 == people["admin"].post(path, headers={}).status_code


def test_key_with_a_filter_sees_its_events_only(people, service):
    """Mutants: pages read without the rights of the session; 403 shows that the event is there."""
    other = service.post(
        b'{"activationId": 445001, "service": "go", "text": "t"}', source="smsactivate"
    )["events"][0]

    assert 404 == people["growth"].get(f"/events/{other}").status_code
    assert other not in people["growth"].get("/?since=all").text
    assert 200 == people["reader"].get(f"/events/{other}").status_code
    assert 200 == people["growth"].get(f"/events/{service.events['plain']}").status_code


def test_buttons_follow_the_scopes(people, service):
    """Mutants: a button that its key may not press; none for one that may."""
    event = f"/events/{service.events['plain']}"
    shown = {
        name: people[name].get(event).text for name in ("reader", "support", "writer", "admin")
    }

    assert ["support", "admin"] == [name for name, text in shown.items() if "/reveal" in text]
    assert ["writer", "admin"] == [name for name, text in shown.items() if "/again" in text]
    assert ["admin"] == [name for name, text in shown.items() if "/erase" in text]
    assert ["admin"] == [name for name, text in shown.items() if "Who read it" in text]
    assert "/reveal" not in people["reader"].get("/?since=all").text


def test_path_that_is_written_out_comes_before_one_that_varies():
    """Mutant: `{id}` takes a path of another page."""
    varies = Page(path="/events/{id}", answer=None)

    assert {"id": "7"} == varies.match("/events/7")
    assert [None] * 3 == [varies.match(path) for path in ("/events/", "/events", "/events/7/x")]


def test_api_refuses_the_rights_of_a_session_that_has_ended(service):
    """Between the look at the session and the call it may end. Mutant: the call is made."""
    key = service.parts.keys.find(KEYS["admin"].key.reveal().encode())

    async def ask(goes_on):
        api = ApiCalls(
            create_api(service.parts), in_console(key, goes_on), Actor("key/admin"), "id"
        )
        return await api.get("/v1/me")

    assert "admin" == service.run(ask(lambda: True))["name"]
    with pytest.raises(Problem) as refused:
        service.run(ask(lambda: False))
    assert (401, "unauthorized") == (refused.value.status, refused.value.code)
