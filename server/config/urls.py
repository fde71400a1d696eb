"""URLs of the service: to print, to paste and to call."""

from collections.abc import Iterable
from urllib.parse import quote

from receiver.source import Source

#: A service that listens on every address is reachable at the loopback address.
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - nothing is bound here


def url_at(host: str, port: int) -> str:
    """Return the URL of a listener, such as `http://[::1]:8080`."""
    host = _EVERYWHERE.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def callback_url(begin: str, name: str, source: Source) -> str | None:
    """Return the whole URL; None if all tokens of the source are digests."""
    token = first_clear(token.reveal() for token in source.tokens)
    return None if token is None else f"{begin}/in/{name}/{quote(token, safe='')}"


def first_clear(secrets: Iterable[str]) -> str | None:
    """Return the first that is not a digest."""
    return next((text for text in secrets if not text.startswith("sha256:")), None)
