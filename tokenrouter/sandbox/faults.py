"""Scripted trouble: what the next requests to a vendor meet instead of a good answer.

status          an error status with the vendor's error body (`retry_after` is sent as given)
stall_start     nothing is sent until released, or for `seconds`
stall           the stream stops after `after` frames until released, or for `seconds`
truncate        the connection ends after `after` frames, without the end of the answer
truncate_bytes  the connection ends after `after` bytes of the body
bad_utf8        invalid UTF-8 after `after` frames
bad_json        an event that is not JSON after `after` frames
long_line       a 10 MB line after `after` frames
error_event     the vendor reports an error in the middle of the stream, after `after` frames
error_body      status 200 with an error object
html            status 200 with a web page
empty           status 200 without a body
no_usage        a good answer that does not say what it cost
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Literal

import msgspec

from tokenrouter.sandbox.barrier import Crowd

Kind = Literal[
    "status",
    "stall_start",
    "stall",
    "truncate",
    "truncate_bytes",
    "bad_utf8",
    "bad_json",
    "long_line",
    "error_event",
    "error_body",
    "html",
    "empty",
    "no_usage",
]

LONG_LINE_BYTES = 10 * 1024 * 1024


class Fault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One kind of trouble for the next `times` requests to `vendor` ("*": any)."""

    kind: Kind
    vendor: str = "*"
    times: int = 1
    status: int = 500
    retry_after: str | None = None
    after: int = 1
    seconds: float | None = None
    message: str = "The sandbox was told to fail this request."


class Faults:
    """A queue of faults, matched in order; `release` ends every stall."""

    __slots__ = ("_queue", "_released", "_sleep", "crowd")

    def __init__(self, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._queue: list[tuple[Fault, int]] = []
        self._released = asyncio.Event()
        self._sleep = sleep
        self.crowd = Crowd()

    def add(self, fault: Fault) -> None:
        """Queue a fault behind those that are there."""
        self._queue.append((fault, fault.times))

    @property
    def pending(self) -> tuple[Fault, ...]:
        """Faults that still wait for a request."""
        return tuple(fault for fault, _ in self._queue)

    def take(self, vendor: str) -> Fault | None:
        """The fault that the next request of this vendor meets."""
        for index, (fault, left) in enumerate(self._queue):
            if fault.vendor in ("*", vendor):
                if left > 1:
                    self._queue[index] = (fault, left - 1)
                else:
                    del self._queue[index]
                return fault
        return None

    async def stall(self, fault: Fault) -> None:
        """Wait for the fault's seconds, or until released."""
        with self.crowd:
            if fault.seconds is not None:
                await self._sleep(fault.seconds)
            else:
                await self._released.wait()

    @property
    def stalled(self) -> int:
        """How many requests stall now."""
        return self.crowd.now

    def release(self) -> None:
        """Let everything that stalls go on."""
        self._released.set()
        self._released = asyncio.Event()

    def clear(self) -> None:
        """Drop what is queued and let everything go on."""
        self._queue.clear()
        self.release()
