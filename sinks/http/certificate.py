"""The end of a server's certificate, from a handshake that sends nothing else."""

import asyncio
import contextlib
import ssl
from urllib.parse import urlsplit

from cryptography import x509

_HTTPS = 443


async def certificate_end(url: str, *, within: float) -> float | None:
    """Return when the certificate of a URL's server ends, in seconds since the epoch.

    None: it has none, or cannot be reached within the seconds. The certificate is not verified, and
    nothing is sent to the server.
    """
    parts = urlsplit(url)
    if parts.scheme != "https" or parts.hostname is None:
        return None
    context = ssl.create_default_context()
    # An expired certificate has an end, too.
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with contextlib.suppress(OSError, TimeoutError, ValueError):  # ssl.SSLError is an OSError
        async with asyncio.timeout(within):
            _, writer = await asyncio.open_connection(
                parts.hostname, parts.port or _HTTPS, ssl=context
            )
            try:
                shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
            finally:
                writer.transport.abort()
            return x509.load_der_x509_certificate(shown).not_valid_after_utc.timestamp()
    return None
