import subprocess
import sys

from journal.sqlite.without import without

#: The tests draw plots, so that it is there.
PROGRAM = """
import sys, server.cli, server.service
print([name for name in ("numpy", "pandas") if name in sys.modules])
import numpy
"""


def test_unused_libraries_are_not_imported():
    """Mutant: the library is imported as it comes, and numpy with it."""
    words = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(words, capture_output=True, text=True, check=False)

    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_imported_module_is_restored_afterwards():
    """Mutant: forgotten, and imported a second time as another module."""
    import json  # noqa: PLC0415 - the one that is there now

    with without("json", "no_such_module"):
        assert sys.modules["json"] is None

    assert sys.modules["json"] is json
    assert "no_such_module" not in sys.modules
