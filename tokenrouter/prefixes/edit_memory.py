"""What the edits remember: in this process, and told to the others.

Losing any of it costs a miss of a provider's cache, never an answer.
"""

from collections.abc import Callable

from tokenrouter.prefixes.calls import CallSpellings, CallSpoken, Spoken
from tokenrouter.prefixes.spellings import Spellings, ToolSpelled, ToolSpellings
from tokenrouter.prefixes.splits import Splits, SplitSeen, Splitter
from tokenrouter.prefixes.tool_order import Orders, OrderSeen, ToolOrders

Learned = ToolSpelled | OrderSeen | CallSpoken | SplitSeen
"""One thing that was learned: a tagged struct, for carriers between processes."""


def to_nobody(learned: Learned) -> None:
    """There are no other processes."""


class EditMemory:
    """The memories of all edits.

    tell  hears what this process has learned itself
    """

    def __init__(self, tell: Callable[[Learned], None] = to_nobody) -> None:
        self.tell = tell
        self.tools: Spellings = ToolSpellings()
        self.orders: Orders = ToolOrders()
        self.calls: Spoken = CallSpellings()
        self.splits: Splitter = Splits()

    def learn(self, learned: Learned) -> None:
        """Remember it, and tell the others if it was new."""
        if self.hear(learned):
            self.tell(learned)

    def hear(self, learned: Learned) -> bool:
        """Remember what another process has told. Whether it was new."""
        match learned:
            case ToolSpelled():
                return self.tools.remember(learned)
            case OrderSeen():
                return self.orders.remember(learned)
            case CallSpoken():
                return self.calls.remember(learned)
            case SplitSeen():
                return self.splits.remember(learned)
