"""An HTTP server of a test, in a thread."""

import contextlib
import http.server
import socket
import sys
import threading


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


class Handler(http.server.BaseHTTPRequestHandler):
    """Calls `respond(body)`, which a subclass has. Keeps the connection open; logs nothing."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.respond(b"")

    def do_POST(self):
        self.respond(self.rfile.read(int(self.headers["Content-Length"])))

    def answer(self, status=200, body=b"", **fields):
        """Answer with a body. `fields` are header fields: `retry_after` is Retry-After."""
        self.send_response(status)
        for name, value in fields.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, handler):
        super().__init__(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.failures = []

    def handle_error(self, _request, _address):
        """Keep the failure. The standard library prints it, in the middle of another test."""
        failure = sys.exception()
        if not isinstance(failure, ConnectionError):  # the client has left
            self.failures.append(failure)


@contextlib.contextmanager
def serving(handler):
    """Serve with the class of a request handler; yield the server, which has its `url`."""
    with _Server(handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
    if server.failures:
        raise ExceptionGroup("failures of request handlers", server.failures)
