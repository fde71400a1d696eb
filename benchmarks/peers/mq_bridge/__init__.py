"""mq-bridge, a Rust core with routes in YAML, with its two ways to store callbacks."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from ..peer import Form, command, free_port, listens, made_from, started

_HERE = Path(__file__).parent
_LOCK = _HERE / "requirements.txt"


class MqBridge(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    #: The file of its routes, in this folder.
    config: str
    durability: str
    #: It reads keys from JSON only.
    form: Form = "sms_activate"

    @property
    def version(self) -> str:
        first = _LOCK.read_text().split()[0]
        return first.removeprefix("mq-bridge==")

    def install(self, cache: Path) -> Path:
        # Both configurations share one installation.
        home = cache / "mq-bridge"

        def make() -> None:
            command(sys.executable, "-m", "venv", home, folder=cache)
            python = home / "bin" / "python"
            pip = (python, "-m", "pip", "--disable-pip-version-check", "--quiet", "install")
            hashes = ("--require-hashes", "--only-binary", ":all:", "--no-deps")
            command(*pip, *hashes, "--requirement", _LOCK, folder=cache)

        return made_from(_LOCK, home, make)

    @contextmanager
    def running(self, home: Path, *, folder: Path, receiver: str) -> Iterator[str]:
        port = free_port()
        listen = f"127.0.0.1:{port}"
        words = (home / "bin" / "python", _HERE / "run.py", _HERE / self.config)
        with started(
            (*words, _HERE / "events.sql"),
            folder=folder,
            environment={"LISTEN": listen, "RECEIVER": receiver, "FOLDER": str(folder)},
            ready=lambda: listens(port),
        ):
            yield f"http://{listen}/callback"


SQLITE = MqBridge(
    name="mq-bridge",
    config="sqlite.yaml",
    durability=(
        "like smshook: the event and its unique key are in SQLite and synced when it answers; "
        "a copy is not forwarded again, even after a power cut"
    ),
)
SPOOL = MqBridge(
    name="mq-bridge (spool)",
    config="spool.yaml",
    durability=(
        "the callback is in a file and synced when it answers; keys are synced twice a second, so "
        "a late copy may be forwarded again after a power cut"
    ),
)
