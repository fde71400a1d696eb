"""Runs the routes of one configuration of mq-bridge, until it is killed.

By the Python of a virtual environment that has mq-bridge and nothing of ours:
`python run.py CONFIG SCHEMA`, with LISTEN, RECEIVER and FOLDER in the environment.
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
    # Safe: what is no variable of ours, `${payload:…}`, stays as it is.
    text = string.Template(config.read_text()).safe_substitute(os.environ)
    # Who listens starts last: when the port is open, all of it works.
    for name in ("forward", "accept"):
        Route.from_str(text, name).start()
    threading.Event().wait()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
