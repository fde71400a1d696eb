"""Node-RED, a flow: callback in, function, request, answer."""

import http.client
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from ..peer import Form, command, free_port, made_from, program, started

_HERE = Path(__file__).parent
_LOCK = _HERE / "package-lock.json"


class NodeRed(msgspec.Struct, frozen=True, kw_only=True):
    name: str = "Node-RED"
    durability: str = (
        "nothing is on disk; it answers after the receiver, and recognizes copies in memory until "
        "the process ends"
    )
    form: Form = "tellabot"

    @property
    def version(self) -> str:
        version: str = json.loads(_LOCK.read_bytes())["packages"]["node_modules/node-red"][
            "version"
        ]
        return version

    def install(self, cache: Path) -> Path:
        home = cache / "node-red"
        program("node", package="nodejs")

        def make() -> None:
            for file in (_HERE / "package.json", _LOCK):
                shutil.copy(file, home)
            npm = program("npm", package="npm")
            quietly = ("--ignore-scripts", "--no-audit", "--no-fund")
            command(npm, "ci", *quietly, folder=home)

        return made_from(_LOCK, home, make)

    @contextmanager
    def running(self, home: Path, *, folder: Path, receiver: str) -> Iterator[str]:
        port = free_port()
        # It writes beside its flows, so they are copied into its folder.
        flows = Path(shutil.copy(_HERE / "flows.json", folder))
        red = home / "node_modules" / "node-red" / "red.js"
        with started(
            (program("node", package="nodejs"), red, "--settings", _HERE / "settings.js"),
            folder=folder,
            environment={
                "PORT": str(port),
                "RECEIVER": receiver,
                "FOLDER": str(folder),
                "FLOWS": str(flows),
            },
            # It listens before its flows are loaded.
            ready=lambda: _answers(port),
        ):
            yield f"http://127.0.0.1:{port}/callback"


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1.0)
    try:
        connection.request("GET", "/ready")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


NODE_RED = NodeRed()
