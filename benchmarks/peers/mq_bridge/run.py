"""Run the routes of a configuration of mq-bridge until killed.

`python run.py CONFIG SCHEMA`, with the Python of mq-bridge's own virtual environment, and with
LISTEN, RECEIVER and FOLDER as environment variables.
"""

import os
import sqlite3
import string
import sys
import threading
from pathlib import Path

from mq_bridge import Route  # type: ignore[import-not-found, import-untyped, unused-ignore]


def main(config: Path, schema: Path) -> None:
    folder = Path(os.environ["FOLDER"])
    (folder / "events.jsonl").touch()
    with sqlite3.connect(folder / "events.db") as made:
        made.executescript(schema.read_text())
    made.close()
    # Safe: other placeholders, such as `${payload:…}`, stay as they are.
    text = string.Template(config.read_text()).safe_substitute(os.environ)
    # The route that listens starts last: once the port is open, everything works.
    for name in ("forward", "accept"):
        Route.from_str(text, name).start()
    threading.Event().wait()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
