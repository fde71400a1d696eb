"""Bodies that arrive too slowly are cut off; requests without one may last."""

import asyncio

import pytest

from httpd.body_time import CUT_OFF, BodyTime


async def received(*messages, method="POST", seconds=0.05):
    """Return what an app receives, and whether its body was cut off. None: no message comes."""
    scope, queue, got = {"type": "http", "method": method, "state": {}}, list(messages), []

    async def receive():
        message = queue.pop(0)
        return await asyncio.sleep(0.2, {"type": "late"}) if message is None else message

    async def app(_scope, receive, _send):
        got.extend([(await receive())["type"] for _ in messages])

    await BodyTime(app, seconds)(scope, receive, None)
    return got, scope["state"].get(CUT_OFF, False)


PART = {"type": "http.request", "body": b"x", "more_body": True}
END = {"type": "http.request", "body": b"x"}
GONE = {"type": "http.disconnect"}


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([PART, END], (["http.request", "http.request"], False)),
        ([PART, None], (["http.request", "http.disconnect"], True)),
        ([None], (["http.disconnect"], True)),
        ([PART, GONE], (["http.request", "http.disconnect"], True)),
        ([END, None], (["http.request", "late"], False)),
        ([END, GONE], (["http.request", "http.disconnect"], False)),
    ],
)
async def test_body_has_a_time(messages, expected):
    """Mutants: the wait after the body has the limit, too; each part has a time of its own."""
    assert await received(*messages) == expected


async def test_call_without_a_body_may_last():
    """Mutant: each method has the limit."""
    assert await received(None, method="GET") == (["late"], False)
