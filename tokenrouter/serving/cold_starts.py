"""Cold starts: of parallel first requests on one cold prefix, one writes it, and the others may wait for its first byte and read.

An entry can be read once the answer to the request that wrote it has begun; N requests that leave together pay for N writes. Waiting costs
the others a first byte's time. It is off unless a tenant asks for it (`prompt_cache.hold_ms`), bounded, and never longer than the writer lives.
"""

import asyncio

from tokenrouter.model.prefix import CacheScope
from tokenrouter.serving.sighting import Watch

_Key = tuple[CacheScope, bytes]


class ColdStarts:
    """Prefixes that somebody is writing at the moment. Of this process: each writes once. For one event loop.

    waiting  how many requests wait for a writer
    """

    def __init__(self) -> None:
        self.waiting = 0
        self._writing: dict[_Key, asyncio.Future[None]] = {}

    async def wait(self, watch: Watch, most_ms: int) -> bool:
        """Wait for whoever writes a prefix of this request deeper than what can be read now. Whether somebody did: then look again."""
        writing = self._deepest(watch)
        if writing is None:
            return False
        self.waiting += 1
        try:
            await asyncio.wait((writing,), timeout=most_ms / 1000)
        finally:
            self.waiting -= 1
        return True

    def lead(self, watch: Watch) -> None:
        """Say what this request writes; to be called once it has its marks, and to be `release`d."""
        live = watch.look.live[-1].boundary if watch.look.live else -1
        for boundary, _ in watch.marks:
            key = (watch.sight.scope, watch.sight.links[boundary])
            if boundary > live and key not in self._writing:
                self._writing[key] = asyncio.get_running_loop().create_future()
                watch.leading.append(key)

    def release(self, watch: Watch) -> None:
        """Its answer has begun, or will never begin."""
        for key in watch.leading:
            writing = self._writing.pop(key, None)
            if writing is not None and not writing.done():
                writing.set_result(None)
        watch.leading.clear()

    def _deepest(self, watch: Watch) -> "asyncio.Future[None] | None":
        if not self._writing:
            return None
        sight = watch.sight
        live = watch.look.live[-1].boundary if watch.look.live else -1
        for boundary in range(len(sight.links) - 1, live, -1):
            found = self._writing.get((sight.scope, sight.links[boundary]))
            if found is not None:
                return found
        return None
