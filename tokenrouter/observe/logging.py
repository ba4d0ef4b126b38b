"""Log lines: one per event, on standard error, never with a body or a credential in it."""

import logging
import sys
from types import TracebackType

_ErrorInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


class Tactful(logging.Formatter):
    """Tracebacks without what a database adds to its errors: the values of a row that it did not take."""

    def formatException(self, ei: _ErrorInfo) -> str:  # noqa: N802  # logging's name
        """See `logging.Formatter`."""
        text = super().formatException(ei)
        for error in _chain(ei[1]):
            first, _, details = str(error).partition("\n")
            if details and hasattr(error, "sqlstate"):
                text = text.replace(str(error), first)
        return text


def _chain(error: BaseException | None) -> list[BaseException]:
    """The error and all that led to it."""
    found: list[BaseException] = []
    waiting = [error]
    while waiting:
        each = waiting.pop()
        if each is not None and each not in found:
            found.append(each)
            waiting += [each.__cause__, each.__context__]
    return found


def set_up_logging(level: str) -> None:
    """Send our own loggers to standard error at `level`."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Tactful("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    ours = logging.getLogger("tokenrouter")
    ours.handlers[:] = [handler]
    ours.propagate = False
    ours.setLevel(level.upper())
