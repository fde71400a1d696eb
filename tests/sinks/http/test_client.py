import asyncio
import contextlib
import os
import socket
import ssl
import sys
import threading
import traceback
from datetime import UTC, datetime, timedelta

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from endpoint import endpoint, forward, hang, reply, reset, server_tls

from sinks.http.answer import SinkAnswer, confirmed
from sinks.http.certificate import certificate_end
from sinks.http.client import Tls, posting
from sinks.sink import Failed, Receipt, Refused

SOON = 10
each_client = pytest.mark.usefixtures("each_client")
NOW = 1_600_108_957.0  # Mon, 14 Sep 2020 18:42:37 GMT


async def failure_of(url, **options):
    """Return the failure of one POST to the URL."""
    async with asyncio.timeout(SOON), posting(url, connections=1, **options) as post:
        with pytest.raises(Failed) as failure:
            await post({}, b"secret body")
    return failure.value


def answered(status, retry_after=None):
    return SinkAnswer(status=status, beginning=b"body", retry_after=retry_after)


@each_client
async def test_post_arrives_unchanged():
    async with endpoint() as end, posting(f"{end.url}/a?b=c", connections=1) as post:
        answer = await post({"content-type": "text/plain", "x-y": "z"}, b"body")

    assert answer == SinkAnswer(status=200, beginning=b"ok", retry_after=None)
    [request] = end.requests
    assert (request.method, request.target, request.body) == ("POST", "/a?b=c", b"body")
    assert request.headers == {
        "content-type": "text/plain",
        "x-y": "z",
        "content-length": "4",
        "user-agent": "smshook",
        "accept": "*/*",
        "host": f"127.0.0.1:{end.port}",
    }


@each_client
async def test_date_of_the_answer_is_kept():
    """It shows whether our clock is right. Mutant: a trailer, or the second one, counts."""
    date = "Mon, 14 Sep 2020 18:42:37 GMT"
    async with endpoint() as end, posting(end.url, connections=1) as post:
        end.says(reply(200, headers={"Date": date}), reply(200))
        dates = [(await post({}, b"")).date for _ in range(2)]

    assert dates == [date, None]


async def test_end_of_a_certificate_is_read():
    """Nothing is sent. Mutants: an unknown authority, or an old certificate, has no end."""
    authority = trustme.CA()
    past = datetime(2020, 9, 14, tzinfo=UTC)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", not_after=past).configure_cert(tls)
    async with endpoint(tls=tls) as end:
        url = f"https://127.0.0.1:{end.port}/hooks"
        assert await certificate_end(url, within=SOON) == past.timestamp()
        assert end.requests == []
    async with endpoint() as plain:
        assert await certificate_end(plain.url, within=SOON) is None
        assert await certificate_end(f"https://127.0.0.1:{plain.port}", within=SOON) is None
    assert await certificate_end(f"https://127.0.0.1:{plain.port}", within=SOON) is None


@each_client
async def test_redirect_is_an_answer():
    async with endpoint() as end, posting(f"{end.url}/a", connections=1) as post:
        end.says(reply(307, headers={"Location": f"{end.url}/b"}))
        answer = await post({}, b"body")

    assert (answer.status, len(end.requests)) == (307, 1)


@each_client
async def test_only_a_kibibyte_of_an_answer_is_kept():
    async with endpoint() as end, posting(end.url, connections=1) as post:
        end.says(reply(200, b"x" * 5000))
        answer = await post({}, b"body")

    assert answer.beginning == b"x" * 1024


@each_client
async def test_passed_deadline_drops_the_connection():
    """Mutant: the client has no deadline, and the connection stays open for ever."""
    async with asyncio.timeout(SOON), endpoint() as end:
        end.says(hang)
        async with posting(end.url, connections=1, within=0.3) as post:
            with pytest.raises((TimeoutError, Failed)):
                async with asyncio.timeout(0.3):
                    await post({}, b"body")
            await end.left()
            answer = await post({}, b"body")

    assert answer.status == 200


@each_client
async def test_cancellation_at_the_answer_is_kept():
    """Mutant: an await of pyreqwest loses the cancellation, and a cancelled worker continues."""
    async with (
        asyncio.timeout(SOON),
        endpoint() as end,
        posting(end.url, connections=1) as post,
    ):
        await post({}, b"body")
        for step in range(300):
            task = asyncio.create_task(post({}, b"body"))
            await asyncio.sleep(step % 30 / 10_000)
            if task.cancel():
                await asyncio.wait({task})
                assert task.cancelled()


@each_client
async def test_deadline_that_passed_is_a_timeout():
    async with endpoint() as end:
        end.says(hang)
        failure = await failure_of(end.url, within=0.2)

    assert failure.word == "timeout"


@each_client
async def test_reset_has_the_word_protocol():
    async with endpoint() as end:
        end.says(reset)
        failure = await failure_of(f"{end.url}/canary")

    assert repr(failure) == "Failed('protocol')"
    assert (failure.__cause__, failure.__context__) == (None, None)


@each_client
async def test_closed_port_has_the_word_refused():
    async with endpoint() as end:
        pass

    assert (await failure_of(end.url)).word == "refused"


@each_client
async def test_unknown_name_has_the_word_dns():
    """A label of 64 letters is invalid, so no resolver is asked for it."""
    assert (await failure_of(f"http://{'a' * 64}.example/")).word == "dns"


@pytest.fixture
def authority():
    return trustme.CA()


@pytest.fixture
def files(tmp_path, authority):
    """Return a folder with the authority's certificate, and a client's certificate and key."""
    client = authority.issue_cert("client@example.com")
    pems = {
        "ca.pem": authority.cert_pem.bytes(),
        "cert.pem": b"".join(pem.bytes() for pem in client.cert_chain_pems),
        "key.pem": client.private_key_pem.bytes(),
    }
    for name, pem in pems.items():
        (tmp_path / name).write_bytes(pem)
    return tmp_path


def tls_of(folder, *, client=False):
    shown = {"cert_file": f"{folder}/cert.pem", "key_file": f"{folder}/key.pem"} if client else {}
    return Tls(ca_file=f"{folder}/ca.pem", **shown)


async def posted(end, **options):
    async with asyncio.timeout(SOON), posting(f"{end.url}/hook", connections=1, **options) as post:
        return (await post({}, b"body")).status


async def test_own_authority_is_trusted(authority, files):
    async with endpoint(tls=server_tls(authority)) as end:
        assert await posted(end, tls=tls_of(files)) == 200


async def test_one_of_several_authorities_is_enough(authority, files):
    ca = files / "ca.pem"
    ca.write_bytes(trustme.CA().cert_pem.bytes() + ca.read_bytes())

    async with endpoint(tls=server_tls(authority)) as end:
        assert await posted(end, tls=tls_of(files)) == 200


async def test_unknown_authority_is_refused(authority):
    """Mutant: `danger_accept_invalid_certs`."""
    async with endpoint(tls=server_tls(authority)) as end:
        assert (await failure_of(end.url)).word == "tls_untrusted"


async def test_certificate_for_another_name_is_not_taken(authority, files):
    async with endpoint(tls=server_tls(authority, "other.example")) as end:
        assert (await failure_of(end.url, tls=tls_of(files))).word == "tls_name"


@pytest.mark.parametrize(
    "validity",
    [
        {"not_after": datetime.now(UTC) - timedelta(days=1)},
        {"not_before": datetime.now(UTC) + timedelta(days=1)},
    ],
    ids=["over", "to come"],
)
async def test_expired_certificate_has_a_word(authority, files, validity):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", **validity).configure_cert(context)

    async with endpoint(tls=context) as end:
        assert (await failure_of(end.url, tls=tls_of(files))).word == "tls_expired"


@pytest.mark.parametrize("shown", [False, True], ids=["missing", "untrusted"])
@pytest.mark.parametrize("engine", ["rustls", "openssl"])
async def test_refused_client_certificate_has_a_word(authority, tmp_path, shown, engine):
    """The server sends an alert, as OpenSSL and nginx do. Mutant: each alert is `tls`."""
    self_signed(tmp_path, "localhost", is_authority=engine == "openssl")
    stranger = trustme.CA().issue_cert("client@example.com")
    (tmp_path / "client.pem").write_bytes(b"".join(pem.bytes() for pem in stranger.cert_chain_pems))
    (tmp_path / "client.key").write_bytes(stranger.private_key_pem.bytes())
    files = {"cert_file": f"{tmp_path}/client.pem", "key_file": f"{tmp_path}/client.key"}
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if engine == "openssl":
        context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    else:
        authority.issue_cert("localhost").configure_cert(context)
        authority.cert_pem.write_to_path(tmp_path / "cert.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(context)

    with alerting(context) as port:
        tls = Tls(ca_file=f"{tmp_path}/cert.pem", **(files if shown else {}))
        failure = await failure_of(f"https://localhost:{port}/", tls=tls)

    assert failure.word == "tls_client"


@contextlib.contextmanager
def alerting(context):
    """Run a server on blocking sockets, and yield its port: asyncio closes before the alert."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def refuse(peer):
            """Close after the client does: a reset would overtake the alert."""
            raw = socket.socket(fileno=os.dup(peer.fileno()))
            raw.settimeout(SOON)
            secure = context.wrap_socket(peer, server_side=True, do_handshake_on_connect=False)
            with raw, secure, contextlib.suppress(OSError):
                with contextlib.suppress(ssl.SSLError):
                    secure.do_handshake()
                raw.shutdown(socket.SHUT_WR)
                while raw.recv(4096):
                    pass

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    refuse(server.accept()[0])

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def self_signed(folder, name, *, is_authority=True):
    """Write `cert.pem` and `key.pem` as `openssl req -x509` does. Return a server's context."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(identifier, critical=False)
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context


@pytest.fixture(params=[True, False], ids=["CA:TRUE", "CA:FALSE"])
def self_signed_files(tmp_path, request):
    context = self_signed(tmp_path, "localhost", is_authority=request.param)
    return context, Tls(ca_file=f"{tmp_path}/cert.pem")


async def test_self_signed_certificate_is_trusted_as_curl_does(self_signed_files):
    """`curl --cacert cert.pem` accepts it. Mutant: no second try with OpenSSL."""
    context, tls = self_signed_files
    async with (
        asyncio.timeout(SOON),
        endpoint(tls=context) as end,
        posting(f"{end.url}/a?b=c", tls=tls, connections=1) as post,
    ):
        end.says(reply(200, b"x" * 5000), reply(503, headers={"Retry-After": "7"}), reply(307))
        answers = [await post({"x-y": "z"}, b"body") for _ in range(3)]

    assert [answer.status for answer in answers] == [200, 503, 307]
    assert (answers[0].beginning, answers[1].retry_after) == (b"x" * 1024, "7")
    first = end.requests[0]
    assert (first.method, first.target, first.body) == ("POST", "/a?b=c", b"body")
    assert (first.headers["x-y"], first.headers["user-agent"]) == ("z", "smshook")
    assert (len(end.requests), end.connections) == (3, 1)


async def test_self_signed_certificate_fails_like_others(self_signed_files, tmp_path):
    """OpenSSL's failures have the same words, and do not show the URL either."""
    context, tls = self_signed_files
    async with (
        asyncio.timeout(SOON),
        endpoint(tls=context) as end,
        posting(f"{end.url}/canary?canary", tls=tls, connections=1, within=2.0) as post,
    ):
        await post({}, b"body")
        end.says(reset, hang)
        failures = []
        for _ in range(2):
            with pytest.raises(Failed) as failure:
                await post({"x": "canary"}, b"canary")
            failures.append(failure.value)
        self_signed(tmp_path, "localhost")  # other files, as after a renewal on one side
        end.says(reset)
        with pytest.raises(Failed):
            await post({}, b"body")

    assert [failure.word for failure in failures] == ["protocol", "timeout"]
    for failure in failures:
        shown = "".join(traceback.format_exception(failure, chain=True))
        assert "canary" not in shown.partition("Failed:")[2]
        assert (failure.__cause__, failure.__context__) == (None, None)


async def test_self_signed_certificate_for_another_name_is_refused(tmp_path):
    """Mutant: `check_hostname` off. 127.0.0.1 is not localhost."""
    context = self_signed(tmp_path, "localhost")

    async with endpoint(tls=context) as end:
        url = f"https://127.0.0.1:{end.port}/"
        failure = await failure_of(url, tls=Tls(ca_file=f"{tmp_path}/cert.pem"))

    assert failure.word == "tls_name"


async def test_self_signed_certificate_of_another_is_refused(tmp_path):
    """Mutant: a second try that verifies nothing."""
    context = self_signed(tmp_path, "localhost")
    self_signed(tmp_path, "localhost")

    async with endpoint(tls=context) as end:
        failure = await failure_of(end.url, tls=Tls(ca_file=f"{tmp_path}/cert.pem"))

    assert failure.word == "tls_untrusted"
    assert end.requests == []


async def test_client_certificate_is_shown_on_request(authority, files):
    async with endpoint(tls=server_tls(authority, clients=authority)) as end:
        assert await posted(end, tls=tls_of(files, client=True)) == 200
        assert (await failure_of(end.url, tls=tls_of(files))).word in ("tls", "protocol")


@each_client
async def test_mismatch_of_http_and_tls_has_a_word(authority):
    async with endpoint() as plain, endpoint(tls=server_tls(authority)) as tls:
        plain.greeting = b"HTTP/1.1 400 Bad Request\r\n\r\n"
        expects_tls = await failure_of(plain.url.replace("http:", "https:"))
        expects_none = await failure_of(tls.url.replace("https:", "http:"))

    assert (expects_tls.word, expects_none.word) == ("tls", "protocol")


@pytest.mark.parametrize("name", ["ca.pem", "cert.pem", "key.pem"])
@pytest.mark.parametrize("wrong", [None, b"", b"no certificate", b"\xff"])
async def test_wrong_certificate_file_fails_until_it_is_right(authority, files, name, wrong):
    """Mutants: the files are read when the sink opens; a client is made only once."""
    file = files / name
    right = file.read_bytes()
    file.unlink()
    if wrong is not None:
        file.write_bytes(wrong)

    async with (
        asyncio.timeout(SOON),
        endpoint(tls=server_tls(authority, clients=authority)) as end,
        posting(end.url, tls=tls_of(files, client=True), connections=1) as post,
    ):
        with pytest.raises(Failed) as failure:
            await post({}, b"body")
        file.write_bytes(right)
        answer = await post({}, b"body")

    assert (failure.value.word, answer.status) == ("tls", 200)


async def test_replaced_authority_file_is_read_again(authority, files):
    ca = files / "ca.pem"
    right = ca.read_bytes()
    ca.write_bytes(trustme.CA().cert_pem.bytes())

    async with (
        endpoint(tls=server_tls(authority)) as end,
        posting(end.url, tls=tls_of(files), connections=1) as post,
    ):
        with pytest.raises(Failed) as failure:
            await post({}, b"body")
        ca.write_bytes(right)
        answer = await post({}, b"body")

    assert (failure.value.word, answer.status) == ("tls_untrusted", 200)


def test_certificate_needs_its_key():
    with pytest.raises(ValueError) as refusal:
        Tls(cert_file="cert.pem")

    assert str(refusal.value) == "cert_file and key_file go together: give both"


async def test_post_leaves_through_the_proxy():
    there = "http://h.example/a?b"
    async with (
        endpoint() as proxy,
        posting(there, proxy=proxy.url, connections=1) as post,
    ):
        await post({}, b"body")

    [request] = proxy.requests
    assert (request.target, request.body) == (there, b"body")


async def test_proxy_only_tunnels_tls(authority, files):
    async with endpoint() as proxy, endpoint(tls=server_tls(authority)) as end:
        proxy.says(forward)
        status = await posted(end, tls=tls_of(files), proxy=proxy.url)

    assert status == 200
    assert [(each.method, each.target) for each in proxy.requests] == [
        ("CONNECT", f"localhost:{end.port}")
    ]
    assert [each.target for each in end.requests] == ["/hook"]


async def test_refusal_of_a_proxy_is_no_answer():
    async with endpoint() as proxy:
        proxy.says(reply(407, b"canary"))
        failure = await failure_of("https://h.example/", proxy=proxy.url)

    assert failure.word == "protocol"


async def test_absent_proxy_has_the_word_refused():
    async with endpoint() as proxy:
        pass

    assert (await failure_of("http://h.example/", proxy=proxy.url)).word == "refused"


@each_client
async def test_proxy_of_the_environment_is_ignored(monkeypatch):
    """Mutant: no `no_proxy()`, and each request goes through HTTP_PROXY."""
    async with endpoint() as proxy, endpoint() as end:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        monkeypatch.setenv("NO_PROXY", "")
        status = await posted(end)

    assert (status, len(end.requests), proxy.requests) == (200, 1, [])


async def test_no_proxy_of_the_environment_is_ignored(monkeypatch):
    async with endpoint() as proxy:
        monkeypatch.setenv("NO_PROXY", "*")
        async with posting("http://127.0.0.1:1/", proxy=proxy.url, connections=1) as post:
            answer = await post({}, b"body")

    assert (answer.status, len(proxy.requests)) == (200, 1)


@each_client
@pytest.mark.parametrize(
    "answer",
    [
        reset,
        hang,
        reply(200, headers={"X": "\0"}),
        reply(200, headers={"Content-Length": "canary"}),
    ],
)
async def test_failure_holds_no_url_and_no_body(answer):
    """Mutants: `raise … from error`; a raise in the handler. That error has the whole URL."""
    async with endpoint() as end:
        end.says(answer)
        address = f"http://user:canary@127.0.0.1:{end.port}/canary?canary"
        async with posting(address, connections=1, within=0.3) as post:
            with pytest.raises(Failed) as failure:
                await post({"x": "canary"}, b"canary")

    shown = "".join(traceback.format_exception(failure.value, chain=True))
    assert "canary" not in f"{failure.value!r} {failure.value} {shown.partition('Failed:')[2]}"
    assert (failure.value.__cause__, failure.value.__context__) == (None, None)
    assert failure.value.answer == b""


@each_client
async def test_failure_repeats_no_invalid_header():
    async with endpoint() as end, posting(end.url, connections=1) as post:
        with pytest.raises(Failed) as failure:
            await post({"x": "canary\n"}, b"body")

    assert (repr(failure.value), failure.value.__context__) == ("Failed('protocol')", None)


@each_client
async def test_post_after_the_end_fails():
    async with endpoint() as end:
        async with posting(end.url, connections=1) as post:
            pass
        with pytest.raises(Failed):
            await post({}, b"body")

    assert end.requests == []


@each_client
async def test_connection_is_used_again():
    """Mutant: an answer is not read to its end, and each delivery needs a handshake."""
    async with endpoint() as end, posting(end.url, connections=1) as post:
        for _ in range(5):
            await post({}, b"body")

    assert (len(end.requests), end.connections) == (5, 1)


@each_client
@pytest.mark.parametrize("value", ["\xff\xfe", "caf\xe9"])
async def test_binary_retry_after_is_ignored(value):
    async with endpoint() as end, posting(end.url, connections=1) as post:
        end.says(reply(503, headers={"Retry-After": value}))
        answer = await post({}, b"body")

    with pytest.raises(Failed) as failure:
        confirmed(answer, now=NOW)
    assert failure.value.retry_after is None


@pytest.mark.parametrize("status", [200, 202, 204, 299])
def test_each_2xx_is_a_receipt(status):
    assert confirmed(answered(status), now=NOW) == Receipt(status=status, answer=b"body")


def test_gone_is_a_refusal():
    with pytest.raises(Refused) as refusal:
        confirmed(answered(410), now=NOW)

    refused = refusal.value
    assert (refused.word, refused.status, refused.answer) == ("gone", 410, b"body")


@pytest.mark.parametrize("status", [101, 199, 301, 307, 400, 401, 404, 409, 429, 500, 503, 999])
def test_other_statuses_are_tried_again(status):
    with pytest.raises(Failed) as failure:
        confirmed(answered(status), now=NOW)

    assert (failure.value.word, failure.value.status) == ("status", status)
    assert (failure.value.retry_after, failure.value.answer) == (None, b"body")


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("7", 7.0),
        (" 7 ", 7.0),
        ("0", 0.0),
        ("-1", 0.0),
        ("Mon, 14 Sep 2020 18:43:37 GMT", 60.0),
        ("Mon, 14 Sep 2020 18:41:37 GMT", 0.0),
        ("Monday, 14-Sep-20 18:43:37 GMT", 60.0),
        ("Mon Sep 14 18:43:37 2020", 60.0),
        ("", None),
        ("soon", None),
        ("1.5", None),
        ("1e3", None),
        ("--1", None),
        ("²", None),
        ("٣", None),
        ("9" * 5000, None),
        ("Mon, 99 Sep 2020 18:43:37 GMT", None),
        ("Mon, 14 Sep 99999999999 18:43:37 GMT", None),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_read_as_seconds_or_date(said, seconds, status):
    with pytest.raises(Failed) as failure:
        confirmed(answered(status, said), now=NOW)

    assert failure.value.retry_after == seconds


def test_retry_after_counts_on_429_and_503_only():
    with pytest.raises(Failed) as failure:
        confirmed(answered(500, "7"), now=NOW)

    assert failure.value.retry_after is None


WITHOUT_AUTHORITIES = """
import asyncio, sys
from sinks.http.client import posting
from sinks.sink import Failed

async def words():
    for url in sys.argv[1:]:
        async with posting(url, connections=1) as post:
            try:
                print((await post({}, b"x")).status)
            except Failed as failure:
                print(failure.word)

asyncio.run(words())
"""


async def test_plain_http_works_without_system_authorities():
    """A slim image has none. Mutant: a client without authorities fails for http:// too."""
    nowhere = {"SSL_CERT_FILE": "/nowhere", "SSL_CERT_DIR": "/nowhere"}

    async with endpoint() as end:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", WITHOUT_AUTHORITIES, f"{end.url}/a"),
            f"https://127.0.0.1:{end.port}/b",
            env=os.environ | nowhere,
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await process.communicate()

    assert out.decode().split() == ["200", "tls"]


SHORT_OF_DESCRIPTORS = """
import asyncio, os, resource, sys
from sinks.http.client import posting, start_runtime
from sinks.sink import Failed

async def main():
    await start_runtime()
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    taken = []
    try:
        while True:
            taken.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        pass
    async with posting(sys.argv[1], connections=1) as post:
        try:
            await post({}, b"x")
        except Failed as failure:
            print(failure.word)
        for descriptor in taken:
            os.close(descriptor)
        print((await post({}, b"x")).status)

asyncio.run(main())
"""


async def test_lack_of_descriptors_at_the_first_post_passes():
    """Mutant seen: without `start_runtime` all later posts raise RuntimeError too."""
    async with endpoint() as end:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", SHORT_OF_DESCRIPTORS, f"{end.url}/a"),
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await process.communicate()

    assert out.decode().split() == ["protocol", "200"]
