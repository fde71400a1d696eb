"""The links in a text, and the slug of a service's name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.fields.text import links, slug


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Go to https://amazon.com/devices.", ("https://amazon.com/devices",)),
        ("(see http://a.example/x?y=1&z=2)!", ("http://a.example/x?y=1&z=2",)),
        (
            "https://example.org/a_(b), HTTPS://B.example",
            ("https://example.org/a_(b)", "HTTPS://B.example"),
        ),
        ("<https://evil.example/login|Open>", ("https://evil.example/login|Open",)),
        (
            "Tap v.whatsapp.com/482913, or lnk.example/Qx81.",
            ("v.whatsapp.com/482913", "lnk.example/Qx81"),
        ),
        ("T.ME/login/58213 and sub.пример.рф/вход/1", ("T.ME/login/58213",)),
        ("点击t.cn/A6x7查看 https://t.cn/A6x8\uff0c回T退订", ("t.cn/A6x7", "https://t.cn/A6x8")),
        ("bank.example:8443/a?b=c#d (go.example/x)", ("bank.example:8443/a?b=c#d", "go.example/x")),
        ("24/7 1/2 30/11/2026 and/or km/h a.m./p.m. file.txt/x v1.2/3 notes.html/a", ()),
        ("www.example.com a@b.example/x bit.ly/ 10.0.0.1/24 ../a.example/b", ()),
        ("javascript:alert(1) ftp://a.example mailto:a@b.example", ()),
        ("https:// http://... http", ()),
        ("a\nhttps://a.example\r\nb", ("https://a.example",)),
        ("", ()),
    ],
)
def test_link_ends_before_punctuation(text, expected):
    """Mutants: any two letters are a top-level domain; a link needs no path."""
    assert links(text) == expected


@given(
    st.text() | st.lists(st.sampled_from(["http://", "https://", "a", ".", ")", " "])).map("".join)
)
def test_link_is_a_part_of_the_text(text):
    assert all(link in text and "/" in link for link in links(text))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Google", "google"),
        ("Google,youtube,Gmail", "google"),
        ("7-Eleven", "7eleven"),
        ("Any other", "anyother"),
        ("Яндекс", ""),
        (",", ""),
        ("аcme", "cme"),  # noqa: RUF001 - the first letter is Cyrillic and must not count as Latin
    ],
)
def test_slug_is_the_first_name_in_lower_case(name, expected):
    assert slug(name) == expected
