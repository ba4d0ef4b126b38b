"""What must reach the counters, however long they are away: each job is sent until there is a reply. Jobs may be sent twice.

A caller hands a job over and goes on. Nothing here is dropped; where too much waits, `full` says so, and nothing new is admitted.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final

from tokenrouter.lua import Script
from tokenrouter.storage.redis_client import RedisClient
from tokenrouter.storage.redis_link import Arg, RedisAway, RedisRefused, Reply

_AGAIN_S: Final = 0.25
_SOONEST_S: Final = 0.02
_LONGEST_S: Final = 5.0
_AT_ONCE: Final = 500


class Job:
    """One run of a script that changes nothing if it ran before.

    args  made when it is sent: they name the moment and the server
    done  called with the reply; False: it said that it could not be done yet
    issued  whether it may have run
    """

    __slots__ = ("args", "attempts", "done", "issued", "keys", "script")

    def __init__(self, script: Script, keys: tuple[bytes, ...], args: Callable[[], tuple[Arg, ...]], done: Callable[[Reply], bool]) -> None:
        self.script, self.keys, self.args, self.done, self.attempts, self.issued = script, keys, args, done, 0, False


class Outbox:
    """See the module. For one event loop."""

    def __init__(self, client: RedisClient, *, most: int) -> None:
        """`most`: jobs from which on it is full."""
        self._client, self._most = client, most
        self._count = 0
        self._kept: deque[Job] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._timers: set[asyncio.TimerHandle] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._said = ""
        self._closed = False
        client.watch(self._changed)

    @property
    def full(self) -> bool:
        """Whether nothing may be admitted until some of it is gone."""
        return self._count >= self._most

    @property
    def backlog(self) -> int:
        """Jobs without a reply."""
        return self._count

    @property
    def problem(self) -> str:
        """What holds it up, for operators; "" while nothing does."""
        return f"{self._count} settlements and the like wait for the counters: {self._said}" if self._said and self._count else ""

    def put(self, job: Job) -> None:
        """Hand over a job. It is issued before this returns, unless the server is away."""
        self._count += 1
        self._idle.clear()
        self._send(job)

    async def drain(self, timeout_s: float | None = None) -> bool:
        """Wait until everything handed over has a reply. False: not within `timeout_s`."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    def close(self) -> None:
        """Send nothing again."""
        self._closed = True
        for timer in (*self._timers, *([self._timer] if self._timer else [])):
            timer.cancel()

    def _send(self, job: Job) -> None:
        try:
            future = self._client.issue(job.script, job.keys, job.args())
        except RedisAway as away:
            self._keep(job, str(away))
            return
        job.issued = True
        future.add_done_callback(partial(self._replied, job))

    def _replied(self, job: Job, future: "asyncio.Future[Reply]") -> None:
        if future.cancelled():
            self._keep(job, "cancelled")
            return
        error = future.exception()
        if isinstance(error, RedisAway):
            self._keep(job, str(error))
        elif isinstance(error, RedisRefused):
            self._later(job, error.said)
        elif error is not None:
            raise error
        elif not job.done(future.result()):
            self._later(job, "counters are being rebuilt")
        else:
            self._count -= 1
            if not self._count:
                self._said = ""
                self._idle.set()

    def _keep(self, job: Job, why: str) -> None:
        """The server is away: wait until it is back."""
        self._said = why
        self._kept.append(job)
        if self._timer is None and not self._closed:
            self._timer = asyncio.get_running_loop().call_later(_AGAIN_S, self._send_kept)

    def _later(self, job: Job, why: str) -> None:
        """The server could not do this one: try again, less and less often."""
        self._said = why
        job.attempts += 1
        if self._closed:
            return
        loop = asyncio.get_running_loop()

        def again() -> None:
            self._timers.discard(timer)
            self._send(job)

        timer = loop.call_later(min(_LONGEST_S, _SOONEST_S * 2 ** min(job.attempts, 20)), again)
        self._timers.add(timer)

    def _changed(self, away: bool) -> None:  # what `watch` calls
        if not away and self._kept:
            self._send_kept()

    def _send_kept(self) -> None:
        """Send what was kept, a part at a time: the server is just back."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._closed:
            return
        for _ in range(min(_AT_ONCE, len(self._kept))):
            if self._client.away and not self._client.cluster:
                break
            self._send(self._kept.popleft())
        if self._kept and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_AGAIN_S if self._client.away else _SOONEST_S, self._send_kept)
