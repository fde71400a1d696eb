"""Reads the recorded answers. See README.md in this folder."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

import msgspec

from core.secret import Secret
from receiver.callback import Callback, Happening
from receiver.polling.options import Backfill
from receiver.polling.questions import (
    Ask,
    BadKey,
    Balance,
    Busy,
    Ended,
    FoundMessage,
    Known,
    ListedOrder,
    Notice,
    ProviderAnswer,
    Switch,
    Unreadable,
)
from receiver.providers import PROVIDERS

HERE = Path(__file__).parent
BY_TAG = {
    provider.__struct_config__.tag: provider
    for provider in PROVIDERS
    if provider.polling_api is not None
}
KEY = "k3y-of-an-account-0123456789"


class Round(NamedTuple):
    #: `tellabot/read_sms`
    name: str
    provider: str
    since: datetime
    now: datetime
    known: list[Known]
    #: Command, the parameters in its URL, and the body of the answer.
    answers: list[tuple[str, str, bytes]]
    #: `type`, `subject`, `time` and `data` of each event.
    events: list[dict[str, Any]]
    notices: list[str]
    #: Reports on orders and the account: `listed`, `ended` or `balance`, and its fields.
    reports: list[dict[str, Any]]


class FoundOne(NamedTuple):
    """One happening of a FoundMessage."""

    happening: Happening
    callback: Callback


def recorded(path: Path) -> Round:
    round_ = json.loads(path.read_text())
    return Round(
        name=f"{path.parent.name}/{path.name.split('.')[0]}",
        provider=path.parent.name,
        since=datetime.fromisoformat(round_["since"]),
        now=datetime.fromisoformat(round_["now"]),
        known=[Known(**known) for known in round_["known"]],
        answers=[
            (command, what, (path.parent / file).read_bytes())
            for command, what, file in round_["answers"]
        ],
        events=round_["events"],
        notices=round_["notices"],
        reports=round_["reports"],
    )


RECORDED = [recorded(path) for path in sorted(HERE.glob("*/*.round.json"))]


def source_of(provider, source=None, **options):
    """Return a source with a backfill; `source` has its other options."""
    user = {"user": "test"} if BY_TAG[provider].polling_api.requires_user else {}
    backfill = Backfill(api_key=Secret(KEY), **user, **options)
    return BY_TAG[provider](backfill=backfill, **(source or {}))


def shown(ask: Ask) -> str:
    """Return the parts of a URL that distinguish calls: all but key, user and command."""
    parts = urlsplit(ask.url.reveal())
    plain = [
        f"{name}={value}"
        for name, value in parse_qsl(parts.query)
        if name not in ("api_key", "user", "cmd", "action")
    ]
    after = parts.path.partition(f"{KEY}/{ask.command}/")[2]
    return after or "&".join(plain)


def driven(poll, answer):
    """Run a poll with `answer(ask)`, a ProviderAnswer. Return its findings and its calls."""
    came, asked, sent = [], [], None
    while True:
        try:
            step = poll.send(sent)
        except StopIteration:
            return came, asked
        sent = None
        if isinstance(step, Ask | Switch):
            asked.append(step)
            try:
                sent = step.read(answer(step))
            except (BadKey, Busy, Unreadable) as exc:
                came.append(exc)
        elif isinstance(step, FoundMessage):
            came += [FoundOne(happening, step.callback) for happening in step.happenings]
        else:
            assert isinstance(step, Notice | ListedOrder | Ended | Balance)
            came.append(step)


def ok(body, status=200, **headers):
    body = body if isinstance(body, bytes) else body.encode()
    return ProviderAnswer(
        status=status, headers={"content-type": "text/html", **headers}, body=body
    )


def reported(came) -> list[dict[str, Any]]:
    """Return the reports of a poll in the form of a recorded round."""
    words = {ListedOrder: "listed", Ended: "ended", Balance: "balance"}
    return [{words[type(one)]: msgspec.to_builtins(one)} for one in came if type(one) in words]


def said(found: FoundOne) -> dict[str, Any]:
    happening = found.happening
    return {
        "type": happening.data.type,
        "subject": happening.subject,
        "time": happening.time,
        "data": json.loads(msgspec.json.encode(happening.data)),
    }
