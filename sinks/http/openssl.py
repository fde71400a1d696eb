"""POST over TLS with OpenSSL, for certificates that rustls refuses and curl accepts.

`openssl req -x509` makes a self-signed certificate that is also an authority (`CA:TRUE`). rustls
refuses it as a server's certificate, even where it is in `ca_file`. See decision 15.
"""

import asyncio
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress

import httpx

from ..sink import ANSWER_KEPT, Failed
from .answer import BODY_PATIENCE, MARGIN, MOST_READ, SinkAnswer

#: X509_V_ERR_* of OpenSSL (openssl-verification-options(1)).
_EXPIRED = frozenset({9, 10})
_OTHER_NAME = frozenset({62, 64})


class OpenSslClient:
    """An HTTP client for one sink. `open` reads the certificate files."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    @classmethod
    def open(
        cls,
        *,
        ca_file: str,
        cert_file: str | None,
        key_file: str | None,
        proxy: str | None,
        connections: int,
        idle: float,
    ) -> "OpenSslClient":
        """Make the client. Raises OSError or ValueError for a file that is missing or wrong.

        `connections` and `idle` (seconds) say how many unused connections are kept, and how long.
        """
        context = ssl.create_default_context()
        # As curl does: trust each certificate of the file, whatever it may sign. Python 3.13
        # refuses the certificates that this client is for.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        context.load_verify_locations(ca_file)
        if cert_file is not None and key_file is not None:
            context.load_cert_chain(cert_file, key_file)
        return cls(
            httpx.AsyncClient(
                verify=context,
                proxy=proxy,
                headers={"accept-encoding": "identity", "user-agent": "smshook"},
                limits=httpx.Limits(max_keepalive_connections=connections, keepalive_expiry=idle),
                follow_redirects=False,
                trust_env=False,
            )
        )

    async def close(self) -> None:
        await self._http.aclose()

    async def post(
        self, url: str, headers: Mapping[str, str], body: bytes, *, within: float
    ) -> SinkAnswer:
        """POST within that many seconds. Raises Failed with one word."""
        began = time.monotonic()
        try:
            async with (
                asyncio.timeout(within),
                self._http.stream(
                    "POST", url, headers=dict(headers), content=body, timeout=within
                ) as response,
            ):
                return SinkAnswer(
                    status=response.status_code,
                    beginning=await _beginning(response, until=began + within - MARGIN),
                    retry_after=response.headers.get("retry-after"),
                )
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, OSError, ValueError) as error:
            word = _word(error)
        # Outside the handler: the library's error holds the URL, and no failure may carry it.
        raise Failed(word)


async def _beginning(response: httpx.Response, *, until: float) -> bytes:
    body = bytearray()
    with suppress(TimeoutError, httpx.HTTPError):
        async with asyncio.timeout(min(BODY_PATIENCE, until - time.monotonic())):
            # To its end: only then is the connection used again.
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > MOST_READ:
                    break
    return bytes(body[:ANSWER_KEPT])


def _word(error: BaseException) -> str:
    """Return smshook's word for an error: the first cause that has one decides."""
    for cause in _causes(error):
        # It stands behind every timeout, and means that the socket was empty.
        if isinstance(cause, ssl.SSLWantReadError | ssl.SSLWantWriteError):
            continue
        if isinstance(cause, ssl.SSLError):
            return _tls_word(cause)
        if isinstance(cause, socket.gaierror | UnicodeError):
            return "dns"
        if isinstance(cause, TimeoutError | httpx.TimeoutException):
            return "timeout"
        if isinstance(cause, OSError) and isinstance(error, httpx.ConnectError):
            return "refused"
    return "protocol"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield the causes from the innermost out: the libraries wrap each other's errors."""
    chain = []
    while error is not None:
        chain.append(error)
        error = error.__cause__ or error.__context__
    yield from reversed(chain)


def _tls_word(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code in _EXPIRED:
            return "tls_expired"
        return "tls_name" if error.verify_code in _OTHER_NAME else "tls_untrusted"
    # An alert about a certificate comes from the server: it is about ours.
    reason = error.reason or ""
    if "ALERT" in reason and ("CERTIFICATE" in reason or "UNKNOWN_CA" in reason):
        return "tls_client"
    return "tls"
