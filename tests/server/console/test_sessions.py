"""Sessions in memory, with clocks and chance of the test."""

import itertools

import pytest

from core.units import Duration
from server.config.options import SessionTimes
from server.console.sessions import MOST, MOST_EACH, Sessions, form_token, is_form_token
from server.runtime.keys import Access, in_console


class World:
    """Sessions and their clock."""

    def __init__(self):
        self.now, self.facts, count = 0.0, [], itertools.count(1)
        self.times = SessionTimes(idle=Duration(60), longest=Duration(200))
        self.sessions = Sessions(
            times=lambda: self.times,
            ticks=lambda: self.now,
            chance=lambda size: next(count).to_bytes(size),
            record=self.facts.append,
        )

    def begin(self, name="ana"):
        key = Access(id=name, name=name, scopes=frozenset({"admin"}), sees=None)
        return self.sessions.begin(lambda on: in_console(key, on), peer="192.0.2.1", key=key)


@pytest.fixture
def world():
    return World()


def test_token_is_stored_as_its_digest_only(world):
    """Mutant: the token itself is the key of the mapping."""
    token, session = world.begin()

    assert world.sessions.find(token) is session
    assert token not in repr(vars(world.sessions)) + repr(vars(session))
    assert world.sessions.find("0" * 64) is None


def test_session_goes_on_until_its_end(world):
    """Mutants: `goes_on` is always true; streams are not ended; two lines for one end."""
    _, session = world.begin()
    ended = []
    session.streams.add(lambda: ended.append(True))
    before = session.access.goes_on()

    world.sessions.end(session, "signed out")
    world.sessions.end(session, "idle")

    assert (True, False, [True]) == (before, session.access.goes_on(), ended)
    assert [("session.closed", "signed out")] == [
        (fact.do, fact.fields["why"]) for fact in world.facts
    ]


def test_key_has_a_limited_number_of_sessions(world):
    """The one that was idle longest ends, and those of others go on.

    Mutants: no limit; the newest ends; that of another key ends.
    """
    other, _ = world.begin("bo")
    tokens = []
    for world.now in range(MOST_EACH):
        tokens.append(world.begin()[0])
        world.sessions.find(tokens[0])

    world.begin()

    assert world.sessions.find(tokens[0]) is not None
    assert world.sessions.find(tokens[1]) is None
    assert world.sessions.find(other) is not None


def test_service_has_a_limited_number_of_sessions(world):
    first, _ = world.begin("first")
    for number in range(MOST):
        world.begin(f"key{number}")

    assert world.sessions.find(first) is None
    assert 1 == len(world.facts)


def test_session_ends_by_the_clock(world):
    """Mutants: `>` in place of one of the `>=`; a use does not count."""
    token, _ = world.begin()
    world.now = 59.9
    assert world.sessions.find(token) is not None
    world.now = 119.8
    assert world.sessions.find(token) is not None

    world.now = 179.8
    assert world.sessions.find(token) is None
    world.now = 1000
    token, _ = world.begin()
    for _ in range(4):
        world.now += 49
        assert world.sessions.find(token) is not None
    world.now = 1200
    assert world.sessions.find(token) is None
    assert ["idle", "longest"] == [fact.fields["why"] for fact in world.facts]


def test_polling_does_not_extend_the_session(world):
    """Mutant: an open inbox keeps its session for ever."""
    token, _ = world.begin()
    for world.now in (30, 59):
        assert world.sessions.find(token, is_use=False) is not None

    world.now = 60
    assert world.sessions.find(token) is None


def test_reason_is_kept_for_ten_minutes(world):
    """Mutant: for ever."""
    _, session = world.begin()
    session.keep_reason("ticket 4711", 100.0)

    assert ("ticket 4711", "") == (session.reason(699.9), session.reason(700.0))


def test_session_masks_codes_of_any_key():
    """Mutants: `admin` reads codes; a key that reads codes may not reveal them."""
    for scopes in ({"admin"}, {"codes:read", "events:read"}):
        key = Access(id="a", name="a", scopes=frozenset(scopes), sees=None)
        access = in_console(key, lambda: True)
        assert key.may("codes:read")
        assert (False, True) == (access.may("codes:read"), access.may("codes:reveal"))


def test_token_of_forms_belongs_to_its_session():
    assert is_form_token("a", form_token("a"))
    assert not is_form_token("a", form_token("b"))
    assert not is_form_token("a", "\u00e9")
