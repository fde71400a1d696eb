"""Commands whose output a test reads while they run."""

import os
import subprocess
import tempfile
from pathlib import Path

import forked


class Piped(forked.Forked):
    """A forked process with its `stdout` and `stderr`, files of text."""

    def __init__(self, arguments, folder, environment):
        with tempfile.TemporaryDirectory() as streams:
            paths = [Path(streams, name) for name in ("stdout", "stderr")]
            for path in paths:
                os.mkfifo(path)
            super().__init__(arguments, folder, environment, *paths)
            # Each of these waits for the new process, which opens them in the same order.
            self.stdout, self.stderr = [path.open(encoding="utf-8") for path in paths]

    def communicate(self):
        """Wait for the end, and return the rest of both streams."""
        with self.stdout, self.stderr:
            rest = self.stdout.read(), self.stderr.read()
        self.wait()
        return rest


def started(arguments, folder, environment):
    """Start a program as `Piped` does, but without a fork."""
    return subprocess.Popen(
        arguments,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
