"""Streams of the Python client, without a network: any bytes in any pieces, cut anywhere."""

import itertools
import json

import httpx
from hypothesis import given
from hypothesis import strategies as st

from smshook_client.api import Api
from smshook_client.binding import _iterate
from smshook_client.sse import Frame, frames

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def encoded(frame):
    return f"id: {frame.id}\nevent: {frame.event}\ndata: {frame.data}\n:\n\n".encode()


def pieces(data, cuts):
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[begin:end] for begin, end in itertools.pairwise(places)]


async def each(items):
    for item in items:
        yield item


@given(texts=st.lists(TEXTS, max_size=5), cuts=st.lists(st.integers(min_value=0), max_size=9))
def test_frames_are_read_from_any_pieces(texts, cuts):
    """Mutants: a piece is decoded alone; a line ends at U+2028; a comment ends an event."""
    sent = [Frame(f"at-{n}", "sms.received", json.dumps(text)) for n, text in enumerate(texts)]
    sent += [Frame("raw", "x.y", json.dumps(text, ensure_ascii=False)) for text in texts]
    data = b":\n\n".join([b"", *map(encoded, sent), b""])

    received = list(_iterate(frames(each(pieces(data, cuts)))))

    assert [frame for frame in received if frame is not None] == sent


def event(number):
    at = "2026-09-14T18:42:36Z"
    fields = {"id": str(number), "source": "tellabot", "type": "sms.received", "time": at}
    return {**fields, "recordedtime": at, "data": {"text": "\u2028"}}


class CutTransport:
    """A service with events, which ends each connection after a number of bytes."""

    def __init__(self, count, lengths):
        self.count, self.lengths = count, iter(lengths)

    async def send(self, request, *, stream):
        assert stream
        after = request.url.params["after"]
        first = 0 if after == "start" else int(after) + 1
        whole = b"".join(
            encoded(Frame(str(number), "sms.received", json.dumps(event(number))))
            for number in range(first, self.count)
        )
        headers = {"content-type": "text/event-stream"}
        response = httpx.Response(200, headers=headers, request=request)
        response.extensions["body"] = whole[: next(self.lengths, None)]
        return response

    def chunks(self, response):
        return each([response.extensions["body"]])

    async def release(self, response):
        pass

    async def sleep(self, seconds):
        pass


@given(count=st.integers(1, 9), lengths=st.lists(st.integers(0, 1200), max_size=30))
def test_stream_cut_anywhere_repeats_and_misses_no_event(count, lengths):
    """Mutants: it resumes behind an event that was cut off, or before the last one."""
    api = Api("http://a", "", CutTransport(count, lengths), timeout=1, retries=0)

    items = _iterate(api.stream({}, after="start", reconnect=True))
    read = list(itertools.islice(items, count))
    items.close()

    assert [item.event.id for item in read] == [str(number) for number in range(count)]
