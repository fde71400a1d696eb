"""Send a sample callback."""

import random
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

import click

from core.printable import plain
from receiver.callback import Sample
from receiver.door import SAMPLE_HEADER
from receiver.samples import SampleSigner
from receiver.source import Source

from ..config.urls import callback_url
from .client import ApiClient, ApiProblem
from .command import Choice, Command, Failure, Wrong, unknown
from .completion import configured_names
from .connection import http_url, running, settings
from .serve import _HINTS

#: Each sample has a random number.
_NUMBERS = 100_000_000


@click.command(cls=Command, example="send tellabot sms --times 3")
@click.argument("source", shell_complete=configured_names("sources"))
@click.argument("kind", required=False)
@click.option(
    "--encoding",
    type=Choice(["form", "multipart", "json"]),
    help="Encoding of the callback.  Default: form if the provider uses it, else JSON.",
)
@click.option(
    "--times", type=click.IntRange(min=1), default=1, help="Send this many different callbacks."
)
@click.option("--duplicate", is_flag=True, help="Send each twice, as a provider's retry.")
@click.option(
    "--url",
    type=http_url,
    metavar="URL",
    help="Address for callbacks.  Default: the service that runs here.",
)
def send(
    source: str,
    kind: str | None,
    encoding: str | None,
    times: int,
    url: str | None,
    *,
    duplicate: bool,
) -> None:
    """Send a realistic sample callback, as the provider would.

    SOURCE is a name in the configuration. KIND is sms, rental-sms, billing, renewal,
    renewal-failed or assigned for TellABot; sms or rent for the SMS-Activate dialect. The events
    are marked: their data.sample is true.
    """
    known = settings()
    kept = known.source(source)
    if kept.calls_nobody:
        raise Failure(f"{source} has no callbacks: smshook asks its provider (backfill)")
    sampling = _Sampling(kept, _kind(kept, kind), _encoding(kept, encoding))
    path = callback_url("", source, kept)
    if path is None:
        raise Failure(f"{source} has only sha256 tokens; sending needs one in clear")
    signer = SampleSigner(known.secret)
    first = random.randrange(_NUMBERS)
    understood = True
    with ApiClient(url or str(running(known.journal).url)) as client:
        for number in range(first, first + times):
            sample = sampling.sample(number)
            signature = signer.sign(source, sample.body)
            headers = {"content-type": sample.content_type, SAMPLE_HEADER: signature}
            for _ in range(2 if duplicate else 1):
                understood &= _say(_sent(client, path, sample.body, headers))
    if not understood:
        raise Failure("quarantined; `smshook quarantine show ID` shows why")


class _Sampling(NamedTuple):
    source: Source
    kind: str
    encoding: str

    def sample(self, number: int) -> Sample:
        return self.source.sample(self.kind, self.encoding, number=number, now=datetime.now(UTC))


def _kind(source: Source, kind: str | None) -> str:
    if kind is not None and kind not in source.kinds:
        raise unknown("kind", kind, source.kinds)
    return kind or source.kinds[0]


def _encoding(source: Source, encoding: str | None) -> str:
    if encoding is not None and encoding not in source.encodings:
        may = ", ".join(sorted(source.encodings))
        raise Wrong(f"--encoding: this provider uses {may}, not {encoding}")
    return encoding or source.usual_encoding


def _sent(client: ApiClient, path: str, body: bytes, headers: Mapping[str, str]) -> Any:
    try:
        return client.post(path, content=body, headers=headers)
    except ApiProblem as exc:
        raise Failure(f"{exc.status} {exc.code}{_HINTS.get(exc.status, '')}") from None


def _say(answer: Mapping[str, Any]) -> bool:
    """Print the answer; return whether the callback was understood."""
    if answer["status"] == "quarantined":
        click.echo(plain(f"quarantined {answer['id']} {answer['reason']}"))
        return False
    click.echo(plain(" ".join((answer["status"], *answer["events"]))))
    return True
