"""The check of a log in the service: it finds what the program of auditors finds."""

import pytest
from audit_logs import HonestLog, week

from journal.audit.check import Changed, LogCheck
from journal.audit.lines import erased_line
from journal.audit.note import Checkpoint
from journal.audit.tree import EMPTY_ROOT


def checked(log, *, part=37, first=None, lines=None):
    """Check a log in parts, as the service does; return the check."""
    check = LogCheck(log.origin, first or log.first, log.beginning)
    check.expect([*log.checkpoints, log.newest])
    lines = log.lines[log.pruned :] if lines is None else lines
    for at in range(0, len(lines), part):
        check.take(lines[at : at + part])
    return check


@pytest.mark.parametrize("pruned", [0, 256, 512])
@pytest.mark.parametrize("part", [1, 37, 10_000])
def test_honest_log_is_unchanged(pruned, part):
    """Mutants: the end of an epoch is signed by the next key; the first epoch is forgotten."""
    log = week()
    log.prune(pruned)

    check = checked(log, part=part)

    assert (check.covered, check.size, check.unnamed) == (len(log.lines), len(log.lines), set())


def test_check_goes_on_with_new_lines():
    """Mutants: states of fewer lines are wrong; a state signed again with the next key is, too."""
    log = week()
    check = checked(log)
    log.end_epoch()
    log.checkpoint(keep=False)
    log.grow(12)

    check.expect([*log.checkpoints, log.newest])
    check.take(log.lines[check.size :])

    assert check.covered == len(log.lines)


def test_last_state_of_an_epoch_is_signed_again_with_the_next_key():
    """Mutants: the states of one size are sorted; only the newest key is known."""
    log = week()
    for _ in range(8):  # in the order of their texts, some would be the wrong way round
        log.end_epoch()
        log.checkpoint()
    check = checked(log)
    assert check.covered == len(log.lines)

    check.expect(log.checkpoints[-2:])  # seen before


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (
            lambda log: log.lines.__setitem__(9, log.lines[9].replace(b"ana", b"bob")),
            "lines 0 to 99",
        ),
        (lambda log: log.lines.pop(9), "place of line 9"),
        (lambda log: log.lines.insert(9, log.lines[9]), "place of line 10"),
        (lambda log: log.lines.__setitem__(9, b'{"erased":"A"}'), "line 9 is damaged"),
        (lambda log: log.lines.__setitem__(9, b'{"n":9,"at":"","do":"audit.erased"}'), "line 9"),
        (lambda log: log.lines.__setitem__(9, b'{"n":9,"at":"","do":"audit.epoch"'), "line 9"),
        (lambda log: log.checkpoints.__setitem__(2, "nothing"), "checkpoint is damaged"),
        (
            lambda log: log.checkpoints.__setitem__(
                2, log.checkpoints[2].replace(log.origin, "smshook/other")
            ),
            "lines 170 to 210",
        ),
    ],
)
def test_change_is_found(change, place):
    """Mutants: `n` is not compared; the root is not; the origin is not."""
    log = week()
    change(log)

    with pytest.raises(Changed, match=place):
        checked(log)


def test_rewritten_log_has_no_signature_of_its_epochs():
    """Whoever has the present keys rewrites the past. Mutants: any key of the log is enough."""
    log, forged = week(), HonestLog()
    forged.grow(40)
    forged.checkpoints[0] = str(forged.state().sign([log.log_key, log.epoch_key(3)], forged.now))
    forged.newest = forged.checkpoints[0]

    with pytest.raises(Changed, match="lines 0 to 39: the key of their epoch"):
        checked(forged)


def test_first_key_comes_from_elsewhere():
    log = week()
    with pytest.raises(Changed, match="the key of their epoch"):
        checked(log, first=week(owner="another").first)


def test_pruned_epoch_must_be_proved():
    """Mutants: the proof is not looked at; the signature is not."""
    log = week()
    log.prune(256)
    log.ended[0] = log.ended[0].__class__(
        log.ended[0].n, log.ended[0].line, log.ended[0].checkpoint, (EMPTY_ROOT,)
    )
    with pytest.raises(Changed, match="line 211, of those that are left out"):
        checked(log)


def test_erased_line_needs_another_that_names_it():
    log = week()
    log.erase(20)
    assert checked(log).unnamed == set()
    log.lines[30] = erased_line(log.hashes[0, 30])

    assert checked(log).unnamed == {30}


def test_lines_are_compared_with_the_state_that_a_restore_names():
    log = week()
    check = checked(log)

    check.meets(log.state(), "the restore")
    with pytest.raises(Changed, match="lines are not those of the restore"):
        check.meets(Checkpoint(log.origin, check.size, EMPTY_ROOT), "the restore")
    with pytest.raises(Changed, match="the restore"):
        check.meets(Checkpoint(log.origin, check.size + 1, log.state().root), "the restore")
