"""Scripts for Redis and Valkey. None yet: the embedded stores need none; the shared ones bring them."""
