"""HTTP: the hot paths as one raw ASGI callable, everything else in FastAPI behind it."""
