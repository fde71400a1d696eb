"""Send a sample callback."""

import random
from collections.abc import Mapping
from datetime import UTC, datetime

import click

from core.printable import plain
from receiver.door import SAMPLE_HEADER
from receiver.samples import SampleSigner

from ..config.urls import callback_url
from .client import ApiClient, ApiProblem
from .command import Choice, Command, Failure, Wrong, unknown
from .completion import configured_names
from .connection import http_url, running, settings

#: Each sample has a random number.
_NUMBERS = 100_000_000
_HINTS = {
    403: ": allow_from of this source does not name this machine",
    404: ": the service does not know this source or token; it reads its configuration at start",
}


@click.command(cls=Command, example="send tellabot sms --times 3")
@click.argument("source", shell_complete=configured_names("sources"))
@click.argument("kind", required=False)
@click.option(
    "--encoding",
    type=Choice(["form", "multipart", "json"]),
    help="Encoding of the callback.  Default: the one that the provider usually sends.",
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
    if kind is not None and kind not in kept.kinds:
        raise unknown("kind", kind, kept.kinds)
    if encoding is not None and encoding not in kept.encodings:
        may = ", ".join(sorted(kept.encodings))
        raise Wrong(f"--encoding: this provider uses {may}, not {encoding}")
    path = callback_url("", source, kept)
    if path is None:
        raise Failure(f"{source} has only sha256 tokens; sending needs one in clear")
    signer = SampleSigner(known.secret)
    first = random.randrange(_NUMBERS)
    understood = True
    with ApiClient(url or str(running(known.journal).url)) as client:
        for number in range(first, first + times):
            sample = kept.sample(
                kind or kept.kinds[0],
                encoding or kept.usual_encoding,
                number=number,
                now=datetime.now(UTC),
            )
            signature = signer.sign(source, sample.body)
            headers = {"content-type": sample.content_type, SAMPLE_HEADER: signature}
            for _ in range(2 if duplicate else 1):
                understood &= _send(client, path, sample.body, headers)
    if not understood:
        raise Failure("quarantined; `smshook quarantine show ID` shows why")


def _send(client: ApiClient, path: str, body: bytes, headers: Mapping[str, str]) -> bool:
    """Send a callback and print the answer; return whether it was understood."""
    try:
        answer = client.post(path, content=body, headers=headers)
    except ApiProblem as exc:
        raise Failure(f"{exc.status} {exc.code}{_HINTS.get(exc.status, '')}") from None
    understood: bool = answer["status"] != "quarantined"
    words = answer["events"] if understood else (answer["id"], answer["reason"])
    click.echo(plain(" ".join((answer["status"], *words))))
    return understood
