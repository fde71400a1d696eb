"""POST to one URL: with pyreqwest over TLS and through proxies, else with a client of our own.

No other module uses pyreqwest (decisions 7 and 23).
"""

import asyncio
import os
import re
import socket
import ssl
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path
from urllib.parse import unquote

import msgspec
from pyreqwest.client import Client, ClientBuilder
from pyreqwest.exceptions import PyreqwestError, RequestTimeoutError
from pyreqwest.http import Url
from pyreqwest.proxy import ProxyBuilder
from pyreqwest.response import Response

from ..sink import ANSWER_KEPT, Failed, Unusable
from .answer import MOST_READ, SinkAnswer, read_beginning
from .openssl import OpenSslClient
from .plain import PlainClient

#: Seconds for which an idle connection is kept.
_IDLE = 4.0
#: A port on which almost no program listens (RFC 863).
_DISCARD = 9
#: Seconds for the first request of the process, which this machine itself refuses.
_START = 5.0
#: The parser alone also takes `http:host`, and drops blanks and newlines.
_URL = re.compile(r"https?://[^/?#\\\s]\S*", re.IGNORECASE)
_NO_URL = "not a URL to send to; write http:// or https://, a host, and a path if it has one"
#: Alerts of a server about our certificate: names of rustls::AlertDescription. With TLS 1.3 they
#: come after the handshake seemed to succeed.
_CLIENT_ALERTS = (
    "AccessDenied",
    "BadCertificate",
    "CertificateExpired",
    "CertificateRequired",
    "CertificateRevoked",
    "CertificateUnknown",
    "UnknownCA",
    "UnsupportedCertificate",
)
#: The beginnings of messages of rustls, and smshook's words for them. The first that fits counts.
_TLS_WORDS = (
    ("invalid peer certificate: certificate expired", "tls_expired"),
    ("invalid peer certificate: certificate not valid yet", "tls_expired"),
    ("invalid peer certificate: certificate not valid for name", "tls_name"),
    ("invalid peer certificate: ", "tls_untrusted"),
    *((f"received fatal alert: {alert}", "tls_client") for alert in _CLIENT_ALERTS),
    ("received fatal alert: ", "tls"),
    ("received corrupt message", "tls"),
)

#: Posts headers and a body.
Post = Callable[[Mapping[str, str], bytes], Awaitable[SinkAnswer]]


class Tls(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Certificates of your own, as PEM files. They may be added after the service has started."""

    #: Certificates of authorities to trust in addition to the system's.
    ca_file: str | None = None
    #: The certificate (and its chain) shown to a server that asks for one.
    cert_file: str | None = None
    #: Its key, without a passphrase.
    key_file: str | None = None

    def __post_init__(self) -> None:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file go together: give both")

    def under(self, folder: Path) -> "Tls":
        """Return the same with absolute paths: relative ones are below `folder`."""
        paths = {name: getattr(self, name) for name in self.__struct_fields__}
        below = {name: os.path.normpath(folder / path) for name, path in paths.items() if path}
        return msgspec.structs.replace(self, **below)

    def files(self) -> Mapping[tuple[str, ...], Path]:
        """Return its files by their options, as `Sink.read_files` does."""
        named = {("tls", name): getattr(self, name) for name in self.__struct_fields__}
        return {option: Path(path) for option, path in named.items() if path is not None}


def check_url(text: str) -> None:
    """Raise ValueError for a URL that no request can be sent to; the error does not repeat it."""
    if not _URL.fullmatch(text) or not text.isprintable():
        raise ValueError(_NO_URL)
    try:
        Url(text)
    except ValueError:
        raise ValueError(_NO_URL) from None


def host_of(text: str) -> str:
    """Return the host of a checked URL, without secrets: `crm.example.com`, `[::1]:8443`."""
    url = Url(text)
    return f"{url.host_str}:{url.port}" if url.port else str(url.host_str)


def masked_url(text: str) -> str:
    """Return `https://crm.example.com/***`: the user and the path may be secrets."""
    url = Url(text)
    is_bare = url.path in ("", "/") and not url.query_string
    return f"{url.scheme}://{host_of(text)}{'/' if is_bare else '/***'}"


@asynccontextmanager
async def posting(
    url: str,
    *,
    tls: Tls | None = None,
    proxy: str | None = None,
    connections: int,
    within: float = 30.0,
    keep: int = ANSWER_KEPT,
    headers: Mapping[str, str] = {},
) -> AsyncIterator[Post]:
    """Yield a function that POSTs to `url` and returns the answer, whatever its status.

    It raises Failed with one word: `refused` (or not reachable), `timeout`, `tls`, `dns`,
    `protocol` (any other error: a reset, broken or oversized HTTP). If a certificate is refused,
    the word says why: `tls_untrusted`, `tls_expired` (or not valid yet), `tls_name`, or
    `tls_client` (the server refused ours, or wants one). Redirects are answers. `connections`
    stay open between posts. `within` is the deadline of each post, in seconds. Give the caller's
    own: a cancelled post only stops waiting, and its connection lives on until then. Of each
    answer's body, `keep` bytes are read. `headers` go with each post, before its own; they are
    printable ASCII.
    """
    way: _Way | PlainClient
    if is_plain(url) and proxy is None:
        way = _plain_client(Url(url), headers, connections=connections, within=within, keep=keep)
    else:
        way = _Way(
            url,
            headers,
            tls=tls,
            proxy=proxy,
            connections=connections,
            within=within,
            keep=keep,
        )
    try:
        yield way.post
    finally:
        await way.close()


def is_plain(url: str) -> bool:
    """Return whether no TLS is used with this URL."""
    return url.lower().startswith("http:")


def _plain_client(
    url: Url, headers: Mapping[str, str], *, connections: int, within: float, keep: int
) -> PlainClient:
    host = str(url.host_str)
    fields = {
        "host": f"{host}:{url.port}" if url.port else host,
        "user-agent": "smshook",
        "accept": "*/*",
    }
    if url.username or url.password:
        user = f"{unquote(url.username)}:{unquote(url.password or '')}"
        fields["authorization"] = f"Basic {b64encode(user.encode()).decode()}"
    return PlainClient(
        host.strip("[]"),
        url.port or 80,
        url.path + (f"?{url.query_string}" if url.query_string is not None else ""),
        {**fields, **headers},
        connections=connections,
        idle=_IDLE,
        within=within,
        keep=keep,
    )


async def start_runtime() -> None:
    """Start the thread that all sinks share, and use it. Raises Unusable if it cannot start.

    pyreqwest starts it once, with the first client. If descriptors or threads are short at that
    moment, no client works until the process ends.
    """
    with socket.socket() as closed:
        with suppress(OSError):  # a container may have no loopback
            closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1] or _DISCARD  # no program listens: refused at once
        url = f"http://127.0.0.1:{port}/"
        way = _Way(url, {}, tls=None, proxy=None, connections=1, within=_START)
        try:
            with suppress(Failed):
                await way.post({}, b"")
        finally:
            await way.close()


class _Way:
    """A client that is made at the first post, and made again if its certificates fail."""

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str],
        *,
        tls: Tls | None,
        proxy: str | None,
        connections: int,
        within: float,
        keep: int = ANSWER_KEPT,
    ) -> None:
        self._url, self._tls, self._proxy = url, tls or Tls(), proxy
        self._headers = headers
        #: Parsed once: pyreqwest would parse a text at each post.
        self._target = Url(url)
        self._connections, self._within, self._keep = connections, within, keep
        self._client: Client | None = None
        #: In place of `_client`, after it refused a certificate that OpenSSL accepts.
        self._openssl: OpenSslClient | None = None
        self._closed = False

    async def post(self, headers: Mapping[str, str], body: bytes) -> SinkAnswer:
        if self._closed:
            raise Failed("protocol")
        began, headers = time.monotonic(), {**self._headers, **headers}
        if self._openssl is None:
            try:
                return await self._post(headers, body, began)
            except Failed as failure:
                if failure.word != "tls_untrusted" or not self._tls.ca_file:
                    raise
        return await self._post_with_openssl(headers, body, began)

    async def _post_with_openssl(
        self, headers: Mapping[str, str], body: bytes, began: float
    ) -> SinkAnswer:
        """Post as curl does. The failed handshake before it has sent no part of the event."""
        client = self._openssl
        if client is None:
            with suppress(OSError, ValueError):  # ssl.SSLError is an OSError
                client = OpenSslClient.open(
                    ca_file=self._tls.ca_file or "",
                    cert_file=self._tls.cert_file,
                    key_file=self._tls.key_file,
                    proxy=self._proxy,
                    connections=self._connections,
                    idle=_IDLE,
                )
            if client is None:
                raise Failed("tls")
        left = self._within - (time.monotonic() - began)
        try:
            answer = await client.post(self._url, headers, body, within=left)
        except Failed as failure:
            if failure.word.startswith("tls"):
                self._openssl = None  # the files may have changed by the next attempt
                await client.close()
            raise
        self._openssl = client
        return answer

    async def _post(self, headers: Mapping[str, str], body: bytes, began: float) -> SinkAnswer:
        try:
            if self._client is None:
                self._client = self._build()
            request = (
                self._client.post(self._target)
                .headers(headers)
                .body_bytes(body)
                # 0: the answer is here before its body is.
                .streamed_read_buffer_limit(0)
                .build_streamed()
            )
            async with request as response:
                answer = await _read(response, began + self._within, self._keep)
        except (PyreqwestError, ValueError) as error:  # an invalid header is a ValueError
            word = _word(error)
        except RuntimeError:
            word = ""
        else:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                # pyreqwest returned a value at the moment of a cancellation. Without this, a
                # cancelled worker would continue.
                raise asyncio.CancelledError
            return answer
        if not word:
            self._client = None
            raise Unusable
        if word.startswith("tls"):
            self._client = None  # the files may have changed by the next attempt
        # Outside the handler: the library's error holds the URL, and no failure may carry it.
        raise Failed(word)

    async def close(self) -> None:
        self._closed = True
        if self._client is not None:
            await self._client.close()
        if self._openssl is not None:
            await self._openssl.close()

    def _build(self) -> Client:
        builder = (
            ClientBuilder()
            .http1_only()
            # A cancelled task of Python does not end the one in Rust: this deadline does.
            .timeout(timedelta(seconds=self._within))
            .http1_lower_case_headers()
            .user_agent("smshook")
            .follow_redirects(enable=False)
            .referer(enable=False)
            # All of them: a small compressed answer could be unpacked into a large one.
            .gzip(enable=False)
            .deflate(enable=False)
            .brotli(enable=False)
            .zstd(enable=False)
            .pool_max_idle_per_host(self._connections)
            # Node and uvicorn close a connection after 5 idle seconds: a request would be lost.
            .pool_idle_timeout(timedelta(seconds=_IDLE))
            .no_proxy()  # ignore those of the environment
        )
        if self._proxy is not None:
            builder = builder.proxy(ProxyBuilder.all(self._proxy))
        if not any(url and url.lower().startswith("https:") for url in (self._url, self._proxy)):
            # No certificate is verified, so a system without authorities can send too.
            builder = builder.danger_accept_invalid_certs(enable=True)
        # ssl.SSLError is an OSError; PyreqwestError: the system has no authorities at all.
        with suppress(OSError, ValueError, PyreqwestError):
            if self._tls.ca_file is not None:
                authorities = Path(self._tls.ca_file).read_bytes()
                # pyreqwest accepts any text as a certificate, and then trusts no server.
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                context.load_verify_locations(cadata=authorities.decode())
                builder = builder.add_root_certificate_pem(authorities)
            if self._tls.cert_file is not None and self._tls.key_file is not None:
                key, certificates = Path(self._tls.key_file), Path(self._tls.cert_file)
                builder = builder.identity_pem(key.read_bytes() + b"\n" + certificates.read_bytes())
            return builder.build()
        raise Failed("tls")


async def _read(response: Response, until: float, keep: int) -> SinkAnswer:
    said = _header(response, "content-length") or ""
    return SinkAnswer(
        status=response.status,
        beginning=await read_beginning(
            response.body_reader.read_chunk,
            size=int(said) if said.isascii() and said.isdigit() else MOST_READ,
            until=until,
            broken=PyreqwestError,
            keep=keep,
        ),
        retry_after=_header(response, "retry-after"),
        date=_header(response, "date"),
    )


def _word(error: Exception) -> str:
    """Return smshook's word for an error of pyreqwest.

    Its classes are too few: a refusal, an unknown name, a bad certificate and a reset before the
    answer are all ConnectError. Its causes differ. They go from the outside in: the request (with
    the URL), the phase, the layer, the error. tests/sinks/http/test_client.py has each case
    (pyreqwest 0.15).
    """
    if isinstance(error, RequestTimeoutError):
        return "timeout"
    details = getattr(error, "details", None) or {}
    said = [cause["message"] for cause in details.get("causes") or ()][1:]
    if "dns error" in said:
        return "dns"
    if "tcp connect error" in said:
        timed_out = any("os error 110" in text for text in said)
        return "timeout" if timed_out else "refused"
    words = (word for text in said for begin, word in _TLS_WORDS if text.startswith(begin))
    return next(words, "protocol")


def _header(response: Response, name: str) -> str | None:
    try:
        return response.get_header(name)
    except ValueError:  # bytes that are not text
        return None
