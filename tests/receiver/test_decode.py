"""A body becomes fields or is Malformed, without another exception and in linear time."""

import json
from contextlib import suppress
from functools import partial
from urllib.parse import quote_plus, urlencode

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from regex_steps import lines_run

from receiver.callback import Malformed, Number
from receiver.decode import decode

ANY = frozenset({"form", "multipart", "json"})
JSON = frozenset({"json"})
SIZE = 65536
PAIRS = st.dictionaries(st.text(), st.text(), min_size=1, max_size=64).map(
    lambda fields: list(fields.items())
)


def fields(body, *, encodings=ANY):
    return decode(body, content_encoding=None, encodings=encodings)


def refusal(body, *, encodings=ANY, content_encoding=None):
    with pytest.raises(Malformed) as refused:
        decode(body, content_encoding=content_encoding, encodings=encodings)
    return refused.value.reason


def multipart(*parts, end=b"--XbX--\r\n"):
    """Return a multipart body; each part is its header lines and its content."""
    return b"".join(b"--XbX\r\n%s\r\n\r\n%s\r\n" % part for part in parts) + end


def part(name, content, *more):
    disposition = b'Content-Disposition: form-data; name="%s"' % name
    return b"\r\n".join((disposition, *more)), content


# -- encodings ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"pin":"012345"}', {"pin": "012345"}),
        (b' \r\n\t{"pin":"012345"}\n', {"pin": "012345"}),
        (b"pin=012345", {"pin": "012345"}),
        (b"--pin=012345", {"--pin": "012345"}),
        (multipart(part(b"pin", b"012345")), {"pin": "012345"}),
        (b"null", {"null": ""}),
    ],
)
def test_body_is_decoded_by_its_content(body, expected):
    assert fields(body) == expected


@pytest.mark.parametrize(
    "body",
    [b"null", b"42", b"true", b"pin=1", b"/*x*/{}", multipart(part(b"pin", b"1")), b"[]", b"[{}]"],
)
def test_json_source_takes_objects_only(body):
    """Mutant: an array is passed on, and `normalize` fails on `.get` with a 500."""
    assert refusal(body, encodings=JSON) == "malformed"


@pytest.mark.parametrize("body", [b'{"a":1}', b"[1]", multipart(part(b"a", b"1"))])
def test_unused_encoding_is_malformed(body):
    assert refusal(body, encodings=frozenset({"form"})) == "malformed"


@pytest.mark.parametrize("coding", ["gzip", "gzip, gzip", "br", "identity, gzip"])
def test_compressed_body_is_refused(coding):
    assert refusal(b"pin=1", content_encoding=coding) == "encoding"


@pytest.mark.parametrize("coding", [None, "", "identity", " Identity "])
def test_identity_is_not_a_compression(coding):
    assert decode(b"pin=1", content_encoding=coding, encodings=ANY) == {"pin": "1"}


@pytest.mark.parametrize("body", [b"", b" \r\n"])
def test_blank_body_is_empty(body):
    assert refusal(body) == "empty"


# -- forms ----------------------------------------------------------------------------------------


@given(PAIRS)
def test_form_is_decoded_as_encoded(pairs):
    """Mutants: `+` stays; a pair is split at its last `=`."""
    body = urlencode(pairs).encode()

    assert list(fields(body).items()) == pairs


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"a=1;b=2", {"a": "1;b=2"}),
        (b"x=%zz%4&y=%", {"x": "%zz%4", "y": "%"}),
        (b"x=%C0%AF", {"x": "��"}),
        (b"x=\xd0\xba\xff", {"x": "к�"}),
        (b"x=%2541", {"x": "%41"}),
        (b"x=%2B+%26", {"x": "+ &"}),
        (b"&a=1&&b=2&", {"a": "1", "b": "2"}),
        (b"a&b=&c==", {"a": "", "b": "", "c": "="}),
        (b"x=a%00b", {"x": "a\0b"}),
    ],
)
def test_form_is_read_strictly(body, expected):
    assert fields(body) == expected


@pytest.mark.parametrize(
    "body",
    [
        b"pin=012345&pin=999999",
        b"pin=1&%70in=1",
        b"&".join(b"k%d=1" % number for number in range(65)),
        b"&" * 60_000,
    ],
    ids=["twice", "twice, escaped", "65 fields", "ampersands"],
)
def test_ambiguous_form_is_malformed(body):
    """Mutant: the last of two pins wins, where another parser would use the first."""
    assert refusal(body) == "malformed"


def test_fields_are_limited_to_64():
    body = b"&".join(b"k%d=1" % number for number in range(64))

    assert len(fields(body)) == 64


# -- multipart ------------------------------------------------------------------------------------


@given(PAIRS)
def test_parts_are_decoded_as_encoded(pairs):
    names = [f"k{number}" for number in range(len(pairs))]
    parts = [
        part(name.encode(), value.encode()) for name, (_, value) in zip(names, pairs, strict=True)
    ]

    expected = {name: value for name, (_, value) in zip(names, pairs, strict=True)}
    assert fields(multipart(*parts)) == expected


def test_delimiter_is_the_first_line_of_the_body():
    assert fields(b'--"\r\ncontent-disposition: form-data; name=a\r\n\r\n1\r\n--"--') == {"a": "1"}


@pytest.mark.parametrize(
    "charset",
    [b"", b"\r\nContent-Type: text/plain", b"\r\nContent-Type: text/plain; charset=UTF-8"],
)
def test_broken_utf8_in_a_part_is_replaced(charset):
    head, content = part(b"reply", b"\xd0\xba \xff")

    assert fields(multipart((head + charset, content))) == {"reply": "к �"}


@pytest.mark.parametrize(
    "body",
    [
        multipart(part(b"a", b"1", b"Content-Type: text/plain; charset=bogus")),
        multipart(part(b"a", b"1", b"Content-Type: text/plain; charset=latin-1")),
        multipart(part(b"a", b"MQ==", b"Content-Transfer-Encoding: base64")),
        multipart((b'Content-Disposition: form-data; name="a"; filename="a.txt"', b"1")),
        multipart((b'Content-Disposition: form-data; name="a"; filename=""', b"1")),
        multipart((b"Content-Disposition: form-data; name=\"a\"; filename*=UTF-8''a", b"1")),
        multipart((b"Content-Disposition: form-data", b"1")),
        multipart((b'Content-Disposition: attachment; name="a"', b"1")),
        multipart(part(b"a", b"1"), part(b"a", b"2")),
        multipart(*(part(b"k%d" % number, b"1") for number in range(65))),
        multipart(part(b"a", b"1", *(b"X-%d: a" % number for number in range(8)))),
        multipart(part(b"a" * 1024, b"1")),
        multipart(part(b"a", b"1"), end=b""),
        multipart(part(b"a", b"1"), end=b"--XbX"),
        multipart(part(b"a", b"1"))[:40],
        b"--\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n----\r\n",
    ],
    ids=[
        "bogus charset",
        "other charset",
        "base64",
        "file",
        "file without a name",
        "file, RFC 5987",
        "no name",
        "not form-data",
        "twice",
        "65 parts",
        "9 headers",
        "long header",
        "no end",
        "half an end",
        "truncated",
        "no boundary",
    ],
)
def test_ambiguous_parts_are_malformed(body):
    """Mutants: a bogus charset is a LookupError; truncation is not seen."""
    assert refusal(body) == "malformed"


# -- JSON -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "digits", ["1.20", "0", "-0", "1E5", "-9223372036854775808", "18446744073709551615", "1e-999"]
)
def test_number_keeps_its_digits(digits):
    """Mutant: 1.20 becomes 1.2."""
    (number,) = fields(b'{"a":%s}' % digits.encode()).values()

    assert (type(number), number) == (Number, digits)


def nested(depth, opening="[", closing="]"):
    """Return a JSON object of that depth."""
    return ('{"a":' + opening * (depth - 1) + "1" + closing * (depth - 1) + "}").encode()


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":1,"a":1}',
        b'{"x":{"a":1,"a":2}}',
        b'{"a":18446744073709551616}',
        b'{"a":-9223372036854775809}',
        b'{"a":' + b"1" * 5000 + b"}",
        b'{"a":1e999}',
        b'{"a":NaN}',
        b'{"a":-Infinity}',
        b'{"a":"\xff"}',
        b'\xef\xbb\xbf{"a":1}',
        '{"a":1}'.encode("utf-16"),
        b'{"a":"\\ud800 1234"}',
        b'{"\\udc00":1}',
        b'{"x":[{"a":"\\uD83D"}]}',
        b'{"a":"\\ud83d\\u0041"}',
        nested(33),
        nested(33, '{"a":', "}"),
        nested(20_000),
        b"[" * 60_000,
        b'{"a":' * 10_000,
        b'{"activationId":1} x',
        b'{"broken":',
        b"{'a':1}",
        b'{"a":"\n"}',
        json.dumps(dict.fromkeys(map(str, range(65)))).encode(),
        b"[]",
        b"[{}]",
    ],
    ids=lambda body: repr(body[:24]),
)
def test_ambiguous_json_is_malformed(body):
    """Mutants: a RecursionError; a lone surrogate fails only when the event is written."""
    assert refusal(body, encodings=JSON) == "malformed"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"a":"\\ud83d\\ude00"}', {"a": "\U0001f600"}),
        (b'{"a":"\\\\ud800"}', {"a": "\\ud800"}),
        (b'{"a":"a\\u0000b"}', {"a": "a\0b"}),
        (b'{"a":"%s"}' % (b"[{" * 99), {"a": "[{" * 99}),
        (b'{"a":"\\"%s"}' % (b"[{" * 99), {"a": '"' + "[{" * 99}),
        (b'{"__proto__":{"admin":true},"a":[null]}', {"__proto__": {"admin": True}, "a": [None]}),
        (b"{}", {}),
    ],
)
def test_valid_json_is_read_unchanged(body, expected):
    assert fields(body, encodings=JSON) == expected


def test_objects_and_arrays_nest_to_a_depth_of_32():
    (value,) = fields(nested(32)).values()

    for _ in range(31):
        (value,) = value
    assert value == "1"


# -- any body -------------------------------------------------------------------------------------


@given(
    st.one_of(
        st.binary(),
        st.text(alphabet='{}[]":,\\ud80DcC123eE.-+NaN \n').map(str.encode),
        st.lists(
            st.sampled_from(
                [
                    *(b"--XbX", b"--", b"\r\n", b"\n", b";", b'"', b"\\", b"name", b"=", b": "),
                    *(b"Content-Disposition: form-data", b"filename", b"Content-Type: a; charset="),
                ]
            )
        ).map(lambda pieces: b"--XbX\r\nContent-Disposition:" + b"".join(pieces)),
    ),
    st.sampled_from([ANY, JSON]),
)
@example(b"--X\r\nContent-Disposition: form-data; name=\xff\r\n\r\n\r\n--X--", ANY)
def test_any_body_is_fields_or_malformed(body, encodings):
    """Mutant: an exception of a library is not caught: a 500, and the bytes are lost."""
    with suppress(Malformed):
        json.dumps(fields(body, encodings=encodings), ensure_ascii=False).encode()


def test_error_has_no_values():
    body = b"pin=%s&pin=2" % quote_plus("804036").encode()

    with pytest.raises(Malformed) as refused:
        fields(body)

    assert "804036" not in str(refused.value)


HOSTILE = {
    "ampersands": lambda size: b"&" * size,
    "percent signs": lambda size: b"a=" + b"%" * size,
    "escapes": lambda size: b"a=" + b"%41" * (size // 3),
    "bad bytes": lambda size: b"a=" + b"\xff" * size,
    "open brackets": lambda size: b"[" * size,
    "empty lists": lambda size: b'{"a":[' + b"[]," * (size // 3) + b"1]}",
    "ones": lambda size: b'{"a":[' + b"1," * (size // 2) + b"1]}",
    "escaped quotes": lambda size: b'{"a":"' + b'\\"' * (size // 2),
    "quotes in braces": lambda size: b"{" * 40 + b'"' + b'\\"' * (size // 2),
    "a long number": lambda size: b'{"a":' + b"1" * size + b"}",
    "a long fraction": lambda size: b'{"a":0.' + b"1" * size + b"}",
    "options of parts": lambda size: multipart(
        *(part(b"k%d" % n, b"", b"X: " + b';a="\\"' * (size // 440)) for n in range(60))
    ),
    "delimiters": lambda size: multipart(part(b"a", b"\r\n--Xb" * (size // 6))),
    "folded headers": lambda size: (
        b"--XbX\r\nContent-Disposition: form-data\r\n" + b" a\r\n" * (size // 4)
    ),
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE.keys())
def test_executed_lines_grow_with_a_hostile_body(body):
    """Lines are counted, not seconds. test_linear.py counts the steps of patterns.

    Mutant: for each character, a loop over all before it.
    """
    once, twice = (lines_run(partial(fields, body(size))) for size in (SIZE // 8, SIZE // 4))

    assert twice <= 2.3 * once + 200


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_body_of_64_kib_is_read_or_refused(body):
    with suppress(Malformed):
        fields(body(SIZE))


@pytest.mark.parametrize(
    ("sent", "read"),
    [(b"a=\xc3%A9", "\u00e9"), (b"a=\xc3", "\ufffd"), ("a=\u00e9%20".encode(), "\u00e9 ")],
)
def test_bytes_and_escapes_of_one_character_belong_together(sent, read):
    """Mutant: invalid UTF-8 is replaced before escapes are decoded."""
    fields = decode(sent, content_encoding=None, encodings=frozenset({"form"}))

    assert fields == {"a": read}
