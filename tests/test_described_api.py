"""Schemathesis sends a running service what its document allows and forbids."""

import importlib

import pytest
from live import Live, sms


@pytest.fixture(scope="module")
def live(tmp_path_factory):
    with Live(tmp_path_factory.mktemp("described")) as live:
        for number in range(3):
            live.post(sms(number))
        live.post(b"event=new_kind&id=7")
        live.api("/orders", method="POST", json={"source": "tellabot", "number": "18503814729"})
        yield live


@pytest.mark.parametrize(
    "examples", [3, pytest.param(100, marks=[pytest.mark.nightly, pytest.mark.timeout(3600)])]
)
@pytest.mark.parametrize("mode", ["positive", "negative"])
@pytest.mark.slow
@pytest.mark.uncounted
def test_answers_are_described(live, mode, examples):
    """Mutants: a code that the document does not have; a limit of three digits is refused."""
    # Schemathesis takes a second to import. Only one of the workers needs it.
    generated = importlib.import_module("generated")
    generated.attempt_all(live, mode, examples)
