import asyncio

import pytest
from endpoint import endpoint, hang, reply, reset

from sinks.outbound import Answer, Tls, confirmed, posting
from sinks.sink import Failed, Receipt, Refused

SOON = 10
NOW = 1_600_108_957.0  # Mon, 14 Sep 2020 18:42:37 GMT


async def failure_of(url, **options):
    """The failure of one POST there."""
    async with asyncio.timeout(SOON), posting(url, connections=1, **options) as post:
        with pytest.raises(Failed) as failure:
            await post({}, b"secret body")
    return failure.value


def answered(status, retry_after=None):
    return Answer(status=status, beginning=b"body", retry_after=retry_after)


async def test_what_is_posted_arrives_as_it_is():
    async with endpoint() as end, posting(f"{end.url}/a?b=c", connections=1) as post:
        answer = await post({"content-type": "text/plain", "x-y": "z"}, b"body")

    assert answer == Answer(status=200, beginning=b"ok", retry_after=None)
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


async def test_a_redirect_is_an_answer():
    async with endpoint() as end, posting(f"{end.url}/a", connections=1) as post:
        end.says(reply(307, headers={"Location": f"{end.url}/b"}))
        answer = await post({}, b"body")

    assert (answer.status, len(end.requests)) == (307, 1)


async def test_only_a_kibibyte_of_an_answer_is_kept():
    async with endpoint() as end, posting(end.url, connections=1) as post:
        end.says(reply(200, b"x" * 5000))
        answer = await post({}, b"body")

    assert answer.beginning == b"x" * 1024


async def test_whose_deadline_passes_drops_its_connection():
    """Mutant: without the client's own deadline the connection lives on for ever."""
    async with asyncio.timeout(SOON), endpoint() as end:
        end.says(hang)
        async with posting(end.url, connections=1, within=0.3) as post:
            with pytest.raises((TimeoutError, Failed)):
                async with asyncio.timeout(0.3):
                    await post({}, b"body")
            await end.left()
            answer = await post({}, b"body")

    assert answer.status == 200


async def test_a_deadline_that_passed_is_a_timeout():
    async with endpoint() as end:
        end.says(hang)
        failure = await failure_of(end.url, within=0.2)

    assert failure.word == "timeout"


async def test_a_reset_is_of_the_protocol():
    async with endpoint() as end:
        end.says(reset)
        failure = await failure_of(f"{end.url}/canary")

    assert repr(failure) == "Failed('protocol')"
    assert (failure.__cause__, failure.__context__) == (None, None)


async def test_nobody_listens_there():
    async with endpoint() as end:
        pass

    assert (await failure_of(end.url)).word == "refused"


async def test_there_is_no_such_name():
    """A label of 64 letters is none, and no resolver is asked for it."""
    assert (await failure_of(f"http://{'a' * 64}.example/")).word == "dns"


@pytest.mark.parametrize(
    ("tls", "word"),
    [
        (Tls(ca_file="/nowhere/ca.pem"), "tls"),
        (Tls(cert_file="/nowhere/cert.pem", key_file="/nowhere/key.pem"), "tls"),
    ],
)
async def test_certificates_that_are_not_there_fail_what_is_sent_and_not_the_opening(tls, word):
    async with endpoint() as end:
        assert (await failure_of(end.url, tls=tls)).word == word


@pytest.mark.parametrize("status", [200, 202, 204, 299])
def test_each_2xx_is_a_receipt(status):
    assert confirmed(answered(status), now=NOW) == Receipt(status=status, answer=b"body")


def test_gone_is_a_refusal():
    with pytest.raises(Refused) as refusal:
        confirmed(answered(410), now=NOW)

    refused = refusal.value
    assert (refused.word, refused.status, refused.answer) == ("gone", 410, b"body")


@pytest.mark.parametrize("status", [101, 199, 301, 307, 400, 401, 404, 409, 429, 500, 503, 999])
def test_all_else_is_tried_again(status):
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
def test_what_retry_after_asks_for(said, seconds, status):
    with pytest.raises(Failed) as failure:
        confirmed(answered(status, said), now=NOW)

    assert failure.value.retry_after == seconds


def test_retry_after_means_something_on_429_and_503_only():
    with pytest.raises(Failed) as failure:
        confirmed(answered(500, "7"), now=NOW)

    assert failure.value.retry_after is None
