"""SMS-Activate and the providers that speak its dialect."""
