"""`${…}` in the texts of a configuration."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.config.complaints import Complaints
from server.config.variables import replace
from server.config.yaml import Scalar, Style


def _replaced(text: str, environ: dict[str, str], folder: Path = Path("/nowhere")) -> Complaints:
    reading = Complaints("smshook.yaml")
    reading.value = {"a": [Scalar(text, Style.QUOTED)]}
    replace(reading, environ, folder)
    return reading


def _text(reading: Complaints) -> str:
    return reading.value["a"][0].text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${A}", "1"),
        ("x${A}y${A}", "x1y1"),
        ("${B}", ""),
        ("${A:-d}", "1"),
        ("${B:-d}", "d"),
        ("${C:-d}", "d"),
        ("${C:-}", ""),
        ("${C:-a:b-c/$d}", "a:b-c/$d"),
        ("$${A}", "${A}"),
        ("$$${A}", "$${A}"),
        ("$A $ {A} {A} $$", "$A $ {A} {A} $$"),
    ],
)
def test_reference_is_replaced_and_literal_stays(text, value):
    reading = _replaced(text, {"A": "1", "B": ""})

    assert (_text(reading), reading.complaints) == (value, [])


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_replaced_value_stays_one_text(value):
    """Mutants: replaced before parsing, so `a", admin: {` is YAML; `${B}` in a value replaced."""
    whole = value.removesuffix("\n").removesuffix("\r")

    assert _text(_replaced("<${A}>", {"A": value, "B": "!"})) == f"<{whole}>"


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("s3cret\n", "s3cret"),
        ("s3cret\r\n", "s3cret"),
        ("s3cret\r", "s3cret"),
        ("s3cret\n\n", "s3cret\n"),
        (" s3cret ", " s3cret "),
    ],
)
@pytest.mark.parametrize("text", ["${A}", "${A:-default}"])
def test_one_line_end_after_a_variable_is_dropped_with_a_note(text, value, kept):
    """`kubectl create secret --from-file` keeps it. Mutant: it stays, and no signature fits."""
    reading = _replaced(text, {"A": value})

    assert _text(reading) == kept
    note = (("a", 0), "the variable A ends with a newline, which is dropped")
    assert reading.notes == ([note] if kept != value else [])


def test_variable_with_a_line_end_alone_is_empty():
    assert _text(_replaced("${A:-default}", {"A": "\n"})) == "default"
    assert _text(_replaced("${A}", {"A": "\n"})) == ""


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("${C}", "C is not set in the environment; set it, or ${C:-…}"),
        ("x ${A", "a `${` without its `}`, or inside another; a literal is `$${`"),
        ("${A:-${B}}", "a `${` without its `}`, or inside another; a literal is `$${`"),
        ("${}", "write ${NAME}, ${NAME:-default} or ${file:path}; a literal is `$${`"),
        ("${A-b}", "write ${NAME}, ${NAME:-default} or ${file:path}; a literal is `$${`"),
        ("${file:/nowhere/x}", "cannot read /nowhere/x: No such file or directory"),
        ("${file:\0}", "cannot read /nowhere/\0: not a file name"),
    ],
)
def test_reference_that_cannot_be_replaced_is_a_complaint(text, complaint):
    """Mutant: an unset variable stays as text, and the secret becomes the literal `${C}`."""
    reading = _replaced(text, {"A": "1", "B": "2"})

    assert reading.value == {"a": [None]}
    assert [(it.path, it.text) for it in reading.complaints] == [(("a", 0), complaint)]


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        (os.fsdecode(b"caf\xe9"), "not UTF-8; write ordinary text"),
        ("a\0b", "has the character NUL; leave it out"),
    ],
)
def test_value_that_is_no_text_is_a_complaint(value, complaint):
    """As a label, it would send every callback to quarantine.

    Mutants: `is_text` returns True for values; for keys.
    """
    reading = Complaints("smshook.yaml")
    reading.value = {
        "a": [Scalar("${A}", Style.QUOTED), Scalar(value, Style.PLAIN)],
        value: Scalar("b", Style.PLAIN),
    }

    replace(reading, {"A": value}, Path("/nowhere"))

    assert reading.value == {"a": [None, None]}
    assert [(it.path, it.text) for it in reading.complaints] == [
        (("a", 0), complaint),
        (("a", 1), complaint),
        ((value,), complaint),
    ]


@pytest.mark.parametrize(
    ("data", "value"),
    [(b"s3cret\n", "s3cret"), (b"s3cret\r\n", "s3cret"), (b"a\nb\n\n", "a\nb\n"), (b" x", " x")],
)
def test_secret_file_gives_its_text_without_the_last_newline(tmp_path, data, value):
    (tmp_path / "s").write_bytes(data)

    relative = _replaced("${file:s}", {}, tmp_path)
    absolute = _replaced(f"${{file:{tmp_path}/s}}", {}, Path("/nowhere"))

    assert relative.value == absolute.value == {"a": [Scalar(value, Style.FILE)]}


def test_text_with_any_secret_file_is_hidden(tmp_path):
    """Mutant: only the last reference decides."""
    (tmp_path / "s").write_text("s3cret")

    assert _replaced("${file:s} ${A}", {"A": "1"}, tmp_path).value["a"][0].style is Style.FILE
    assert _replaced("${A} $${file:s}", {"A": "1"}, tmp_path).value["a"][0].style is Style.VARIABLE


def test_unreadable_secret_file_is_a_complaint_without_content(tmp_path):
    (tmp_path / "binary").write_bytes(b"\xffs3cret")
    (tmp_path / "large").write_bytes(b"s3cret" * 20_000)

    found = [_replaced(f"${{file:{name}}}", {}, tmp_path).texts() for name in ("binary", "large")]

    assert found == [
        (f"smshook.yaml: a[0]: {tmp_path}/binary is not UTF-8 text",),
        ((f"smshook.yaml: a[0]: {tmp_path}/large is larger than 65536 bytes; "
         "is it the right file?"),),
    ]  # fmt: skip
