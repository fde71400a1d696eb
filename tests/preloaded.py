"""What each process of `forked.py` has before it starts: modules, and the rules of numbers."""

import gc
import importlib
import multiprocessing.popen_forkserver  # noqa: F401 - each process imports it
import runpy  # noqa: F401 - as above

from litestar import Litestar

import server.process  # noqa: F401 - `serve` imports it when it runs
from receiver.fields.numbers import load_metadata
from server.cli.main import _MODULES

for name in sorted({*_MODULES.values()}):
    importlib.import_module(f"server.cli.{name}")
load_metadata()
# The first app imports pydantic, if it is installed.
Litestar(openapi_config=None)
# Otherwise each process would look at all these objects, and copy their pages.
gc.collect()
gc.freeze()
