"""Decodes a body that looks like a form, a multipart form or a JSON object into fields.

The Content-Type is ignored: a wrong header must not cost a code. Nothing is decompressed.
All of it is linear in the size of the body.
"""

import json
import re
from binascii import unhexlify
from codecs import BOM_UTF8
from collections.abc import Sequence
from itertools import accumulate, product
from math import isfinite

import multipart  # type: ignore[import-untyped]  # it ships no types

from .callback import Fields, Malformed, Number

MAX_FIELDS = 64
#: Depth of objects and arrays.
MAX_DEPTH = 32

#: The name of the only field where the body is a list.
LIST = "."

_BLANKS = b" \t\r\n"
#: The first bytes of bodies that are empty, or begin with blanks or the BOM.
_MAY_BE_BLANK = frozenset({b"", b" ", b"\t", b"\r", b"\n", b"\xef"})


def decode(
    body: bytes,
    *,
    content_encoding: str | None,
    encodings: frozenset[str],
    lists: bool = False,
) -> Fields:
    """Return the fields of a callback. `encodings` are those that its provider may use.

    With `lists`, the body may be a JSON list, which becomes the field LIST. Raises Malformed with
    the reason `encoding`, `empty` or `malformed`.
    """
    if content_encoding and content_encoding.strip().lower() not in ("", "identity"):
        raise Malformed("encoding", "content-encoding: compressed bodies are not accepted")
    if body[:1] in _MAY_BE_BLANK and not body.strip(_BLANKS):
        raise Malformed("empty", "body: empty")
    encoding = encoding_of(body)
    if encoding not in encodings:
        allowed = ", ".join(sorted(encodings))
        raise Malformed("malformed", f"body: read as {encoding}, this provider sends {allowed}")
    if encoding == "multipart":
        fields: object = _decode_multipart(body)
    elif encoding == "json":
        fields = json_value(body)
    else:
        fields = _decode_form(body)
    if lists and isinstance(fields, list):
        return {LIST: fields}
    if not isinstance(fields, dict):
        raise Malformed("malformed", "body: an object is expected")
    if len(fields) > MAX_FIELDS:
        raise Malformed("malformed", f"more than {MAX_FIELDS} fields")
    return fields


def encoding_of(body: bytes) -> str:
    """Return the encoding that the body looks like: `json`, `multipart` or `form`."""
    first = body[:1]
    if first in _MAY_BE_BLANK:
        first = body.removeprefix(BOM_UTF8).lstrip(_BLANKS)[:1]
    if first in (b"{", b"["):
        return "json"
    if body.startswith(b"--") and b"content-disposition" in body.lower():
        return "multipart"
    return "form"


def _unique(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    """Return the fields; refuse a name that is given twice, because either value may be right."""
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise _given_twice()
    return fields


def _given_twice() -> Malformed:
    return Malformed("malformed", "a field is given twice")


# -- application/x-www-form-urlencoded ------------------------------------------------------------

_HEX = b"0123456789ABCDEFabcdef"
#: The byte of each escape, by its two digits.
_ESCAPED = {bytes(digits): unhexlify(bytes(digits)) for digits in product(_HEX, repeat=2)}
_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})")
#: Escapes up to which a loop takes a third of the time of the regular expression, as in a time. For
#: 64 KiB of `%` it takes twenty times as long.
_FEW = 16


def _decode_form(body: bytes) -> dict[str, str]:
    # Bytes that are not UTF-8 are kept: with the escapes around them they may be.
    text = body.replace(b"+", b" ").decode("utf-8", "surrogateescape")
    # 60,000 ampersands must not become 60,000 objects. Twice the limit leaves room for the empty
    # pairs that clumsy senders produce.
    pairs = text.split("&", 2 * MAX_FIELDS)
    if len(pairs) > 2 * MAX_FIELDS:
        raise Malformed("malformed", f"more than {MAX_FIELDS} fields")
    if "" in pairs:
        pairs = [pair for pair in pairs if pair]
    fields: dict[str, str] = {}
    is_ascii = text.isascii()
    # A list of all names and values, and a dict made of it, cost half as much again.
    for pair in pairs:
        name, _, value = pair.partition("=")
        if "%" in pair or not is_ascii:
            name, value = _unescape(name), _unescape(value)
        fields[name] = value
    if len(fields) < len(pairs):
        raise _given_twice()
    return fields


def _unescape(text: str) -> str:
    if "%" not in text and text.isascii():
        return text
    sent = text.encode("utf-8", "surrogateescape")
    if sent.count(b"%") > _FEW:
        return _ESCAPE.sub(lambda escape: _ESCAPED[escape[1]], sent).decode("utf-8", "replace")
    plain, *parts = sent.split(b"%")
    read = [plain]
    for part in parts:
        byte = _ESCAPED.get(part[:2])
        read += (b"%", part) if byte is None else (byte, part[2:])
    return b"".join(read).decode("utf-8", "replace")


# -- multipart/form-data --------------------------------------------------------------------------

_CHARSETS = ("utf-8", "utf8", "us-ascii", "ascii")
_TRANSFERS = ("7bit", "8bit", "binary")
#: Also `filename*=`, which the library ignores.
_FILENAME = re.compile(r";\s*filename\*?\s*=", re.IGNORECASE)


def _decode_multipart(body: bytes) -> dict[str, object]:
    # The header's boundary may be broken or missing, so the body's first line counts.
    boundary = body[2:].partition(b"\r\n")[0]
    limits = {"max_header_size": 1024, "max_header_count": 8, "max_segment_count": MAX_FIELDS}
    parts: list[tuple[multipart.MultipartSegment, list[bytes]]] = []
    is_broken = False
    try:
        # Leaving the parser raises for a truncated body.
        with multipart.PushMultipartParser(boundary, strict=True, **limits) as parser:
            for event in parser.parse(body):
                if isinstance(event, multipart.MultipartSegment):
                    parts.append((event, []))
                elif event is not None:
                    parts[-1][1].append(bytes(event))
    except multipart.MultipartError:
        is_broken = True
    for part, _ in parts:
        if _FILENAME.search(part.header("Content-Disposition", "")):
            raise Malformed("malformed", "a part is a file")
        if part.charset is not None and part.charset.lower() not in _CHARSETS:
            raise Malformed("malformed", "a part has a charset other than utf-8")
        if part.header("Content-Transfer-Encoding", "8bit").strip().lower() not in _TRANSFERS:
            raise Malformed("malformed", "a part has a transfer encoding")
    if is_broken:
        raise Malformed("malformed", "body: broken multipart")
    return _unique(
        [(part.name or "", b"".join(read).decode("utf-8", "replace")) for part, read in parts]
    )


# -- application/json -----------------------------------------------------------------------------

#: A string, or the rest of the body after an opening quote that is never closed. So each byte is
#: read once.
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_STEP = [0] * 256
_STEP[ord("[")] = _STEP[ord("{")] = 1
_STEP[ord("]")] = _STEP[ord("}")] = -1
_JSON_BLANKS = " \t\r\n"
#: The digits of 2**64, with a sign; and the most digits that cannot be beyond 64 bits.
_LONGEST_INTEGER, _CERTAIN_DIGITS = 21, 18


def json_value(body: bytes) -> object:
    """Decode JSON, with numbers as their digits. Raises Malformed as `decode` does."""
    # Python's own limit on depth is a RecursionError.
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH:
        brackets = _STRING.sub(b"", body).translate(None, _NO_BRACKETS)
        if max(accumulate(map(_STEP.__getitem__, brackets)), default=0) > MAX_DEPTH:
            raise Malformed("malformed", f"body: nested deeper than {MAX_DEPTH}")
    try:
        # Half the cost of `decode`, which looks for blanks with regular expressions.
        text = body.decode("utf-8").strip(_JSON_BLANKS)
        value, end = _DECODER.raw_decode(text)
    except UnicodeDecodeError:
        raise Malformed("malformed", "body: not UTF-8") from None
    except json.JSONDecodeError:
        raise Malformed("malformed", "body: not JSON") from None
    if end != len(text):
        raise Malformed("malformed", "body: not JSON")
    if b"\\u" in body:
        # JSON can escape half a character, which cannot be written anywhere.
        try:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
        except UnicodeEncodeError:
            raise Malformed("malformed", "body: a lone surrogate") from None
    return value


def _number(text: str) -> Number:
    """Keep the digits of a number. Python's decoder also accepts `NaN` and `Infinity`."""
    if len(text) <= _CERTAIN_DIGITS and text.isdecimal():
        return Number(text)  # nearly all
    if text.removeprefix("-").isdecimal():
        fits = len(text) <= _LONGEST_INTEGER and -(2**63) <= int(text) < 2**64
    else:
        fits = isfinite(float(text))
    if not fits:
        is_digits = text[-1].isdecimal()
        raise Malformed("malformed", "a number beyond 64 bits" if is_digits else "NaN or Infinity")
    return Number(text)


_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique, parse_int=_number, parse_float=_number, parse_constant=_number
)
