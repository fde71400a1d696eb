"""Reading a provider's fields: numbers, texts, codes, times, dedupe keys."""
