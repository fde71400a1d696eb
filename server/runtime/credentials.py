"""Replaces the secrets in the headers of callbacks by digests."""

from collections.abc import Mapping

import msgspec

from journal import Journal
from journal.writes import HideCredentials
from receiver.callback import Callback
from receiver.credentials import Headers, hide_credentials
from receiver.source_state import SourceState

from .identity import Identity
from .supervisor import finish

#: Seconds for which callbacks wait for `hide_stored_credentials` at a start. The rest of its work
#: is done while the service runs.
AT_START = 5.0


class HeaderCredentials:
    """Replaces secrets in headers by digests."""

    def __init__(self, sources: Mapping[str, SourceState], identity: Identity) -> None:
        self._sources, self._digest = sources, identity.credential_digest

    def hide(self, state: SourceState, callback: Callback) -> Callback:
        """Return a callback of the source with digests in place of its secrets."""
        own = state.secret_headers
        headers = hide_credentials(callback.headers, state.name, own, self._digest)
        if headers is callback.headers:
            return callback
        return msgspec.structs.replace(callback, headers=headers)

    def stored(self, source: str, headers: Headers) -> Headers:
        """Return stored headers without secrets, to show them or to store them again."""
        state = self._sources.get(source)
        own = state.source.secret_headers if state else frozenset[str]()
        return hide_credentials(headers, source, own, self._digest, stored=True)


async def hide_stored_credentials(journal: Journal, credentials: HeaderCredentials) -> None:
    """Replace the secrets that an earlier version stored in clear. Resumes after a restart."""
    await finish(lambda: journal.submit(HideCredentials(credentials.stored)))
