"""Many connections use up no descriptors of the journal, and callbacks get their answers."""

import contextlib
import resource
import socket

import httpx
import live
import pytest

#: Of `serve`, in a shell that lowers its limits.
LIMITED = ["sh", "-c", 'ulimit -Sn {soft} && ulimit -Hn {hard} && exec "$@"', "sh"]


@pytest.fixture
def many():
    """Raise the limit of descriptors of this process to its maximum."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    yield before[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def limited(folder, soft, hard):
    program = [part.format(soft=soft, hard=hard) for part in LIMITED]
    # A file sink opens files, an HTTP one connections: both need descriptors.
    return live.Live(folder, program=[*program, live.command()])


@contextlib.contextmanager
def connected(address, count, *, sending=b""):
    """Open connections that are silent, or that have begun a request."""
    with contextlib.ExitStack() as stack:
        made = []
        for _ in range(count):
            sock = stack.enter_context(socket.create_connection(address, 30))
            if sending:
                sock.sendall(sending)
            made.append(sock)
        yield made


def is_closed(sock):
    """Whether the other side closed it, with or without an answer."""
    sock.settimeout(30)
    try:
        return sock.recv(65536) == b""
    except ConnectionError:
        return True


@pytest.mark.usefixtures("many")
def test_silent_connections_make_room_for_callbacks(tmp_path):
    """The soft limit is raised, and the longest idle make room.

    Mutants: no `raise_descriptor_limit`; no limit of connections, so that accept fails and no
    client gets an answer until the silent ones time out.
    """
    with limited(tmp_path, 200, 400) as service, connected(service.address(), 350) as silent:
        answers = [service.post(live.sms(number)).status_code for number in range(3)]

        assert is_closed(silent[0])
        assert service.descriptors() < 300
        live.eventually(lambda: len(service.delivered()) == 3, within=30)

    assert answers == [200] * 3
    assert "connections.full" in [line["event"] for line in service.logged()]


@pytest.mark.usefixtures("many")
def test_connection_beyond_the_limit_is_503_and_counted(tmp_path):
    """All other connections have begun a request. Mutant: refused ones have no limit."""
    with limited(tmp_path, 200, 400) as service:
        with connected(service.address(), 400, sending=b"POST /in/x"):
            refused = live.exchange(service.address(), b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")

            assert refused.startswith(b"HTTP/1.1 503 ")
            assert service.descriptors() < 300

        def counted():
            items = service.api("/rejections").json()["data"]
            return sum(item["count"] for item in items if item["reason"] == "connections")

        live.eventually(lambda: counted() >= 201, within=30)
        assert service.post(live.sms(1)).status_code == 200
    said = [line for line in service.logged() if line.get("reason") == "connections"]
    assert 1 <= len(said) < 201


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("count", [3_000, pytest.param(15_000, marks=pytest.mark.nightly)])
def test_many_idle_connections_delay_no_callback(tmp_path, many, count):
    """They cost memory and no time: `test_connections.py` compares the times of a step."""
    if many < count * 1.2:
        pytest.skip(f"cannot be tested here: {many} descriptors, {count * 1.2:,.0f} are needed")
    config = live.CONFIG.replace("server: {", "server: {connections: 16000, keep_alive: 10m, ")
    with live.Live(tmp_path, config) as service, contextlib.ExitStack() as stack:
        path = service.callback_url().removeprefix(service.url)
        ready = f"HEAD {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        kept = []
        for _ in range(count):
            kept.append(stack.enter_context(socket.create_connection(service.address(), 30)))
            kept[-1].sendall(ready)
        for sock in kept:
            assert sock.recv(4096).startswith(b"HTTP/1.1 200 ")

        with httpx.Client(trust_env=False) as client:
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            for number in range(50):
                answer = client.post(
                    service.callback_url(), content=live.sms(number), headers=headers, timeout=30
                )
                assert answer.status_code == 200

        assert service.descriptors() > count
        for sock in (kept[0], kept[-1]):
            sock.sendall(ready)
            assert sock.recv(4096).startswith(b"HTTP/1.1 200 ")
        assert service.stop() == 0
