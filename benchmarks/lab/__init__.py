"""The processes, loads and instruments of a case."""
