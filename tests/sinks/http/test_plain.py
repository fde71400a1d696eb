import asyncio
import gc
import socket
import threading
import time

import pytest
import uvloop
from endpoint import endpoint, hang, reply

from sinks.http import answer, plain
from sinks.http.answer import SinkAnswer
from sinks.http.client import posting
from sinks.sink import Failed

SOON = 10
OK = SinkAnswer(status=200, beginning=b"ok", retry_after=None)


def raw(*parts, then_close=False):
    """Answer with these bytes, each in a packet of its own."""

    async def answer(_request, connection):
        for part in parts:
            connection.write(part)
            await connection.drain()
            await asyncio.sleep(0.01)
        if then_close:
            connection.writer.close()

    return answer


async def answers(*said, posts=1, **options):
    """Return the answers (or words) of posts to a server that says these, and its connections."""
    async with endpoint() as end, posting(end.url, connections=4, **options) as post:
        end.says(*said)
        return [await outcome(post) for _ in range(posts)], end.connections


async def outcome(post):
    """Return the answer to a post, or its word."""
    try:
        return await post({}, b"body")
    except Failed as failure:
        return failure.word


LENGTH = b"Content-Length: 2\r\n"
CHUNKS = b"Transfer-Encoding: chunked\r\n"


@pytest.mark.parametrize(
    "parts",
    [
        (b"HTTP/1.1 200 OK\r\n" + LENGTH + b"\r\nok",),
        (b"HTTP/1.1 200 OK\r\nContent-Le", b"ngth: 2\r\n\r", b"\no", b"k"),
        (
            b"HTTP/1.1 103 Early Hints\r\nRetry-After: 9\r\n\r\n",
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n" + LENGTH + b"\r\nok",
        ),
        (
            b"HTTP/1.1 200 OK\r\n" + CHUNKS + b"\r\n1\r\no\r\n",
            b"1;x=y\r\nk\r\n0\r\n",
            b"Retry-After: 9\r\n\r\n",
        ),
        (b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",),
        (b"HTTP/1.1 200 OK\r\n" + LENGTH + CHUNKS + b"\r\n2\r\nok\r\n0\r\n\r\n",),
    ],
    ids=["whole", "in pieces", "after 1xx", "chunks and trailers", "no CR", "chunks and length"],
)
async def test_answer_is_read_to_its_end(parts):
    """Mutants: 103 is the answer; its Retry-After counts, or that of a trailer."""
    assert await answers(raw(*parts), posts=2) == ([OK, OK], 1)


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\nok", 200),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", 200),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", 200),
        (b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nok", 101),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 500 No\r\n\r\n", 200),
    ],
    ids=["until the end", "HTTP/1.0", "close", "another protocol", "two answers"],
)
async def test_connection_is_not_used_again(said, status):
    """Mutants: the second answer is for the next request; 101 is an error in the event loop."""
    errors = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, error: errors.append(error))

    found, connections = await answers(raw(said, then_close=True), posts=2)

    assert [each.status for each in found] == [status, 200]
    assert (connections, errors) == (2, [])


@pytest.mark.parametrize(
    ("begin", "again"),
    [
        (CHUNKS + b"\r\n", b"10000\r\n" + b"x" * 65536 + b"\r\n"),
        (CHUNKS + b"\r\n0\r\nx: ", b"x" * 65536),
    ],
    ids=["body", "trailer"],
)
async def test_end_of_an_answer_is_not_awaited(monkeypatch, begin, again):
    """Mutants: only the time is limited; the size of the body alone is limited."""
    monkeypatch.setattr(answer, "BODY_PATIENCE", 3600)

    async def never_end(_request, connection):
        connection.write(b"HTTP/1.1 200 OK\r\n" + begin)
        while True:
            connection.write(again)
            await connection.drain()

    async with asyncio.timeout(SOON), endpoint() as end, posting(end.url, connections=1) as post:
        end.says(never_end)
        assert (await post({}, b"body")).status == 200
        await end.left()


async def test_connection_that_was_closed_after_an_answer_is_not_used():
    """Its end has arrived, and the event loop has not seen it. Mutant: no look at the socket."""

    async def answer_and_close(request, connection):
        await reply()(request, connection)
        connection.writer.close()

    for _ in range(20):
        found, connections = await answers(answer_and_close, posts=2)

        assert (found, connections) == ([OK, OK], 2)


async def test_connection_closed_at_once_has_the_word_protocol():
    """Mutant: the request is written to a lost connection, and the post waits for its deadline."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        for _ in range(20):
            async with asyncio.timeout(SOON), posting(url, connections=1) as post:
                posted = asyncio.create_task(post({}, b"body"))
                server, _ = await asyncio.to_thread(listener.accept)
                server.close()
                with pytest.raises(Failed, match="protocol"):
                    await posted


async def test_request_may_have_arrived_and_is_not_repeated():
    """The sink would get the event twice. Mutant: a post on a used connection is repeated."""

    async def close(_request, connection):
        connection.writer.close()

    async with endpoint() as end, posting(end.url, connections=1) as post:
        end.says(reply(), close)
        await post({}, b"first")
        with pytest.raises(Failed) as failure:
            await post({}, b"second")

    assert failure.value.word == "protocol"
    assert [request.body for request in end.requests] == [b"first", b"second"]


async def test_early_answer_ends_the_connection():
    """The server has not read the request. Mutant: the next request follows half of this one."""
    body = b"x" * 8_000_000
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        async with asyncio.timeout(SOON), posting(url, connections=1) as post:
            posted = asyncio.create_task(post({}, body))
            server, _ = await asyncio.to_thread(listener.accept)
            with server:
                await asyncio.to_thread(server.recv, 1)
                server.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
                answer = await posted
                ended = await asyncio.to_thread(_read_to_end, server)

    assert (answer.status, ended) == (413, True)


def _read_to_end(server):
    server.settimeout(2)
    try:
        while server.recv(1_000_000):
            pass
    except ConnectionError:
        pass
    except TimeoutError:
        return False
    return True


async def test_cancelled_post_leaves_its_connection_to_the_next(monkeypatch):
    """It is cancelled when its answer came, and the next post has its connection.

    Mutant: the cancelled post closes that connection, and the next one never ends.
    """
    release, tasks = plain.PlainClient.release, []

    def cancel_first(client, connection, *, keep):
        release(client, connection, keep=keep)
        if len(tasks) == 1:
            tasks.append(asyncio.create_task(client.post({}, b"second")))
            tasks[0].cancel()

    monkeypatch.setattr(plain.PlainClient, "release", cancel_first)
    async with asyncio.timeout(SOON), endpoint() as end, posting(end.url, connections=1) as post:
        tasks.append(asyncio.create_task(post({}, b"first")))
        await asyncio.wait(tasks)
        second = await tasks[1]

    assert (second, tasks[0].cancelled(), end.connections) == (OK, True, 1)


async def test_deadline_ends_each_post_at_its_time():
    """One timer serves all. Mutant: it is not set again after the first."""
    async with asyncio.timeout(SOON), endpoint() as end:
        end.usual = hang
        async with posting(end.url, connections=3, within=0.3) as post:
            began, ended = time.monotonic(), []

            async def fail(delay):
                await asyncio.sleep(delay)
                with pytest.raises(Failed, match="timeout"):
                    await post({}, b"body")
                ended.append(time.monotonic() - began - delay)

            await asyncio.gather(fail(0), fail(0.1), fail(0.2))

    assert all(0.25 < each < 1 for each in ended)


def test_posts_of_one_moment_share_its_timer():
    """A timer of uvloop for less than half a millisecond has no `when`.

    Mutant: `self._deadline.when()` for `self._due`. The second post is then an AttributeError.
    """

    async def post_twice():
        async with endpoint() as end, posting(end.url, connections=2) as post:
            await asyncio.gather(post({}, b"body"), post({}, b"body"))  # two idle connections
            end.usual = hang
            post.__self__._within = 0.0003
            return await asyncio.gather(
                post({}, b"body"), post({}, b"body"), return_exceptions=True
            )

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert [str(each) for each in runner.run(post_twice())] == ["timeout", "timeout"]


async def test_idle_connection_is_closed(monkeypatch):
    """Mutant: it stays until its server closes it."""
    monkeypatch.setattr("sinks.http.client._IDLE", 0.1)
    async with asyncio.timeout(SOON), endpoint() as end, posting(end.url, connections=1) as post:
        await post({}, b"body")
        await end.left()
        await post({}, b"body")

    assert end.connections == 2


@pytest.mark.parametrize(
    ("said", "posted"),
    [
        (reply(headers={"Connection": "close"}), OK),
        (raw(then_close=True), "protocol"),
        (hang, "timeout"),
    ],
    ids=["answered", "closed", "late"],
)
async def test_connection_leaves_nothing_for_the_collector(said, posted):
    """Mutants: the parser is not deleted, and all stay; the waiter is not: those that failed do."""
    async with endpoint() as end, posting(end.url, connections=4, within=0.05) as post:
        end.usual = said
        gc.collect()
        gc.disable()
        try:
            found = await asyncio.gather(*[outcome(post) for _ in range(20)])
            await end.left()
            await asyncio.sleep(0)
            left = [one for one in gc.get_objects() if isinstance(one, plain._Connection)]
        finally:
            gc.enable()

    assert found == [posted] * 20
    assert not left


async def test_pool_has_its_limit():
    """Mutant: each connection of a test of the sink stays open, too."""
    async with asyncio.timeout(SOON), endpoint() as end, posting(end.url, connections=1) as post:
        end.usual = reply(delay=0.05)
        await asyncio.gather(*(post({}, b"body") for _ in range(3)))
        await _only_one(end)

    assert end.connections == 3


async def _only_one(end):
    """Return when the server has one connection left: soon, before the idle ones are closed."""
    async with asyncio.timeout(2):
        while end.open != 1:  # noqa: ASYNC110 - it has no event for this
            await asyncio.sleep(0.001)


async def test_close_ends_posts_and_connections():
    async with asyncio.timeout(SOON), endpoint() as end:
        async with posting(end.url, connections=2) as post:
            await post({}, b"body")
            end.says(hang)
            task = asyncio.create_task(post({}, b"body"))
            while not end.inside:  # noqa: ASYNC110 - it has no event for this
                await asyncio.sleep(0.001)
        with pytest.raises(Failed, match="protocol"):
            await task
        await end.left()


async def test_address_of_version_6_is_reached():
    async with endpoint(host="::1") as end:
        url = f"http://[::1]:{end.port}/a"
        async with posting(url, connections=1) as post:
            answer = await post({}, b"body")

    assert (answer, end.requests[0].headers["host"]) == (OK, f"[::1]:{end.port}")


async def test_user_of_the_url_is_a_header():
    """A header of the sink replaces it. Mutant: both are sent."""
    async with endpoint() as end:
        url = f"http://us%20er:p%40w@127.0.0.1:{end.port}/a"
        async with posting(url, connections=1) as post:
            await post({}, b"body")
            await post({"authorization": "Bearer x"}, b"body")

    sent = [dict(request.fields)["authorization"] for request in end.requests]
    assert sent == ["Basic dXMgZXI6cEB3", "Bearer x"]
    assert [len(request.fields) for request in end.requests] == [5, 5]


@pytest.fixture
def resolver(monkeypatch):
    """Let a test say the addresses of `sink.example`; names are counted."""
    found, asked, real = [], [], socket.getaddrinfo

    def resolve(host, port, *, type, flags=0):  # noqa: A002 - as the library names it
        if host != b"sink.example":
            return real(host, port, type=type, flags=flags)
        if flags:
            raise socket.gaierror
        asked.append(threading.current_thread())
        return [each for (address, port) in found for each in real(address, port, type=type)]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return found, asked


async def test_next_address_is_tried_if_one_refuses(resolver):
    """Mutant: only the first address of a name is tried."""
    found, asked = resolver
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    async with endpoint() as end:
        found += [("127.0.0.1", port), ("127.0.0.1", end.port)]
        async with posting("http://sink.example/", connections=1) as post:
            answer = await post({}, b"body")

    assert (answer, end.requests[0].headers["host"], len(asked)) == (OK, "sink.example", 1)


async def test_refused_addresses_leave_nothing_for_the_collector(resolver):
    """Mutant: the error of the last address is raised, and holds the frame that holds its task."""
    found, _ = resolver
    with socket.create_server(("127.0.0.1", 0)) as closed:
        found += [("127.0.0.1", closed.getsockname()[1])] * 2
    async with posting("http://sink.example/", connections=1) as post:
        gc.collect()
        gc.disable()
        try:
            words = [await outcome(post) for _ in range(20)]
            await asyncio.sleep(0)
            left = [one for one in gc.get_objects() if isinstance(one, ConnectionRefusedError)]
        finally:
            gc.enable()

    assert words == ["refused"] * 20
    assert not left


async def test_next_address_is_tried_if_one_is_silent(resolver):
    """As of IPv6 without a way. Mutant: the second address waits for the first."""
    found, _ = resolver
    with socket.create_server(("127.0.0.1", 0), backlog=0) as silent:
        address = silent.getsockname()
        waiting = [socket.socket() for _ in range(8)]
        for sock in waiting:
            sock.setblocking(False)
            sock.connect_ex(address)
        async with endpoint() as end:
            found += [address, ("127.0.0.1", end.port)]
            async with posting("http://sink.example/", connections=1, within=3) as post:
                answer = await post({}, b"body")
        for sock in waiting:
            sock.close()

    assert answer == OK


async def test_second_connection_to_a_name_is_closed(resolver, monkeypatch):
    """Two addresses answer in the same moment. Mutant: one stays open unused."""
    found, _ = resolver
    connect, both = plain.PlainClient._connect_to, asyncio.Barrier(2)

    async def connect_together(client, address):
        connection = await connect(client, address)
        await both.wait()
        return connection

    monkeypatch.setattr(plain, "_STAGGER", 0)
    monkeypatch.setattr(plain.PlainClient, "_connect_to", connect_together)
    async with asyncio.timeout(SOON), endpoint() as end:
        found += [("127.0.0.1", end.port)] * 2
        async with posting("http://sink.example/", connections=2) as post:
            assert await post({}, b"body") == OK
            await _only_one(end)

    assert end.connections == 2


async def test_each_connection_looks_its_name_up(resolver):
    """The sink has moved. Mutant: the first addresses stay."""
    found, _ = resolver
    async with posting("http://sink.example/", connections=1) as post:
        for _ in range(2):
            async with endpoint() as end:
                found[:] = [("127.0.0.1", end.port)]
                answer = await post({}, b"body")
                assert (answer, len(end.requests)) == (OK, 1)


async def test_one_look_up_serves_all_posts_that_wait(resolver):
    """A resolver that hangs has one thread a sink, not one an attempt."""
    found, asked = resolver
    async with endpoint() as end, posting("http://sink.example/", connections=20) as post:
        found.append(("127.0.0.1", end.port))
        await asyncio.gather(*(post({}, b"body") for _ in range(20)))

    assert len(asked) == 1
    assert asked[0].daemon
