"""A stranger's text cannot control a terminal, hide or read backwards."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.printable import plain, plain_lines


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("G-804036 is your code.", "G-804036 is your code."),
        ("Код 004234 → ok", "Код 004234 → ok"),
        ("\x1b]0;owned\x07", r"\u{1b}]0;owned\u{7}"),
        ("a\r\nb\tc", r"a\u{d}\u{a}b\u{9}c"),
        ("\x7f\x9b31m", r"\u{7f}\u{9b}31m"),
        ("abc\u202edcba", r"abc\u{202e}dcba"),
        ("a\u200bb\u2028c\ue000", r"a\u{200b}b\u{2028}c\u{e000}"),
        ("\udc1b[2J", r"\u{dc1b}[2J"),
    ],
)
def test_invisible_characters_are_escaped(text, shown):
    """Mutant: C0 controls alone; U+009B, bidi overrides and line separators pass."""
    assert plain(text) == shown


@given(st.text())
def test_plain_text_has_no_control_characters(text):
    shown = plain(text)

    categories = {unicodedata.category(char) for char in shown}
    assert categories.isdisjoint({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
    assert plain(shown) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Your code is\n1234", "Your code is\n1234"),
        ("a\r\nb\n\nc\n", "a\nb\n\nc\n"),
        ("a\rb", r"a\u{d}b"),
        ("a\u2028b\x85c\x0bd", r"a\u{2028}b\u{85}c\u{b}d"),
        ("a\u202e\nb", "a\\u{202e}\nb"),
    ],
)
def test_plain_lines_keeps_newlines_and_escapes_the_rest(text, shown):
    """Mutant: `splitlines`, which splits at invisible separators, too."""
    assert plain_lines(text) == shown
