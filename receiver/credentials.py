"""Hides secrets in the headers of a callback: only their digests are stored.

A header counts as secret if HTTP defines it so, if its source says so, if its name suggests it, or
if its value has the callback URL, which contains the token.
"""

import re
import urllib.parse
from collections.abc import Callable
from functools import lru_cache
from operator import itemgetter

_name, _value = itemgetter(0), itemgetter(1)
Headers = tuple[tuple[str, str], ...]

#: The text in place of a value: `digest:` and 32 hexadecimal digits.
DIGEST = re.compile(r"digest:[0-9a-f]{32}")
_STANDARD = frozenset({"authorization", "proxy-authorization", "cookie", "cookie2", "set-cookie"})
#: `X-Api-Key`, `X-Gitlab-Token`, `X-Webhook-Secret`, `Cf-Access-Jwt-Assertion`, `X-Auth`.
_SUGGESTS_SECRET = re.compile(
    r"token|secret|passw|credential|authoriz|cookie|jwt|(api|access|auth|private)[-_]?key"
    r"|(^|[-_])auth($|[-_])"
)


def hide_credentials(
    headers: Headers,
    source: str,
    own: frozenset[str],
    digest: Callable[[str], str],
    *,
    stored: bool = False,
) -> Headers:
    """Return the headers of a callback of `source` with digests in place of secrets.

    `own` are the (lower case) headers that the source verifies a secret in. Digests in `stored`
    headers stay as they are. A digest in the headers of a new callback is replaced like any value.
    """
    url = f"/in/{source}/"
    values = "\n".join(map(_value, headers))
    if not ("%" in values or url in values or _any_secret(tuple(map(_name, headers)), own)):
        return headers  # nearly all callbacks
    return tuple(
        [
            (name, digest(value))
            # Some proxies add `X-Original-URI: /in/NAME/TOKEN`; a `Referer` may have it, too.
            if (
                url in (urllib.parse.unquote(value) if "%" in value else value)
                or _is_secret(name, own)
            )
            and not (stored and DIGEST.fullmatch(value))
            else (name, value)
            for name, value in headers
        ]
    )


@lru_cache(maxsize=256)
def _any_secret(names: tuple[str, ...], own: frozenset[str]) -> bool:
    return any(_is_secret(name, own) for name in names)


@lru_cache(maxsize=1024)
def _is_secret(name: str, own: frozenset[str]) -> bool:
    """Return whether the name is that of a secret; callers send the same names again and again."""
    return name in own or name in _STANDARD or _SUGGESTS_SECRET.search(name) is not None
