"""The sink of a subscription, and the challenge."""

import json
from datetime import UTC, datetime

import pytest
from contracts.endpoint_sink import EndpointContract
from contracts.sink import outgoing
from endpoint import endpoint, hang, reply
from standardwebhooks import Webhook

from core.secret import Secret
from sinks.http import answer as answer_module
from sinks.http import subscription as module
from sinks.http.guard import AddressGuard
from sinks.http.subscription import ChallengeFailed, SigningSecret, Subscription, challenge
from sinks.sink import Failed, Outgoing

LOOPBACK = AddressGuard(["127.0.0.1"])
NEW, OLD = (Secret("whsec_" + letter * 32) for letter in "bY")
#: When the old secret ends; the contract's events are sent before.
END = 1_600_108_957.0 + 10


def subscription(end, **named):
    signing = (SigningSecret(secret=NEW), SigningSecret(secret=OLD, until=END))
    fields = {"url": Secret(f"{end.url}/canary?canary=1"), "guard": LOOPBACK, "signing": signing}
    fields["allow"] = lambda _body: None
    return Subscription(**fields | named)


@pytest.fixture
async def end():
    async with endpoint() as end:
        yield end


class TestSubscription(EndpointContract):
    secrets = ("canary", "127.0.0.1", "bbbb", "YYYY")

    @pytest.fixture
    def sink(self, end):
        return subscription(end)


async def sent(end, at):
    async with subscription(end).open() as send:
        await send(Outgoing(event_id="one", body=b"{}", attempt=1, at=at))
    return end.requests[-1]


def verifies(request, secret):
    """Whether the library makes one of the signatures. Its `verify` has a clock of its own."""
    at = datetime.fromtimestamp(int(request.headers["webhook-timestamp"]), UTC)
    signed = Webhook(secret.reveal()).sign("one", at, request.body.decode())
    return signed in request.headers["webhook-signature"].split()


async def test_both_secrets_sign_until_the_old_one_ends(end):
    """Mutant: only the new secret signs. Mutant: the old one signs for ever."""
    before, after = await sent(end, END - 1), await sent(end, END)
    found = [[verifies(each, secret) for secret in (NEW, OLD)] for each in (before, after)]
    assert found == [[True, True], [True, False]]


async def test_blocked_address_is_a_failure_with_its_word(end):
    async with subscription(end, guard=AddressGuard()).open() as send:
        with pytest.raises(Failed, match="blocked"):
            await send(outgoing(1))
    assert end.connections == 0


# The challenge


async def echo(request, connection):
    said = json.loads(request.body)
    await reply(200, json.dumps({"challenge": said["challenge"]}).encode())(request, connection)


async def test_endpoint_that_returns_the_challenge_passes(end):
    end.usual = echo
    await challenge(f"{end.url}/hook", LOOPBACK, now=1.0)
    [request] = end.requests
    body = json.loads(request.body)
    assert body == {"type": "subscription.challenge", "challenge": body["challenge"]}
    assert len(body["challenge"]) >= 32
    assert request.headers["content-type"] == "application/json"


async def test_challenge_late_in_a_long_body_is_found(end):
    async def late(request, connection):
        text = json.loads(request.body)["challenge"]
        await reply(201, b"x" * 60_000 + text.encode())(request, connection)

    end.usual = late
    await challenge(end.url, LOOPBACK, now=1.0)


async def test_challenge_has_the_whole_time_for_its_body(end, monkeypatch):
    """Mutant: its body gets as little time as that of a delivery, which is kept for people."""
    monkeypatch.setattr(answer_module, "BODY_PATIENCE", 0.0)
    end.usual = echo
    await challenge(end.url, LOOPBACK, now=1.0)


@pytest.mark.parametrize(
    ("answer", "word", "status"),
    [
        (reply(200, b"ok"), "challenge", 200),
        (reply(404), "status", 404),
        (reply(302, headers={"Location": "/"}), "status", 302),
        (hang, "timeout", None),
    ],
)
async def test_other_answer_fails_the_challenge(end, answer, word, status, monkeypatch):
    """Mutant: any 2xx passes."""
    monkeypatch.setattr(module, "CHALLENGE_WITHIN", 0.3)
    end.usual = answer
    with pytest.raises(ChallengeFailed) as caught:
        await challenge(end.url, LOOPBACK, now=1.0)
    assert (caught.value.word, caught.value.status) == (word, status)


async def test_challenge_to_a_blocked_address_is_not_sent(end):
    """Mutant: the challenge goes round the guard."""
    with pytest.raises(Failed, match="blocked"):
        await challenge(end.url, AddressGuard(), now=1.0)
    assert end.connections == 0
