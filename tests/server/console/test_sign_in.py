"""Signing in and out of the console, and what is refused."""

import contextlib
import http.client
import re
import urllib.parse

import live
import msgspec
import pytest
from consoles import KEYS, SAME_SITE, ConsoleService
from live import eventually

from core.secret import Secret
from core.units import Duration
from server.config.options import ConsoleOptions, Server, SessionTimes

PROXY = {"X-Forwarded-User": "ana@example.com"}


def status(person, path="/?since=all"):
    answer = person.get(path)
    return answer.status_code, answer.headers.get("location")


SIGNED_OUT = (303, "/console/login?next=%2Fconsole%2F%3Fsince%3Dall")


def test_page_without_session_leads_to_sign_in(person):
    """Mutant: a page that asks for no session."""
    nobody = person()

    assert SIGNED_OUT == status(nobody)
    assert (303, "/console/login") == status(nobody, "/console/")
    assert 303 == nobody.get("/nothing").status_code
    assert 401 == nobody.get("/", headers={"Accept": "application/json"}).status_code
    assert 401 == nobody.post("/logout").status_code


def test_sign_in_begins_a_new_session_with_a_strict_cookie(person):
    """Mutants: a flag of the cookie left out; the token of the browser kept (session fixation)."""
    one = person()
    one.cookies = {"smshook": "f" * 64}

    answer = one.sign_in("reader")
    token, lines = one.cookies["smshook"], answer.headers.get_list("set-cookie")

    assert (303, "/console/") == (answer.status_code, answer.headers["location"])
    assert [f"smshook={token}; Path=/; HttpOnly; SameSite=Strict"] == lines
    assert re.fullmatch("[0-9a-f]{64}", token)
    assert token != "f" * 64


def test_cookie_of_another_host_is_secure(person):
    """Mutants: no `__Host-`; no Secure; the plain cookie is taken under that name, too."""
    one = person()
    elsewhere = {"Host": "smshook:8081", **SAME_SITE}

    answer = one.sign_in("reader", headers=elsewhere)
    token = one.cookies["__Host-smshook"]

    assert [
        f"__Host-smshook={token}; Path=/; HttpOnly; SameSite=Strict; Secure"
    ] == answer.headers.get_list("set-cookie")
    assert 200 == one.get("/", headers=elsewhere).status_code
    one.cookies = {"smshook": token}
    assert 303 == one.get("/", headers=elsewhere).status_code


def test_second_sign_in_ends_the_first(person):
    one = person("reader")
    before = dict(one.cookies)

    one.sign_in("admin")
    after, one.cookies = one.cookies, before

    assert SIGNED_OUT == status(one)
    one.cookies = after
    assert (200, None) == status(one)


def test_sign_out_ends_the_session(person):
    """Mutant: only the cookie is removed."""
    one = person("reader")
    kept = dict(one.cookies)

    answer = one.post("/logout")

    assert (303, "/console/login") == (answer.status_code, answer.headers["location"])
    assert {} == one.cookies
    one.cookies = kept
    assert SIGNED_OUT == status(one)


@pytest.mark.parametrize(
    ("wanted", "to"),
    [
        ("/console/events/1?x=y", "/console/events/1?x=y"),
        ("https://evil.example/", "/console/"),
        ("//evil.example/console/", "/console/"),
        ("/console//evil.example", "/console/"),
        ("/console/\\evil.example", "/console/"),
        ("/v1/events", "/console/"),
        ("/console/\r\nSet-Cookie: a=b", "/console/"),
    ],
)
def test_sign_in_leads_to_pages_of_the_console_only(person, wanted, to):
    """Mutant: `next` is not checked."""
    one = person()
    one.get("/login")

    answer = one.post("/login", {"key": KEYS["reader"].key.reveal(), "next": wanted})

    assert to == answer.headers["location"]


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"Sec-Fetch-Site": "same-origin"}, 303),
        ({"Origin": "ORIGIN"}, 303),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "none"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "ORIGIN"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({}, 403),
    ],
)
def test_write_of_another_site_is_refused(person, service, headers, expected):
    """Mutants: the site is not checked; `same-site` is enough; no header is enough."""
    one = person("reader")
    sent = {name: text.replace("ORIGIN", service.admin_url) for name, text in headers.items()}

    assert expected == one.post("/logout", headers=sent).status_code
    assert (200 if expected == 403 else 303) == one.get("/").status_code


def test_write_needs_the_token_of_its_session(person):
    """Mutants: the token is not checked; not for JSON; that of another session is enough."""
    one, other = person("reader"), person("reader")
    old = one.csrf
    one.sign_in("reader")
    as_json = SAME_SITE | dict.fromkeys(("Accept", "Content-Type"), "application/json")

    refused = [
        one.post("/logout", csrf=csrf).status_code for csrf in ("", "0" * 32, other.csrf, old)
    ]
    refused.append(one.request("POST", "/logout", headers=as_json, content=b"{}").status_code)

    assert [403] * 5 == refused
    by_header = SAME_SITE | {"X-CSRF": one.csrf}
    assert 303 == one.request("POST", "/logout", headers=by_header).status_code


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8081", "127.0.0.1.evil.example"])
@pytest.mark.parametrize("path", ["/console/login", "/console", "/console/static/x"])
def test_host_of_a_stranger_is_refused(person, host, path):
    """Mutants: hosts are not checked; not for static files."""
    answer = person().get(path, headers={"Host": host})

    assert 421 == answer.status_code
    assert "no-store" == answer.headers["cache-control"]


@pytest.mark.parametrize("host", ["127.0.0.1:1", "localhost", "smshook", "[::1]:80", "10.0.0.7"])
def test_own_host_is_answered(person, host):
    assert 200 == person().get("/login", headers={"Host": host}).status_code


def test_link_of_another_site_asks_again_with_the_cookie(tab, service):
    """A strict cookie does not come with links of other sites, such as those in a chat."""
    one = tab("reader")
    elsewhere = service.admin_url.replace("127.0.0.1", "localhost")
    one.page.goto(f"{elsewhere}/console/login")
    one.page.evaluate(
        "(to) => { location.href = to; }", f"{service.admin_url}/console/?since=all&q=x"
    )

    one.page.wait_for_url("**/console/?since=all&q=x")

    assert "Inbox" == one.page.get_by_role("heading", level=1).text_content()


def test_rights_of_keys(person):
    """A key without a page may not sign in; those of `when` see theirs."""
    nobody = person()

    assert 403 == nobody.sign_in("nothing").status_code
    assert 303 == person().sign_in("growth").status_code


# Services of their own: they change clocks, keys and options


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A service that tests change."""
    options = ConsoleOptions(
        session=SessionTimes(idle=Duration(60), longest=Duration(200)),
        hosts=("Sms.example.com",),
        user_header="X-Forwarded-User",
    )
    server = Server(
        secret=Secret(live.SECRET),
        listen="127.0.0.1:0",
        admin_listen="127.0.0.1:0",
        trusted_proxies=("127.0.0.1",),
        public_url="https://hooks.example.com",
    )
    folder = tmp_path_factory.mktemp("alone")
    with ConsoleService(folder, console=options, server=server) as service:
        yield service


def test_wrong_keys_are_limited_by_address(alone):
    """Five a minute. The right key is refused, too: its answer would be an oracle.

    Mutants: no limit; one limit for all addresses; only wrong keys are refused.
    """
    one, other = alone.browser(), alone.browser()
    here, there = ({"X-Forwarded-For": f"198.51.100.{n}", **SAME_SITE} for n in (1, 2))

    answers = [one.sign_in("wrong-key-0123456789", headers=here) for _ in range(6)]
    limited = one.sign_in("reader", headers=here)

    assert [403] * 5 + [429] == [answer.status_code for answer in answers]
    assert 429 == limited.status_code
    assert 0 < int(limited.headers["retry-after"]) <= 60
    assert 303 == other.sign_in("reader", headers=there).status_code
    alone.moved += 61
    assert 303 == one.sign_in("reader", headers=here).status_code


def ends_of(service):
    return {leaf["why"] for leaf in service.leaves("session.closed")}


def test_session_ends_when_idle_and_at_last(alone):
    """Mutants: one of the times is not looked at."""
    idle, busy = alone.browser("reader"), alone.browser("reader")
    for _ in range(3):
        alone.moved += 50
        assert 200 == busy.get("/").status_code

    assert SIGNED_OUT == status(idle)
    alone.moved += 51
    assert SIGNED_OUT == status(busy)
    eventually(lambda: ends_of(alone) >= {"longest", "idle"})


def test_revoked_key_ends_its_sessions(alone):
    """Mutant: sessions keep the rights that the key had."""
    made = alone.api("/keys", method="POST", json={"name": "ben", "scopes": ["events:read"]})
    one = alone.browser()
    assert 303 == one.sign_in(made.json()["key"]).status_code

    assert 204 == alone.api("/keys/ben", method="DELETE").status_code

    assert SIGNED_OUT == status(one)
    eventually(lambda: "key" in ends_of(alone))


def test_user_of_a_proxy_is_signed_in_with_the_scopes_of_the_options(alone):
    """Mutants: the header is believed from anybody; the session outlives the proxy's word."""
    one = alone.browser()

    shown = one.get("/", headers=PROXY)

    assert 200 == shown.status_code
    assert "ana@example.com" in shown.text
    opened = alone.leaves("session.opened")[0]
    assert ("session/ana@example.com", ["events:read", "codes:reveal"]) == (
        opened["by"],
        opened["scopes"],
    )
    assert 303 == one.get("/").status_code  # the header is gone
    other = one.get("/", headers={"X-Forwarded-User": "bo"})
    assert "bo</span>" in other.text
    assert 303 == one.get("/", headers={"X-Forwarded-User": "a b"}).status_code


def test_codes_that_users_of_a_proxy_reveal_are_counted(alone):
    """In the metrics without their names, which come from outside.

    Mutants: only keys are counted; the name is a label.
    """
    event = alone.sms(4711)
    for user in ("ana", "bo"):
        one = alone.browser()
        one.get("/", headers={"X-Forwarded-User": user})
        headers = {"X-Forwarded-User": user, **SAME_SITE}
        form = {"what": "text"}
        assert one.post(f"/events/{event}/reveal", form, headers=headers).status_code == 200

    scraped = live.client().get(f"{alone.admin_url}/metrics").text

    assert 'codes_read_total{key="user:*",how="console"} 2' in scraped
    assert not re.search("codes_read_total.*(ana|bo)", scraped)


@pytest.mark.parametrize(("address", "expected"), [("127.0.0.1", 200), ("127.0.0.2", 303)])
def test_user_header_of_strangers_is_ignored(alone, address, expected):
    """Only the first address is that of the proxy. Mutant: the header is believed from anybody."""
    where = urllib.parse.urlsplit(alone.admin_url)
    connection = http.client.HTTPConnection(
        where.hostname, where.port, timeout=10, source_address=(address, 0)
    )
    with contextlib.closing(connection):
        connection.request("GET", "/console/", headers=PROXY)
        assert expected == connection.getresponse().status


def test_configured_hosts_are_answered(alone):
    """Mutant: one of the options is not read."""
    one = alone.browser()

    for host in ("sms.example.com", "hooks.example.com:8443"):
        assert 200 == one.get("/login", headers={"Host": host}).status_code
    assert 421 == one.get("/login", headers={"Host": "example.com"}).status_code


def test_sessions_are_in_the_audit_log(alone):
    """Mutants: a kind of line is not written; it has the key."""
    one = alone.browser("reader")
    one.post("/logout")
    alone.browser().sign_in("not-a-key-0123456789")
    alone.run(_counted(alone))

    def found():
        """The newest session, its end, and the refusal: others may end meanwhile."""
        [opened, *_] = alone.leaves("session.opened") or [None]
        ended = [
            leaf
            for leaf in alone.leaves("session.closed")
            if opened and leaf["session"] == opened["session"]
        ]
        refused = alone.leaves("session.refused")
        return (opened, ended[0], refused[0]) if ended and refused else None

    leaves = eventually(found)
    opened, closed, refused = leaves
    assert ("key/reader", "127.0.0.1", ["events:read"]) == (
        opened["by"],
        opened["from"],
        opened["scopes"],
    )
    assert "signed out" == closed["why"]
    assert ("key", True) == (refused["reason"], refused["count"] >= 1)
    assert "0123456789" not in str(leaves)


async def _counted(service):
    service.parts.facts.write_counts()


def test_reload_ends_users_whose_scopes_changed(alone):
    """And `enabled: false` removes the console."""
    one = alone.browser()
    assert 200 == one.get("/", headers=PROXY).status_code

    def reload(**changed):
        options = msgspec.structs.replace(alone.config.console, **changed)
        config = msgspec.structs.replace(alone.config, console=options)

        async def replace():
            alone.parts.current.replace(config, alone.parts.current.routes)

        alone.run(replace())

    reload(user_scopes=("events:read",))
    assert 200 == one.get("/", headers=PROXY).status_code
    assert ["events:read"] == alone.leaves("session.opened")[0]["scopes"]
    reload(enabled=False)
    assert 404 == one.get("/login").status_code
    reload()
