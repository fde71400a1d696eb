"""The root keys: written in the configuration, or printed by a command."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from core.secret import Secret

from .options import Sealing, root_key

#: Seconds for `seal.command`.
WITHIN = 10.0


class NoRootKey(Exception):
    """`seal.command` did not print a root key."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"seal.command: {reason}")


def root_keys(seal: Sealing, folder: Path) -> Sequence[Secret]:
    """Return the root keys: the first wraps, all open. Empty: nothing is sealed.

    Runs `seal.command` if it is set, in `folder`, that of the configuration. It writes its errors
    to the stderr of this process. Raises NoRootKey, which does not repeat its output.
    """
    command = seal.command
    if not command:
        return seal.root
    try:
        done = subprocess.run(  # noqa: S603 - the operator chose it
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            timeout=WITHIN,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise NoRootKey(f"no output within {WITHIN:g} s") from None
    except OSError as exc:
        raise NoRootKey(f"{command[0]} cannot be run: {exc.strerror}") from None
    if done.returncode:
        raise NoRootKey(f"{command[0]} failed with exit code {done.returncode}")
    lines = [line for line in done.stdout.decode("utf-8", "replace").splitlines() if line.strip()]
    if not lines:
        raise NoRootKey(f"{command[0]} printed nothing")
    try:
        return tuple(root_key(Secret(line)) for line in lines)
    except ValueError as exc:
        raise NoRootKey(f"{command[0]} printed a root key that is {exc}") from None
