"""Secrets that an earlier version stored in clear are replaced by digests, once."""

from journal import Journal
from journal.writes import HideCredentials

from .accept import Pipeline
from .chores import finish

#: Seconds for which callbacks wait for it at the start; what is left is done while it runs.
AT_START = 5.0


async def hide_stored_credentials(journal: Journal, pipeline: Pipeline) -> None:
    """Run until no stored header holds a secret in clear. Resumes where it was stopped."""
    await finish(lambda: journal.submit(HideCredentials(pipeline.stored_headers)))
