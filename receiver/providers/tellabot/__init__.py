"""TellABot."""
