"""The destination of a benchmark counts what comes, and knows when."""

import time
import urllib.parse

import httpx
import pytest

from benchmarks.receiver import receiving


@pytest.fixture
def receiver():
    with receiving() as started:
        yield started


def post(receiver, path, number, **named):
    body = f'{{"id":"evt","data":{{"request_id":"{number}","code":"123456"}}}}'
    url = urllib.parse.urljoin(receiver.url, path)
    return httpx.post(url, content=body, trust_env=False, **named)


def test_what_comes_is_counted_and_answered(receiver):
    assert (receiver.count, receiver.last) == (0, 0.0)

    before = time.monotonic()
    answers = [post(receiver, "", number) for number in range(3)]

    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert receiver.count == 3
    assert before < receiver.last < time.monotonic()
    assert not receiver.arrivals()


def test_an_event_arrived_when_it_first_came(receiver):
    """Mutant: the last of several deliveries told when."""
    before = time.monotonic()
    post(receiver, "timed", 10_000_001)
    between = time.monotonic()
    post(receiver, "timed", 10_000_002)
    post(receiver, "timed", 10_000_001)

    arrivals = receiver.arrivals()

    assert set(arrivals) == {"10000001", "10000002"}
    assert before < arrivals["10000001"] < between < arrivals["10000002"]
    assert receiver.count == 3


def test_what_hangs_is_not_answered_and_not_counted(receiver):
    with pytest.raises(httpx.ReadTimeout):
        post(receiver, "hang", 1, timeout=0.3)

    assert receiver.count == 0
