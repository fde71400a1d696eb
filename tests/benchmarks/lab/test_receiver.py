"""The destination of a benchmark counts what comes, and knows when."""

import time
import urllib.parse

import httpx
import pytest

from benchmarks.lab.receiver import receiving


@pytest.fixture
def receiver():
    with receiving() as started:
        yield started


def post(receiver, path, number, **named):
    body = f'{{"id":"evt","data":{{"request_id":"{number}","code":"123456"}}}}'
    url = urllib.parse.urljoin(receiver.url, path)
    return httpx.post(url, content=body, trust_env=False, **named)


def test_deliveries_are_counted_and_answered(receiver):
    assert (receiver.count, receiver.last) == (0, 0.0)

    before = time.monotonic()
    answers = [post(receiver, "", number) for number in range(3)]

    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert receiver.count == 3
    assert before < receiver.last < time.monotonic()
    assert not receiver.arrivals()


def test_event_arrives_with_its_first_delivery(receiver):
    """Mutant: the time of the last of several deliveries."""
    before = time.monotonic()
    post(receiver, "timed", 10_000_001)
    between = time.monotonic()
    post(receiver, "timed", 10_000_002)
    post(receiver, "timed", 10_000_001)

    arrivals = receiver.arrivals()

    assert set(arrivals) == {"10000001", "10000002"}
    assert before < arrivals["10000001"] < between < arrivals["10000002"]
    assert receiver.count == 3


def test_hanging_path_neither_answers_nor_counts(receiver):
    with pytest.raises(httpx.ReadTimeout):
        post(receiver, "hang", 1, timeout=0.3)

    assert receiver.count == 0
