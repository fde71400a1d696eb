import hmac

from hypothesis import given
from hypothesis import strategies as st

from core.keyed import keyed


@given(key=st.binary(min_size=1, max_size=200), messages=st.lists(st.binary(), min_size=1))
def test_it_is_hmac_and_one_message_says_nothing_of_the_next(key, messages):
    """RFC 2104. Mutant: the hash that was begun is gone on with, instead of a copy."""
    digest = keyed(key)

    assert [digest(one) for one in messages] == [
        hmac.digest(key, one, "sha256") for one in messages
    ]
