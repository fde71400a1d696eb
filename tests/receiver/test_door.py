"""The door without a socket, with a real intake and a real journal behind it."""

import asyncio
import hmac
import json
from datetime import UTC, datetime

import live
import pytest
from doors import Answered, ask, head
from services import SECRET, assembled, clock_of, configured

from core.secret import Secret
from core.units import Rate
from journal.reads import (
    CallbackOfEvent,
    Events,
    JournalStats,
    QuarantinedCallbacks,
    Rejections,
    TokenUses,
)
from receiver.addresses import Peers
from receiver.door import Door
from receiver.providers.generic import Generic
from receiver.providers.sms_activate.profiles import SmsActivate
from receiver.providers.tellabot.callbacks import TellABot
from receiver.samples import SampleSigner
from receiver.signatures import HeaderSecret, Hmac
from receiver.source import Reply
from server.runtime.readiness import MOST_WAITING

TOKEN = b"a-token-of-sixteen-or-more"
NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


SOURCES = {
    "tellabot": TellABot(tokens=(Secret(TOKEN.decode()), Secret("the-token-before-this-one"))),
    "limited": TellABot(tokens=(Secret(TOKEN.decode()),), rate=Rate(2, 60)),
    "listed": TellABot(tokens=(Secret(TOKEN.decode()),), allow_from=("192.0.2.0/24",)),
    "signs": Generic(
        tokens=(Secret(TOKEN.decode()),),
        allow_from=("127.0.0.1",),
        methods=("GET",),
        hmac=Hmac(secrets=(Secret("of-the-provider"),)),
    ),
    "dialect": SmsActivate(tokens=(Secret(TOKEN.decode()),)),
    "plain": Generic(
        tokens=(Secret(TOKEN.decode()),),
        answer=Reply(content_type="text/plain; charset=utf-8", body="OK \u2713"),
    ),
    "secret": Generic(
        tokens=(Secret(TOKEN.decode()),),
        header=HeaderSecret(
            name="X-Own", secrets=(Secret("another"), Secret("p4ssw0rd-of-its-own"))
        ),
    ),
}


@pytest.fixture
async def parts(tmp_path):
    config = configured(tmp_path, sources=SOURCES)
    async with assembled(config, clock_of(NOW.timestamp, ticks=lambda: 0.0)) as parts:
        yield parts


@pytest.fixture
def journal(parts):
    return parts.journal


@pytest.fixture
def door(parts):
    return Door(
        tuple(parts.sources.values()),
        parts.intake,
        peers=Peers(("10.0.0.1",)),
        max_body=1000,
        now=lambda: NOW,
    )


def url(source="tellabot", token=TOKEN):
    return b"/in/" + source.encode() + b"/" + token


def sms(number=1, **over):
    return live.sms(number, at=int(NOW.timestamp()), **over)


async def test_callback_is_accepted_and_its_copy_is_a_duplicate(door):
    first = await ask(door, url(), body=sms())
    again = await ask(door, url() + b"/", body=sms())

    assert (first.status, first.json["status"]) == (200, "accepted")
    assert again.json == {"status": "duplicate", "events": first.json["events"]}


@pytest.mark.parametrize(
    "path",
    [
        b"/in",
        b"/in/",
        b"/in/tellabot",
        b"/in/tellabot/",
        b"/in//" + TOKEN,
        b"/in/tellabot/" + TOKEN + b"//",
        b"/in/tellabot/x/../" + TOKEN,
        b"/in/tellabot/x/" + TOKEN,
        b"/in/tellabot%2F" + TOKEN,
        url(token=TOKEN[:12]),
        url(token=TOKEN + b"x"),
        url(token=TOKEN.swapcase()),
        url(token=TOKEN + b"%20"),
        url(token=TOKEN + b"%00"),
        url(token=TOKEN + b";x=1"),
        url(token=b"%2561" + TOKEN[1:]),
        url("nobody"),
        url("dialect", token=b"the-token-before-this-one"),
    ],
)
async def test_every_404_has_the_same_bytes(door, path, journal):
    """Mutants: the problem has a request id; an unknown source has its own code."""
    answer = await ask(door, path, body=sms())

    assert answer.status == 404
    assert answer.json == {
        "type": "about:blank",
        "title": "Not Found",
        "status": 404,
        "code": "not_found",
    }
    assert answer.headers[b"x-request-id"]
    assert (await journal.ask(JournalStats())).events == 0


async def test_path_segments_are_decoded_once(door):
    encoded = b"".join(b"%%%02X" % byte for byte in TOKEN)

    assert (await ask(door, url(token=encoded), body=sms())).status == 200
    assert (await ask(door, b"/%69n/tellabot/" + TOKEN, body=sms())).status == 200


async def test_former_token_is_accepted_during_a_rotation(door, journal, parts):
    await ask(door, url(token=b"the-token-before-this-one"), body=sms())

    [use] = await journal.ask(TokenUses())
    assert (use.source, use.token) == ("tellabot", parts.sources["tellabot"].tokens.fingerprint(1))


def test_door_serves_its_own_paths_only(door):
    """Mutants: the prefix `/in`; an encoded slash; a segment that is decoded twice."""
    own = [b"/in", b"/in/", b"/in/tellabot/" + TOKEN, b"/%69n/x", b"/i%6E"]
    others = [b"/", b"/inx/tellabot/" + TOKEN, b"/in%2Ftellabot%2F" + TOKEN, b"/%2569n/x", b"*"]

    assert [door.serves(path) for path in own] == [True] * 5
    assert [door.serves(path) for path in others] == [False] * 5


@pytest.mark.parametrize("token", [TOKEN, b"wrong"])
async def test_other_method_is_405_with_any_token(door, token):
    answer = await ask(door, url(token=token), method="DELETE")

    assert (answer.status, answer.headers[b"allow"]) == (405, b"GET, HEAD, POST")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_get_with_the_right_token_is_ready(door, method, journal):
    answer = await ask(door, url(), method=method)

    assert (answer.status, answer.json) == (200, {"status": "ready"})
    assert (await ask(door, url(token=b"wrong"), method=method)).status == 404
    assert (await journal.ask(JournalStats())).events == 0


async def test_draining_door_answers_503_and_closes(door, parts):
    parts.intake.drain()

    answer = await ask(door, url(), body=sms())

    assert (answer.status, answer.headers[b"retry-after"]) == (503, b"5")
    assert answer.headers[b"connection"] == b"close"


@pytest.mark.uncounted
async def test_door_with_too_many_waiting_answers_503(door, journal):
    """Mutant: no limit, and a stalled disk fills the memory."""
    waiting = [
        asyncio.create_task(ask(door, url(), body=sms(n))) for n in range(MOST_WAITING + 600)
    ]
    answers = await asyncio.gather(*waiting)

    statuses = {answer.status for answer in answers}
    assert statuses == {200, 503}
    assert (await journal.ask(JournalStats())).events == sum(
        answer.status == 200 for answer in answers
    )


async def test_callback_over_the_rate_is_429_with_a_wait(door):
    statuses = [(await ask(door, url("limited"), body=sms(n))).status for n in range(3)]

    assert statuses == [200, 200, 429]
    answer = await ask(door, url("limited"), body=sms(9))
    assert 1 <= int(answer.headers[b"retry-after"]) <= 31


async def test_body_over_the_limit_is_413(door, journal):
    by_length = await ask(door, url(), headers=[(b"content-length", b"1001")])
    by_bytes = await ask(door, url(), body=b"a" * 1001)

    assert (by_length.status, by_bytes.status) == (413, 413)
    assert (await ask(door, url(), body=b"a" * 1000)).status == 200
    assert (await journal.ask(JournalStats())).quarantine == 1


async def test_late_or_large_body_is_counted_and_closes(door, parts, journal):
    admission = door.admit(head("POST", url()))

    answers = [Answered(door.refuse(admission, status)) for status in (408, 413)]
    await parts.rejections.write()
    counted = await journal.ask(Rejections(limit=9))

    assert [(one.status, one.json["code"]) for one in answers] == [
        (408, "body_timeout"),
        (413, "too_large"),
    ]
    assert {one.headers[b"connection"] for one in answers} == {b"close"}
    assert {(r.reason, r.source, r.peer) for _, r in counted} == {
        ("timeout", "tellabot", "192.0.2.1"),
        ("too_large", "tellabot", "192.0.2.1"),
    }


async def test_unlisted_address_is_403_and_quarantined(door, journal):
    refused = await ask(door, url("listed"), body=sms(), peer="198.51.100.7")
    accepted = await ask(door, url("listed"), body=sms(2), peer="192.0.2.9")

    assert (refused.status, refused.json["code"]) == (403, "address_not_allowed")
    assert accepted.status == 200
    [kept] = await journal.ask(QuarantinedCallbacks(limit=9))
    assert (kept.reason, kept.body, kept.peer) == ("address", sms(), "198.51.100.7")


async def test_forwarded_address_needs_a_trusted_proxy(door):
    forwarded = [(b"x-forwarded-for", b"192.0.2.9")]

    spoofed = await ask(door, url("listed"), body=sms(), headers=forwarded)
    proxied = await ask(door, url("listed"), body=sms(2), headers=forwarded, peer="10.0.0.1")

    assert (spoofed.status, proxied.status) == (403, 200)


@pytest.mark.parametrize(
    ("source", "body", "headers", "reason"),
    [
        ("tellabot", b"", [], "empty"),
        ("tellabot", b"event=balance_low&id=1", [], "unknown_event"),
        ("tellabot", b"event=incoming_message&reply=x", [], "identity"),
        ("tellabot", b"pin=1&pin=2", [], "malformed"),
        ("tellabot", b"\x1f\x8b", [(b"content-encoding", b"gzip")], "encoding"),
        (
            *("tellabot", b"\x1f\x8b"),
            [(b"content-encoding", b"identity"), (b"content-encoding", b"gzip")],
            "encoding",
        ),
        ("dialect", b'{"broken":', [], "malformed"),
    ],
)
async def test_malformed_callback_is_kept_byte_for_byte(
    door, journal, source, body, headers, reason
):
    answer = await ask(door, url(source), body=body, headers=headers)
    again = await ask(door, url(source), body=body, headers=headers)

    [kept] = await journal.ask(QuarantinedCallbacks(limit=9))
    assert answer.json == {"status": "quarantined", "id": kept.id, "reason": reason}
    assert again.json == answer.json
    assert (kept.body, kept.count, kept.headers) == (
        body,
        2,
        tuple((k.decode(), v.decode()) for k, v in headers),
    )
    stats = await journal.ask(JournalStats())
    assert (stats.events, stats.quarantine, stats.duplicates) == (0, 1, 1)


async def test_bug_in_normalize_loses_no_bytes(door, journal, monkeypatch):
    """Mutant: without the last `except`, the provider gets a 500 and retries in vain."""

    def fault(*_args):
        raise KeyError("a code that must not be stored")

    monkeypatch.setattr(TellABot, "normalize", fault)

    answer = await ask(door, url(), body=sms())

    assert (answer.status, answer.json["reason"]) == (200, "error")
    [kept] = await journal.ask(QuarantinedCallbacks(limit=9))
    assert (kept.body, kept.detail) == (sms(), "KeyError")


async def test_bug_in_accept_loses_no_bytes(door, journal, monkeypatch):
    """Mutant: only Malformed is caught: a failing route is a 500, and the code is lost."""

    def fault(*_args):
        raise RecursionError

    monkeypatch.setattr("server.runtime.planner.plan", fault)

    answer = await ask(door, url(), body=sms())

    assert (answer.status, answer.json["reason"]) == (200, "error")
    assert (await journal.ask(JournalStats())).quarantine == 1


async def test_rejection_is_counted_by_reason_source_and_peer(door, parts, journal):
    await ask(door, url(token=b"wrong"), body=sms())
    await ask(door, url(token=b"wrong"), body=sms())
    await ask(door, b"/in/a-stranger's-word/x", body=sms(), peer="192.0.2.1")
    await ask(door, url(), method="PUT")
    await ask(door, b"/in/x")
    await parts.rejections.write()

    counted = await journal.ask(Rejections(limit=9))

    assert [(r.reason, r.source, r.peer, r.count) for _, r in counted] == [
        ("token", "tellabot", "127.0.0.1", 2),
        ("token", "", "192.0.2.1", 1),
        ("method", "tellabot", "127.0.0.1", 1),
        ("path", "", "127.0.0.1", 1),
    ]


@pytest.mark.parametrize(
    ("sent", "kept"), [(b"abc-123", True), (b"two words", False), (b"x" * 65, False)]
)
async def test_valid_request_id_is_returned(door, sent, kept):
    answer = await ask(door, url(), body=sms(), headers=[(b"x-request-id", sent)])

    assert (answer.headers[b"x-request-id"] == sent) is kept


async def test_sample_needs_our_signature(door, journal):
    signed = SampleSigner(SECRET).sign("tellabot", sms()).encode()

    await ask(door, url(), body=sms(), headers=[(b"smshook-sample", signed)])
    await ask(door, url(), body=sms(2), headers=[(b"smshook-sample", signed)])

    page = await journal.ask(Events(filter=live.any_event(), limit=9))
    samples = [json.loads(body)["data"]["sample"] for _, body in page.items]
    assert samples == [True, False]


# Signatures


def signed(body):
    signature = hmac.digest(b"of-the-provider", body, "sha256").hex().encode()
    return {"body": body, "headers": [(b"x-signature", signature)]}


async def test_bad_signature_is_404_and_nothing_is_kept(door, journal):
    """Mutants: a different answer; bodies are decoded first, and bad JSON is quarantined."""
    wrong = await ask(door, url("signs", token=b"wrong"), body=b"id=1&text=1234")
    answers = [
        await ask(door, url("signs"), body=body, headers=headers)
        for body in (b"id=1&text=1234", b"{", b"")
        for headers in ([], [(b"x-signature", b"00")], signed(b"another")["headers"])
    ]
    good = await ask(door, url("signs"), **signed(b"id=1&text=1234"))

    assert {(answer.status, answer.body) for answer in answers} == {(404, wrong.body)}
    assert (good.status, good.json["status"]) == (200, "accepted")
    assert (await journal.ask(JournalStats())).quarantine == 0


async def test_unlisted_address_keeps_only_signed_callbacks(door, journal):
    """A replay from quarantine checks no signature. Mutant: it is checked after the address."""
    peer = "198.51.100.7"

    forged = await ask(door, url("signs"), body=b"id=1&text=1234", peer=peer)
    kept = (await journal.ask(JournalStats())).quarantine
    genuine = await ask(door, url("signs"), **signed(b"id=1&text=1234"), peer=peer)

    assert (forged.status, genuine.status) == (403, 403)
    assert (kept, (await journal.ask(JournalStats())).quarantine) == (0, 1)


async def test_query_of_a_get_is_a_callback_if_configured(door, journal):
    """Mutants: a HEAD is a callback, too; the signature of a query is not verified."""
    query = b"id=1&text=1234"
    target = url("signs") + b"?" + query
    headers = signed(query)["headers"]

    accepted = await ask(door, target, method="GET", headers=headers)
    again = await ask(door, url("signs"), **signed(query))
    opened = [
        await ask(door, url("signs"), method="GET"),
        await ask(door, target, method="HEAD", headers=headers),
    ]
    forged = await ask(door, target, method="GET")
    large = await ask(door, url("signs") + b"?" + b"a" * 1001, method="GET")

    assert accepted.json["status"] == "accepted"
    assert again.json == {"status": "duplicate", "events": accepted.json["events"]}
    assert [answer.json for answer in opened] == [{"status": "ready"}] * 2
    assert (forged.status, large.status) == (404, 413)
    assert (await journal.ask(JournalStats())).events == 1


QUERY = b"event=incoming_message&id=7&reply=Your+code+1234&pin=1234&from=22000"


async def test_get_with_a_query_is_quarantined_if_posts_are_expected(door, journal, parts):
    """Mutant: the answer is `ready`, and the message is lost."""
    target = url() + b"?" + QUERY

    kept = await ask(door, target, method="GET")
    again = await ask(door, target, method="GET")
    opened = await ask(door, url(), method="GET")
    wrong = await ask(door, url(token=b"wrong") + b"?" + QUERY, method="GET")
    stats = await journal.ask(JournalStats())
    [entry] = await journal.ask(QuarantinedCallbacks(limit=10))
    replayed = await parts.quarantine.replay(entry, "r")

    assert (kept.status, kept.json["reason"]) == (200, "method")
    assert again.json == kept.json
    assert opened.json == {"status": "ready"}
    assert wrong.status == 404
    assert (stats.quarantine, stats.duplicates) == (1, 1)
    assert entry.body == QUERY
    assert (replayed.status, len(replayed.events)) == ("accepted", 1)
    assert (await journal.ask(JournalStats())).quarantine == 0


async def test_get_from_an_unlisted_address_is_403(door, journal):
    answer = await ask(door, url("listed") + b"?" + QUERY, method="GET", peer="198.51.100.7")

    [entry] = await journal.ask(QuarantinedCallbacks(limit=10))
    assert (answer.status, entry.reason) == (403, "address")


async def test_configured_answer_is_given_to_stored_callbacks(door, journal):
    """Mutants: also for errors; also for samples, where `send` reads our JSON."""
    sms = b'{"id":"1","text":"code 1234"}'
    signature = SampleSigner(SECRET).sign("plain", sms).encode()

    answers = [await ask(door, url("plain"), body=body) for body in (sms, sms, b"{")]
    sample = await ask(door, url("plain"), body=sms, headers=[(b"smshook-sample", signature)])
    opened = await ask(door, url("plain"), method="GET")
    wrong = await ask(door, url("plain", token=b"wrong"), body=sms)

    assert {(it.status, it.headers[b"content-type"], it.body) for it in answers} == {
        (200, b"text/plain; charset=utf-8", b"OK \xe2\x9c\x93")
    }
    assert answers[0].headers[b"content-length"] == b"6"
    assert sample.json["status"] == "duplicate"
    assert opened.json == {"status": "ready"}
    assert (wrong.status, wrong.headers[b"content-type"]) == (404, b"application/problem+json")
    stats = await journal.ask(JournalStats())
    assert (stats.events, stats.quarantine) == (1, 1)


# Secrets in headers

SENT = [
    (b"authorization", b"Basic dTpwNHNzdzByZA=="),
    (b"cookie", b"a=p4ssw0rd"),
    (b"proxy-authorization", b"Bearer p4ssw0rd"),
    (b"x-own", b"p4ssw0rd-of-its-own"),
    (b"x-api-key", b"digest:" + b"0" * 32),
    (b"x-original-uri", b"/in/%73ecret/" + TOKEN),
    (b"content-type", b"application/json"),
    (b"user-agent", b"\xe9"),
]


@pytest.mark.parametrize("body", [b'{"id":"1","text":"code 1234"}', b"{"])
async def test_secrets_in_headers_are_stored_as_digests(door, journal, parts, body):
    """Mutants: only those of events; a digest that a caller sends stays."""
    answer = await ask(door, url("secret"), body=body, headers=SENT)

    if answer.json["status"] == "accepted":
        stored = (await journal.ask(CallbackOfEvent(answer.json["events"][0]))).headers
    else:
        [entry] = await journal.ask(QuarantinedCallbacks(limit=10))
        stored = entry.headers
    digest = parts.identity.credential_digest
    assert stored == (
        ("authorization", digest("Basic dTpwNHNzdzByZA==")),
        ("cookie", digest("a=p4ssw0rd")),
        ("proxy-authorization", digest("Bearer p4ssw0rd")),
        ("x-own", digest("p4ssw0rd-of-its-own")),
        ("x-api-key", digest("digest:" + "0" * 32)),
        ("x-original-uri", digest(f"/in/%73ecret/{TOKEN.decode()}")),
        ("content-type", "application/json"),
        ("user-agent", "\xe9"),
    )


async def test_quarantined_callback_with_secrets_can_be_replayed(door, journal, parts):
    """Its secrets were verified on arrival. Mutant: digests are verified at a replay."""
    sms = b"id=9&text=code+1234"

    await ask(door, url("secret") + b"?" + sms, method="GET", headers=SENT)
    [entry] = await journal.ask(QuarantinedCallbacks(limit=10))
    replayed = await parts.quarantine.replay(entry, "r")

    assert entry.reason == "method"
    assert replayed.status == "accepted"
    stored = (await journal.ask(CallbackOfEvent(replayed.events[0]))).headers
    assert stored == entry.headers


async def test_wrong_secret_in_a_header_is_404(door, journal):
    for wrong in (b"", b"p4ssw0rd", b"p4ssw0rd-of-its-own\xe9", None):
        headers = [] if wrong is None else [(b"x-own", wrong)]
        answer = await ask(door, url("secret"), body=b'{"id":"1","text":"1234"}', headers=headers)
        assert answer.status == 404
    assert (await journal.ask(JournalStats())).events == 0
