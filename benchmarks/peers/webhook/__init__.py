"""adnanh/webhook, which runs a command for each callback."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from ..peer import Form, command, free_port, listens, program, started

_HERE = Path(__file__).parent


class Webhook(msgspec.Struct, frozen=True, kw_only=True):
    name: str = "webhook"
    durability: str = (
        "the callback is in a file and synced, and was forwarded, when it answers; copies are not "
        "recognized, and failed deliveries are not retried"
    )
    form: Form = "tellabot"

    @property
    def version(self) -> str:
        said = command(program("webhook", package="webhook"), "-version", folder=_HERE)
        return said.split()[-1]

    def install(self, cache: Path) -> Path:
        """Only check that the system has it."""
        program("webhook", package="webhook")
        program("curl", package="curl")
        return cache

    @contextmanager
    def running(self, home: Path, *, folder: Path, receiver: str) -> Iterator[str]:  # noqa: ARG002 - the system has it
        port = free_port()
        hooks = folder / "hooks.json"
        text = (_HERE / "hooks.json").read_text()
        hooks.write_text(text.replace("COMMAND", str(_HERE / "accept.sh")))
        words = (program("webhook", package="webhook"), "-hooks", hooks)
        with started(
            (*words, "-ip", "127.0.0.1", "-port", str(port)),
            folder=folder,
            environment={"RECEIVER": receiver, "FOLDER": str(folder)},
            ready=lambda: listens(port),
        ):
            yield f"http://127.0.0.1:{port}/hooks/tellabot"


WEBHOOK = Webhook()
