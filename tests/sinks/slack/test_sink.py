"""Messages to Slack, over a real socket to a stand-in for Slack."""

import asyncio
import json
from contextlib import asynccontextmanager
from pathlib import Path

import awkward
import msgspec
import pytest
import trustme
from contracts.sink import SinkContract, always_answering, outgoing
from endpoint import endpoint, hang, reply, reset, server_tls
from slack_rules import faults, plain_texts, without_plain_texts

from core.printable import plain, plain_lines
from core.secret import Secret
from core.units import Rate, from_written
from sinks.http.client import Tls
from sinks.sink import Failed, Receipt, Refused
from sinks.slack.sink import Slack

SOON = 10
PATH = "/services/T0000/B0000/s3cret-of-the-webhook"


@pytest.fixture
async def slack():
    """A stand-in for Slack. It rejects invalid payloads as Slack does."""
    async with endpoint() as end:
        end.usual = judged
        yield end


async def judged(request, connection):
    wrong = faults(json.loads(request.body))
    answer = reply(400, b"invalid_blocks") if wrong else reply(200, b"ok")
    await answer(request, connection)


@pytest.fixture
def sink(slack):
    return Slack(url=Secret(slack.url + PATH))


class TestSlack(SinkContract):
    secrets = ("s3cret-of-the-webhook", "T0000")

    def event_id(self, body):
        headline = plain_texts(json.loads(body))[0]
        return headline.removeprefix("SMS: ")

    @pytest.fixture
    def arrived(self, slack):
        return lambda: [request.body for request in slack.requests if not lost(request)]

    @pytest.fixture
    def broken(self, slack):
        """Reset each request, and drop it."""

        @asynccontextmanager
        async def broken():
            usual, slack.usual = slack.usual, reset
            before = len(slack.requests)
            yield
            slack.usual = usual
            del slack.requests[before:]

        return broken

    @pytest.fixture
    def slow(self, slack):
        return always_answering(slack, hang)

    @pytest.fixture
    def refusing(self, slack):
        return always_answering(slack, reply(410, b"channel_is_archived"))


def lost(request):
    return b"event-" not in request.body


async def test_slack_posts_json_to_its_webhook(slack, sink):
    async with sink.open() as send:
        receipt = await send(outgoing(1))

    assert receipt == Receipt(status=200, answer=b"ok")
    [request] = slack.requests
    assert (request.method, request.target) == ("POST", PATH)
    assert request.headers["content-type"] == "application/json"
    assert plain_texts(json.loads(request.body)) == [
        "SMS: event-0001",
        "Your code is\nevent-0001",
        "Number\n+18503814729",
        "Code\nevent-0001",
        "Source\ntellabot",
    ]


async def test_own_message_arrives(slack):
    sink = Slack(url=Secret(slack.url + PATH), message="{data.to} {data.code} {{!}} {data.from}")

    async with sink.open() as send:
        await send(outgoing(1))

    [request] = slack.requests
    assert plain_texts(json.loads(request.body)) == ["+18503814729 event-0001 {!} "]


async def test_429_of_slack_has_its_retry_after(slack, sink):
    """Mutant: `response.ok` or the status alone, without Retry-After."""
    slack.says(reply(429, b"rate_limited", headers={"Retry-After": "30"}))

    async with sink.open() as send:
        with pytest.raises(Failed) as failure:
            await send(outgoing(1))

    assert (failure.value.word, failure.value.status) == ("status", 429)
    assert failure.value.retry_after == 30


@pytest.mark.parametrize(
    ("status", "body"),
    [(400, b"invalid_payload"), (403, b"action_prohibited"), (404, b"no_service"), (500, b"x")],
)
async def test_error_of_slack_is_a_failure(slack, sink, status, body):
    slack.says(reply(status, body))

    async with sink.open() as send:
        with pytest.raises(Failed) as failure:
            await send(outgoing(1))

    assert (failure.value.status, failure.value.answer) == (status, body)


async def test_archived_channel_is_a_refusal(slack, sink):
    slack.says(reply(410, b"channel_is_archived"))

    async with sink.open() as send:
        with pytest.raises(Refused) as refusal:
            await send(outgoing(1))

    assert (refusal.value.word, refusal.value.answer) == ("gone", b"channel_is_archived")


async def test_timeout_is_the_deadline_of_the_request(slack):
    slack.says(reply(200, delay=SOON))
    sink = Slack(url=Secret(slack.url + PATH), timeout=from_written_duration("200ms"))

    async with asyncio.timeout(SOON), sink.open() as send:
        with pytest.raises(Failed, match="timeout"):
            await send(outgoing(1))


def test_place_of_slack_is_its_host():
    sink = Slack(url=Secret("https://u:pass@hooks.slack.com/services/T0/B0/secret"))

    assert sink.place(Path("/etc")) == "slack hooks.slack.com"


def test_shown_request_masks_the_webhook():
    """Mutant: the whole URL is shown."""
    sink = Slack(
        url=Secret("https://u:pass@hooks.slack.com/services/T0/B0/secret"),
        message="{data.code}",
    )

    shown = sink.request(outgoing(1))

    head, _, payload = shown.partition("\n\n")
    assert head == "POST https://hooks.slack.com/***"
    assert plain_texts(json.loads(payload)) == ["event-0001"]


def test_certificate_paths_are_relative_to_the_config():
    tls = Tls(ca_file="ca.pem", cert_file="/etc/cert.pem", key_file="key.pem")
    sink = Slack(url=Secret("https://hooks.slack.com/x"), tls=tls)

    assert sink.under(Path("/srv")).tls == Tls(
        ca_file="/srv/ca.pem", cert_file="/etc/cert.pem", key_file="/srv/key.pem"
    )
    assert Slack(url=Secret("https://hooks.slack.com/x")).under(Path("/srv")).tls is None


def test_default_rate_is_one_message_a_second():
    sink = Slack(url=Secret("https://hooks.slack.com/x"))

    assert (sink.rate, sink.concurrency) == (Rate(1, 1), 1)


def from_written_duration(text):
    return msgspec.convert({"timeout": text, **URL}, Slack, dec_hook=from_written).timeout


URL = {"type": "slack", "url": "https://hooks.slack.com/x"}


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"url": "ftp://hooks.slack.com/x-secret"}, "url: not a URL to send to"),
        ({"url": "hooks.slack.com/x-secret"}, "url: not a URL to send to"),
        ({"proxy": "x-secret"}, "proxy: not a URL to send to"),
        ({"message": "{code}"}, "message: character 1: no event has 'code'; did you mean"),
        ({"message": "{data.text!r}"}, "message: character 1: a placeholder is only a path"),
        ({"tls": {"cert_file": "a"}}, "cert_file and key_file go together: give both"),
        ({"timeout": "0s"}, "timeout must be longer than 0s"),
    ],
)
def test_wrong_option_is_an_error_without_the_secret(options, complaint):
    with pytest.raises(msgspec.ValidationError) as error:
        msgspec.convert({**URL, **options}, Slack, dec_hook=from_written)

    assert str(error.value).startswith(complaint)
    assert "x-secret" not in str(error.value)


def test_repr_does_not_show_the_url():
    assert "B0" not in repr(Slack(url=Secret("https://hooks.slack.com/services/T0/B0/secret")))


# Hostile texts


async def sent(slack, event, message=None):
    """Return the payload that arrives."""
    async with Slack(url=Secret(slack.url + PATH), message=message).open() as send:
        await send(awkward.outgoing(event))
    return json.loads(slack.requests.pop().body)


def cut(text, limit):
    """Cut by characters: the texts of the list stay within the Basic Multilingual Plane."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def test_list_of_hostile_texts_is_complete():
    names = [case["name"] for case in awkward.CASES]

    assert len([name for name in names if name.startswith("slack-")]) == 5
    assert {"template-jinja", "bidi-override", "zero-width", "very-long-service"} < set(names)


@pytest.mark.parametrize("case", awkward.CASES, ids=lambda case: case["name"])
async def test_hostile_text_stands_in_plain_text_only(slack, case):
    """Mutants: a `mrkdwn` section; the service in the text of the notification."""
    event = awkward.event_of(case)

    payload = await sent(slack, event)

    texts = plain_texts(payload)
    assert texts[1] == cut(plain_lines(event["data"]["text"]), 3000)
    assert texts[2] == cut("Service\n" + plain(event["data"]["service"]["name"]), 2000)
    assert faults(payload) == []
    expected = await sent(slack, awkward.harmless(event))
    assert without_plain_texts(payload) == without_plain_texts(expected)


@pytest.mark.parametrize("case", awkward.CASES, ids=lambda case: case["name"])
@pytest.mark.parametrize(
    "message", ["{data.text}", "{data.service.name}: {data.code} {data.text}", "{{}} {data}"]
)
async def test_hostile_text_in_an_own_message_is_plain(slack, case, message):
    """Mutant: a filled value is filled again: `template-jinja` has braces."""
    event = awkward.event_of(case)
    data = event["data"]

    payload = await sent(slack, event, message)

    filled = {
        "{data.text}": data["text"],
        "{data.service.name}: {data.code} {data.text}": (
            f"{data['service']['name']}: {data['code']} {data['text']}"
        ),
        "{{}} {data}": "{} " + msgspec.json.encode(data).decode(),
    }
    assert plain_texts(payload) == [cut(plain_lines(filled[message]), 3000)]
    assert faults(payload) == []
    expected = await sent(slack, awkward.harmless(event), message)
    assert without_plain_texts(payload) == without_plain_texts(expected)


async def test_slack_uses_its_proxy(slack):
    """Mutant: the option is read and not used."""
    async with endpoint() as proxy:
        proxy.usual = judged
        sink = Slack(url=Secret("http://slack.invalid" + PATH), proxy=Secret(proxy.url))
        async with asyncio.timeout(SOON), sink.open() as send:
            await send(outgoing(1))

    assert [request.target for request in proxy.requests] == [f"http://slack.invalid{PATH}"]
    assert slack.requests == []


async def test_slack_trusts_its_authority(tmp_path):
    """A proxy may open TLS with its own authority. Mutant: the option is read and not used."""
    authority = trustme.CA()
    file = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(file))

    async with endpoint(tls=server_tls(authority, "localhost")) as end:
        end.usual = judged
        own = Slack(url=Secret(end.url + PATH), tls=Tls(ca_file=str(file)))
        async with asyncio.timeout(SOON), own.open() as send:
            receipt = await send(outgoing(1))
        stranger = Slack(url=Secret(end.url + PATH))
        async with asyncio.timeout(SOON), stranger.open() as send:
            with pytest.raises(Failed) as failure:
                await send(outgoing(2))

    assert (receipt.status, failure.value.word) == (200, "tls_untrusted")
