"""Recorded callbacks become the events beside them in tests/callbacks."""

from datetime import UTC, datetime
from itertools import groupby

import msgspec
import pytest
from callbacks.recorded import RECORDED, Recorded

from core.units import from_written
from receiver.callback import Callback, Happening
from receiver.decode import decode
from receiver.providers import PROVIDERS
from receiver.source import Source

BY_TAG = {provider.__struct_config__.tag: provider for provider in PROVIDERS}
AFTERNOON = datetime(2026, 11, 21, 18, 42, 37, tzinfo=UTC)
SAMPLES = [
    pytest.param(provider, kind, encoding, id=f"{tag}-{kind}-{encoding}")
    for tag, provider in BY_TAG.items()
    for kind in provider.kinds
    for encoding in sorted(provider.encodings)
]


def source_of(callback: Recorded) -> Source:
    configured = {"provider": callback.provider, **callback.options}
    return msgspec.convert(configured, BY_TAG[callback.provider], dec_hook=from_written)


def happenings(
    source: Source, body: bytes, received: datetime, *, sample: bool = False
) -> list[Happening]:
    fields = decode(body, content_encoding=None, encodings=source.encodings)
    callback = Callback(headers=(), body=body, peer="192.0.2.7", received=received, sample=sample)
    return list(source.normalize(fields, callback))


def recorded_form(happening: Happening) -> dict[str, object]:
    return {
        "type": happening.data.type,
        "subject": happening.subject,
        "time": happening.time,
        "data": msgspec.json.decode(msgspec.json.encode(happening.data)),
    }


@pytest.mark.parametrize("callback", RECORDED, ids=lambda callback: callback.name)
def test_recorded_callback_becomes_the_recorded_events(callback):
    source = source_of(callback)

    became = happenings(source, callback.body, callback.received)

    assert [recorded_form(happening) for happening in became] == callback.events


@pytest.mark.parametrize(
    "callbacks",
    [
        pytest.param(list(group), id=name)
        for name, group in groupby(RECORDED, key=lambda callback: callback.name.split(".")[0])
    ],
)
def test_callback_has_the_same_keys_in_every_encoding(callbacks):
    """Mutant: the keys have values of JSON numbers (1.2 for 1.20), which splits retries."""
    encodings = {callback.name.split(".")[1] for callback in callbacks}
    keys = {
        tuple(happening.keys for happening in happenings(source_of(c), c.body, c.received))
        for c in callbacks
    }

    assert encodings == source_of(callbacks[0]).encodings
    assert len(keys) == 1


def test_every_provider_has_a_recorded_callback():
    calling = {tag for tag, provider in BY_TAG.items() if provider.encodings}

    assert {callback.provider for callback in RECORDED} == calling


@pytest.mark.parametrize(("provider", "kind", "encoding"), SAMPLES)
def test_sample_is_read_and_marked(provider, kind, encoding):
    sample = provider().sample(kind, encoding, number=1, now=AFTERNOON)

    (happening,) = happenings(provider(), sample.body, AFTERNOON, sample=True)

    assert happening.data.warnings == ()
    assert happening.data.sample is True


@pytest.mark.parametrize(("provider", "kind", "encoding"), SAMPLES)
def test_sample_of_another_number_is_another_message(provider, kind, encoding):
    """Mutant: samples ignore `number`, so the second is a duplicate of the first."""
    first, second, again = (
        happenings(
            provider(),
            provider().sample(kind, encoding, number=number, now=AFTERNOON).body,
            AFTERNOON,
        )[0]
        for number in (1, 2, 1)
    )

    assert set(first.keys).isdisjoint(second.keys)
    assert first.subject != second.subject
    assert getattr(first.data, "text", "1") != getattr(second.data, "text", "2")
    assert again == first


@pytest.mark.parametrize(("provider", "kind", "encoding"), SAMPLES)
def test_sample_has_its_content_type(provider, kind, encoding):
    sample = provider().sample(kind, encoding, number=1, now=AFTERNOON)

    assert (
        sample.content_type.split(";")[0]
        == {
            "form": "application/x-www-form-urlencoded",
            "multipart": "multipart/form-data",
            "json": "application/json",
        }[encoding]
    )
