"""Keys of sealed parts in memory, for tests."""

import hashlib
from collections import defaultdict

from journal.seal import Kind

#: Minutes of a period.
HOUR, DAY = 60, 24 * 60


class MemoryKeys:
    """Period keys that are made when they are asked for, until `destroy`."""

    is_new = False

    def __init__(self, *, people=DAY, others=HOUR):
        self._minutes = {kind: people if kind is Kind.PEOPLE else others for kind in Kind}
        self._keys = {kind: {} for kind in Kind}
        self._destroyed = {kind: set() for kind in Kind}
        self._entries = {"order": b"o" * 32}

    def current(self, kind, at):
        periods = {one: int(at / 60) // minutes * minutes for one, minutes in self._minutes.items()}
        # As in the key file, all kinds have a key at each time.
        for one, period in periods.items():
            if period not in self._destroyed[one]:
                key = hashlib.sha256(f"{one} {period}".encode()).digest()
                self._keys[one].setdefault(period, key)
        return periods[kind], self._keys[kind][periods[kind]]

    def own(self, kind, at):
        period = int(at / 60) // self._minutes[kind] * self._minutes[kind]
        return None if period in self._destroyed[kind] else self.current(kind, at)

    def get(self, kind, period):
        return self._keys[kind].get(period)

    def periods(self, kind):
        return sorted(self._keys[kind], reverse=True)

    def entry(self, name):
        return self._entries.get(name)

    def dedupe(self, at):
        months = (int(at) // (30 * 86400) - back for back in range(2))
        return [hashlib.sha256(f"dedupe {month}".encode()).digest() for month in months]

    def destroy(self, kind, before=float("inf")):
        """Destroy the keys of a kind of periods that began before that many seconds."""
        for period in [one for one in self._keys[kind] if one * 60 < before]:
            del self._keys[kind][period]
            self._destroyed[kind].add(period)


#: Those of the journal in each folder, for all its starts.
KEYS_OF = defaultdict(MemoryKeys)
