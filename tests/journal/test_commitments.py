"""Commitments to what events said."""

from contracts.journal import NOW
from period_keys import HOUR, MemoryKeys

from journal.audit.lines import commitment, commitment_key
from journal.commitments import Commitments
from journal.seal import Kind

BODY = b'{"data":{"code":"731946"}}'


def test_commitments_change_with_the_period():
    """Mutant: the key of the first event is kept for all later ones."""
    keys = MemoryKeys()
    commitments = Commitments(keys)
    instants = (NOW, NOW + 1, NOW + HOUR * 60, NOW)

    made = [*commitments.commit([("event", BODY, at) for at in instants])]
    made += [c for at in instants for c in commitments.commit([("event", BODY, at)])]

    its = [keys.current(Kind.CODES, at)[1] for at in instants]
    assert made == [commitment(commitment_key(key, "event"), BODY) for key in its] * 2
    assert len(set(made)) == 2
