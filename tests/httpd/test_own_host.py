"""Known hosts are answered. A web page with a name that leads to our address is refused."""

import asyncio
import ipaddress
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from httpd.own_host import OwnHost, is_loopback


def answered(headers, *, path="/v1/events", **options):
    """Return the status, and the code of a refusal."""
    sent = []

    async def app(_scope, _receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http",
        "path": path,
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers],
    }
    asyncio.run(OwnHost(app, **options)(scope, None, send))
    if sent[0]["status"] == 200:
        return 200
    return sent[0]["status"], json.loads(sent[1]["body"])["code"]


def test_refusal_has_the_request_id_of_its_caller():
    """As each error. Mutants: only in the body; always a new one; an unsafe one as sent."""

    def refusal(*headers):
        sent = []

        async def send(message):
            sent.append(message)

        scope = {"type": "http", "path": "/v1/stats", "headers": [(b"host", b"a.b"), *headers]}
        asyncio.run(OwnHost(None)(scope, None, send))
        return dict(sent[0]["headers"])[b"x-request-id"].decode(), json.loads(sent[1]["body"])

    for sent in ("abc-1", "a b", None):
        field, problem = refusal(*([] if sent is None else [(b"x-request-id", sent.encode())]))
        assert field == problem["request_id"]
        assert (field == "abc-1") == (sent == "abc-1")
        assert re.fullmatch("abc-1|[0-9a-f]{16}", field)


FOREIGN_HOST = (403, "host_not_allowed")
FOREIGN_ORIGIN = (403, "origin_not_allowed")


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1:8081", "127.0.0.1", "[::1]:8081", "[::1]", "192.0.2.7:80", "localhost:8081",
     "LOCALHOST", "x.localhost", "smshook:8081", "Hooks.Example.com", "hooks.example.com.:443"],
)  # fmt: skip
def test_own_hosts_are_answered(host):
    assert 200 == answered([("host", host)], names=["hooks.example.COM"])


@pytest.mark.parametrize(
    "host",
    ["rebound.attacker.example", "rebound.attacker.example:8081", "127.0.0.1.attacker.example",
     "localhost.attacker.example", "hooks.example.com.attacker.example", "127.0.0.1:x", "[::1",
     "a.b:1:2", "0x7f.0.0.1"],
)  # fmt: skip
def test_foreign_hosts_are_refused(host):
    """Mutant: `OwnHost` left out; a prefix or a suffix is enough."""
    assert FOREIGN_HOST == answered([("host", host)], names=["hooks.example.com"])


@given(st.ip_addresses(), st.integers(1, 65535))
def test_any_address_is_an_own_host(address, port):
    """No web page has our address as its name, and containers have many addresses."""
    written = f"[{address}]" if isinstance(address, ipaddress.IPv6Address) else str(address)

    assert 200 == answered([("host", f"{written}:{port}")])


def test_client_without_a_host_is_answered():
    assert 200 == answered([])


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_health_is_answered_for_any_host(path):
    """Probes send the names of load balancers. Mutant: a service that is always unhealthy."""
    foreign = [("host", "lb.internal.example"), ("origin", "https://status.example.com")]

    assert 200 == answered(foreign, path=path)


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        ("http://127.0.0.1:8081", 200),
        ("HTTP://127.0.0.1:8081", 200),
        ("https://hooks.example.com", 200),
        ("https://hooks.example.com:8443", 200),
        ("http://127.0.0.1:3000", FOREIGN_ORIGIN),
        ("http://localhost:8081", FOREIGN_ORIGIN),
        ("https://attacker.example", FOREIGN_ORIGIN),
        ("https://hooks.example.com.attacker.example", FOREIGN_ORIGIN),
        ("null", FOREIGN_ORIGIN),
        ("", FOREIGN_ORIGIN),
    ],
)
@pytest.mark.parametrize("any_host", [False, True])
def test_page_of_another_origin_is_refused(origin, expected, any_host):
    """Mutant: with `any_host`, `Origin` is not checked."""
    headers = [("host", "127.0.0.1:8081"), ("origin", origin)]

    assert expected == answered(headers, names=["hooks.example.com"], any_host=any_host)


def test_any_host_answers_foreign_names():
    """Others reach the listener with a key. Mutant: a proxy's name is 403."""
    assert 200 == answered([("host", "smshook-admin.example.com")], any_host=True)


@pytest.mark.parametrize(
    ("authority", "expected"),
    [
        ("127.0.0.1:8081", True),
        ("127.9.9.9", True),
        ("[::1]:8081", True),
        ("localhost", True),
        ("LOCALHOST.:1", True),
        ("a.localhost:8081", True),
        ("10.0.0.7:8081", False),
        ("smshook", False),
        ("127.0.0.1.attacker.example", False),
        ("a:b:c", False),
        ("", False),
    ],
)
def test_loopback_host_is_this_machine_for_browsers(authority, expected):
    """Mutant: every name without a dot counts."""
    assert expected == is_loopback(authority)
