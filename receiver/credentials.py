"""Secrets in the headers of a callback: kept as digests, never in clear.

A header is taken for a secret where HTTP says so, where its source says so, where its name sounds
like one, or where its value holds the callback URL: the token is in that.
"""

import re
import urllib.parse
from collections.abc import Callable
from functools import lru_cache

Headers = tuple[tuple[str, str], ...]

#: What stands for the value: `digest:` and 32 hexadecimal digits.
DIGEST = re.compile(r"digest:[0-9a-f]{32}")
_STANDARD = frozenset({"authorization", "proxy-authorization", "cookie", "cookie2", "set-cookie"})
#: `X-Api-Key`, `X-Gitlab-Token`, `X-Webhook-Secret`, `Cf-Access-Jwt-Assertion`, `X-Auth`.
_SOUNDS_SECRET = re.compile(
    r"token|secret|passw|credential|authoriz|cookie|jwt|(api|access|auth|private)[-_]?key"
    r"|(^|[-_])auth($|[-_])"
)


def without_credentials(
    headers: Headers,
    source: str,
    own: frozenset[str],
    digest: Callable[[str], str],
    *,
    stored: bool = False,
) -> Headers:
    """Return the headers of a callback of `source` with digests in place of secrets.

    `own` are the (lower case) headers that the source verifies a secret in. `stored` headers may
    hold digests already, which stay as they are: what a caller sends is never taken for one.
    """
    url = f"/in/{source}/"
    places = _secret_places(tuple([name for name, _ in headers]), own)
    values = "\n".join([value for _, value in headers])
    if not places and "%" not in values and url not in values:
        return headers  # nearly all callbacks
    return tuple(
        [
            (name, digest(value))
            if (place in places or _holds(value, url)) and not (stored and DIGEST.fullmatch(value))
            else (name, value)
            for place, (name, value) in enumerate(headers)
        ]
    )


@lru_cache(maxsize=256)
def _secret_places(names: tuple[str, ...], own: frozenset[str]) -> frozenset[int]:
    return frozenset(place for place, name in enumerate(names) if name in own or _is_named_so(name))


def _is_named_so(name: str) -> bool:
    return name in _STANDARD or _SOUNDS_SECRET.search(name) is not None


def _holds(value: str, url: str) -> bool:
    """`X-Original-URI: /in/tellabot/…`, which some proxies add; `Referer`."""
    return url in (urllib.parse.unquote(value) if "%" in value else value)
