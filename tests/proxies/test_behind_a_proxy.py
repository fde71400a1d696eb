"""nginx and Caddy, configured as their pages say, pass callbacks on unchanged.

smshook believes no address that a caller claims.
"""

import asyncio
import base64
import itertools
import json
import secrets
import subprocess
import sys

import live
import load
import pytest
import yaml
from proxies.servers import CALLER, HOST, PROXIES, Proxy, authority, blocks, free_port

pytestmark = pytest.mark.uncounted

TOKEN = live.TOKEN
PATH = f"/in/tellabot/{TOKEN}"
#: A token with unusual characters, and its path in the printed URL.
ODD = "o/dd tok€n+with%25 and ~ünïcode"
ODD_PATH = "/in/odd/o%2Fdd%20tok%E2%82%ACn%2Bwith%2525%20and%20~%C3%BCn%C3%AFcode"
FORM = (("Content-Type", "application/x-www-form-urlencoded"),)


def config(page, *, listen="127.0.0.1:0", options=0, **server):
    """Return the options of the page, with the sources and sinks of the tests."""
    whole = yaml.safe_load(live.CONFIG)
    shown = yaml.safe_load(blocks(page, "yaml")[options])
    whole["sources"]["odd"] = {"provider": "tellabot", "tokens": [ODD]}
    whole["sources"]["listed"] = {
        "provider": "tellabot",
        "tokens": [TOKEN],
        "allow_from": [CALLER],
    }
    ports = {"listen": listen, "admin_listen": "127.0.0.1:0"}
    whole["server"] |= {**shown["server"], **ports, **server}
    return json.dumps(whole)


@pytest.fixture(scope="module", params=PROXIES, ids=lambda kind: kind.program)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def service(kind, tmp_path_factory):
    with live.Live(tmp_path_factory.mktemp("service"), config(kind.page)) as running:
        yield running


@pytest.fixture(scope="module")
def proxy(kind, service, tmp_path_factory):
    with kind(tmp_path_factory.mktemp("proxy"), upstream(service)) as running:
        yield running


@pytest.fixture(scope="module")
def untrusting(kind, tmp_path_factory):
    """A service that trusts no proxy, with its API on the same port, and its proxy."""
    options = config(kind.page, trusted_proxies=[], admin_listen="same")
    with (
        live.Live(tmp_path_factory.mktemp("untrusting"), options) as service,
        kind(tmp_path_factory.mktemp("proxy"), upstream(service)) as proxy,
    ):
        yield service, proxy


@pytest.fixture(scope="module")
def prefixed(kind, tmp_path_factory):
    """A service and its proxy, which adds `/hooks` to the path."""
    with (
        live.Live(tmp_path_factory.mktemp("prefixed"), config(kind.page, options=1)) as service,
        kind(tmp_path_factory.mktemp("proxy"), upstream(service), prefix=True) as proxy,
    ):
        yield service, proxy


@pytest.fixture(scope="module")
def restarting(kind, tmp_path_factory):
    """A service that keeps its port over a restart, and its proxy."""
    options = config(kind.page, listen=f"127.0.0.1:{free_port()}")
    with (
        live.Live(tmp_path_factory.mktemp("restarting"), options) as service,
        kind(tmp_path_factory.mktemp("proxy"), upstream(service)) as proxy,
    ):
        yield service, proxy


def upstream(service):
    return service.url.removeprefix("http://")


def a_message():
    """Return the body of a new message."""
    return live.sms(secrets.randbelow(9_000_000))


def problem(answer):
    assert answer.headers["Content-Type"] == "application/problem+json"
    return json.loads(answer.body)


def accepted(answer):
    """Return the id of the event in the answer."""
    body = json.loads(answer.body)
    assert (answer.status, body["status"]) == (200, "accepted")
    [event_id] = body["events"]
    return event_id


def raw(service, event_id):
    return service.api(f"/events/{event_id}", params={"raw": "true"}).json()["raw"]


def logged_peer(service, event_id):
    """Return the peer in `callback.accepted`, which may be written a moment after the answer."""
    peers = live.eventually(
        lambda: [
            line["peer"]
            for line in service.logged()
            if line["event"] == "callback.accepted" and line["event_id"] == event_id
        ]
    )
    assert len(peers) == 1
    return peers[0]


# The address of the caller


@pytest.mark.parametrize(
    "claimed",
    [
        [],
        ["203.0.113.9"],
        ["127.0.0.1"],
        ["203.0.113.9, 127.0.0.1"],
        ["203.0.113.9", "127.0.0.1"],
        ["[::1]:443,,"],
        ["unknown"],
    ],
    ids=str,
)
def test_peer_is_the_address_that_called_the_proxy(service, proxy, claimed):
    """The caller can claim any address.

    Mutants: nginx with `X-Forwarded-For $http_x_forwarded_for`, or without that line; Caddy with
    `header_up X-Forwarded-For {http.request.header.X-Forwarded-For}`; `trusted_proxies: []`, or
    `[127.0.0.0/8]`, which includes the caller here.
    """
    headers = [*FORM, *(("X-Forwarded-For", address) for address in claimed)]

    event_id = accepted(proxy.ask("POST", PATH, a_message(), headers))

    assert (logged_peer(service, event_id), raw(service, event_id)["peer"]) == (CALLER, CALLER)


def test_other_headers_with_an_address_are_ignored(service, proxy):
    claims = [("X-Real-IP", "203.0.113.9"), ("Forwarded", "for=203.0.113.9")]

    event_id = accepted(proxy.ask("POST", PATH, a_message(), [*FORM, *claims]))

    assert logged_peer(service, event_id) == CALLER


def test_allow_from_compares_the_address_of_the_caller(service, proxy):
    accepted(proxy.ask("POST", f"/in/listed/{TOKEN}", a_message(), FORM))

    assert service.stats()["quarantine"] == 0


def test_peer_is_the_proxy_if_no_proxy_is_trusted(untrusting):
    """As the page says. With `allow_from`, the callback is quarantined for its address."""
    service, proxy = untrusting

    event_id = accepted(proxy.ask("POST", PATH, a_message(), FORM))
    refused = proxy.ask("POST", f"/in/listed/{TOKEN}", a_message(), FORM)
    [kept] = service.api("/quarantine").json()["data"]
    replayed = service.run("quarantine", "replay", kept["id"]).stdout

    assert logged_peer(service, event_id) == "127.0.0.1"
    assert (refused.status, problem(refused)["code"]) == (403, "address_not_allowed")
    assert (kept["source"], kept["reason"], kept["peer"]) == ("listed", "address", "127.0.0.1")
    assert "accepted" in replayed


# The path


def test_get_returns_ready(proxy):
    answers = [proxy.ask("GET", path) for path in (PATH, f"{PATH}/", ODD_PATH)]

    assert [(a.status, a.body) for a in answers] == [(200, b'{"status":"ready"}')] * 3
    assert proxy.ask("HEAD", PATH).status == 200


def test_callback_is_accepted_with_and_without_a_slash_behind(proxy):
    for path in (PATH, f"{PATH}/", ODD_PATH, PATH.replace("/in/t", "/in/%74")):
        accepted(proxy.ask("POST", path, a_message(), FORM))


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/in",
        "/in/",
        "/in/tellabot",
        "/in/tellabot/",
        f"/in/tellabot%2F{TOKEN}",
        f"/in%2Ftellabot/{TOKEN}",
        PATH + "%2F",
        PATH.replace("t0ken", "t0%256ben"),
        f"/{PATH}",
        f"/in//tellabot/{TOKEN}",
        f"/in/tellabot//{TOKEN}",
        f"{PATH}//",
        f"/in/./tellabot/{TOKEN}",
        f"/in/x/../tellabot/{TOKEN}",
        f"/x/..{PATH}",
        f"/x{PATH}",
        PATH.upper(),
        f"{PATH};x=1",
        "/in/odd/o/dd%20tok%E2%82%ACn%2Bwith%2525%20and%20~%C3%BCn%C3%AFcode",
        ODD_PATH.replace("%2525", "%25"),
        ODD_PATH.replace("%2B", "%20"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_any_other_path_is_404_and_never_a_redirect(proxy, method, path):
    """The path reaches smshook unchanged: no slash is merged, no character decoded.

    Mutants: `proxy_pass http://smshook/in/`; without `location = /in`; `uri strip_prefix /x`.
    """
    answer = proxy.ask(method, path, a_message() if method == "POST" else None)

    assert answer.status == 404
    assert "Location" not in answer.headers


def test_plain_http_is_not_redirected(proxy):
    """A browser would follow a redirect and hide that the token was sent in clear.

    Mutant: without `auto_https disable_redirects`, Caddy listens there and answers 308.
    """
    request = f"GET {PATH} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode()

    answer = live.exchange(proxy.address(), request)

    assert answer.startswith((b"HTTP/1.0 400 ", b"HTTP/1.1 400 "))
    assert b"location:" not in answer.lower()
    with pytest.raises(ConnectionRefusedError):
        live.exchange(("127.0.0.1", proxy.plain_port), request)


def test_printed_url_escapes_the_characters_of_the_token(service):
    printed = service.run("sources", "url", "odd").stdout.strip()

    assert printed == f"https://{HOST}{ODD_PATH}"


INSIDE = ["/v1/stats", "/metrics", "/schema", "/healthz", "/readyz"]
AROUND = ["{}", "/in/..{}", "/in/%2e%2e{}", "/in/x/../..{}", "/{}", "/in{}", "/in/..;{}"]


@pytest.mark.parametrize("path", [around.format(i) for i in INSIDE for around in AROUND])
def test_only_callbacks_can_be_reached_through_the_proxy(proxy, path):
    """Mutants: `proxy_pass http://smshook/`; `location /` and `handle *` that reach smshook."""
    answer = proxy.ask("GET", path, headers=[("Authorization", f"Bearer {live.KEY}")])

    assert (answer.status, answer.headers.get("Location")) == (404, None)


def test_api_on_the_same_port_cannot_be_reached(untrusting):
    """Only the proxy protects it. Mutants: as above."""
    _, proxy = untrusting
    key = [("Authorization", f"Bearer {live.KEY}")]

    answers = [
        proxy.ask("GET", around.format("/v1/stats"), headers=key).status for around in AROUND
    ]

    assert answers == [404] * len(AROUND)


def test_stream_passes_at_once(kind, service, tmp_path):
    """The snippet, with the path of the API. Mutant: without X-Accel-Buffering nginx keeps it."""
    admin = service.admin_url.removeprefix("http://")
    proxy = kind(tmp_path, admin, edit=lambda snippet: snippet.replace("/in/", "/v1/"))
    with proxy, proxy.connect() as stream:
        stream.sendall(
            f"GET /v1/events/stream HTTP/1.1\r\nHost: {HOST}\r\n"
            f"Authorization: Bearer {live.KEY}\r\n\r\n".encode()
        )
        received = b""
        while b"\n:\n\n" not in received:
            received += stream.recv(65536)
        [event_id] = service.post(a_message()).json()["events"]
        while b"data: " not in received:
            received += stream.recv(65536)

    head, _, body = received.partition(b"\r\n\r\n")
    assert b"text/event-stream" in head
    assert event_id.encode() in body


def test_prefix_is_the_only_change_of_the_path(prefixed):
    """Mutants: `proxy_pass http://smshook/in/` decodes `%2F`, `handle_path` merges slashes; without
    `location = /hooks/in` nginx redirects.
    """
    service, proxy = prefixed

    printed = service.run("sources", "url", "odd").stdout.strip()
    odd_path = "/" + printed.split("/", 3)[3]
    event_ids = [
        accepted(proxy.ask("POST", path, a_message(), FORM))
        for path in (odd_path, f"/hooks{PATH}", f"/hooks{PATH}/")
    ]
    ready = proxy.ask("GET", odd_path)
    elsewhere = {
        path: proxy.ask("GET", path).status
        for path in (
            *("/", "/hooks", "/hooks/", "/hooks/in", "/hooks/in/", PATH, f"/hooks/hooks{PATH}"),
            *("/hooks/v1/stats", "/hooks/in/../v1/stats", "/hooks/healthz", f"/hooks/{PATH}"),
            *(f"/hooks/in//tellabot/{TOKEN}", f"/hooks/in/tellabot%2F{TOKEN}", "/readyz"),
        )
    }

    assert printed == f"https://www.example.com/hooks{ODD_PATH}"
    assert (ready.status, ready.body) == (200, b'{"status":"ready"}')
    assert elsewhere == dict.fromkeys(elsewhere, 404)
    assert {logged_peer(service, event_id) for event_id in event_ids} == {CALLER}
    assert proxy.written()
    assert TOKEN.encode() not in proxy.written()


# Commands of the pages

#: The `smshook` command on a machine that trusts the authority of the tests.
TRUSTING = """
import sys, certifi
authority = sys.argv.pop(1)
certifi.where = lambda: authority
from server.cli.main import main
main()
"""


@pytest.mark.parametrize("below", ["", "/hooks"])
def test_sample_sent_through_the_proxy_is_an_event(service, proxy, prefixed, tmp_path, below):
    """A header has its signature. Without it, the event would not be marked as a sample.

    Mutant: `proxy_set_header smshook-sample ""`, `header_up -Smshook-Sample`.
    """
    if below:
        service, proxy = prefixed
    authority().cert_pem.write_to_path(tmp_path / "authority.pem")
    python = [sys.executable, "-c", TRUSTING, tmp_path / "authority.pem"]

    sent = subprocess.run(
        [*python, "send", "tellabot", "--url", f"https://localhost:{proxy.port}{below}"],
        cwd=service.folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    item = service.api("/events").json()["data"][-1]

    assert (sent.returncode, sent.stderr) == (0, "")
    assert sent.stdout == f"accepted {item['event']['id']}\n"
    assert item["event"]["data"]["sample"] is True


# The body

MULTIPART = (
    b'--b\r\nContent-Disposition: form-data; name="event"\r\n\r\nincoming_message\r\n'
    b'--b\r\nContent-Disposition: form-data; name="id"\r\n\r\n%d\r\n'
    b'--b\r\nContent-Disposition: form-data; name="reply"\r\n\r\n'
    b" a+b %%41 \xe2\x82\xac\xff\r\n\t\r\n"
    b"--b--\r\n"
)
JSON = (
    b'\r\n {"event" : "incoming_message",\t"id": %d, "reply": "caf\xc3\xa9 \\u20ac %%41+\\u0000"}\n'
)
FORMED = b"event=incoming_message&id=%d&reply=a+b%%41%%zz%%e2%%82%%ac\xff\x00;%%0d%%0a&x=&&"


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize(
    ("content_type", "template"),
    [
        ("application/x-www-form-urlencoded", FORMED),
        ("multipart/form-data; boundary=b", MULTIPART),
        ("application/json; charset=UTF-8", JSON),
        ("text/plain", FORMED),
    ],
)
def test_body_arrives_byte_for_byte(service, proxy, content_type, template, chunked):
    """Mutant: `proxy_set_body "$request_body "`, one byte more."""
    body = template % secrets.randbelow(2**40)
    headers = [("Content-Type", content_type)]
    if chunked:
        headers.append(("Transfer-Encoding", "chunked"))
    sent = b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n" if chunked else body

    event_id = accepted(proxy.ask("POST", PATH, sent, headers))

    kept = raw(service, event_id)
    assert base64.b64decode(kept["body"]) == body
    assert ["content-type", content_type] in [list(field) for field in kept["headers"]]


def test_expect_100_continue_is_answered(proxy):
    """PHP's curl sends it with each body over 1 KiB."""
    body = a_message() + b"&x=" + b"y" * 2000
    head = (
        f"POST {PATH} HTTP/1.1\r\nHost: {HOST}\r\nExpect: 100-continue\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    with proxy.connect() as sock:
        sock.sendall(head.encode())
        asked = sock.recv(1000)
        sock.sendall(body)
        answer = b"".join(iter(lambda: sock.recv(65536), b""))

    # Caddy sends its own and passes on that of smshook. HTTP allows any number.
    assert asked.startswith(b"HTTP/1.1 100 Continue\r\n")
    final = answer[answer.rindex(b"HTTP/1.1 ") :]
    assert final.startswith(b"HTTP/1.1 200 ")
    assert b'"status":"accepted"' in final


@pytest.mark.parametrize("encoding", ["gzip", "br"])
def test_compressed_body_is_quarantined_unchanged(service, proxy, encoding):
    body = secrets.token_bytes(500)

    answer = proxy.ask("POST", PATH, body, [*FORM, ("Content-Encoding", encoding)])

    answered = json.loads(answer.body)
    assert (answer.status, answered["reason"]) == (200, "encoding")
    kept = service.api(f"/quarantine/{answered['id']}").json()
    assert base64.b64decode(kept["body"]) == body
    service.api(f"/quarantine/{answered['id']}", method="DELETE")


@pytest.mark.parametrize("size", [64 * 1024 + 1, 200_000, 1_000_000])
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_body_over_the_limit_gets_the_answer_of_smshook(service, proxy, size, chunked):
    """Mutants: `client_max_body_size 64k`: its 413 is HTML, and smshook does not count it; Caddy's
    `request_body` with `max_size 64KB`.
    """
    before = too_large(service)
    body = b"%x\r\n%s\r\n0\r\n\r\n" % (size, b"x" * size) if chunked else b"x" * size
    headers = [*FORM, ("Transfer-Encoding", "chunked")] if chunked else FORM

    answer = proxy.ask("POST", PATH, body, headers)

    assert (answer.status, problem(answer)["code"]) == (413, "too_large")
    assert live.eventually(lambda: too_large(service) == before + 1)
    accepted(proxy.ask("POST", PATH, a_message(), FORM))


def too_large(service):
    return sum(
        kept["count"]
        for kept in service.api("/rejections").json()["data"]
        if (kept["reason"], kept["source"], kept["peer"]) == ("too_large", "tellabot", CALLER)
    )


def test_body_at_the_limit_is_accepted(proxy):
    body = a_message() + b"&x="
    body += b"y" * (64 * 1024 - len(body))

    accepted(proxy.ask("POST", PATH, body, FORM))


# Many callbacks


def sending(proxy, messages, *, clients=32):
    return load.send(
        proxy.address(),
        PATH,
        messages,
        clients=clients,
        host=HOST,
        ssl=proxy.tls(),
        server_hostname=HOST,
    )


@pytest.mark.parametrize("count", [500, pytest.param(2_000, marks=pytest.mark.nightly)])
def test_each_of_many_callbacks_is_one_event(service, proxy, count):
    """Connections are kept alive. Mutant: a proxy that sends each callback twice (`mirror`)."""
    numbers, before = range(count), service.stats()

    answers = asyncio.run(sending(proxy, ((n, live.sms(n, at=1_700_000_000)) for n in numbers)))

    after = service.stats()
    ids = {answer.message: answer.accepted for answer in answers}
    assert [(a.status, a.body["status"]) for a in answers] == [(200, "accepted")] * count
    assert sorted(ids) == list(numbers)
    assert len({event_id for found in ids.values() for event_id in found}) == count
    grown = [after[name] - before[name] for name in ("events", "duplicates", "quarantine")]
    assert grown == [count, 0, 0]


@pytest.mark.parametrize("end", ["SIGTERM", "SIGKILL"])
def test_callback_repeated_after_a_restart_is_stored_once(restarting, end):
    """Mutant: a door that answers `accepted` while it shuts down."""
    service, proxy = restarting
    before = service.stats()["events"]

    ids, statuses, sent = asyncio.run(through_a_restart(service, proxy, end, before))

    assert len(ids) == sent
    assert {n: found for n, found in ids.items() if len(found) != 1} == {}
    assert len(set().union(*ids.values())) == service.stats()["events"] - before == sent
    assert statuses <= {200, 502, 503, None}
    assert statuses > {200}  # the restart was noticed


async def through_a_restart(service, proxy, end, first):
    """Send each message until it is answered 200, and restart the service meanwhile.

    Numbers count from `first`. Return the event ids by number, the statuses, and how many messages
    were sent.
    """
    ids, statuses, numbers, unanswered = {}, set(), itertools.count(first), set()
    restarted = asyncio.create_task(asyncio.to_thread(restart, service, end, first))
    while unanswered or not restarted.done():
        if not restarted.done():
            unanswered |= set(itertools.islice(numbers, 100))
        messages = ((n, live.sms(n, at=1_700_000_000)) for n in sorted(unanswered))
        for answer in await sending(proxy, messages, clients=16):
            statuses.add(answer.status)
            for event_id in answer.accepted:
                ids.setdefault(answer.message, set()).add(event_id)
        unanswered -= ids.keys()
        await asyncio.sleep(0.1 if unanswered else 0)
    await restarted
    return ids, statuses, next(numbers) - first


def restart(service, end, before):
    live.eventually(lambda: service.stats()["events"] > before + 100, within=20)
    if end == "SIGTERM":
        assert service.stop() == 0
    else:
        service.kill()
    service.start()


# Logs


def test_log_of_the_proxy_holds_no_token(kind, tmp_path):
    """Also after a wrong path, a stopped smshook, a caller that hangs up, broken HTTP.

    Mutants: nginx's `combined` format, or one with `$http_referer`; `error_log … error`; bodies
    in files; Caddy's log with the path, or with the referrer.
    """
    (tmp_path / "proxy").mkdir()
    body = a_message()
    with (
        live.Live(tmp_path, config(kind.page)) as service,
        kind(tmp_path / "proxy", upstream(service)) as proxy,
    ):
        request_id = proxy.ask("POST", PATH, body, FORM).headers["X-Request-Id"]
        referred = [("Referer", f"https://{HOST}{PATH}")]
        proxy.ask("GET", "/favicon.ico", headers=referred)
        proxy.ask("GET", f"{PATH}?x={TOKEN}", headers=referred)
        for path in (f"/inn/tellabot/{TOKEN}", f"/{PATH}", f"/in/{TOKEN}", f"/in/x/../{TOKEN}"):
            proxy.ask("POST", path, body, FORM)
        proxy.ask("POST", PATH, b"x" * 2_000_000)
        for request in (
            f"POST {PATH} HTTP/1.1\r\n\r\n",
            f"POST {PATH} HTTP/7\r\nHost: {HOST}\r\n\r\n",
            f"POST {PATH} x HTTP/1.1\r\nHost: {HOST}\r\n\r\n",
            f"POST {PATH} HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 9\r\n\r\n",
        ):
            with proxy.connect() as sock:
                sock.sendall(request.encode())
                sock.settimeout(0.2)
                try:
                    sock.recv(1000)
                except TimeoutError:
                    continue
        service.kill()
        unanswered = proxy.ask("POST", PATH, body, FORM).status
        live.eventually(lambda: b"502" in proxy.written())
        written = proxy.written()
        names = service.logged("callback.accepted")

    assert unanswered == 502
    assert request_id.encode() in written
    assert [line["request_id"] for line in names] == [request_id]
    assert CALLER.encode() in written
    assert TOKEN.encode() not in written
    assert body not in b"".join(p.read_bytes() for p in proxy.folder.rglob("*") if p.is_file())


@pytest.mark.parametrize(
    ("ci", "outcome"), [("true", pytest.fail.Exception), ("", pytest.skip.Exception)]
)
def test_missing_server_skips_tests_but_fails_them_in_ci(monkeypatch, ci, outcome):
    monkeypatch.setenv("CI", ci)
    monkeypatch.setattr(Proxy, "program", "no-such-server")

    with pytest.raises(outcome, match="no-such-server is not installed"):
        Proxy.executable(Proxy.__new__(Proxy))
