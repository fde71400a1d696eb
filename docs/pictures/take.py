"""Pictures of the terminal for the documentation, as SVG: `make docs`.

The script runs the real commands on a terminal of 80 columns, in a folder of its own, and draws
their output. Tokens are masked in the pictures.
"""

import contextlib
import fcntl
import io
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import yaml
from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

_FOLDER = Path(__file__).parent
_COLUMNS, _ROWS = 80, 40
#: Seconds until a step of the script must have happened.
_PATIENCE = 30.0
#: So that the pictures can be taken beside a running service.
_ANY_PORT = "127.0.0.1:0"
_TOKEN = re.compile(r"(/in/[a-z_]+/)[\w-]{20,}")
_SMSHOOK = Path(sys.executable).with_name("smshook")


class Terminal:
    """A terminal with one command, and the output of the command."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self._parent, child = pty.openpty()
        fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", _ROWS, _COLUMNS, 0, 0))
        environ = {k: v for k, v in os.environ.items() if not k.startswith("SMSHOOK_")}
        self._process = subprocess.Popen(  # noqa: S603 - commands of this script only
            [_SMSHOOK, *arguments],
            cwd=folder,
            env=environ | {"TERM": "xterm-256color", "COLUMNS": str(_COLUMNS)},
            stdin=child,
            stdout=child,
            stderr=child,
            start_new_session=True,
        )
        os.close(child)
        self._said = bytearray()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # EIO: the command has ended
            while chunk := os.read(self._parent, 65536):
                self._said += chunk

    @property
    def text(self) -> str:
        return self._said.decode("utf-8", "replace").replace("\r\n", "\n")

    def wait_for(self, words: str) -> None:
        ends = time.monotonic() + _PATIENCE
        while words not in self.text:
            if time.monotonic() > ends:
                raise TimeoutError(f"{words!r} was not printed; this was:\n{self.text}")
            time.sleep(0.05)

    def end(self, number: int | None = None) -> str:
        """Wait for the end, after this signal if one is given. Return all that was printed."""
        if number is not None:
            self._process.send_signal(number)
        self._process.wait(_PATIENCE)
        self._reader.join(_PATIENCE)
        os.close(self._parent)
        return self.text


def main() -> None:
    """Take all pictures again."""
    with tempfile.TemporaryDirectory() as name:
        for picture, (command, text) in taken(Path(name)).items():
            path = _FOLDER / f"{picture}.svg"
            path.write_text(drawn(command, text), encoding="utf-8")


def taken(folder: Path) -> dict[str, tuple[str, str]]:
    """Name of each picture -> the command as typed, and what it printed."""
    _run(folder, "init")
    _add_a_sink_that_is_down(folder / "smshook.yaml")
    pictures = {}
    with _serving(folder) as service:
        for command in ("send tellabot", "send tellabot --duplicate", "send herosms"):
            _run(folder, *command.split())
        service.wait_for("duplicate")
        service.wait_for("crm failed")
        # Take it now: later, retries of the failing sink fill the screen.
        pictures["serve"] = "make run", _as_in_a_clone(service.text)
        for picture, command in (
            ("events", "events list"),
            ("deliveries", "deliveries list"),
            ("sinks", "sinks list"),
            ("sources", "sources list"),
        ):
            pictures[picture] = f"smshook {command}", _run(folder, *command.split())
    return pictures


def _as_in_a_clone(text: str) -> str:
    """With the default ports, and the command as it is typed in a fresh clone."""
    api = re.search(r"http://127\.0\.0\.1:(\d+)", text)
    door = re.search(r"http://127\.0\.0\.1:(\d+)/in/", text)
    for found, port in ((api, "8081"), (door, "8080")):
        if found:
            text = text.replace(f"127.0.0.1:{found[1]}", f"127.0.0.1:{port}")
    return text.replace(str(_SMSHOOK), ".venv/bin/smshook")


@contextlib.contextmanager
def _serving(folder: Path) -> Iterator[Terminal]:
    service = Terminal(folder, "serve", "--listen", _ANY_PORT, "--admin-listen", _ANY_PORT)
    try:
        service.wait_for("smshook send")
        yield service
    finally:
        service.end(signal.SIGTERM)


def _run(folder: Path, *arguments: str) -> str:
    return Terminal(folder, *arguments).end()


def _add_a_sink_that_is_down(path: Path) -> None:
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    config["sinks"]["crm"] = {"type": "http", "url": "http://127.0.0.1:9/hooks/sms"}
    config["routes"]["everything"]["to"].append("crm")
    path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")


def drawn(command: str, text: str) -> str:
    """The SVG of a command and its output, without fonts from elsewhere and without tokens."""
    console = Console(record=True, width=_COLUMNS, file=io.StringIO())
    masked = _TOKEN.sub(r"\1***", text).strip("\n")
    console.print(Text(f"$ {command}", style="bold"))
    console.print(Text.from_ansi(masked))
    svg = console.export_svg(title="smshook", theme=MONOKAI, unique_id=command.replace(" ", "-"))
    return re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)


if __name__ == "__main__":
    main()
