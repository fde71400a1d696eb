"""Text that is safe to show to people: it cannot control a terminal, hide or read backwards."""

import unicodedata

#: Categories that move, hide or reorder the text around them: controls, formats (bidi
#: overrides, zero widths), surrogates, private use, line and paragraph separators.
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})


#: Characters of a name that an error repeats.
NAMED = 40
#: The same of a place, such as `routes.all.when.$or[0].data.code`: it has several names.
PLACE = 160


def named(text: str, most: int = NAMED) -> str:
    """Return a name for an error. A long one is cut."""
    return text if len(text) <= most else f"{text[:most]}…"


def is_utf8(text: str) -> bool:
    """Whether it can be written as UTF-8.

    Python reads other bytes of a variable, an argument or a path as halves of characters.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def plain(text: str) -> str:
    r"""Return the text with every character that is not visible written as `\u{202e}`."""
    if text.isprintable():  # then no character is unseen
        return text
    return "".join(f"\\u{{{ord(char):x}}}" if is_unseen(char) else char for char in text)


def plain_lines(text: str) -> str:
    r"""Return the text with each line as `plain` returns it; CR LF becomes a newline."""
    return "\n".join(plain(line) for line in text.replace("\r\n", "\n").split("\n"))


def is_unseen(char: str) -> bool:
    """Whether a character is not visible, or moves the text around it."""
    return unicodedata.category(char) in _UNSEEN
