"""Slices of one deployment-wide budget that workers lease from each other: the interface, and the leases in one process."""

from typing import Protocol

import msgspec


class Slice(msgspec.Struct, frozen=True):
    """What an exchange came to, in the budget's unit.

    granted  how much more the worker may spend than it has reported
    spent    by all workers together, as far as they have reported
    left     neither spent nor leased by anybody; negative where more was spent than there was
    """

    granted: int
    spent: int
    left: int


class SliceLeaser(Protocol):
    """Where all workers report what they spend of a budget, and lease what they are about to spend."""

    async def take_slice(self, name: str, limit: int, worker: str, spent: int, wanted: int, least: int, base: int | None = None) -> Slice | None:
        """Report, and lease.

        name    of the budget, its month in it
        spent   what the worker has spent of it in all, ever. What it had spent before its first report is taken to be in `base`
        wanted  how much it wants to be free to spend from here on. Less than it has leased: the rest goes back. More: as much as there is
        least   a lease below this is of no use; then nothing is added to what the worker has
        base    what was spent before anybody reported: begins the book where there is none

        None: there is no such book, and no `base` to begin it with; nothing was done. A lease never runs out: what a worker that died had
        leased is presumed spent. Asking again changes nothing. Raises Unavailable: it may or may not have been done.
        """
        ...


class _Book:
    __slots__ = ("leased", "reported", "spent")

    def __init__(self, base: int) -> None:
        self.spent = base
        self.reported: dict[str, int] = {}
        self.leased: dict[str, int] = {}


class ProcessSlices:
    """`SliceLeaser` in this process: for workers that live in one, and as the measure of the others."""

    def __init__(self) -> None:
        self._books: dict[str, _Book] = {}

    async def take_slice(self, name: str, limit: int, worker: str, spent: int, wanted: int, least: int, base: int | None = None) -> Slice | None:
        """See `SliceLeaser`."""
        book = self._books.get(name)
        if book is None:
            if base is None:
                return None
            book = self._books[name] = _Book(base)
        news = max(0, spent - book.reported.get(worker, spent))
        book.reported[worker] = max(spent, book.reported.get(worker, 0))
        book.spent += news
        lease = max(0, book.leased.get(worker, 0) - news)
        others = sum(leased for other, leased in book.leased.items() if other != worker)
        if wanted <= lease:
            lease = max(0, wanted)
        else:
            most = min(wanted, lease + max(0, limit - book.spent - others - lease))
            lease = most if most >= least else lease
        book.leased[worker] = lease
        return Slice(lease, book.spent, limit - book.spent - others - lease)
