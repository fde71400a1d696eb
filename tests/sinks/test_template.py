"""Templates of a user: they reach the values of an event, and no other value."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sinks.template import compile_json, compile_text

EVENT = {
    "id": "01931c5e",
    "type": "sms.received",
    "source": "tellabot",
    "data": {
        "labels": {"team": "growth", "a.b": "c"},
        "reference": None,
        "sample": False,
        "service": {"id": "go", "name": "Google", "key": "google"},
        "text": "G-804036 is your code",
        "code": "G-804036",
        "urls": ["https://a.example/1", "https://b.example/2"],
        "price": {"amount": "1.20", "currency": None},
        "warnings": [],
    },
}

texts = st.text()
keys = texts.filter(lambda text: "}" not in text)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | texts,
    lambda below: st.lists(below, max_size=3) | st.dictionaries(keys, below, max_size=3),
    max_leaves=10,
)


def escaped(text):
    return text.replace("{", "{{").replace("}", "}}")


def event_with(text):
    return {**EVENT, "data": {**EVENT["data"], "text": text}}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("", ""),
        ("no placeholder", "no placeholder"),
        ("{data.service.name}: {data.code}", "Google: G-804036"),
        ("{id}{type}", "01931c5esms.received"),
        ("{data.labels.team} {data.labels.a.b}", "growth c"),
        ("[{data.reference}] [{data.from}] [{data.service.name.first}]", "[] [] []"),
        ("{data.sample}", "false"),
        ("{data.urls}", "https://a.example/1, https://b.example/2"),
        ("{data.warnings}", ""),
        ("{data.price}", '{"amount":"1.20","currency":null}'),
        ("{{data.code}}", "{data.code}"),
        ("{{{data.code}}}", "{G-804036}"),
        ("{{}}", "{}"),
    ],
)
def test_template_is_filled_with_values(template, text):
    assert compile_text(template)(EVENT) == text


@pytest.mark.parametrize(
    ("template", "complaint"),
    [
        ("{data.cod}", "character 1: no event has 'data.cod'; did you mean data.code?"),
        ("a: {code}", "character 4: no event has 'code'; did you mean data.code?"),
        (
            "{data.code} {data.text",
            "character 13: this { is not closed; write {{ for a brace, {data.code} for a value",
        ),
        (
            "a}",
            "character 2: this } has no opening {; write }} for a brace, {data.code} for a value",
        ),
        (
            "{data.{id}}",
            "character 1: this { is not closed; write {{ for a brace, {data.code} for a value",
        ),
        (
            "{}",
            "character 1: {} has no path; write one of the event, such as {data.code}",
        ),
    ],
)
def test_wrong_template_gets_a_hint(template, complaint):
    with pytest.raises(ValueError) as error:
        compile_text(template)

    assert str(error.value) == complaint


@pytest.mark.parametrize(
    "template",
    [
        "{__class__}",
        "{data.__class__}",
        "{0}",
        "{0.__class__.__init__.__globals__}",
        "{data.text!r}",
        "{data.text:>10}",
        "{data.labels.team!r}",
        "{data.labels.team:>10}",
        "{data[text]}",
        "{data.labels[team]}",
        "{data.service.name()}",
        "{ data.code }",
        "{data .code}",
        "${data.code",
        "{SMSHOOK_API_KEY}",
    ],
)
@pytest.mark.parametrize("compiled", [compile_text, compile_json])
def test_only_paths_are_placeholders(compiled, template):
    """Mutant: `template.format(**event)`, which accepts half of these."""
    with pytest.raises(ValueError):
        compiled(template)


@pytest.mark.parametrize("name", ["name.__class__", "name.upper", "key.0"])
def test_placeholder_reaches_no_python_attribute(name):
    """Mutant: `getattr` in `value_at`."""
    assert compile_text(f"[{{data.service.{name}}}]")(EVENT) == "[]"
    assert compile_json(f"{{data.service.{name}}}")(EVENT) is None


@given(before=texts, value=texts, after=texts)
def test_value_stands_between_the_literal_texts(before, value, after):
    """Mutant: filling twice expands a text that holds `{data.code}`."""
    template = f"{escaped(before)}{{data.text}}{escaped(after)}"

    assert compile_text(template)(event_with(value)) == f"{before}{value}{after}"
    assert compile_json([template])(event_with(value)) == [
        value if not before + after else f"{before}{value}{after}"
    ]


@pytest.mark.parametrize("text", ["{data.code}", "{{data.code}}", "{0}", "{", "{{ 7*7 }}", "%s"])
def test_value_like_a_template_is_not_filled(text):
    event = event_with(text)

    assert compile_text("<{data.text}>")(event) == f"<{text}>"
    assert compile_json({"a": "{data.text}", "b": "<{data.text}>"})(event) == {
        "a": text,
        "b": f"<{text}>",
    }


@given(template=texts)
def test_template_is_refused_or_filled(template):
    try:
        fill = compile_text(template)
    except ValueError:
        return

    assert "{" not in template or compile_text(escaped(fill(EVENT)))(EVENT) == fill(EVENT)


def test_single_placeholder_keeps_the_type():
    template = {
        "text": "{data.code}",
        "list": "{data.urls}",
        "object": "{data.service}",
        "null": "{data.reference}",
        "missing": "{data.from}",
        "boolean": "{data.sample}",
        "all": ["{id}", {"is": "{data.price.amount}"}],
    }

    assert compile_json(template)(EVENT) == {
        "text": "G-804036",
        "list": ["https://a.example/1", "https://b.example/2"],
        "object": {"id": "go", "name": "Google", "key": "google"},
        "null": None,
        "missing": None,
        "boolean": False,
        "all": ["01931c5e", {"is": "1.20"}],
    }


def test_inside_other_text_a_value_is_text():
    template = [" {data.sample}", "{data.reference}.", "{data.urls}{data.sample}", "{{data.code}}"]

    assert compile_json(template)(EVENT) == [
        " false",
        ".",
        "https://a.example/1, https://b.example/2false",
        "{data.code}",
    ]


@given(template=values, event_text=texts)
def test_json_without_placeholders_is_unchanged(template, event_text):
    fill = compile_json(braces_doubled(template))

    assert json.loads(json.dumps(fill(event_with(event_text)))) == template


def braces_doubled(template):
    if isinstance(template, str):
        return escaped(template)
    if isinstance(template, list):
        return [braces_doubled(each) for each in template]
    if isinstance(template, dict):
        return {key: braces_doubled(each) for key, each in template.items()}
    return template


@given(value=values)
def test_json_placeholder_returns_the_value_unchanged(value):
    assert compile_json({"a": ["{data.text}"]})(event_with(value)) == {"a": [value]}


def nested(levels):
    template = "{data.code}"
    for _ in range(levels):
        template = [template]
    return template


def looped():
    template = {}
    template["again"] = template
    return template


@pytest.mark.parametrize(
    ("template", "complaint"),
    [
        (
            {"blocks": [{"text": "{data.cod}"}]},
            "json.blocks[0].text: character 1: no event has 'data.cod'; did you mean data.code?",
        ),
        ("{code}", "json: character 1: no event has 'code'; did you mean data.code?"),
        (
            {"a": {"{data.code}": 1}},
            "json.a: keys are literal; write placeholders in values only",
        ),
        ({"a": {7: 1}}, "json.a: a key must be a text; write it in quotes"),
        (
            {"a": [1, float("nan")]},
            "json.a[1]: is not a JSON value; write it as a text, in quotes",
        ),
        ([2**64], "json[0]: is not a JSON value; write it as a text, in quotes"),
        ([b"x"], "json[0]: is not a JSON value; write it as a text, in quotes"),
        (nested(33), f"json{'[0]' * 32}: nested more than 32 deep"),
        (looped(), f"json{'.again' * 32}: nested more than 32 deep"),
    ],
)
def test_wrong_json_body_gets_place_and_hint(template, complaint):
    with pytest.raises(ValueError) as error:
        compile_json(template)

    assert str(error.value) == complaint


def test_brace_in_a_key_is_a_brace():
    """Mutant: keys are unescaped like values."""
    assert compile_json({"a{{b": 1, "}}": 2})(EVENT) == {"a{{b": 1, "}}": 2}


def test_deepest_allowed_json_is_taken():
    assert compile_json(nested(32))(EVENT) is not None
