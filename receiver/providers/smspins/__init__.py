"""SMSPins."""
