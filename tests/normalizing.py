"""Reads fields as a source does, for the tests of providers."""

from datetime import UTC, datetime

import pytest
from hypothesis import strategies as st

from receiver.callback import Callback, Malformed, Number

RECEIVED = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
#: Any value that a field may have.
VALUES = st.recursive(
    st.none() | st.booleans() | st.text() | st.text(alphabet="0123456789.-eE+").map(Number),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


class Normalizer:
    """Normalizes fields by `default`, or by another source."""

    def __init__(self, default):
        self.default = default

    def happening(self, fields, source=None, *, received=RECEIVED):
        """Return the only happening in the fields."""
        callback = Callback(headers=(), body=b"", peer="192.0.2.7", received=received)
        [only] = (source or self.default).normalize(fields, callback)
        return only

    def data(self, fields, source=None, **options):
        return self.happening(fields, source, **options).data

    def keys(self, fields, source=None, **options):
        return self.happening(fields, source, **options).keys

    def refusal(self, fields, source=None):
        """Return the reason why the fields are malformed."""
        with pytest.raises(Malformed) as refused:
            self.happening(fields, source)
        return refused.value.reason
