"""Every provider, against the one contract of sources."""

import pytest
from contracts.source import SourceContract

from receiver.providers import PROVIDERS
from receiver.providers.sms_activate import DaisySms


@pytest.fixture(params=PROVIDERS, ids=lambda provider: provider.__struct_config__.tag)
def source(request):
    return request.param()


class TestEverySource(SourceContract):
    def knows_messages_by_id(self, source):
        return isinstance(source, DaisySms)


def test_tags_are_names_of_their_own():
    tags = [provider.__struct_config__.tag for provider in PROVIDERS]

    assert len(set(tags)) == len(tags)
