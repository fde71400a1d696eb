"""`python -m benchmarks.report`: write the reports, pages and plots of all kept runs again."""

import sys

from .write import main

sys.exit(main())
