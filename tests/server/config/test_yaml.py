"""YAML as scalars, and the core schema that reads some of them."""

import json

import pytest
import yaml
from config_files import values
from hypothesis import example, given
from hypothesis import strategies as st

from server.config.show import _Dumper
from server.config.yaml import MAX_BYTES, Scalar, Style, core, parse


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("true", True),
        ("false", False),
        ("NULL", None),
        ("~", None),
        ("", None),
        ("12", 12),
        ("-3", -3),
        ("0", 0),
        ("0x1F", 31),
        ("0o17", 15),
        ("1.50", 1.5),
        ("1e3", 1000.0),
    ],
)
def test_core_schema_reads_scalars_of_yaml_1_2(written, value):
    found = parse(f"a: {written}".encode())

    assert found.complaints == ()
    assert found.value == {"a": Scalar(written, Style.PLAIN)}
    assert (core(written), type(core(written))) == (value, type(value))


@pytest.mark.parametrize(
    "written",
    [
        "NO",
        "no",
        "True",
        "TRUE",
        "False",
        "FALSE",
        "yes",
        "on",
        "off",
        "y",
        "07",
        "0777",
        "+18503814729",
        "+1",
        "12:30",
        "1:2:3",
        "2020-09-14",
        "1_000",
        ".5",
        "1.",
        ".inf",
        ".nan",
        "nulls",
        "truest",
        "0b11",
        "0xZZ",
        "12ab",
        "1e",
    ],
)
def test_core_schema_leaves_text_that_yaml_1_1_changes(written):
    """Mutant: PyYAML's own resolvers make `NO` false, `07` 7 and `12:30` 750."""
    assert values(parse(f"a: {written}".encode()).value) == {"a": written}


@pytest.mark.parametrize("written", ["9" * 5000, "1e999", "-1e999"])
def test_core_schema_refuses_a_number_that_is_too_large(written):
    with pytest.raises(ValueError, match=r"^a number that is too large; write it in quotes"):
        core(written)


def test_quotes_and_tags_give_a_scalar_its_style():
    """Mutant: `!!str 8` or a block counts as plain."""
    found = parse(b"""[8, '8', "8", !!str 8, !!int '8']""")

    plain, quoted = Scalar("8", Style.PLAIN), Scalar("8", Style.QUOTED)
    assert found.value == [plain, quoted, quoted, quoted, plain]
    assert parse(b"a: |\n  8\n").value == {"a": Scalar("8\n", Style.QUOTED)}


@example({"\x85": None})
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text("01e+-.:xoNTny~<= \n'\"#{[&*!%@é$"),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=20,
    )
)
def test_dumped_values_are_read_again(value):
    """Mutant: `_Dumper` without our resolvers writes the text `1e3` as a number."""
    dumped = yaml.dump({"a": value}, Dumper=_Dumper, allow_unicode=True)

    assert values(parse(dumped.encode()).value) == {"a": value}


@given(
    st.dictionaries(
        st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]), max_size=5),
        st.floats(allow_nan=False, allow_infinity=False) | st.integers() | st.text("a1.,"),
    )
)
def test_json_is_yaml(value):
    assert values(parse(json.dumps(value, ensure_ascii=False).encode()).value) == value


@given(st.binary(max_size=40) | st.text("ab:-[]{}&*!|>'\"#%@`,? \n\t\x07<~0", max_size=60))
def test_any_input_is_parsed_without_a_crash(written):
    data = written if isinstance(written, bytes) else written.encode()

    assert parse(data).lines is not None


def test_each_value_has_its_line():
    found = parse(b"a:\n  b:\n    - 1\n    -\n      2\n  data.c: 3\n")

    assert values(found.value) == {"a": {"b": [1, 2], "data.c": 3}}
    assert found.lines == {
        ("a",): 1,
        ("a", "b"): 2,
        ("a", "b", 0): 3,
        ("a", "b", 1): 5,
        ("a", "data.c"): 6,
    }


def test_duplicate_key_is_a_complaint_with_both_lines():
    """Mutant: a dict made by PyYAML keeps the last one without a complaint."""
    found = parse(b"a: 1\nb: {c: 1,\n  c: 2}\na: 3\n")

    assert values(found.value) == {"a": 1, "b": {"c": 1}}
    assert found.complaints == (
        (3, ("b", "c"), "given twice, first in line 2; remove one"),
        (4, ("a",), "given twice, first in line 1; remove one"),
    )


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        ("? [a]\n: b", (1, (), "a key that is not a text; write it in quotes")),
        ("? &a [*a]\n: b", (1, (), "a key that is not a text; write it in quotes")),
        ("a: {~: b}", (1, ("a",), "a key that is not a text; write it in quotes")),
        ("<<: {a: 1}", (1, (), "`<<` does not merge mappings here; write the options out")),
        ("a: &a\n- *a", (1, ("a", 0), "an alias that contains itself")),
        (
            "a: !!int x",
            (1, ("a",), "not a value of the YAML tag before it (int); leave the tag out"),
        ),
        (
            "a: !!bool True",
            (1, ("a",), "not a value of the YAML tag before it (bool); leave the tag out"),
        ),
        (
            "a: !x y",
            (1, ("a",), "a value that begins with ! is a YAML tag; leave it out, or use quotes"),
        ),
        (
            "a: !!set {b}",
            (1, ("a",), "a value that begins with ! is a YAML tag; leave it out, or use quotes"),
        ),
        ("a: b: c", (1, (), "a second `:` in the line; put a value that holds one into quotes")),
        ("a: 1\nb: \x07", (2, (), "the character #x0007 is not allowed in YAML")),
        ("a\n---\nb", (2, (), "`---` begins a second document; a configuration is one")),
        ("[" * 50_000, (1, (), "nested more than 32 deep")),
        ("a: " + "x" * MAX_BYTES, (1, (), "larger than 1048576 bytes; is it the right file?")),
    ],
)
def test_wrong_yaml_is_a_complaint_with_its_line(written, complaint):
    assert parse(written.encode()).complaints == (complaint,)


def test_bytes_other_than_utf_8_are_a_complaint_with_a_line():
    assert parse(b"a: 1\nb: \xff").complaints == (
        (2, (), "not UTF-8 text; save the file as UTF-8"),
    )


def test_key_is_text_as_written():
    """Mutant: `7` and `"7"` are two keys."""
    found = parse(b"07: a\n7: b\n'7': c\n")

    assert values(found.value) == {"07": "a", "7": "b"}
    assert found.complaints == ((3, ("7",), "given twice, first in line 2; remove one"),)


def test_byte_order_mark_is_not_part_of_the_first_key():
    assert values(parse(b"\xef\xbb\xbfa: 1").value) == {"a": 1}


def test_alias_is_its_value_and_quoted_merge_key_is_a_key():
    found = parse(b"a: &x [1]\nb: *x\n'<<': c")

    assert values(found.value) == {"a": [1], "b": [1], "<<": "c"}


def test_aliases_cannot_make_a_small_file_large():
    """Nine lines of ten aliases each would be a thousand million values."""
    lines = ["a0: &a0 [x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 10)]

    assert parse("\n".join(lines).encode()).complaints == (
        (1, (), "its aliases make more than 100000 values"),
    )


@pytest.mark.parametrize("written", ["[*TOKEN]", "a: !TOKEN!x y", 'a: "\\TOKEN"', "a: @TOKEN"])
def test_complaint_of_yaml_repeats_no_text_of_the_file(written):
    """Mutant: the parser's own message: `found undefined alias 'TOKEN'`."""
    ((_, _, complaint),) = parse(written.encode()).complaints

    assert "needs quotes" in complaint or "use single quotes" in complaint
    assert "TOKEN" not in complaint
