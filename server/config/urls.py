"""Where the service is reached: URLs to print, to paste and to call."""

from collections.abc import Iterable
from urllib.parse import quote

from receiver.source import Source

#: Listening on every address, it is reached at this machine's own.
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - nothing is bound here


def url_at(host: str, port: int) -> str:
    """`http://[::1]:8080` for what listens there."""
    host = _EVERYWHERE.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def callback_url(begin: str, name: str, source: Source) -> str | None:
    """The whole URL; None where no token of the source is known in clear."""
    token = first_clear(token.reveal() for token in source.tokens)
    return None if token is None else f"{begin}/in/{name}/{quote(token, safe='')}"


def first_clear(secrets: Iterable[str]) -> str | None:
    """The first that is not written as a digest."""
    return next((text for text in secrets if not text.startswith("sha256:")), None)
