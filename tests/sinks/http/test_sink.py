import asyncio
import json
import time
from base64 import b64encode

import msgspec
import pytest
import tools
from contracts.endpoint_sink import EndpointContract
from contracts.sink import outgoing
from endpoint import endpoint
from standardwebhooks import Webhook

from core.secret import Secret
from core.units import Duration
from sinks.http.client import Tls
from sinks.http.sink import Http
from sinks.sink import Outgoing, Receipt, Refused

SECRETS = (
    Secret("whsec_Y2FuYXJ5LW9mLXRoZS1maXJzdC1zZWNyZXQ="),
    Secret("whsec_Y2FuYXJ5LW9mLXRoZS1vdGhlci1zZWNyZXQ="),
)


@pytest.fixture
async def end():
    async with endpoint() as end:
        yield end


@pytest.mark.usefixtures("each_client")
class TestHttp(EndpointContract):
    secrets = ("canary", "127.0.0.1", "Y2FuYXJ5")

    @pytest.fixture
    def sink(self, end):
        return Http(
            url=Secret(f"{end.url}/canary?canary=1"),
            secrets=SECRETS,
            headers={"X-Key": Secret("canary")},
        )


async def sent(end, event=None, **options):
    """Send one event, and return the request that arrives."""
    async with Http(url=Secret(f"{end.url}/hook"), **options).open() as send:
        receipt = await send(event or outgoing(1))
    assert receipt == Receipt(status=200, answer=b"ok")
    return end.requests[-1]


async def test_event_is_posted_unchanged_with_its_headers(end):
    request = await sent(end)

    assert (request.method, request.target) == ("POST", "/hook")
    assert request.body == outgoing(1).body
    assert request.headers == {
        "content-type": "application/json",
        "webhook-id": "event-0001",
        "webhook-timestamp": "1600108957",
        "smshook-attempt": "1",
        "user-agent": "smshook",
        "accept": "*/*",
        "host": f"127.0.0.1:{end.port}",
        "content-length": str(len(request.body)),
    }


@pytest.mark.usefixtures("each_client")
async def test_path_has_encoded_values_of_the_event(end):
    """It cannot lead to another place. Mutants: `/` stays as it is; an empty value is sent."""
    body = json.dumps({"subject": "a/../b?c#d é", "data": {"code": "..", "text": ""}}).encode()
    event = msgspec.structs.replace(outgoing(1), body=body)

    request = await sent(end, event, path="/{subject}/close?by={subject}")

    assert request.target == (
        "/hook/a%2F..%2Fb%3Fc%23d%20%C3%A9/close?by=a%2F..%2Fb%3Fc%23d%20%C3%A9"
    )
    for path in ("/{data.code}/x", "/{data.text}/x", "/{data.to}/x"):
        with pytest.raises(Refused, match="path"):
            await sent(end, event, path=path)


def test_path_is_shown_and_its_values_are_used():
    """Used values are not erased before delivery. Mutant: used_paths has those of the body only."""
    sink = Http(url=Secret("http://canary@h/canary"), path="/{subject}", json={"a": "{data.code}"})
    body = json.dumps({"subject": "sink/crm", "data": {"code": "1"}}).encode()

    shown = sink.request(msgspec.structs.replace(outgoing(1), body=body))

    assert shown.startswith("POST http://h/***/sink%2Fcrm\n")
    assert sink.used_paths() == (("data", "code"), ("subject",))
    assert Http(url=Secret("http://h"), path="/{subject}").used_paths() is None


async def test_headers_name_replay_and_attempt(end):
    event = msgspec.structs.replace(outgoing(1), attempt=3, replay=True)

    headers = (await sent(end, event)).headers

    assert (headers["smshook-attempt"], headers["smshook-replay"]) == ("3", "true")


async def test_each_secret_signs_the_bytes_that_are_sent(end):
    """Mutant: the event is signed, not the body that is made of it."""
    event = msgspec.structs.replace(outgoing(1), at=time.time())

    request = await sent(end, event, secrets=SECRETS, format="standard")

    for secret in SECRETS:
        Webhook(secret.reveal()).verify(request.body, request.headers)


@pytest.mark.parametrize("secret", SECRETS, ids=["first", "second"])
async def test_javascript_library_verifies_each_secret(end, secret):
    """Mutants: a signature of the decoded JSON; only the first secret signs."""
    tools.require(tools.missing_for_javascript("standardwebhooks"))
    event = msgspec.structs.replace(outgoing(1), at=time.time(), body=b'{"a":"\xc3\xa9 \\u00e9"}')

    request = await sent(end, event, secrets=SECRETS)
    given = {"secret": secret.reveal(), "headers": request.headers}
    right = await javascript(given | {"body": b64encode(request.body).decode()})
    wrong = await javascript(given | {"body": b64encode(request.body + b" ").decode()})

    assert right == (0, {"a": "\xe9 \xe9"})
    assert wrong[0] == 1


async def javascript(given):
    """Return the exit code and what the JavaScript library makes of a delivery."""
    node = await asyncio.create_subprocess_exec(
        "node", tools.JAVASCRIPT / "verify.js", stdin=-1, stdout=-1, stderr=-1
    )
    out, _ = await node.communicate(json.dumps(given).encode())
    return node.returncode, json.loads(out or b"null")


async def test_no_secret_means_no_signature(end):
    assert "webhook-signature" not in (await sent(end)).headers


@pytest.mark.parametrize(
    ("options", "content_type", "body"),
    [
        ({"format": "cloudevents"}, "application/cloudevents+json", json.loads(outgoing(1).body)),
        (
            {"format": "standard"},
            "application/json",
            {
                "type": "sms.received",
                "timestamp": "2020-09-14T18:42:36Z",
                "data": json.loads(outgoing(1).body)["data"],
            },
        ),
        (
            {"json": {"chat_id": 4711, "text": "Code {data.code}", "raw": "{data.labels}"}},
            "application/json",
            {"chat_id": 4711, "text": "Code event-0001", "raw": {}},
        ),
    ],
)
async def test_body_has_the_configured_format(end, options, content_type, body):
    request = await sent(end, **options)

    assert (request.headers["content-type"], json.loads(request.body)) == (content_type, body)


async def test_standard_format_keeps_the_bytes_of_data(end):
    """Mutant: data is decoded and encoded again, and its numbers and escapes change."""
    body = (
        b'{"specversion":"1.0","id":"e","source":"s","type":"t","time":"T","data":{"a" : 1.50,"b":'
        b'"\\u00e9"}}'
    )

    request = await sent(
        end, Outgoing(event_id="e", body=body, attempt=1, at=0.0), format="standard"
    )

    assert request.body == b'{"type":"t","timestamp":"T","data":{"a" : 1.50,"b":"\\u00e9"}}'


async def test_extra_headers_may_set_the_content_type(end):
    """Mutant: two header fields with the same name."""
    headers = {"Content-Type": Secret("text/plain"), "X-Key": Secret("a b")}

    request = await sent(end, headers=headers)

    assert (request.headers["x-key"], request.headers["content-type"]) == ("a b", "text/plain")
    assert len(request.fields) == len(request.headers)


def test_place_shows_the_host_only(tmp_path):
    def place(url):
        return Http(url=Secret(url)).place(tmp_path)

    assert place("https://u:canary@crm.example.com/canary?canary#canary") == "http crm.example.com"
    assert place("http://[::1]:8080") == "http [::1]:8080"
    assert place("https://CRM.example.com:443/") == "http crm.example.com"


def test_shown_request_masks_secrets():
    sink = Http(
        url=Secret("https://u:canary@crm.example.com/canary?canary"),
        headers={"X-Key": Secret("canary")},
        format="standard",
    )

    shown = sink.request(outgoing(1)).splitlines()

    assert shown[:-1] == [
        "POST https://crm.example.com/***",
        "content-type: application/json",
        "webhook-id: event-0001",
        "webhook-timestamp: 1600108957",
        "smshook-attempt: 1",
        "x-key: ***",
        "",
    ]
    assert json.loads(shown[-1])["type"] == "sms.received"


def test_files_are_relative_to_the_configuration(tmp_path):
    sink = Http(url=Secret("http://h"), tls=Tls(ca_file="ca.pem", cert_file="/c", key_file="../k"))

    tls = sink.under(tmp_path / "etc").tls

    assert tls == Tls(ca_file=f"{tmp_path}/etc/ca.pem", cert_file="/c", key_file=f"{tmp_path}/k")


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"url": Secret("canary.example.com")}, "url: not a URL to send to"),
        ({"url": Secret("ftp://canary.example.com")}, "url: not a URL to send to"),
        ({"url": Secret("http:canary")}, "url: not a URL to send to"),
        ({"url": Secret("http://canary:99999/")}, "url: not a URL to send to"),
        ({"url": Secret("http://canary/a b")}, "url: not a URL to send to"),
        ({"url": Secret("http://canary/a\n")}, "url: not a URL to send to"),
        ({"url": Secret("http:///canary")}, "url: not a URL to send to"),
        ({"proxy": Secret("canary")}, "proxy: not a URL to send to"),
        ({"secrets": (Secret("canary"),)}, "secrets: not whsec_ and base64"),
        ({"json": {"a": "{data.cod}"}}, "json: a: character 1: no event has 'data.cod'"),
        ({"json": "{"}, "json: character 1: this { is not closed"),
        ({"json": 1, "format": "standard"}, "json and format exclude each other"),
        ({"headers": {"a b": Secret("x")}}, "headers: 'a b' is not a header name"),
        ({"headers": {"": Secret("x")}}, "headers: '' is not a header name"),
        ({"headers": {"Webhook-Id": Secret("x")}}, "headers: Webhook-Id is written by smshook"),
        ({"headers": {"smshook-x": Secret("x")}}, "headers: smshook-x is written by smshook"),
        ({"headers": {"Content-Length": Secret("x")}}, "headers: Content-Length is written"),
        ({"headers": {"Transfer-Encoding": Secret("x")}}, "headers: Transfer-Encoding is written"),
        ({"headers": {"HOST": Secret("x")}}, "headers: HOST is written by smshook"),
        ({"headers": {"Connection": Secret("x")}}, "headers: Connection is written by smshook"),
        ({"headers": {"a": Secret("canary\nb: c")}}, "headers: the value of a has a newline"),
        ({"headers": {"a": Secret("canary\r")}}, "headers: the value of a has a newline"),
        ({"headers": {"a": Secret("canary\0")}}, "headers: the value of a has a newline"),
        ({"headers": {"a": Secret(" canary")}}, "headers: the value of a has a newline"),
        ({"headers": {"a": Secret("canäry")}}, "headers: the value of a has a newline"),
        ({"headers": {"a": Secret("1"), "A": Secret("2")}}, "headers: a name is given twice"),
        ({"path": "canary"}, "path: begin it with /"),
        ({"path": "/a canary"}, "path: begin it with /"),
        ({"path": "/#canary"}, "path: begin it with /"),
        ({"path": "/{data.cod}"}, "path: character 2: no event has 'data.cod'"),
        ({"path": "/a", "url": Secret("http://h/?canary")}, "path: url has a query or a #"),
        ({"concurrency": 0}, "concurrency is from 1"),
        ({"timeout": Duration(0)}, "timeout must be longer"),
    ],
)
def test_wrong_option_is_reported_without_its_value(options, complaint):
    with pytest.raises(ValueError) as refusal:
        Http(**{"url": Secret("http://h"), **options})

    assert str(refusal.value).startswith(complaint)
    assert "canary" not in str(refusal.value)
