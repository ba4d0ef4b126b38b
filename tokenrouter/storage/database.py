"""What the stores of tenants, keys and money ask of a database: named statements, and changes that happen together or not at all.

Statements live in `sql/`, with `:name` parameters, and return columns as text, whole numbers, bytes or nothing. What is written for
both databases keeps to what both understand: integers for truth values, JSON as text, nanoseconds as 64-bit integers.
"""

from collections.abc import Coroutine, Mapping, Sequence
from typing import Protocol, TypeVar

import msgspec

Value = str | int | float | bytes | None
Params = Mapping[str, Value]
Row = tuple[object, ...]
T = TypeVar("T")


class Step(msgspec.Struct, frozen=True):
    """One statement of a change. `wants`: how many rows it must change, or nothing at all is changed; None: any number."""

    name: str
    params: Params = {}
    wants: int | None = None


class Unmet(Exception):
    """A step changed another number of rows than it had to; the whole change was undone."""

    def __init__(self, step: Step, changed: int) -> None:
        super().__init__(f"{step.name}: {changed} rows instead of {step.wants}")
        self.step, self.changed = step, changed


class Taken(Exception):
    """A row with this key is there already; the whole change was undone."""


class Database(Protocol):
    """A database with its named statements.

    Every call raises Unavailable where the database can not be asked, which says nothing about what was asked; a change may then have
    happened all the same. It raises ValueError for a value that no column can hold.
    """

    @property
    def inline(self) -> bool:
        """Whether calls are answered in the caller's own step: their coroutines never suspend."""
        ...

    @property
    def problem(self) -> str:
        """Why the last call was not answered, for operators; "" while all is well."""
        ...

    async def rows(self, name: str, params: Params = ..., *, slow: bool = False) -> list[Row]:
        """Run one statement and give its rows. `slow`: it may take seconds (analytics), and must not hold others up."""
        ...

    async def change(self, steps: Sequence[Step]) -> list[int]:
        """Run the steps in one transaction; how many rows each changed. Raises Unmet, Taken: nothing was changed."""
        ...

    async def aclose(self) -> None:
        """Let go of it."""
        ...


def at_once(coroutine: Coroutine[object, None, T]) -> T:
    """The result of a coroutine that never suspends, as those over an `inline` database, without a loop."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]  # what a coroutine returns is what its StopIteration bears
    coroutine.close()
    raise RuntimeError("this coroutine waits for something; it needs a loop")
