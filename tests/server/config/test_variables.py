"""`${…}` in the texts of a configuration."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.config.complaints import Complaints
from server.config.variables import replace


def _replaced(text: str, environ: dict[str, str], folder: Path = Path("/nowhere")) -> Complaints:
    reading = Complaints("smshook.yaml")
    reading.value = {"a": [text]}
    replace(reading, environ, folder)
    return reading


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
def test_a_reference_is_replaced_and_a_literal_stays(text, value):
    reading = _replaced(text, {"A": "1", "B": ""})

    assert (reading.value, reading.complaints) == ({"a": [value]}, [])


@given(st.text())
def test_a_value_is_one_text_whatever_it_holds(value):
    """Mutant: replaced before parsing, `a", admin: {` is YAML; replaced twice, `${B}` is read."""
    whole = value.removesuffix("\n").removesuffix("\r")

    assert _replaced("<${A}>", {"A": value, "B": "!"}).value == {"a": [f"<{whole}>"]}


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
def test_one_line_end_after_a_variable_is_dropped_and_said(text, value, kept):
    """`kubectl create secret --from-file`, and every signature is wrong. Mutant: kept."""
    reading = _replaced(text, {"A": value})

    assert reading.value == {"a": [kept]}
    said = [(("a", 0), "the variable A ends with a newline, which is dropped")]
    assert reading.notes == (said if kept != value else [])


def test_a_variable_that_is_a_line_end_alone_is_empty():
    assert _replaced("${A:-default}", {"A": "\n"}).value == {"a": ["default"]}
    assert _replaced("${A}", {"A": "\n"}).value == {"a": [""]}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("${C}", "C is not set in the environment; set it, or ${C:-…}"),
        ("x ${A", "a `${` without its `}`, or one in another; a literal is `$${`"),
        ("${A:-${B}}", "a `${` without its `}`, or one in another; a literal is `$${`"),
        ("${}", "write ${NAME}, ${NAME:-default} or ${file:path}; a literal is `$${`"),
        ("${A-b}", "write ${NAME}, ${NAME:-default} or ${file:path}; a literal is `$${`"),
        ("${file:/nowhere/x}", "cannot read /nowhere/x: No such file or directory"),
        ("${file:\0}", "cannot read /nowhere/\0: no name of a file"),
    ],
)
def test_what_cannot_be_replaced_is_told(text, complaint):
    """Mutant: an unset variable stays as text, and the secret becomes the literal `${C}`."""
    reading = _replaced(text, {"A": "1", "B": "2"})

    assert reading.value == {"a": [None]}
    assert [(it.path, it.text) for it in reading.complaints] == [(("a", 0), complaint)]


@pytest.mark.parametrize(
    ("data", "value"),
    [(b"s3cret\n", "s3cret"), (b"s3cret\r\n", "s3cret"), (b"a\nb\n\n", "a\nb\n"), (b" x", " x")],
)
def test_a_secret_file_gives_its_text_without_the_last_newline(tmp_path, data, value):
    (tmp_path / "s").write_bytes(data)

    relative = _replaced("${file:s}", {}, tmp_path)
    absolute = _replaced(f"${{file:{tmp_path}/s}}", {}, Path("/nowhere"))

    assert relative.value == absolute.value == {"a": [value]}
    assert relative.hidden == {("a", 0)}


def test_a_secret_file_that_is_none_is_told_without_what_is_in_it(tmp_path):
    (tmp_path / "binary").write_bytes(b"\xffs3cret")
    (tmp_path / "large").write_bytes(b"s3cret" * 20_000)

    told = [_replaced(f"${{file:{name}}}", {}, tmp_path).told() for name in ("binary", "large")]

    assert told == [
        (f"smshook.yaml: a[0]: {tmp_path}/binary is not UTF-8 text",),
        ((f"smshook.yaml: a[0]: {tmp_path}/large is larger than 65536 bytes; "
         "is it the right file?"),),
    ]  # fmt: skip
