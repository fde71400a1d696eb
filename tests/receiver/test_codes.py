"""The code of a message: which fields hold one, which texts do, and how two are compared."""

import pytest

from receiver.codes import canonical_code, read_code


@pytest.mark.parametrize(
    "code",
    [
        *("482913", "482 913", "123-456", "G-804036", "A8D-291", "fb-48213", "7KQ4M", "XKQPLM"),
        *("12:34", "FB 12345", "٢٠٤٩٨١", "CODE"),
    ],
)
def test_a_code_field_with_a_code_is_returned_as_sent(code):
    """Mutant: `_LETTERS` without its exception for the capitals of a prefix."""
    assert read_code(f" {code}\n", "Text 9999") == (code, "Text 9999")


@pytest.mark.parametrize(
    ("sentence", "code"),
    [
        ("Your code is 1234 and text", "1234"),
        ("Code:1234", "1234"),
        ("G-804036 is your Google verification code.", "G-804036"),
        ("activation code", None),
    ],
)
def test_a_sentence_in_a_code_field_becomes_the_text(sentence, code):
    """Mutant: `is_sentence` always False: the sentence is given out as a code."""
    assert read_code(sentence, None) == (code, sentence)
    assert read_code(sentence, "") == (code, sentence)
    assert read_code(sentence, "The text itself")[1] == "The text itself"


@pytest.mark.parametrize("code", [None, "", " ", "null", "None", "***", "-"])
def test_without_a_code_the_text_is_searched(code):
    """Mutant: placeholders such as `null` are codes."""
    assert read_code(code, "Your code is 1234") == ("1234", "Your code is 1234")
    assert read_code(code, None) == (None, None)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("G-804036", "804036"),
        ("482 913", "482913"),
        ("fb-48213", "48213"),
        ("A8D-291", "A8D291"),
        ("7kq4m", "7KQ4M"),
        ("٢٠٤٩٨١", "204981"),
        ("---", ""),
    ],
)
def test_canonical_code_has_letters_and_digits_only(code, expected):
    """Mutants: the prefix stays; digits of other scripts stay; lower case stays."""
    assert canonical_code(code) == expected
