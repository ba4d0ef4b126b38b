"""A barrier in front of the answers: requests have arrived and read the caches, but nobody gets a byte until it is released."""

import asyncio
from types import TracebackType


class Crowd:
    """Counts those inside `with crowd:`, and tells when there are enough of them."""

    __slots__ = ("_watchers", "now")

    def __init__(self) -> None:
        self._watchers: list[tuple[int, asyncio.Future[None]]] = []
        self.now = 0

    def __enter__(self) -> None:
        self.now += 1
        for count, future in self._watchers:
            if self.now >= count and not future.done():
                future.set_result(None)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.now -= 1

    async def at_least(self, count: int) -> None:
        """Return once `count` are inside."""
        if self.now >= count:
            return
        watcher = (count, asyncio.get_running_loop().create_future())
        self._watchers.append(watcher)
        try:
            await watcher[1]
        finally:
            self._watchers.remove(watcher)


class Barrier:
    """Holds requests of some vendors, counts who waits."""

    __slots__ = ("_held", "_opened", "crowd")

    def __init__(self) -> None:
        self._held: set[str] = set()
        self._opened = asyncio.Event()
        self.crowd = Crowd()

    @property
    def held(self) -> tuple[str, ...]:
        """Vendors that are held; "*" is all of them."""
        return tuple(sorted(self._held))

    @property
    def waiting_now(self) -> int:
        """How many requests wait."""
        return self.crowd.now

    def hold(self, vendor: str | None = None) -> None:
        """From now on requests to `vendor` (None: to anyone) wait."""
        self._held.add(vendor or "*")

    def release(self) -> None:
        """Let everyone go, and hold nobody any longer."""
        self._held.clear()
        self._opened.set()
        self._opened = asyncio.Event()

    def holds(self, vendor: str) -> bool:
        """Whether a request to `vendor` has to wait."""
        return bool(self._held) and ("*" in self._held or vendor in self._held)

    async def wait(self) -> None:
        """Wait for the release."""
        with self.crowd:
            await self._opened.wait()
