"""smshook with a wall clock that is ahead by the number of seconds in a file.

Run `moved_clock.py FILE` with the arguments of the command.
"""

import sys
import time
from pathlib import Path

from core.clock import WallClock
from server.cli.main import main

ahead = Path(sys.argv.pop(1))
defaults = WallClock.__init__.__kwdefaults__
defaults["wall"] = lambda: time.time() + float(ahead.read_text())
main()
