import subprocess
import sys

from journal.sqlite.hidden_modules import hide_modules

#: numpy is installed, because the tests draw plots.
PROGRAM = """
import sys, server.cli, server.service
print([name for name in ("numpy", "pandas") if name in sys.modules])
import numpy
"""


def test_unused_libraries_are_not_imported():
    """Mutant: a plain import of sqlite_utils, which imports numpy."""
    words = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(words, capture_output=True, text=True, check=False)

    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_imported_module_is_restored_afterwards():
    """Mutant: the module is not restored, and imported again as another one."""
    import json  # noqa: PLC0415 - the module as it is now

    with hide_modules("json", "no_such_module"):
        assert sys.modules["json"] is None

    assert sys.modules["json"] is json
    assert "no_such_module" not in sys.modules
