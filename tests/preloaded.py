"""What each process of `forked.py` has before it starts: modules, and the rules of numbers."""

import gc
import importlib
import multiprocessing.popen_forkserver  # noqa: F401 - each process imports it
import runpy  # noqa: F401 - as above
from unittest import mock

import known_functions
import stopped_deaths  # noqa: F401 - these processes end in the middle
import whole_files  # noqa: F401 - as above

import server.process  # noqa: F401 - `serve` imports it when it runs
from receiver.fields.numbers import load_metadata
from server.api.app import create_api
from server.cli.main import _MODULES

for name in sorted({*_MODULES.values()}):
    importlib.import_module(f"server.cli.{name}")
load_metadata()
# No part of a service is used when its app is made.
known_functions.remember()
create_api(mock.MagicMock())
# Otherwise each process would look at all these objects, and copy their pages.
gc.collect()
gc.freeze()
