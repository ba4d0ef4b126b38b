"""Meters of one limit in one process: token buckets and exact sliding windows. Integers only, no clock of their own.

Time is divided into ticks, `TICKS` to a window. A moment that is handed in is in milliseconds, of a clock that never runs backwards.
"""

from collections import OrderedDict
from typing import Protocol

from tokenrouter.model.rules import TICKS, Limit

NEVER = -1
"""A wait that has no end, as far as anybody can say."""


def shared(amount: int, share: int) -> int:
    """One worker's part of an amount that `share` workers have together: rounded up, so that it is 0 for 0 only."""
    return -(-amount // share)


class Meter(Protocol):
    """What is left of one limit. `turn` comes first: everything else speaks of the moment that it was given last."""

    limit: Limit
    most: int
    """The worker's part of what the limit allows at once."""
    left: int
    """What may be taken; below 0 where more was used than there was."""

    def turn(self, now_ms: int) -> None:
        """Bring it up to a moment."""
        ...

    def take(self, amount: int) -> int:
        """Take without asking. Says in which entry it stands."""
        ...

    def adjust(self, entry: int, more: int) -> int:
        """Take more for something that was taken before, or give back (below 0). Says in which entry it stands from here on."""
        ...

    def wait_ms(self, amount: int, now_ms: int) -> int:
        """Until `amount` may be taken if nobody else takes anything; `NEVER`: it is more than there can be."""
        ...

    def whole_ms(self, now_ms: int) -> int:
        """Until everything may be taken, if nobody takes anything."""
        ...

    def is_whole(self) -> bool:
        """Nothing is taken: one that is made anew would be the same."""
        ...


class Bucket:
    """A token bucket that refills evenly: `per_window` in `TICKS` ticks, never above its capacity.

    What is left is whole units and a remainder of 1/TICKS units, so that no refill is ever rounded.
    """

    __slots__ = ("_refill", "_rest", "_tick", "_tick_ms", "left", "limit", "most")

    def __init__(self, limit: Limit, share: int, now_ms: int) -> None:
        self.limit = limit
        self.most, self._refill, self._tick_ms = shared(limit.amount, share), shared(limit.per_window, share), limit.tick_ms
        self.left, self._rest, self._tick = self.most, 0, now_ms // self._tick_ms

    def turn(self, now_ms: int) -> None:
        """See `Meter`."""
        tick = now_ms // self._tick_ms
        if tick > self._tick:
            if self.left < self.most:
                gained, self._rest = divmod((tick - self._tick) * self._refill + self._rest, TICKS)
                self._add(gained)
            self._tick = tick

    def take(self, amount: int) -> int:
        """See `Meter`. A bucket has no entries: 0."""
        self.left -= amount
        return 0

    def adjust(self, entry: int, more: int) -> int:
        """See `Meter`."""
        self._add(-more)
        return entry

    def wait_ms(self, amount: int, now_ms: int) -> int:
        """See `Meter`."""
        if amount > self.most:
            return NEVER
        if amount <= self.left:
            return 0
        if not self._refill:
            return NEVER
        ticks = -(-((amount - self.left) * TICKS - self._rest) // self._refill)
        return max(0, (self._tick + ticks) * self._tick_ms - now_ms)

    def whole_ms(self, now_ms: int) -> int:
        """See `Meter`."""
        return self.wait_ms(self.most, now_ms)

    def is_whole(self) -> bool:
        """See `Meter`."""
        return self.left == self.most

    def change(self, limit: Limit, share: int) -> None:
        """Go on under a limit of the same kind and window."""
        self.limit, self.most, self._refill = limit, shared(limit.amount, share), shared(limit.per_window, share)
        self._add(0)

    def _add(self, amount: int) -> None:
        self.left += amount
        if self.left >= self.most:
            self.left, self._rest = self.most, 0


class SlidingWindow:
    """Everything that was taken in the last `TICKS` ticks: never more than the limit in any stretch of that length.

    One entry per tick in which something was taken; it leaves when it is a whole window old.
    """

    __slots__ = ("_entries", "_tick", "_tick_ms", "left", "limit", "most")

    def __init__(self, limit: Limit, share: int, now_ms: int) -> None:
        self.limit = limit
        self.most, self._tick_ms = shared(limit.amount, share), limit.tick_ms
        self._entries: OrderedDict[int, int] = OrderedDict()
        self.left, self._tick = self.most, now_ms // self._tick_ms

    def turn(self, now_ms: int) -> None:
        """See `Meter`."""
        self._tick = max(self._tick, now_ms // self._tick_ms)
        entries, gone = self._entries, self._tick - TICKS
        while entries and next(iter(entries)) <= gone:
            self.left += entries.popitem(last=False)[1]

    def take(self, amount: int) -> int:
        """See `Meter`."""
        if amount:
            self._entries[self._tick] = self._entries.get(self._tick, 0) + amount
            self.left -= amount
        return self._tick

    def adjust(self, entry: int, more: int) -> int:
        """See `Meter`. What has left the window cannot be given back; what is taken on top of it is taken at the last moment."""
        known = self._entries.get(entry)
        if known is None:
            return self.take(more) if more > 0 else entry
        more = max(more, -known)
        self.left -= more
        if known + more:
            self._entries[entry] = known + more
        else:
            del self._entries[entry]
        return entry

    def wait_ms(self, amount: int, now_ms: int) -> int:
        """See `Meter`."""
        over = amount - self.left
        if over <= 0:
            return 0
        for entry, held in self._entries.items():
            over -= held
            if over <= 0:
                return max(0, (entry + TICKS) * self._tick_ms - now_ms)
        return NEVER  # it does not fit even when all of them have left

    def whole_ms(self, now_ms: int) -> int:
        """See `Meter`."""
        return max(0, (next(reversed(self._entries)) + TICKS) * self._tick_ms - now_ms) if self._entries else 0

    def is_whole(self) -> bool:
        """See `Meter`."""
        return not self._entries

    def change(self, limit: Limit, share: int) -> None:
        """Go on under a limit of the same kind and window."""
        taken = self.most - self.left
        self.limit, self.most = limit, shared(limit.amount, share)
        self.left = self.most - taken


def meter(limit: Limit, share: int, now_ms: int, before: Meter | None = None) -> Meter:
    """What counts a limit for one of `share` workers. `before`: what counted it until it was changed.

    A limit of another kind or window begins anew: its past was not written down in that way.
    """
    kind = SlidingWindow if limit.kind == "sliding" else Bucket
    if isinstance(before, kind) and before.limit.window == limit.window:
        before.turn(now_ms)
        before.change(limit, share)
        return before
    return kind(limit, share, now_ms)
