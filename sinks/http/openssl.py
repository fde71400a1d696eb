"""POST over TLS with OpenSSL, for certificates that rustls refuses and curl accepts.

`openssl req -x509` makes a self-signed certificate that is also an authority (`CA:TRUE`). rustls
refuses it as a server's certificate, even where it is in `ca_file`. See decision 15.
"""

import asyncio
import re
import socket
import ssl
import time
from collections.abc import Mapping

import httpcore
import httpx

from ..sink import Failed
from .answer import SinkAnswer, read_beginning

#: X509_V_ERR_* of OpenSSL (openssl-verification-options(1)).
_VERIFY_WORDS = {9: "tls_expired", 10: "tls_expired", 62: "tls_name", 64: "tls_name"}


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
        # Trust each certificate of the file, as curl does, even if it may not sign others. Python
        # 3.13 refuses the certificates that this client is for.
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
        """POST, and return the answer. `within`: the deadline in seconds. Raises Failed."""
        began = time.monotonic()
        try:
            async with (
                asyncio.timeout(within),
                self._http.stream(
                    "POST", url, headers=dict(headers), content=body, timeout=within
                ) as response,
            ):
                chunks = response.aiter_raw()
                beginning = await read_beginning(
                    lambda: anext(chunks, None),
                    until=began + within,
                    broken=httpx.HTTPError,
                )
                return SinkAnswer(
                    status=response.status_code,
                    beginning=beginning,
                    retry_after=response.headers.get("retry-after"),
                    date=response.headers.get("date"),
                )
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, OSError, ValueError) as error:
            word = error_word(error)
        # Outside the handler: the library's error holds the URL, and no failure may carry it.
        raise Failed(word)


def error_word(error: Exception) -> str:
    """Return smshook's word for an error: the innermost cause that has one decides.

    The libraries wrap each other's errors.
    """
    causes: list[BaseException] = [error]
    while cause := causes[-1].__cause__ or causes[-1].__context__:
        causes.append(cause)
    is_connecting = any(isinstance(cause, httpcore.ConnectError) for cause in causes)
    for cause in reversed(causes):
        # Each timeout has this cause: it only means that the socket was empty.
        if isinstance(cause, ssl.SSLWantReadError | ssl.SSLWantWriteError):
            continue
        if isinstance(cause, ssl.SSLCertVerificationError):
            return _VERIFY_WORDS.get(cause.verify_code, "tls_untrusted")
        if isinstance(cause, ssl.SSLError):
            # An alert about a certificate comes from the server: it is about ours.
            alert = re.search("ALERT.*(CERTIFICATE|UNKNOWN_CA)", cause.reason or "")
            return "tls_client" if alert else "tls"
        if isinstance(cause, socket.gaierror | UnicodeError):
            return "dns"
        if isinstance(cause, TimeoutError | httpx.TimeoutException | httpcore.TimeoutException):
            return "timeout"
        if isinstance(cause, OSError) and is_connecting:
            return "refused"
    return "protocol"
