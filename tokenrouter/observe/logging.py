"""Log lines: one per event, on standard error, never with a body or a credential in it."""

import logging
import sys


def set_up_logging(level: str) -> None:
    """Send our own loggers to standard error at `level`."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    ours = logging.getLogger("tokenrouter")
    ours.handlers[:] = [handler]
    ours.propagate = False
    ours.setLevel(level.upper())
