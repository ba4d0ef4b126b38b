"""One request, step by step: understood, led to a provider, replied to. `gateway.handle` says in which order."""
