"""Behind nginx and Caddy, as their pages say: nothing changes on the way, nobody is believed."""

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

TOKEN = live.TOKEN
PATH = f"/in/tellabot/{TOKEN}"
#: A token may be of any characters: as the URL that is printed has it, and one of our own making.
ODD = "o/dd tok€n+with%25 and ~ünïcode"
ODD_PATH = "/in/odd/o%2Fdd%20tok%E2%82%ACn%2Bwith%2525%20and%20~%C3%BCn%C3%AFcode"
FORM = (("Content-Type", "application/x-www-form-urlencoded"),)


def config(page, *, listen="127.0.0.1:0", options=0, **server):
    """The page's own options, beside the sources and sinks of the other tests."""
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


def upstream(service):
    return service.url.removeprefix("http://")


def a_message():
    """The body of one that was never sent before."""
    return live.sms(secrets.randbelow(9_000_000))


def problem(answer):
    assert answer.headers["Content-Type"] == "application/problem+json"
    return json.loads(answer.body)


def accepted(answer):
    """The id it was told is on disk."""
    told = json.loads(answer.body)
    assert (answer.status, told["status"]) == (200, "accepted")
    [event_id] = told["events"]
    return event_id


def raw(service, event_id):
    return service.api(f"/events/{event_id}", params={"raw": "true"}).json()["raw"]


def peer_in_the_log(service, event_id):
    """In `callback.accepted`, which may be written a moment after the answer."""
    said = live.eventually(
        lambda: [
            line["peer"]
            for line in service.logged()
            if line["event"] == "callback.accepted" and line["event_id"] == event_id
        ]
    )
    assert len(said) == 1
    return said[0]


# Who called


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
def test_the_peer_is_who_called_the_proxy_whatever_it_claims(service, proxy, claimed):
    """Mutants: nginx with `X-Forwarded-For $http_x_forwarded_for`, or without that line; Caddy with
    `header_up X-Forwarded-For {http.request.header.X-Forwarded-For}`; `trusted_proxies: []`, or
    `[127.0.0.0/8]`, which is everybody here.
    """
    headers = [*FORM, *(("X-Forwarded-For", said) for said in claimed)]

    event_id = accepted(proxy.ask("POST", PATH, a_message(), headers))

    assert (peer_in_the_log(service, event_id), raw(service, event_id)["peer"]) == (CALLER, CALLER)


def test_other_ways_to_say_who_called_are_not_read(service, proxy):
    claims = [("X-Real-IP", "203.0.113.9"), ("Forwarded", "for=203.0.113.9")]

    event_id = accepted(proxy.ask("POST", PATH, a_message(), [*FORM, *claims]))

    assert peer_in_the_log(service, event_id) == CALLER


def test_an_address_list_sees_the_caller(service, proxy):
    accepted(proxy.ask("POST", f"/in/listed/{TOKEN}", a_message(), FORM))

    assert service.stats()["quarantine"] == 0


def test_without_trusted_proxies_it_is_as_the_page_says(kind, tmp_path):
    """The peer is the proxy's; with an address list, quarantine says `address`; all is kept."""
    body = a_message()
    (tmp_path / "proxy").mkdir()
    with (
        live.Live(tmp_path, config(kind.page, trusted_proxies=[])) as service,
        kind(tmp_path / "proxy", upstream(service)) as proxy,
    ):
        event_id = accepted(proxy.ask("POST", PATH, a_message(), FORM))
        refused = proxy.ask("POST", f"/in/listed/{TOKEN}", body, FORM)
        [kept] = service.api("/quarantine").json()["data"]
        replayed = service.run("quarantine", "replay", kept["id"]).stdout
        peer = peer_in_the_log(service, event_id)

    assert peer == "127.0.0.1"
    assert (refused.status, problem(refused)["code"]) == (403, "address_not_allowed")
    assert (kept["source"], kept["reason"], kept["peer"]) == ("listed", "address", "127.0.0.1")
    assert "accepted" in replayed


# The path


def test_opened_in_a_browser_it_says_ready(proxy):
    answers = [proxy.ask("GET", path) for path in (PATH, f"{PATH}/", ODD_PATH)]

    assert [(a.status, a.body) for a in answers] == [(200, b'{"status":"ready"}')] * 3
    assert proxy.ask("HEAD", PATH).status == 200


def test_with_or_without_a_slash_behind_a_callback_is_taken(proxy):
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
def test_a_path_that_is_not_exactly_that_is_404_and_never_a_redirect(proxy, method, path):
    """As it came, the path reaches smshook: no slash is merged, nothing decoded on the way.

    Mutants: `proxy_pass http://smshook/in/`; without `location = /in`; `uri strip_prefix /x`.
    """
    answer = proxy.ask(method, path, a_message() if method == "POST" else None)

    assert answer.status == 404
    assert "Location" not in answer.headers


def test_without_tls_nothing_is_redirected(proxy):
    """A browser would follow, and say that all is well; the token would have been in clear.

    Mutant: without `auto_https disable_redirects`, Caddy listens there and answers 308.
    """
    request = f"GET {PATH} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode()

    answer = live.exchange(proxy.address(), request)

    assert answer.startswith((b"HTTP/1.0 400 ", b"HTTP/1.1 400 "))
    assert b"location:" not in answer.lower()
    with pytest.raises(ConnectionRefusedError):
        live.exchange(("127.0.0.1", proxy.plain_port), request)


def test_a_token_in_characters_that_a_url_cannot_hold_is_printed_as_it_arrives(service):
    printed = service.run("sources", "url", "odd").stdout.strip()

    assert printed == f"https://{HOST}{ODD_PATH}"


INSIDE = ["/v1/stats", "/metrics", "/schema", "/healthz", "/readyz"]
AROUND = ["{}", "/in/..{}", "/in/%2e%2e{}", "/in/x/../..{}", "/{}", "/in{}", "/in/..;{}"]


@pytest.mark.parametrize("path", [around.format(i) for i in INSIDE for around in AROUND])
def test_nothing_but_callbacks_can_be_reached_from_outside(proxy, path):
    """Mutants: `proxy_pass http://smshook/`; `location /` and `handle *` that reach smshook."""
    answer = proxy.ask("GET", path, headers=[("Authorization", f"Bearer {live.KEY}")])

    assert (answer.status, answer.headers.get("Location")) == (404, None)


def test_with_the_api_on_the_same_port_only_the_proxy_is_before_it_and_holds(kind, tmp_path):
    """Mutants: as above."""
    (tmp_path / "proxy").mkdir()
    key = [("Authorization", f"Bearer {live.KEY}")]
    with (
        live.Live(tmp_path, config(kind.page, admin_listen="same")) as service,
        kind(tmp_path / "proxy", upstream(service)) as proxy,
    ):
        paths = [around.format("/v1/stats") for around in AROUND]
        answers = [proxy.ask("GET", path, headers=key).status for path in paths]

    assert answers == [404] * len(AROUND)


def test_under_a_path_of_another_name_the_prefix_is_all_that_is_taken_away(kind, tmp_path):
    """Mutants: `proxy_pass http://smshook/in/` decodes `%2F`, `handle_path` merges slashes; without
    `location = /hooks/in` nginx redirects.
    """
    (tmp_path / "proxy").mkdir()
    with (
        live.Live(tmp_path, config(kind.page, options=1)) as service,
        kind(tmp_path / "proxy", upstream(service), prefix=True) as proxy,
    ):
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
        peers = {peer_in_the_log(service, event_id) for event_id in event_ids}

    assert printed == f"https://www.example.com/hooks{ODD_PATH}"
    assert (ready.status, ready.body) == (200, b'{"status":"ready"}')
    assert elsewhere == dict.fromkeys(elsewhere, 404)
    assert peers == {CALLER}
    assert proxy.written()
    assert TOKEN.encode() not in proxy.written()


# What the pages have typed

#: The command, on a machine that knows the authority of the tests as it knows the public ones.
TRUSTING = """
import sys, certifi
authority = sys.argv.pop(1)
certifi.where = lambda: authority
from server.cli.main import main
main()
"""


@pytest.mark.parametrize("below", ["", "/hooks"])
def test_a_sample_that_is_sent_through_the_proxy_is_an_event(kind, tmp_path, below):
    """Its signature is a header: the event says that it is a sample only if that arrives.

    Mutant: `proxy_set_header smshook-sample ""`, `header_up -Smshook-Sample`.
    """
    (tmp_path / "proxy").mkdir()
    authority().cert_pem.write_to_path(tmp_path / "authority.pem")
    with (
        live.Live(tmp_path, config(kind.page)) as service,
        kind(tmp_path / "proxy", upstream(service), prefix=bool(below)) as proxy,
    ):
        url = f"https://localhost:{proxy.port}{below}"
        command = [
            sys.executable,
            "-c",
            TRUSTING,
            "authority.pem",
            "send",
            "tellabot",
            "--url",
            url,
        ]
        sent = subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=30
        )
        [item] = service.api("/events").json()["data"]

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
def test_a_body_arrives_byte_for_byte(service, proxy, content_type, template, chunked):
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


def test_who_waits_to_be_asked_for_the_body_is_asked(proxy):
    """As PHP's curl does with each body over 1 KiB."""
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

    # Of Caddy two: its own, and that of smshook, which it hands on. HTTP allows any number.
    assert asked.startswith(b"HTTP/1.1 100 Continue\r\n")
    final = answer[answer.rindex(b"HTTP/1.1 ") :]
    assert final.startswith(b"HTTP/1.1 200 ")
    assert b'"status":"accepted"' in final


@pytest.mark.parametrize("encoding", ["gzip", "br"])
def test_what_says_it_is_compressed_is_quarantined_as_it_came(service, proxy, encoding):
    body = secrets.token_bytes(500)

    answer = proxy.ask("POST", PATH, body, [*FORM, ("Content-Encoding", encoding)])

    told = json.loads(answer.body)
    assert (answer.status, told["reason"]) == (200, "encoding")
    kept = service.api(f"/quarantine/{told['id']}").json()
    assert base64.b64decode(kept["body"]) == body
    service.api(f"/quarantine/{told['id']}", method="DELETE")


@pytest.mark.parametrize("size", [64 * 1024 + 1, 200_000, 1_000_000])
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_a_body_over_the_limit_gets_the_words_of_smshook(service, proxy, size, chunked):
    """Mutants: `client_max_body_size 64k`, whose 413 is HTML and is counted nowhere; Caddy's
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


def test_a_body_of_just_the_limit_is_read(proxy):
    body = a_message() + b"&x="
    body += b"y" * (64 * 1024 - len(body))

    accepted(proxy.ask("POST", PATH, body, FORM))


# Many


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


def test_of_two_thousand_on_kept_connections_each_is_one_event(kind, tmp_path):
    """Mutant: a proxy that sends each of them twice (`mirror`)."""
    (tmp_path / "proxy").mkdir()
    numbers = range(2_000)
    with (
        live.Live(tmp_path, config(kind.page), level="warning") as service,
        kind(tmp_path / "proxy", upstream(service)) as proxy,
    ):
        answers = asyncio.run(sending(proxy, ((n, live.sms(n, at=1_700_000_000)) for n in numbers)))
        stats = service.stats()

    told = {answer.message: answer.accepted for answer in answers}
    assert [(a.status, a.body["status"]) for a in answers] == [(200, "accepted")] * 2_000
    assert sorted(told) == list(numbers)
    assert len({event_id for ids in told.values() for event_id in ids}) == 2_000
    assert (stats["events"], stats["duplicates"], stats["quarantine"]) == (2_000, 0, 0)


@pytest.mark.parametrize("end", ["SIGTERM", "SIGKILL"])
def test_what_a_restart_left_unanswered_is_sent_again_and_stored_once(kind, tmp_path, end):
    """Mutant: a door that says `accepted` while it shuts down."""
    (tmp_path / "proxy").mkdir()
    service = live.Live(tmp_path, config(kind.page, listen=f"127.0.0.1:{free_port()}"))
    with service, kind(tmp_path / "proxy", upstream(service)) as proxy:
        told, statuses, sent = asyncio.run(through_a_restart(service, proxy, end))
        stats = service.stats()

    assert sorted(told) == list(range(sent))
    assert {n: ids for n, ids in told.items() if len(ids) != 1} == {}
    assert len(set().union(*told.values())) == stats["events"] == sent
    assert statuses <= {200, 502, 503, None}
    assert statuses > {200}  # the restart was felt


async def through_a_restart(service, proxy, end):
    """A provider that sends each until it is told 200, and what it was told."""
    told, statuses, numbers, unanswered = {}, set(), itertools.count(), set()
    restarting = asyncio.create_task(asyncio.to_thread(restart, service, end))
    while unanswered or not restarting.done():
        if not restarting.done():
            unanswered |= set(itertools.islice(numbers, 100))
        messages = ((n, live.sms(n, at=1_700_000_000)) for n in sorted(unanswered))
        for answer in await sending(proxy, messages, clients=16):
            statuses.add(answer.status)
            for event_id in answer.accepted:
                told.setdefault(answer.message, set()).add(event_id)
        unanswered -= told.keys()
        await asyncio.sleep(0.1 if unanswered else 0)
    await restarting
    return told, statuses, next(numbers)


def restart(service, end):
    live.eventually(lambda: service.stats()["events"] > 100, within=20)
    if end == "SIGTERM":
        assert service.stop() == 0
    else:
        service.kill()
    service.start()


# Logs


def test_no_log_of_the_proxy_holds_a_token(kind, tmp_path):
    """Whatever happens: a wrong path, no smshook behind it, a caller that hangs up, broken HTTP.

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
        names = [line for line in service.logged() if line["event"] == "callback.accepted"]

    assert unanswered == 502
    assert request_id.encode() in written
    assert [line["request_id"] for line in names] == [request_id]
    assert CALLER.encode() in written
    assert TOKEN.encode() not in written
    assert body not in b"".join(p.read_bytes() for p in proxy.folder.rglob("*") if p.is_file())


@pytest.mark.parametrize(
    ("promised", "outcome"), [("true", pytest.fail.Exception), ("", pytest.skip.Exception)]
)
def test_a_server_that_is_not_installed_fails_where_it_was_promised(monkeypatch, promised, outcome):
    monkeypatch.setenv("CI", promised)
    monkeypatch.setattr(Proxy, "program", "no-such-server")

    with pytest.raises(outcome, match="no-such-server is not installed"):
        Proxy.executable(Proxy.__new__(Proxy))
