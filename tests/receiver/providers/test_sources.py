"""Every provider, against the one contract of sources."""

import pytest
from contracts.source import NOW, SourceContract

from receiver.callback import Callback, Malformed
from receiver.providers import PROVIDERS
from receiver.providers.sms_activate.profiles import DaisySms, SmsActivate
from receiver.providers.smspins import SmsPins
from receiver.source import Source

CALLING = [provider for provider in PROVIDERS if provider.encodings]


@pytest.fixture(params=CALLING, ids=lambda provider: provider.__struct_config__.tag)
def source(request):
    return request.param()


class TestEverySource(SourceContract):
    def knows_messages_by_id(self, source):
        return isinstance(source, DaisySms)


def test_source_without_callbacks_has_no_sample():
    callback = Callback(headers=(), body=b"", peer="192.0.2.1", received=NOW)

    with pytest.raises(Malformed, match="no callbacks"):
        SmsPins().normalize({"smses": "1234"}, callback)
    with pytest.raises(ValueError, match="no callbacks"):
        SmsPins().sample("sms", "json", number=1, now=NOW)
    assert SmsPins().sends_no_callbacks
    assert [provider().sends_no_callbacks for provider in CALLING] == [False] * len(CALLING)


@pytest.mark.parametrize(
    ("encodings", "usual"),
    [
        ({"form", "multipart", "json"}, "form"),
        ({"multipart", "json"}, "json"),
        ({"multipart"}, "multipart"),
        (set(), "form"),
    ],
)
def test_usual_encoding_is_one_of_the_provider(encodings, usual):
    """Mutant: form for every provider. `smshook send` then sends a form to a provider of JSON."""

    class Acme(Source, tag="acme"):
        pass

    Acme.encodings = frozenset(encodings)

    assert Acme().usual_encoding == usual


def test_samples_of_the_sms_activate_dialect_are_json():
    usual = {
        provider().usual_encoding for provider in PROVIDERS if issubclass(provider, SmsActivate)
    }

    assert usual == {"json"}


def test_tags_are_unique():
    tags = [provider.__struct_config__.tag for provider in PROVIDERS]

    assert len(set(tags)) == len(tags)
