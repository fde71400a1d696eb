"""The contract of every source. Subclass it with a fixture `source`."""

import ipaddress
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.event import Event
from receiver.callback import Callback, Malformed, Number
from receiver.decode import decode

NOW = datetime(2026, 11, 21, 12, 0, 5, tzinfo=UTC)
CALLBACKS = Path(__file__).parents[1] / "callbacks"
IDS = ("request_id", "activation_id", "rental_id", "first_rental_id", "telephone_id", "message_id")

values = st.recursive(
    st.none() | st.booleans() | st.text(max_size=30) | st.from_regex(r"-?[0-9]{1,20}").map(Number),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


def arrived(body, *, at=NOW):
    return Callback(headers=(), body=body, peer="192.0.2.1", received=at)


class SourceContract:
    def read_happenings(self, source, body, *, at=NOW):
        fields = decode(body, content_encoding=None, encodings=source.encodings)
        return source.normalize(fields, arrived(body, at=at))

    def knows_messages_by_id(self, source):  # noqa: ARG002 - for subclasses
        """Whether the provider's id alone identifies a message."""
        return False

    def samples(self, source):
        for kind in source.kinds:
            for encoding in sorted(source.encodings):
                yield kind, encoding

    def test_sample_in_every_encoding_is_one_complete_event(self, source):
        for kind, encoding in self.samples(source):
            sample = source.sample(kind, encoding, number=7, now=NOW)

            [happening] = self.read_happenings(source, sample.body)

            data = msgspec.to_builtins(happening.data)
            assert set(data) == {f.encode_name for f in msgspec.structs.fields(happening.data)}
            assert data["provider"] == type(source).__struct_config__.tag
            assert (data["channel"], data["sample"], data["warnings"]) == ("callback", False, ())
            assert happening.data.type.count(".") == 1
            assert happening.subject.partition("/")[2]
            assert happening.keys

    def test_copy_in_any_encoding_has_the_same_keys(self, source):
        for kind in source.kinds:
            copies = {
                self.read_happenings(source, source.sample(kind, e, number=7, now=NOW).body)[0].keys
                for e in source.encodings
            }
            encoding = min(source.encodings)
            other = self.read_happenings(
                source, source.sample(kind, encoding, number=8, now=NOW).body
            )

            assert len(copies) == 1
            assert not set(other[0].keys) & set(*copies)

    def test_retry_within_the_hour_shares_a_key(self, source):
        """Mutant: one window of arrival, which splits retries at its end."""
        for kind, encoding in self.samples(source):
            body = source.sample(kind, encoding, number=7, now=NOW).body
            first = set(self.read_happenings(source, body)[0].keys)

            for minutes in range(0, 61, 10):
                again = self.read_happenings(source, body, at=NOW + timedelta(minutes=minutes))
                assert first & set(again[0].keys)

    def test_message_a_minute_later_is_another_event(self, source):
        encoding = min(source.encodings)
        sent = [
            source.sample(source.kinds[0], encoding, number=7, now=NOW - timedelta(minutes=n))
            for n in (0, 1)
        ]

        first, second = (self.read_happenings(source, sample.body)[0] for sample in sent)

        assert first.data.text == second.data.text
        if self.knows_messages_by_id(source):
            assert first.keys == second.keys
        else:
            assert not set(first.keys) & set(second.keys)

    def test_keys_grow_with_the_providers_time(self, source):
        encoding = min(source.encodings)
        seconds = [
            self.read_happenings(
                source,
                source.sample(
                    source.kinds[0], encoding, number=n, now=NOW - timedelta(seconds=60 - n)
                ).body,
            )[0]
            .keys[0]
            .second
            for n in range(60)
        ]

        assert seconds == sorted(seconds)
        assert len(set(seconds)) == 60

    @pytest.mark.uncounted
    def test_any_fields_are_an_event_or_malformed(self, source):
        names = sorted(self.names(source))

        @given(st.dictionaries(st.sampled_from(names), values))
        def holds(fields):
            happenings = []
            with suppress(Malformed):
                happenings = source.normalize(fields, arrived(b""))
            for happening in happenings:
                event = Event(
                    id="1",
                    source="s",
                    type=happening.data.type,
                    subject=happening.subject,
                    time=happening.time or "",
                    recordedtime="",
                    dedupekey="",
                    data=happening.data,
                )
                assert msgspec.json.encode(event)
                assert (happening.time is None) == (happening.data.time_from == "received")

        holds()

    def names(self, source):
        """Return all fields of its samples, and a field that no provider sends."""
        found = {"unheard_of", "status"}
        for kind, encoding in self.samples(source):
            body = source.sample(kind, encoding, number=7, now=NOW).body
            found |= set(decode(body, content_encoding=None, encodings=source.encodings))
        return found

    def test_source_has_paste_at_and_documented_addresses(self, source):
        assert source.paste_at
        assert [str(ipaddress.ip_address(a)) for a in source.documented] == list(source.documented)

    def test_provider_has_recorded_callbacks(self, source):
        folder = CALLBACKS / type(source).__struct_config__.tag

        assert list(folder.glob("*.http"))
        assert list(folder.glob("*.event.json"))

    @pytest.mark.parametrize("name", IDS)
    def test_ids_are_text(self, source, name):
        for kind, encoding in self.samples(source):
            sample = source.sample(kind, encoding, number=7, now=NOW)
            [happening] = self.read_happenings(source, sample.body)
            assert isinstance(getattr(happening.data, name, None), str | None)
