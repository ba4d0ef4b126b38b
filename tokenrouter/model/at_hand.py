"""What is known somewhere, but not here yet."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence


class NotAtHand(Exception):
    """Something that a request refers to has to be fetched. Await `fetch`, then begin again: it is at hand then, or known not to be there.

    `fetch` raises Unavailable where the store can not be asked. Only stores that several workers share ever raise this.
    """

    def __init__(self, fetch: Callable[[], Awaitable[object]]) -> None:
        super().__init__("has to be fetched")
        self.fetch = fetch

    @classmethod
    def several(cls, missing: Sequence["NotAtHand"]) -> "NotAtHand":
        """All of these at once."""
        return missing[0] if len(missing) == 1 else cls(lambda: asyncio.gather(*(each.fetch() for each in missing)))
