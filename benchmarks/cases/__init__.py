"""One module a kind of case; each exports CASES."""
