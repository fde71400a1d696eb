"""SMSPins, which is polled and sends no callbacks."""
