"""Fields that log lines share."""

from hypothesis import given
from hypothesis import strategies as st

from server.log.fields import masked


def test_masked_number_is_recognized_but_not_whole():
    assert masked("+18503814729") == "+1850***4729"
    assert masked("+4930123") == "***23"
    assert masked(None) is None


@given(st.from_regex(r"\+[1-9][0-9]{7,14}", fullmatch=True))
def test_masked_number_never_holds_the_number(number):
    assert number not in masked(number)
    assert len(masked(number).replace("***", "")) <= len(number) - 2
