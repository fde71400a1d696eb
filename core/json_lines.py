"""JSON on one line, also for readers that end a line at more than a line feed."""

_BREAKS = bytes.maketrans(b"\r\n", b"  ")
#: Python's `str.splitlines`, and with it `httpx` and `requests`, ends a line at each of these.
_ENDS_IN_TEXTS = tuple(
    (end.encode(), f"\\u{ord(end):04x}".encode()) for end in ("\x85", "\u2028", "\u2029")
)


def on_one_line(json: bytes) -> bytes:
    """Return the same JSON as one line.

    Line ends between its values become blanks. Those of Unicode, which JSON allows in texts, are
    escaped.
    """
    if b"\n" in json or b"\r" in json:
        json = json.translate(_BREAKS)
    if not json.isascii():  # most events are
        for end, escaped in _ENDS_IN_TEXTS:
            json = json.replace(end, escaped)
    return json
