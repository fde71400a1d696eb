"""`python -m benchmarks.report`: write the reports, pages and plots of all kept runs again."""

import sys

from .write import FULL, ROOT, write

runs = sorted((ROOT / FULL).parent.glob("*.json"))
for run in runs:
    write(run)
sys.exit(0 if runs else "no run was measured yet: make bench")
