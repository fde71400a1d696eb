"""The secrets of Standard Webhooks: `whsec_` and base64.

They live below the stages because a source verifies with them and a sink signs with them.
"""

import base64
import binascii

from .secret import Secret

_PREFIX = "whsec_"
#: Bytes of a key: fewer are guessed, and more are not what receivers expect.
_SHORTEST, _LONGEST = 24, 64
_WRONG = (
    f"not {_PREFIX} and base64 of {_SHORTEST} to {_LONGEST} bytes: "
    f"echo {_PREFIX}$(openssl rand -base64 32)"
)


def key_of(secret: Secret) -> bytes:
    """The bytes in `whsec_…`. Raises ValueError that says what would do, without the value."""
    text = secret.reveal()
    try:
        key = base64.b64decode(text.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(_WRONG) from None
    if not text.startswith(_PREFIX) or not _SHORTEST <= len(key) <= _LONGEST:
        raise ValueError(_WRONG)
    return key
