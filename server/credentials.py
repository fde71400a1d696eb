"""Secrets that an earlier version stored in clear are replaced by digests, once."""

import asyncio

from journal import Journal
from journal.commit import Broken, Unavailable

from .pipeline import Pipeline

#: Seconds for which callbacks wait for it at the start; what is left is done while it runs.
AT_START = 5.0
#: Seconds between two batches, so that callbacks come first.
_BETWEEN = 0.02
#: Seconds until it is tried again where the journal cannot be written.
_AGAIN = 1.0


async def hide_stored_credentials(journal: Journal, pipeline: Pipeline) -> None:
    """Run until no stored header holds a secret in clear. Resumes where it was stopped."""
    while True:
        try:
            if not await journal.hide_credentials(pipeline.stored_headers):
                return
            await asyncio.sleep(_BETWEEN)
        except Broken:
            return  # the service ends
        except Unavailable:
            await asyncio.sleep(_AGAIN)
