"""Parts of a limit or a budget of the whole deployment, as one worker has them at hand."""

import msgspec

from tokenrouter.model.rules import Unit


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


class BudgetLook(msgspec.Struct, frozen=True):
    """Where a budget of the whole deployment stands in this month, for people: nano-USD or tokens.

    month    its name
    sandbox  money of the sandbox has books of its own
    spent    by all workers, slices of those that are gone included, as far as this one has heard; None: it has not heard anything yet
    leased   at hand of workers, or held by their calls under way
    ends_ms  when the month is over, and it begins anew
    """

    unit: Unit
    month: str
    sandbox: bool
    limit: int
    spent: int | None
    leased: int | None
    ends_ms: int
