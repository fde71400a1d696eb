"""Period keys: made ahead, kept in a file, destroyed for good."""

import itertools
import stat
import threading
from datetime import UTC, datetime

import pytest
from deaths import deaths
from hypothesis import given
from hypothesis import strategies as st
from whole_files import cover

from core.errors import Unavailable
from core.secret import Secret
from journal import key_file
from journal.key_file import Damaged
from journal.keyring import DEDUPE, KeyFile, Keyring, KeySpan, UnknownRoot, new_span
from journal.seal import Kind

ROOT, OTHER = (Secret(f"the {name} root key of these tests") for name in ("a", "b"))
#: 2026-11-30, 10:10.
NOW = datetime(2026, 11, 30, 10, 10, tzinfo=UTC).timestamp()
HOUR = 3600.0
#: Of old rows.
TIMES = (NOW - 5 * HOUR, NOW - 2 * HOUR)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "smshook.keys"


@pytest.fixture
def opened(path):
    """Open the file, as a start of the service does."""

    def opened(now=NOW, *, roots=(ROOT,), period=HOUR):
        return Keyring(path, roots, period=period, now=now)

    return opened


def every_key(keys):
    """Return every key of a ring, by kind and period."""
    return {
        (kind, start): keys.get(kind, start)
        for kind in (*Kind, DEDUPE)
        for start in keys.periods(kind)
    } | {("order", None): keys.entry("order")}


def instant(minute):
    return datetime.fromtimestamp(minute * 60, UTC).strftime("%m-%d %H:%M")


# Periods


def test_first_start_makes_the_keys_of_now(opened, path):
    """Mutant: one key for all kinds."""
    keys = opened()

    made = {kind: [instant(start) for start in keys.periods(kind)] for kind in (*Kind, DEDUPE)}
    assert made == {
        "codes": ["11-30 10:00"],
        "people": ["11-30 00:00"],
        "raw": ["11-30 10:00"],
        "quarantine": ["11-30 00:00"],
        "dedupe": ["11-01 00:00"],
    }
    assert all(len(key) == 32 for key in every_key(keys).values())
    assert len(set(every_key(keys).values())) == 6
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_file_that_links_to_itself_is_an_error_of_the_system(opened, path):
    """Mutant: `Path.resolve`, which raises RuntimeError."""
    path.symlink_to(path.name)

    with pytest.raises(OSError, match="Too many levels of symbolic links"):
        opened()


def test_keys_are_the_same_after_a_restart(opened):
    first = every_key(opened())

    assert every_key(opened()) == first


def test_keys_are_made_five_minutes_ahead(opened):
    """Mutant: made at the boundary: the first callback of an hour waits for a rewrite."""
    keys = opened()

    keys.prepare(NOW + 45 * 60 - 0.1)
    before = keys.periods(Kind.CODES)
    keys.prepare(NOW + 45 * 60)

    assert [instant(start) for start in before] == ["11-30 10:00"]
    assert [instant(start) for start in keys.periods(Kind.CODES)] == ["11-30 11:00", "11-30 10:00"]
    assert keys.current(Kind.CODES, NOW + 49 * 60)[0] == before[0]
    assert keys.current(Kind.CODES, NOW + 50 * 60)[0] == before[0] + 60


def test_current_key_is_on_disk_before_it_is_used(opened):
    """The clock jumped to a time without a key. Mutant: the key is only in memory."""
    keys = opened()
    period, key = keys.current(Kind.CODES, NOW + 40 * HOUR)

    assert opened().get(Kind.CODES, period) == key


def test_current_key_without_a_disk_is_unavailable(opened, monkeypatch):
    """Mutant: an OSError, which the door does not answer with 503."""
    keys = opened()

    def full(*_args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(key_file, "replace", full)
    with pytest.raises(Unavailable, match=r"smshook\.keys cannot be written: No space left"):
        keys.current(Kind.CODES, NOW + 40 * HOUR)
    assert keys.current(Kind.CODES, NOW)


@pytest.mark.parametrize(
    ("last", "first", "after"),
    [((11, 30), "11-01 00:00", "12-01 00:00"), ((12, 31), "12-01 00:00", "01-01 00:00")],
)
def test_dedupe_entry_is_of_a_calendar_month(opened, last, first, after):
    keys = opened(datetime(2026, *last, 23, 59, tzinfo=UTC).timestamp())

    assert [instant(start) for start in keys.periods(DEDUPE)] == [after, first]


def test_dedupe_keys_begin_with_that_of_the_instant(opened):
    """Mutant: the keys of the first instant are kept for a later month."""
    opened(NOW - 31 * 86400)
    opened(NOW)
    keys = opened(NOW + 86400)
    months = [keys.get(DEDUPE, start) for start in keys.periods(DEDUPE)]

    assert len(months) == 3
    assert list(keys.dedupe(NOW)) == [months[1], months[0], months[2]]
    assert list(keys.dedupe(NOW + 86400)) == months


@pytest.mark.parametrize(("new", "expected"), [
    (10 * 60.0, ["10:00-11:00", "11:00-11:10", "11:10-11:20"]),
    (4 * HOUR, ["10:00-11:00", "11:00-12:00", "12:00-16:00"]),
    (25 * 60.0, ["10:00-11:00", "11:00-11:10", "11:10-11:35"]),
])  # fmt: skip
def test_new_period_begins_at_the_next_boundary_of_the_old(opened, path, new, expected):
    """Mutant: two periods cover one minute, or a key lives for longer than both lengths."""
    opened()
    keys = opened(period=new)

    while len(keys.periods(Kind.CODES)) < 3:
        end = max(span.end for span in KeyFile.read(path).spans(Kind.CODES))
        keys.current(Kind.CODES, end * 60.0)

    spans = sorted(KeyFile.read(path).spans(Kind.CODES))
    assert [f"{instant(a)[6:]}-{instant(b)[6:]}" for a, b in spans] == expected


@given(
    steps=st.lists(
        st.tuples(st.integers(0, 5000), st.integers(10, 1440), st.booleans()), min_size=1
    )
)
def test_periods_cover_every_instant_once_and_no_longer(steps):
    """Lengths change, clocks jump, keys are destroyed. Mutants: `regular.end` alone; `destroyed`
    is not looked at; `>=` for `>` in the starts."""
    spans, destroyed, ever = [], 0, []
    for at, length, destroys in steps:
        minute = max(at, destroyed)
        if not any(span.start <= minute < span.end for span in spans):
            start = minute // length * length
            made = new_span(KeySpan(start, start + length), minute, spans, destroyed)
            assert made.start <= minute < made.end
            assert made.end - made.start <= length
            assert made.start >= destroyed
            spans.append(made)
            ever.append(made)
        if destroys:
            gone = min(spans)
            spans.remove(gone)
            destroyed = max(destroyed, gone.end)

    ever.sort()
    assert all(one.end <= other.start for one, other in itertools.pairwise(ever))


# Destruction


def test_destroyed_period_is_gone_from_memory_and_file(opened, path):
    """Mutant: only one of them."""
    keys = opened()
    before = keys.current(Kind.CODES, NOW)
    keys.prepare(NOW + HOUR)
    line = next(key for key in KeyFile.read(path).keys.values() if key.kind == "codes").wrapped

    assert keys.destroy(Kind.CODES, NOW + 50 * 60 - 1) == ()
    assert keys.destroy(Kind.CODES, NOW + 50 * 60) == [before[0]]

    assert keys.get(Kind.CODES, before[0]) is None
    assert opened(NOW + HOUR).get(Kind.CODES, before[0]) is None
    assert line not in [key.wrapped for key in KeyFile.read(path).keys.values()]
    assert keys.get(Kind.RAW, before[0]) is not None


def test_destruction_survives_later_rewrites(opened):
    """Mutant: the state in memory keeps the line, and the next rewrite brings it back."""
    keys = opened()
    first = keys.periods(Kind.CODES)[0]
    keys.destroy(Kind.CODES, NOW + HOUR)
    keys.prepare(NOW + 30 * HOUR)

    assert opened(NOW + 30 * HOUR).get(Kind.CODES, first) is None


def test_destroyed_period_gets_no_second_key(opened):
    """The clock is set back. Mutant: another key with the same period, which opens nothing."""
    keys = opened()
    first = keys.periods(Kind.CODES)[0]
    keys.prepare(NOW + HOUR)
    keys.destroy(Kind.CODES, NOW + 50 * 60)

    assert keys.current(Kind.CODES, NOW)[0] == first + 60
    assert opened().current(Kind.CODES, NOW)[0] == first + 60


def test_keys_are_read_while_others_are_destroyed(opened):
    """Mutant: keys are taken out of the dict that readers use."""
    keys, failures = opened(), []
    for hour in range(60):
        keys.prepare(NOW + hour * HOUR)
    done = threading.Event()

    def reads():
        while not done.is_set():
            for at in range(50, 60):
                period, key = keys.current(Kind.CODES, NOW + at * HOUR)
                if keys.get(Kind.CODES, period) != key:
                    failures.append(period)
            list(keys.dedupe(NOW))

    thread = threading.Thread(target=reads)
    thread.start()
    for hour in range(50):
        keys.destroy(Kind.CODES, NOW + hour * HOUR)
    done.set()
    thread.join()

    assert failures == []


# Roots


def test_all_roots_open_and_the_first_wraps(opened, path):
    keys = every_key(opened())

    later = opened(NOW + 30 * HOUR, roots=(OTHER, ROOT))

    assert keys.items() <= every_key(later).items()
    roots = {key.start: key.root for key in KeyFile.read(path).keys.values() if key.kind == "codes"}
    assert len(set(roots.values())) == 2


def test_missing_root_is_named_and_nothing_is_written(opened, path):
    """Mutant: keys that do not open are dropped at the next rewrite."""
    opened()
    data, fingerprint = path.read_bytes(), KeyFile.read(path).keys["order", None].root

    with pytest.raises(UnknownRoot) as unknown:
        opened(roots=(OTHER,))

    assert (
        str(unknown.value) == f"smshook.keys needs the root key {fingerprint}: add it to seal.root"
    )
    assert path.read_bytes() == data


def test_rotation_wraps_all_keys_with_the_first_root(opened, path):
    keys = opened()
    before, old = every_key(keys), KeyFile.read(path).keys["order", None].root

    assert keys.rotate((OTHER, ROOT)) == [old]
    assert keys.rotate((OTHER, ROOT)) == []

    assert every_key(opened(roots=(OTHER,))) == before
    assert every_key(keys) == before
    with pytest.raises(UnknownRoot):
        opened(roots=(ROOT,))


def test_keys_after_a_rotation_are_wrapped_with_the_new_root(opened):
    keys = opened()
    keys.rotate((OTHER, ROOT))
    keys.prepare(NOW + 30 * HOUR)

    assert len(opened(NOW, roots=(OTHER,)).periods(Kind.CODES)) == 2


def test_key_moved_to_another_line_is_damage(opened, path):
    """Somebody who can write the file makes an old key live longer. Mutant: no AAD."""
    opened()
    text = key_file.read(path)
    key_file.replace(path, text.replace("codes ", "xxxxx ").replace("raw ", "codes "))
    key_file.clean(path)

    with pytest.raises(Damaged, match="a key does not belong to its line"):
        opened()


def test_file_and_errors_show_no_key(opened, path):
    keys = opened()
    text = path.read_text() + repr(keys) + repr(KeyFile.read(path))

    for key in every_key(keys).values():
        assert key.hex() not in text
        assert repr(key)[2:-1] not in text
    assert ROOT.reveal() not in text


# Other processes


def test_destruction_by_another_process_is_followed(opened):
    """Mutant: the file is read once, so the next rewrite brings the key back."""
    service, other = opened(), opened()
    first = service.periods(Kind.CODES)[0]

    other.destroy(Kind.CODES, NOW + HOUR)
    service.prepare(NOW + HOUR)

    assert service.get(Kind.CODES, first) is None
    assert opened(NOW + HOUR).get(Kind.CODES, first) is None


def test_rotation_by_another_process_loses_no_key(opened):
    """The service does not know the new root yet. Mutant: it refuses the file, or wraps all keys
    with the old root again."""
    service = opened()
    before = every_key(service)
    opened(roots=(OTHER, ROOT)).rotate((OTHER, ROOT))

    service.prepare(NOW + 30 * HOUR)

    after = every_key(service)
    assert before.items() < after.items()
    assert every_key(opened(NOW + 30 * HOUR, roots=(OTHER, ROOT))) == after


def test_two_processes_make_one_key_for_a_period(opened):
    """Mutant: the second does not read what the first has made."""
    one, other = opened(), opened()

    made = [keys.current(Kind.CODES, NOW + 40 * HOUR) for keys in (one, other)]

    assert made[0] == made[1]


def test_changes_of_threads_and_processes_are_all_kept(opened, path):
    """Mutant: no lock of the file."""
    rings = [opened() for _ in range(3)]

    def prepares(keys, first):
        for hour in range(first, 30, 3):
            keys.current(Kind.CODES, NOW + hour * HOUR)

    threads = [
        threading.Thread(target=prepares, args=(keys, first)) for first, keys in enumerate(rings)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(KeyFile.read(path).spans(Kind.CODES)) == 30
    assert [left.name for left in path.parent.iterdir()] == [path.name]


def test_removed_file_is_written_again(opened, path):
    """Mutant: it is written at the next boundary; a crash before it loses all keys."""
    keys = opened()
    before = every_key(keys)
    path.unlink()

    keys.prepare(NOW)

    assert every_key(opened()) == before


def test_older_copy_is_not_taken_while_running(opened, path):
    """Mutants: it is taken, so a second key of a period is made and a destroyed one is back; its
    destroyed keys stay; the first epoch is lost."""
    keys = opened()
    copy = path.read_bytes()
    first = keys.periods(Kind.CODES)[-1]
    keys.current(Kind.CODES, NOW + 2 * HOUR)
    epoch = keys.begin_epoch(NOW, lasts=24 * HOUR)
    keys.destroy(Kind.CODES, NOW + HOUR)
    before = every_key(keys)
    path.write_bytes(copy)

    keys.prepare(NOW + 2 * HOUR)

    assert before.items() <= every_key(keys).items()
    again = opened(NOW + 2 * HOUR)
    assert every_key(again) == every_key(keys)
    assert again.get(Kind.CODES, first) is None
    assert again.epochs() == [epoch]
    assert again.destroyed_until(Kind.CODES) == keys.destroyed_until(Kind.CODES) > 0


def test_epochs_that_another_process_ended_do_not_return(opened):
    """Mutant: an epoch that is missing counts as lost."""
    service, other = opened(), opened()
    service.begin_epoch(NOW, lasts=HOUR)
    other.end_epochs(second := other.begin_epoch(NOW + HOUR, lasts=HOUR))

    service.prepare(NOW + HOUR)

    assert service.epochs() == other.epochs() == [second]


def test_older_copy_of_an_unknown_root_is_not_taken_while_running(opened, path):
    """It may be of another journal, so it is not overwritten, either. Mutant: no such test."""
    keys = opened()
    keys.rotate((OTHER,))
    opened(roots=(OTHER, ROOT)).rotate((ROOT, OTHER))
    copy = path.read_bytes()
    opened(roots=(ROOT, OTHER)).rotate((OTHER,))
    keys.current(Kind.CODES, NOW + 2 * HOUR)
    path.write_bytes(copy)

    with pytest.raises(Unavailable, match="another file has replaced it"):
        keys.prepare(NOW + 2 * HOUR)

    assert path.read_bytes() == copy


def test_file_of_another_journal_is_not_taken_while_running(opened, path, tmp_path):
    """Mutant: it is taken, and the present keys are lost."""
    keys = opened()
    before = every_key(keys)
    other = tmp_path / "other.keys"
    Keyring(other, (ROOT,), period=HOUR, now=NOW)
    other.replace(path)

    with pytest.raises(Unavailable, match="another file has replaced it"):
        keys.prepare(NOW + HOUR)

    assert every_key(keys) == before


def test_file_that_is_damaged_later_is_not_changed(opened, path):
    keys = opened()
    path.write_bytes(b"damaged")

    with pytest.raises(Unavailable, match="is damaged: its checksum is wrong"):
        keys.prepare(NOW + HOUR)

    assert path.read_bytes() == b"damaged"
    assert keys.current(Kind.CODES, NOW)


# Damage


@pytest.mark.parametrize("line", ["codes", "codes x 60 ab cd", "destroyed codes", "a - - b é"])
def test_line_that_is_no_key_is_damage(opened, path, line):
    """Mutant: unknown lines are skipped, and lost at the next rewrite."""
    opened()
    text = key_file.read(path)
    path.unlink()
    data = f"{text}{line}\n".encode()
    path.write_bytes(data + key_file._checksum(data))

    with pytest.raises(Damaged, match="a line is not a key"):
        opened()


def test_file_of_another_version_is_damage(opened, path):
    key_file.replace(path, "smshook keys 2\n")

    with pytest.raises(Damaged, match="not a key file of this version"):
        opened()


def test_damaged_file_is_not_changed(opened, path):
    opened()
    data = bytearray(path.read_bytes())
    data[40] ^= 1
    path.write_bytes(data)

    with pytest.raises(Damaged):
        opened()

    assert path.read_bytes() == data


def test_start_finishes_an_interrupted_rewrite(opened, path):
    """Mutant: the next rewrite does it, an hour later."""
    opened()
    path.with_name("smshook.keys.dead").write_text("old keys")

    opened()

    assert [left.name for left in path.parent.iterdir()] == [path.name]


def test_symbolic_link_stays_a_link(tmp_path, path):
    """Mutant: a rename that replaces the link, so the disk of the link has the keys."""
    (tmp_path / "elsewhere").mkdir()
    real = tmp_path / "elsewhere" / "keys"
    path.symlink_to(real)

    Keyring(path, (ROOT,), period=HOUR, now=NOW)

    assert path.is_symlink()
    assert KeyFile.read(real) is not None


# Rows from before the file


def test_own_key_of_an_earlier_time_is_made_once(opened):
    """Mutant: it is the oldest key, which lives longer."""
    keys = opened()

    period, key = keys.own(Kind.CODES, NOW - 5 * HOUR)

    assert instant(period) == "11-30 05:00"
    assert keys.own(Kind.CODES, NOW - 5 * HOUR) == (period, key)
    assert opened().get(Kind.CODES, period) == key
    assert keys.own(Kind.CODES, NOW) == keys.current(Kind.CODES, NOW)


def test_destroyed_time_has_no_own_key(opened):
    """Mutants: the next living key; a new key of a destroyed period."""
    keys = opened()
    keys.own(Kind.CODES, NOW - 5 * HOUR)
    keys.destroy(Kind.CODES, NOW - 3 * HOUR)

    for hours in (5, 9):  # a period without a key was destroyed, too
        assert keys.own(Kind.CODES, NOW - hours * HOUR) is None
    assert keys.own(Kind.CODES, NOW - 3 * HOUR) is not None
    keys.cover(Kind.CODES, [NOW - 5 * HOUR])
    assert [instant(period) for period in keys.periods(Kind.CODES)] == [
        "11-30 10:00",
        "11-30 07:00",
    ]


def test_keys_of_many_times_are_made_in_one_rewrite(opened, monkeypatch):
    """Mutant: one rewrite for each time, with five waits for the disk."""
    keys, replace, rewrites = opened(), key_file.replace, []

    def counted(*args):
        rewrites.append(args)
        replace(*args)

    monkeypatch.setattr(key_file, "replace", counted)
    times = [NOW - hours * HOUR / 4 for hours in range(400)]
    keys.cover(Kind.CODES, times)
    keys.cover(Kind.CODES, times)

    assert len(rewrites) == 1
    assert len(keys.periods(Kind.CODES)) == 101  # also a part of the first hour
    assert all(keys.own(Kind.CODES, at)[0] * 60 <= at for at in times)


def test_period_without_a_key_is_missing_unless_it_was_destroyed(opened):
    keys = opened()
    (period,) = keys.periods(Kind.CODES)
    keys.own(Kind.CODES, NOW - 5 * HOUR)
    keys.destroy(Kind.CODES, NOW - 3 * HOUR)

    hours = (0, -60, -5 * 60, 60)

    assert [keys.lacks(Kind.CODES, period + one) for one in hours] == [False, True, False, True]


def test_death_while_keys_of_old_rows_are_made_leaves_a_whole_file(opened, path):
    """Each call of the system may be the last. Mutant: the old file is removed first."""
    before = every_key(opened())

    calls = ("open", "write", "fsync", "link", "rename", "unlink")
    for _ in deaths(calls, cover, path, ROOT.reveal(), TIMES, HOUR, NOW):
        assert every_key(opened()).items() >= before.items()

    assert len(opened().periods(Kind.CODES)) == 3
