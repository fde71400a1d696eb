"""The dedupe keys of version 0.1 are still made, so its events are known as duplicates."""

import importlib.util
import json
from pathlib import Path

import pytest

HERE = Path(__file__).parents[1] / "first_keys"
FIRST = json.loads((HERE / "keys.json").read_text())
_spec = importlib.util.spec_from_file_location("first_keys_make", HERE / "make.py")
make = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(make)
TODAY = {"callbacks": make.keys_of_callbacks(), "answers": make.keys_of_answers()}
NAMES = [pytest.param(kind, name, id=name) for kind in FIRST for name in FIRST[kind]]


@pytest.mark.parametrize(("kind", "name"), NAMES)
def test_first_keys_of_a_message_are_still_made(kind, name):
    """Mutants: a canonical key replaces the raw one; a billing key lacks the subject."""
    today = {key for event in TODAY[kind][name] for key in event}

    for event in FIRST[kind][name]:
        assert today.issuperset(event)


@pytest.mark.parametrize("name", FIRST["callbacks"])
def test_first_key_of_a_callback_is_its_dedupekey(name):
    """Mutant: the canonical key is first, and `dedupekey` of the same message changes."""
    first, today = FIRST["callbacks"][name], TODAY["callbacks"][name]

    assert [keys[0] for keys in today] == [keys[0] for keys in first]
