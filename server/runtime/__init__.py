"""The work of a running service between the door, the journal and the sinks."""
