"""What people may be shown: nothing in it drives a terminal, hides or reads backwards."""

import unicodedata

#: Categories that move, hide or reorder what stands around them: controls, formats (bidi
#: overrides, zero widths), surrogates, private use, line and paragraph separators.
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})


def plain(text: str) -> str:
    r"""The text with everything that is not simply seen written as `\u{202e}`."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(f"\\u{{{ord(char):x}}}" if is_unseen(char) else char for char in text)


def plain_lines(text: str) -> str:
    r"""The same, but its newlines stay; CR LF is one."""
    return "\n".join(plain(line) for line in text.replace("\r\n", "\n").split("\n"))


def is_unseen(char: str) -> bool:
    return unicodedata.category(char) in _UNSEEN
