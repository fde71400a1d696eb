"""Fields that log lines share."""

from hypothesis import given
from hypothesis import strategies as st

from core.event import RentalRenewalFailed, Service
from server.log.fields import masked, service_and_number


def test_masked_number_is_recognized_but_not_whole():
    assert masked("+18503814729") == "+1850***4729"
    assert masked("+4930123") == "***23"
    assert masked(None) is None


@given(st.from_regex(r"\+[1-9][0-9]{7,14}", fullmatch=True))
def test_masked_number_never_holds_the_number(number):
    assert number not in masked(number)
    assert len(masked(number).replace("***", "")) <= len(number) - 2


def test_service_is_shown_by_its_name_or_its_id():
    """Mutants: a service without a name is not shown; one that is named by a number is."""

    def shown(**service):
        data = RentalRenewalFailed(
            provider="a",
            channel="callback",
            labels={},
            sample=False,
            time_from="received",
            to="+18503814729",
            service=Service(key=None, **service) if service else None,
        )
        return service_and_number(data)

    assert shown(id="go", name="Google") == ("Google", "+1850***4729")
    assert shown(id="go", name=None) == ("go", "+1850***4729")
    assert shown(id="go", name="Call (850) 381-4729") == ("Call (***", "+1850***4729")
    assert shown() == (None, "+1850***4729")
