"""nginx and Caddy, run from the snippets on their pages.

Only ports, paths and certificates are replaced: users paste the snippets as they are. Each server
runs from its own folder, as a child of the test.
"""

import contextlib
import functools
import http.client
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import time
from pathlib import Path

import pytest
import trustme
from serving import free_port

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to"
HOST = "hooks.example.com"
#: The address of the caller. The proxy itself connects from 127.0.0.1.
CALLER = "127.0.0.2"


def blocks(page, language):
    return re.findall(rf"(?ms)^```{language}\n(.*?)^```$", (HOW_TO / page).read_text())


@functools.cache
def authority():
    return trustme.CA()


def replaced(text, changes):
    """Replace each pattern, which must be on the page."""
    for pattern, replacement in changes.items():
        text, count = re.subn(pattern, replacement, text)
        assert count, f"not on the page: {pattern}"
    return text


class Proxy:
    """A proxy in front of the callback listener at `upstream` (`host:port`)."""

    program = page = None

    def __init__(self, folder, upstream, *, prefix=False, edit=lambda snippet: snippet):
        self.folder, self.upstream = Path(folder), upstream
        self.port, self.plain_port = free_port(), free_port()
        self.process = None
        certificate = authority().issue_cert(HOST, "localhost")
        certificate.private_key_pem.write_to_path(self.folder / "privkey.pem")
        for part in certificate.cert_chain_pems:
            part.write_to_path(self.folder / "fullchain.pem", append=True)
        (self.folder / "privkey.pem").chmod(0o644)  # workers of nginx run as `nobody`
        snippet = self.prefixed() if prefix else self.snippet()
        self.write(edit(snippet))

    def __enter__(self):
        with (self.folder / "output.log").open("ab") as output:
            self.process = subprocess.Popen(
                self.command(),
                cwd=self.folder,
                stdout=output,
                stderr=output,
                env=self.environment(),
                start_new_session=True,
            )
        until = time.monotonic() + 20
        while True:
            with (
                contextlib.suppress(ConnectionRefusedError),
                socket.create_connection(self.address()),
            ):
                return self
            assert self.process.poll() is None, self.written().decode()
            assert time.monotonic() < until, self.written().decode()
            time.sleep(0.02)

    def __exit__(self, *_exc):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)

    def environment(self):
        """Return an environment without the user's home folder, where Caddy would write."""
        here = str(self.folder)
        return os.environ | {"HOME": here, "XDG_CONFIG_HOME": here, "XDG_DATA_HOME": here}

    def executable(self):
        """Return its path. Without it, a test fails in CI and is skipped elsewhere."""
        found = shutil.which(self.program, path=f"{os.environ['PATH']}:/usr/sbin")
        if found is None and os.environ.get("CI") == "true":
            pytest.fail(f"{self.program} is not installed: see .ci/run")
        return found or pytest.skip(f"{self.program} is not installed")

    def written(self):
        """Return the content of all log files of the proxy."""
        return b"".join(path.read_bytes() for path in sorted(self.folder.glob("*.log")))

    def address(self):
        return "127.0.0.1", self.port

    @staticmethod
    @functools.cache
    def tls():
        # Not create_default_context: it reads all certificates of the machine, for 40 ms.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        authority().configure_trust(context)
        return context

    def ask(self, method, path, body=None, headers=()):
        """Send one request, with its path as written."""
        connection = http.client.HTTPSConnection(*self.address(), timeout=15, context=self.tls())
        connection.sock = self.connect()
        with contextlib.closing(connection):
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            connection.putheader("Host", HOST)
            for field in headers:
                connection.putheader(*field)
            if body is not None and "Transfer-Encoding" not in dict(headers):
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())

    def connect(self):
        plain = socket.create_connection(self.address(), 15, source_address=(CALLER, 0))
        return self.tls().wrap_socket(plain, server_hostname=HOST)


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body


class Nginx(Proxy):
    program, page = "nginx", "behind-nginx.md"

    #: Debian's nginx.conf around conf.d, with other paths.
    AROUND = """
    daemon off;
    {user}
    pid nginx.pid;
    worker_processes 2;
    events {{ worker_connections 768; }}
    http {{
        client_body_temp_path body;
        proxy_temp_path proxy;
        fastcgi_temp_path fastcgi;
        uwsgi_temp_path uwsgi;
        scgi_temp_path scgi;
        access_log access.log;
        error_log error.log;
        include smshook.conf;
    }}
    """

    def snippet(self):
        return blocks(self.page, "nginx")[0]

    def prefixed(self):
        """Return the snippet with the page's map above `server`, and its other locations."""
        whole, mapping, locations = blocks(self.page, "nginx")
        above, server, rest = whole.partition("server {\n    listen")
        inner = re.compile(r"(?s)    location = /in .*?    location /in/ .*?\n    }\n")
        assert inner.search(rest)
        return above + mapping + server + inner.sub(lambda _: locations, rest)

    def write(self, snippet):
        user = "user root;" if os.geteuid() == 0 else ""
        (self.folder / "nginx.conf").write_text(self.AROUND.format(user=user))
        changes = {
            r"listen 443 ssl": f"listen 127.0.0.1:{self.port} ssl",
            r"listen \[::\]:443 ssl": f"listen 127.0.0.3:{self.port} ssl",
            r"/etc/letsencrypt/live/[^/]+": str(self.folder),
            r"/var/log/nginx": str(self.folder),
            r"127\.0\.0\.1:8080": self.upstream,
        }
        (self.folder / "smshook.conf").write_text(replaced(snippet, changes))

    def command(self):
        folder = str(self.folder)
        return [self.executable(), "-p", folder, "-c", "nginx.conf", "-e", f"{folder}/start.log"]


class Caddy(Proxy):
    program, page = "caddy", "behind-caddy.md"

    def snippet(self):
        return blocks(self.page, "caddyfile")[0]

    def prefixed(self):
        whole, handle = blocks(self.page, "caddyfile")
        inner = re.compile(r"(?s)\thandle /in/\* \{\n.*?\n\t\}\n")
        assert inner.search(whole)
        return inner.sub(lambda _: handle, whole)

    def write(self, snippet):
        options = (
            "{\n\tadmin off\n\tskip_install_trust\n"
            f"\tstorage file_system {self.folder}\n\thttps_port {self.port}\n"
            f"\thttp_port {self.plain_port}\n"
        )
        certificate = f"\ttls {self.folder}/fullchain.pem {self.folder}/privkey.pem\n"
        changes = {
            r"(?m)\A(#.*\n)\{\n": rf"\1{options}",
            rf"(?m)^{re.escape(HOST)} \{{\n": (
                f"{HOST}, localhost {{\n\tbind 127.0.0.1\n{certificate}"
            ),
            r"127\.0\.0\.1:8080": self.upstream,
        }
        (self.folder / "Caddyfile").write_text(replaced(snippet, changes))

    def command(self):
        return [self.executable(), "run", "--config", "Caddyfile", "--adapter", "caddyfile"]


PROXIES = [Nginx, Caddy]
