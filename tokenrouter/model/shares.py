"""Parts of a limit or a budget of the whole deployment, as one worker has them at hand."""

import msgspec


class Slots(msgspec.Struct, frozen=True):
    """A worker's places. `others`: what the others have; `workers`: how many want any, this one included."""

    granted: int
    others: int
    workers: int


class Slice(msgspec.Struct, frozen=True):
    """A worker's part of a budget.

    granted   what it may spend until it asks again; on top of what it has reported
    spent     for certain, by all workers
    presumed  of slices whose workers are gone
    others    what the others have at hand
    """

    granted: int
    spent: int
    presumed: int
    others: int
