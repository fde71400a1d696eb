"""The HTTP servers of tests."""

import socket
import threading

import httpx
import pytest
from serving import Handler, serving


def test_failure_of_a_handler_fails_its_test(capsys):
    class Broken(Handler):
        def respond(self, _body):
            raise ValueError("nothing to answer")

    with (
        pytest.raises(ExceptionGroup) as raised,
        serving(Broken) as server,
        pytest.raises(httpx.RemoteProtocolError),
    ):
        httpx.get(server.url, trust_env=False)

    assert repr(raised.value.exceptions) == "(ValueError('nothing to answer'),)"
    assert capsys.readouterr().err == ""


def test_client_that_leaves_is_no_failure(capsys):
    """Mutant: the standard library's `handle_error` prints a traceback into another test."""
    left, answered = threading.Event(), threading.Event()

    class Late(Handler):
        def respond(self, _body):
            left.wait()
            try:
                for _ in range(100):
                    self.answer(200, b"too late" * 10_000)
            finally:
                answered.set()

    with serving(Late) as server:
        with socket.create_connection(server.server_address) as client:
            client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        left.set()
        assert answered.wait(10)

    assert capsys.readouterr().err == ""
