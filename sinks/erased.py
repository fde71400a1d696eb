"""Whether a sink needs content of an event that was erased.

Rules that live here: a sink that masks it, or whose template leaves it out, needs it not.
"""

from collections.abc import Callable, Collection

import msgspec

from core.erasure import CONTENT, SUBJECT, is_erased, touches
from core.paths import Path

from .redact import masked_paths
from .sink import Sink


def needed(sink: Sink, paths: Collection[Path] = CONTENT) -> tuple[Path, ...]:
    """Return those of the paths that a sink is sent in clear."""
    masked, used = masked_paths(sink.redact), sink.used_paths()
    return tuple(
        path
        for path in paths
        if not any(_hides(one, path) for one in masked) and (used is None or touches(path, used))
    )


def _hides(masked: Path, path: Path) -> bool:
    # `people` masks a subject only if it is a number, and only then it is content.
    return path[: len(masked)] == masked or (path == SUBJECT and masked[:1] == SUBJECT)


def lacks_content(sink: Sink) -> Callable[[bytes], bool]:
    """Return a test of an event's JSON: whether content that the sink needs was erased."""
    paths = needed(sink)

    def lacks(body: bytes) -> bool:
        # Nearly no event that is sent is erased, and this is quicker than decoding.
        return b'"erasedtime":' in body and is_erased(msgspec.json.decode(body), paths)

    return lacks
