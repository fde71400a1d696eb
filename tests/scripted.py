"""A provider on loopback that answers polls by the name of the command, as a test says."""

import contextlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


class Scripted:
    """`answers` by command: a body, or a status and a body. Change them at any time."""

    def __init__(self, answers):
        self.answers = dict(answers)
        #: Commands, in the order they were asked.
        self.asked = []
        handler = type("Handler", (_Handler,), {"script": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/stubs/handler_api.php"

    def rounds(self, command):
        """Return the number of times that a command was asked."""
        return self.asked.count(command)


@contextlib.contextmanager
def scripted(answers):
    provider = Scripted(answers)
    thread = threading.Thread(target=provider._server.serve_forever, daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        provider._server.shutdown()
        provider._server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def handle(self):
        with contextlib.suppress(ConnectionError):  # the service was killed
            super().handle()

    def do_GET(self):
        query = parse_qs(urlsplit(self.path).query)
        [command] = query.get("action") or query.get("cmd") or [""]
        self.script.asked.append(command)
        answer = self.script.answers.get(command, "BAD_ACTION")
        status, text = answer if isinstance(answer, tuple) else (200, answer)
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args):
        pass
