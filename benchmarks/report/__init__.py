"""The report of a run, and the pages and plots for the documentation."""
