"""TellABot: its callbacks and its polls."""
