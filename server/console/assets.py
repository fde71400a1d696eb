"""The static files. Their names have a hash of their content, so browsers keep them for a year."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import msgspec

FOLDER = Path(__file__).parent / "static"
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_HASH = 12


class Asset(msgspec.Struct, frozen=True):
    """A static file."""

    body: bytes
    media_type: str


def _read() -> tuple[Mapping[str, Asset], Mapping[str, str]]:
    found, names = {}, {}
    for path in sorted(FOLDER.iterdir()):
        body = path.read_bytes()
        digest = hashlib.sha256(body).hexdigest()[:_HASH]
        name = f"{path.stem}-{digest}{path.suffix}"
        found[name] = Asset(body, _TYPES[path.suffix])
        names[path.suffix[1:]] = f"/console/static/{name}"
    return MappingProxyType(found), MappingProxyType(names)


#: By the name in their address; and their addresses by their kind, `css`, `js` and `svg`.
ASSETS, ADDRESSES = _read()
