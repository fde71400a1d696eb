"""SIGTERM drains: what was accepted was answered, and the process ends with 0."""

import asyncio
import itertools
import signal
import socket
import time

import httpx
import live
import load
import pytest


def test_under_load_every_accepted_callback_was_answered_and_it_ends_with_0(tmp_path):
    """Mutant: closing the connections at the signal leaves events whose callers were not told."""
    with live.Live(tmp_path) as service:
        answers = asyncio.run(sending_while_it_stops(service))
        code = service.process.wait(10)

    told = {event_id for answer in answers for event_id in answer.accepted}
    with live.Live(tmp_path) as service:
        live.eventually(
            lambda: service.stats()["deliveries"]["delivered"] == service.stats()["events"],
            within=20,
        )
        stored = {event["id"] for event in service.delivered()}
    assert code == 0
    assert told == stored
    assert len(told) > 20
    assert {a.status for a in answers} <= {200, 503, None}
    assert 503 in {a.status for a in answers}


async def sending_while_it_stops(service):
    stop = asyncio.get_running_loop().create_future()
    numbers = itertools.takewhile(lambda _: not stop.done(), itertools.count(1))
    path = service.callback_url().removeprefix(service.url)
    messages = ((n, live.sms(n, at=1_700_000_000 + n)) for n in numbers)
    sending = asyncio.create_task(load.send(service.address(), path, messages, clients=16))
    await asyncio.sleep(0.5)
    began = time.monotonic()
    service.process.send_signal(signal.SIGTERM)
    await asyncio.to_thread(service.process.wait, 10)
    assert time.monotonic() - began < 10
    stop.set_result(None)
    return await sending


@pytest.fixture
def stopping(tmp_path):
    with live.Live(tmp_path) as service:
        service.process.send_signal(signal.SIGTERM)
        live.eventually(lambda: get(f"{service.url}/readyz").status_code == 503)
        yield service


def get(url):
    return httpx.get(url, trust_env=False)


def test_for_a_second_the_door_says_503_with_retry_after_and_closes(stopping):
    answer = stopping.post(live.sms(1))

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert answer.headers["connection"] == "close"
    assert get(f"{stopping.url}/healthz").status_code == 200
    assert stopping.process.wait(10) == 0


def test_a_second_signal_ends_it_at_once_with_1(stopping):
    stopping.process.send_signal(signal.SIGTERM)

    assert stopping.process.wait(2) == 1


def test_who_still_asks_on_an_open_connection_is_answered_while_something_is_in_flight(tmp_path):
    """Mutant: idle connections cut as soon as no new ones are taken."""
    with (
        live.Live(tmp_path) as service,
        socket.create_connection(service.address(), 10) as slow,
        socket.create_connection(service.address(), 10) as idle,
    ):
        target = service.callback_url().removeprefix(service.url)
        body = live.sms(1)
        head = f"POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        slow.sendall(head.encode() + body[:10])
        idle.sendall(f"HEAD {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert idle.recv(4096).startswith(b"HTTP/1.1 200 ")
        service.process.send_signal(signal.SIGTERM)
        time.sleep(2)
        idle.sendall(head.encode() + body)

        assert idle.recv(4096).startswith(b"HTTP/1.1 503 ")
        slow.sendall(body[10:])
        assert slow.recv(4096).startswith(b"HTTP/1.1 200 ")
        assert service.process.wait(10) == 0


def test_a_client_that_never_ends_its_request_does_not_keep_it(tmp_path):
    with live.Live(tmp_path) as service, socket.create_connection(service.address()) as client:
        client.sendall(b"POST /in/tellabot/")

        assert service.stop() == 0
