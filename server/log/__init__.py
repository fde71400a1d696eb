"""Log lines: JSON for machines, short lines for people."""
