"""SIGTERM drains: accepted callbacks get their answers, and the process ends with 0."""

import asyncio
import fcntl
import itertools
import os
import signal
import socket
import subprocess
import sys
import time

import httpx
import live
import load
import pytest
import tools


def test_shutdown_under_load_answers_all_accepted_callbacks(tmp_path):
    """Mutant: connections are closed at the signal, and callers of stored events get no answer."""
    with live.Live(tmp_path) as service:
        answers = asyncio.run(sending_while_it_stops(service))
        code = service.process.wait(30)

    accepted = {event_id for answer in answers for event_id in answer.accepted}
    with live.Live(tmp_path) as service:
        live.eventually(
            lambda: service.stats()["deliveries"]["delivered"] == service.stats()["events"],
            within=20,
        )
        stored = {event["id"] for event in service.delivered()}
    assert code == 0
    assert accepted == stored
    assert len(accepted) > 20
    assert {a.status for a in answers} <= {200, 503, None}
    assert 503 in {a.status for a in answers}


async def sending_while_it_stops(service):
    stop = asyncio.get_running_loop().create_future()
    numbers = itertools.takewhile(lambda _: not stop.done(), itertools.count(1))
    path = service.callback_url().removeprefix(service.url)
    messages = ((n, live.sms(n, at=1_700_000_000 + n)) for n in numbers)
    sending = asyncio.create_task(load.send(service.address(), path, messages, clients=16))
    await asyncio.sleep(0.5)
    service.process.send_signal(signal.SIGTERM)
    await asyncio.to_thread(service.process.wait, 30)
    stop.set_result(None)
    return await sending


#: The service with five seconds in place of one: on a busy machine one second is short.
PATIENT = """
import server.process
server.process.REFUSING = 5.0
from server.cli.main import main
main()
"""


@pytest.fixture
def stopping(tmp_path):
    program = tmp_path / "patient.py"
    program.write_text(PATIENT)
    with live.Live(tmp_path, program=[sys.executable, str(program)]) as service:
        service.process.send_signal(signal.SIGTERM)
        live.eventually(lambda: get(f"{service.url}/readyz").status_code == 503)
        yield service


def get(url):
    return httpx.get(url, trust_env=False)


def test_door_answers_503_for_a_second_after_the_signal(stopping):
    answer = stopping.post(live.sms(1))

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert answer.headers["connection"] == "close"
    assert get(f"{stopping.url}/healthz").status_code == 200
    assert stopping.process.wait(30) == 0


def test_second_signal_ends_the_process_at_once_with_1(stopping):
    stopping.process.send_signal(signal.SIGTERM)

    assert stopping.process.wait(30) == 1


def test_open_connection_is_answered_during_the_shutdown(tmp_path):
    """Work is in flight. Mutant: idle connections are cut as soon as new ones are refused."""
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
        assert service.process.wait(30) == 0


@pytest.fixture
def hanging_sink():
    """The URL of a server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/"


def test_hanging_parts_do_not_delay_the_end(tmp_path, hanging_sink):
    """A reader of the log, a sink and a client at once; the contract says 10 seconds.

    Mutants: a line written on the event loop; `worker.close()` waited for without a deadline; a
    default of 15 minutes for either.
    """
    config = live.CONFIG.replace(
        "  log: {type: file, path: events.jsonl}",
        f"  log: {{type: http, url: '{hanging_sink}', timeout: 5m}}",
    )
    service = live.Live(tmp_path, config)
    reading, writing = os.pipe()
    with service.start(stdout=writing), socket.create_connection(service.address()) as client:
        os.close(writing)
        fcntl.fcntl(reading, fcntl.F_SETPIPE_SZ, 4096)
        with httpx.Client(trust_env=False) as callers:
            for number in range(100):
                answer = callers.post(
                    service.callback_url(), content=live.sms(number), headers=FORM
                )
                assert answer.status_code == 200
        client.sendall(b"POST /in/tellabot/")
        for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
            service.process.send_signal(number)
        assert get(f"{service.url}/readyz").status_code == 200

        assert service.stop(within=30) == 0
    os.close(reading)


FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture
def disk(tmp_path):
    """A file system that can be frozen."""
    tools.require(tools.missing("mkfs.ext4", "mount", "umount", "fsfreeze", root=True))
    image, folder = tmp_path / "image", tmp_path / "disk"
    folder.mkdir()
    with image.open("wb") as file:
        file.truncate(64 * 1024 * 1024)
    subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
    mounted = subprocess.run(["mount", "-o", "loop", image, folder], check=False)
    tools.require(["no loop device"] if mounted.returncode else [])
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=False)


def test_hanging_disk_does_not_keep_the_port(tmp_path, disk):
    """The kernel keeps a thread that waits for the disk, and the process with it.

    Its port and its clients are free nevertheless. Mutant: `journal.close()` without a deadline.
    """
    service = live.Live(disk)
    service.log, service.errors = tmp_path / "stdout.log", tmp_path / "stderr.log"
    with service:
        subprocess.run(["fsfreeze", "--freeze", disk], check=True)
        try:
            with pytest.raises(httpx.HTTPError):
                service.post(live.sms(1), timeout=0.5)
            service.process.send_signal(signal.SIGTERM)

            live.eventually(lambda: is_refused(service.address()), within=30)
        finally:
            subprocess.run(["fsfreeze", "--unfreeze", disk], check=True)
        assert service.process.wait(30) == 0
    *_, stopped = service.logged()
    assert stopped["event"] == "service.stopped"


def is_refused(address):
    try:
        socket.create_connection(address, 1).close()
    except ConnectionRefusedError:
        return True
    return False
