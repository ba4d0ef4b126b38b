"""A queue that somebody empties in batches, in the background: for what nobody waits for and nobody misses."""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Generic, TypeVar

from tokenrouter.errors import Unavailable

log = logging.getLogger("tokenrouter")

T = TypeVar("T")
_LONGEST_PAUSE_S: Final = 5.0


class Batches(Generic[T]):
    """Items on their way to `write`, in their order, bounded by number and by size. For one event loop.

    Where `write` raises Unavailable the batch is tried again, ever more rarely; what comes meanwhile and has no room is dropped.

    dropped  how many items had no room, or could not be written for another reason
    problem  why items wait, for operators; "" while all is well
    """

    def __init__(
        self,
        write: Callable[[Sequence[T]], Awaitable[object]],
        *,
        name: str,
        most: int = 10_000,
        most_bytes: int = 64 << 20,
        at_once: int = 200,
        pause_s: float = 0.05,
    ) -> None:
        """`most`, `most_bytes`: what may wait. `at_once`: items of a batch. `pause_s`: how long a batch may gather. `name`: for people."""
        self._write, self._name = write, name
        self._most, self._most_bytes, self._at_once, self._pause_s = most, most_bytes, at_once, pause_s
        self._items: deque[tuple[T, int]] = deque()
        self._bytes = 0
        self._task: asyncio.Task[None] | None = None
        self._writing = asyncio.Lock()
        self.dropped = 0
        self.problem = ""

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: T, size: int = 0) -> bool:
        """Hand over one item, of `size` bytes. False: there is no room, and it is dropped."""
        if len(self._items) >= self._most or self._bytes + size > self._most_bytes:
            self.dropped += 1
            return False
        self._items.append((item, size))
        self._bytes += size
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())
        return True

    async def flush(self) -> None:
        """Write everything that waits now. Raises Unavailable; then it still waits."""
        while self._items:
            await self._one_batch()

    async def aclose(self, within_s: float = 5.0) -> None:
        """Write what waits, as far as that is possible in time, and stop."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        with contextlib.suppress(Unavailable, TimeoutError):
            async with asyncio.timeout(within_s):
                await self.flush()

    async def _run(self) -> None:
        pause_s = self._pause_s
        try:
            while self._items:
                await asyncio.sleep(pause_s)
                try:
                    await self._one_batch()
                except Unavailable as error:
                    self.problem = f"{len(self._items)} {self._name} wait to be written: {error.message}"
                    pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
                else:
                    self.problem, pause_s = "", self._pause_s
        finally:
            self._task = None

    async def _one_batch(self) -> None:
        async with self._writing:  # what is being written stands in the queue until it is
            batch = [self._items[place] for place in range(min(self._at_once, len(self._items)))]
            try:
                await self._write([item for item, _ in batch])
            except Unavailable:
                raise
            except Exception:
                log.exception("%d %s can not be written and are dropped", len(batch), self._name)
                self.dropped += len(batch)
            for _ in batch:
                self._bytes -= self._items.popleft()[1]
