"""Complaints about a file that is not YAML."""

import re

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from server.config.yaml import parse

#: Words of the parser that mean nothing to a person who writes a configuration.
JARGON = ("expected", "token", "scalar", "simple key", "block", "flow", "stream", "not allowed")
COLUMN = "the keys of one mapping begin in one column"

BROKEN = {
    "a key without its colon, its mapping below": (
        "sources:\n  tellabot\n    provider: tellabot\n",
        (2, "a key without its `:`; write a key, a colon and a space"),
    ),
    "a key without its colon, its value behind": (
        "server:\n  listen 127.0.0.1:8080\n  admin_listen: same\n",
        (2, "a key without its `:`; write a key, a colon and a space"),
    ),
    "a key without its colon at the top": (
        "server\n  listen: same\n",
        (1, "a key without its `:`; write a key, a colon and a space"),
    ),
    "no blank after the colon": (
        "server:\n  listen:127.0.0.1\n  admin_listen: same\n",
        (2, "a space is missing after the `:`"),
    ),
    "two colons in a line": (
        "sinks:\n  team: message: x\n",
        (2, "a second `:` in the line; put a value that holds one into quotes"),
    ),
    "a colon in a text": (
        "sinks:\n  team:\n    message: code: yours\n",
        (3, "a second `:` in the line; put a value that holds one into quotes"),
    ),
    "indented too much": (
        "server:\n  listen: same\n    admin_listen: same\n",
        (3, f"indented more than the line above it; {COLUMN}"),
    ),
    "indented too little": (
        "server:\n    listen: same\n  admin_listen: same\n",
        (3, f"indented unlike the lines around it; {COLUMN}"),
    ),
    "the first key indented": (
        "  server:\n    listen: same\njournal: x\n",
        (3, f"indented unlike the lines around it; {COLUMN}"),
    ),
    "a tab": ("server:\n\tlisten: same\n", (2, "indented with a tab; use spaces")),
    "a tab in a list": ("tokens:\n\t- a\n", (2, "indented with a tab; use spaces")),
    "a tab after blanks": (
        "server:\n  listen: same\n  \tadmin_listen: same\n",
        (3, "indented with a tab; use spaces"),
    ),
    "a double quote that is not closed": (
        'server:\n  secret: "abc\n  listen: same\n',
        (2, "a quote that opens here is not closed"),
    ),
    "a single quote that is not closed": (
        "server:\n  secret: 'abc\n  listen: same\n",
        (2, "a quote that opens here is not closed"),
    ),
    "a quote that a later one closes": (
        'server:\n  secret: "abc\n  listen: "same"\n',
        (2, "a quote that opens here is not closed in its line"),
    ),
    "a quote in a list that a later one closes": (
        'tokens: ["abc, "def"]\nlabels: "x"\n',
        (1, "a comma or a closing bracket is missing, in or before this line"),
    ),
    "an apostrophe in single quotes": (
        "sinks:\n  message: 'it's yours'\n",
        (2, "text after the closing quote; put all of it into the quotes"),
    ),
    "text after a quote": (
        'sinks:\n  message: "code" yours\n',
        (2, "text after the closing quote; put all of it into the quotes"),
    ),
    "a list that is not closed": (
        "sinks:\n  log:\n    to: [a, b\n    type: file\nroutes:\n  x: y\n",
        (3, "a [ that opens here is not closed"),
    ),
    "a list that is not closed at the end": (
        "tokens: [a, b\n",
        (1, "a [ that opens here is not closed"),
    ),
    "a mapping that is not closed": (
        "sinks:\n  log: {type: file, path: x\nroutes:\n  a: {to: [log]}\n",
        (2, "a { that opens here is not closed"),
    ),
    "a comma that is missing": (
        "sinks:\n  log: {type: file path: x}\n",
        (2, "a comma or a closing bracket is missing, in or before this line"),
    ),
    "a comma that is missing after a quote": (
        'tokens: ["a" "b"]\n',
        (1, "a comma or a closing bracket is missing, in or before this line"),
    ),
    "a bracket too many": (
        "tokens: [a]]\nlabels: {}\n",
        (1, "a closing bracket without an opening one"),
    ),
    "an item amid keys": (
        "server:\n  listen: same\n  - a\n",
        (3, "a `-` begins an item of a list, and there is no list here"),
    ),
    "an item behind a key": (
        "tokens: - a\n",
        (1, "a `-` begins an item of a list, and there is no list here"),
    ),
    "a key amid items": (
        "tokens:\n  - a\n  b: c\n",
        (3, "a key among the items of a list; begin an item with `- `"),
    ),
    "an at sign": ("a: @b\n", (1, "a value that begins with @, ` or % needs quotes")),
    "a backquote": ("a: `b`\n", (1, "a value that begins with @, ` or % needs quotes")),
    "a percent sign": ("a: %b\n", (1, "a value that begins with @, ` or % needs quotes")),
    "an asterisk": ("a: *b\n", (1, "a value that begins with * needs quotes")),
    "two asterisks": ("a: **\n", (1, "a value that begins with * needs quotes")),
    "an ampersand": ("a: & b\n", (1, "a value that begins with & needs quotes")),
    "an exclamation mark": ("a: !b!c d\n", (1, "a value that begins with ! needs quotes")),
    "a bar": ("a: |b\n", (1, "text behind | or >; write it in the lines below, indented")),
    "a backslash": (
        'a: "C:\\Users"\n',
        (1, r"not a character's code; after \x, \u and \U come hexadecimal digits"),
    ),
    "an escape": (
        'a: "\\d+"\n',
        (1, r"a backslash in double quotes; write \\, or use single quotes"),
    ),
    "two documents": (
        "a: b\n---\nc: d\n",
        (2, "`---` begins a second document; a configuration is one"),
    ),
    "a merge conflict": (
        "a: b\n<<<<<<< HEAD\nc: d\n=======\nc: e\n>>>>>>> theirs\n",
        (2, "a merge conflict; keep one of the two versions"),
    ),
    "a directive": ("%YAML 2.0\n---\na: b\n", (1, "a line that begins with %; leave it out")),
    "Windows line ends": (
        "server:\r\n  listen 127.0.0.1\r\n  admin_listen: same\r\n",
        (2, "a key without its `:`; write a key, a colon and a space"),
    ),
    "a comment between": (
        "server:\n  listen 127.0.0.1\n  # the API\n\n  admin_listen: same\n",
        (2, "a key without its `:`; write a key, a colon and a space"),
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_yaml_names_line_and_mistake(name):
    """Mutants: the parser's own line, or its own words."""
    text, (line, words) = BROKEN[name]

    [(at, path, said)] = parse(text.encode()).complaints

    assert (at, path, said) == (line, (), words)


@given(
    st.lists(
        st.sampled_from(
            ["a: b", "  c: d", "   - e", "f", '"', "'", "[", "}", ": ", "\tg: h", "*i", "|", "# j"]
        ),
        max_size=8,
    )
)
def test_broken_yaml_is_explained_without_jargon(lines):
    """Each complaint names a line of the file. Mutant: the parser's own message."""
    text = "\n".join(lines)
    try:
        yaml.compose(text, yaml.SafeLoader)
    except yaml.YAMLError:
        for line, _, said in parse(text.encode()).complaints:
            assert 1 <= line <= len(lines) + 1
            assert not re.search("|".join(JARGON), re.sub("where a value is expected", "", said))
