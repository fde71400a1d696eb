"""The table of services has common names and keeps all former keys."""

import csv
import re
from importlib import resources

import pytest

from core.services import KEY_PATH, former_keys, replacement, wanted_services
from receiver.fields.services import ListedService, named_service, service
from receiver.providers.sms_activate.profiles import HeroSms, SmsActivate
from receiver.providers.tellabot.callbacks import TellABot

OWN = re.compile(r"[a-z0-9]+")


def rows():
    table = resources.files("receiver.fields") / "tables" / "sms_activate_services.csv"
    with table.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def former_slug(text):
    """Return the key as the first versions made it."""
    return re.sub(r"[^a-z0-9]+", "", text.partition(",")[0].lower())


@pytest.mark.parametrize(
    ("id_", "name", "key"),
    [
        ("ig", "Instagram", "instagram"),
        ("vk", "VK", "vk"),
        ("ok", "OK", "ok"),
        ("lf", "TikTok", "tiktok"),
        ("wa", "WhatsApp", "whatsapp"),
        ("fb", "Facebook", "facebook"),
        ("go", "Google", "google"),
        ("me", "LINE", "line"),
        ("ya", "Yandex", "yandex"),
        ("ot", "Other", "other"),
        ("qq", "QQ", "qq"),
        ("tw", "Twitter", "twitter"),
        ("wj", "1xBet", "1xbet"),
        ("bcg", "2GIS", "2gis"),
        ("bwy", "Monetka", "monetka"),
        ("bxf", "Disney+", "disneyplus"),
        ("am", "Amazon", "amazon"),
    ],
)
def test_key_is_the_common_name_of_the_service(id_, name, key):
    found = HeroSms().service(id_)

    assert (found.id, found.name, found.key) == (id_, name, key)


def test_former_key_is_the_present_one_or_an_alias():
    """Mutant: a renamed row without its former key in `service_keys.csv`."""
    aliases = dict(former_keys())
    for row in rows():
        former = former_slug(row["listed"] or row["name"]) or row["code"]
        now = SmsActivate().service(row["code"]).key
        assert former == now or aliases[former] == now, row


def test_listed_name_finds_its_service():
    for row in rows():
        now = SmsActivate().service(row["code"])
        assert now.name in wanted_services(row["listed"] or row["name"]), row


def test_key_is_one_word_and_has_a_name():
    for row in rows():
        found = SmsActivate().service(row["code"])
        assert OWN.fullmatch(found.key), row
        assert found.name.isprintable(), row
        assert "," not in found.name, row


def test_present_key_is_not_an_alias_of_another_service():
    """Mutant: an alias without `shared`, so that BiP's events are found as Gorzdrav's."""
    for row in rows():
        key = SmsActivate().service(row["code"]).key
        assert replacement(KEY_PATH, key) is None, row


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("Google", "google"),
        ("Instagram", "instagram"),
        ("Instagram / Threads", "instagram"),
        ("Twitter / X", "twitter"),
        ("X", "twitter"),
        ("LINE", "line"),
        ("VKontakte", "vk"),
        ("vk.com", "vk"),
        ("Cash App", "cashapp"),
        ("Nobody knows", "nobodyknows"),
    ],
)
def test_sent_name_has_the_key_of_the_tables(name, key):
    found = TellABot().service(name)

    assert (found.id, found.name, found.key) == (name, name, key)


def test_long_service_name_is_not_cached():
    """Mutant: any name is, and hostile callbacks fill the memory."""
    for length, is_cached in ((80, True), (81, False)):
        one, again = (named_service("x" * length) for _ in range(2))
        assert one == again
        assert (one is again) is is_cached


def test_service_without_an_id_is_none():
    assert service(None) is None
    assert service(" ") is None
    assert named_service(" ") is None
    assert service("x", ListedService(name="西", key=None)).key == "x"
