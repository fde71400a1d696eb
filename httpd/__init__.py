"""The HTTP server's edge: limits, deadlines, one request in, one answer out."""
