"""Former keys and names of services stay valid in filters, in both directions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.services import (
    KEY_PATH,
    NAME_PATH,
    former_keys,
    key_of_slug,
    replacement,
    spellings_at,
    wanted_services,
)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("instagram", ("instagram", "instagramthreads")),
        ("instagramthreads", ("instagramthreads", "instagram")),
        ("Instagram+Threads", ("Instagram+Threads", "Instagram")),
        ("Google,youtube,Gmail", ("Google,youtube,Gmail", "Google")),
        ("amazonia", ("amazonia",)),
        # BiP has the key that Gorzdrav had: it finds both, Gorzdrav's does not find BiP.
        ("bip", ("bip", "gorzdrav")),
        ("gorzdrav", ("gorzdrav",)),
    ],
)
def test_service_filter_looks_for_all_spellings(wanted, found):
    """Mutant: the present spelling alone; stored events are then not found."""
    assert wanted_services(wanted) == found


@pytest.mark.parametrize("key", ["instagram", "instagramthreads", "gorzdrav"])
def test_present_and_former_key_match_each_other(key):
    assert (
        spellings_at(KEY_PATH, key)
        == {
            "instagram": ("instagram", "instagramthreads"),
            "instagramthreads": ("instagram", "instagramthreads"),
            "gorzdrav": ("gorzdrav", "bip"),
        }[key]
    )


@pytest.mark.parametrize("value", ["amazonia", "bip", None, 7, ["instagram"]])
def test_other_values_stay_as_they_are(value):
    """Mutant: BiP's events taken for Gorzdrav's."""
    assert spellings_at(KEY_PATH, value) == value
    assert spellings_at(("data", "text"), "instagram") == "instagram"


def test_former_name_matches_present_name():
    assert spellings_at(NAME_PATH, "LINE") == ("LINE", "Line messenger")


def test_replacement_names_the_present_spelling():
    assert replacement(KEY_PATH, "tiktokdouyin") == "tiktok"
    assert replacement(NAME_PATH, "TikTok/Douyin") == "TikTok"
    assert replacement(KEY_PATH, "tiktok") is None
    assert replacement(KEY_PATH, "bip") is None  # BiP has it today
    assert replacement(("type",), "tiktokdouyin") is None


def test_rest_of_another_script_is_not_a_name():
    """Mutant: `2`, the Latin rest of a Cyrillic name, makes 2GIS of a service called `2`."""
    assert key_of_slug("2") == "2"
    assert key_of_slug("twitterx") == "twitter"
    assert replacement(KEY_PATH, "2") == "2gis"


@given(st.sampled_from(former_keys()))
def test_present_key_is_final(pair):
    former, key = pair

    assert replacement(KEY_PATH, key) is None
    assert former != key
