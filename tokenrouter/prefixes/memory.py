"""Everything that a process remembers of prompts, in one place: what `serving/sighting.py` works with.

Processes tell each other what they learn, as bytes (`tell`, `hear`). Nothing that one tenant teaches is visible to another.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Protocol

import msgspec

from tokenrouter.model.breaks import Break
from tokenrouter.model.cache_plan import PromptCacheLimits
from tokenrouter.prefixes.attribution import Attribution
from tokenrouter.prefixes.calls import CallSpoken
from tokenrouter.prefixes.edit_memory import EditMemory, Learned
from tokenrouter.prefixes.forest import Forest
from tokenrouter.prefixes.looks import Lesson
from tokenrouter.prefixes.premiums import Allowance, Books
from tokenrouter.prefixes.sessions import Limits, Sessions
from tokenrouter.prefixes.spellings import ToolSpelled
from tokenrouter.prefixes.splits import SplitSeen
from tokenrouter.prefixes.tool_order import OrderSeen
from tokenrouter.prefixes.volatile import Slots

_MOST_BREAKS: Final = 2_000
_MOST_MODELS: Final = 1_000
_LESSONS = msgspec.msgpack.Decoder(ToolSpelled | OrderSeen | CallSpoken | SplitSeen | Lesson)
_encode = msgspec.msgpack.encode


class SharedLessons(Protocol):
    """How processes tell each other what they learn. What is lost costs savings only."""

    def tell(self, lesson: bytes) -> None:
        """Let the others know, soon. Never fails."""
        ...

    def listen(self, hear: Callable[[bytes], None]) -> None:
        """`hear` is given what the others tell from here on, each once. It may raise msgspec.MsgspecError."""
        ...


class PromptMemory:
    """See the module.

    forest       prefixes by scope, and what of them the vendors are believed to hold
    books        what our marks have cost and brought, by tenant and model
    edits        first spellings, orders and splits
    sessions     the last requests of conversations
    slots        texts that differ from request to request
    attribution  what would have been without the gateway
    """

    def __init__(
        self,
        limits_of: Callable[[str], PromptCacheLimits],
        *,
        shared: SharedLessons | None = None,
        keep_text: bool = True,
        allowance: Allowance | None = None,
    ) -> None:
        """`limits_of`: of a model, by `vendor/name`. `keep_text`: of conversations' last requests. `shared`: the way to others."""
        self._limits_of, self._shared = limits_of, shared
        self._limits: dict[str, PromptCacheLimits] = {}
        self.forest = Forest()
        self.books = Books()
        self.allowance = allowance or Allowance()
        self.edits = EditMemory(self._tell_edit)
        self.sessions = Sessions(Limits(keep_text=keep_text))
        self.slots = Slots()
        self.attribution = Attribution()
        self._breaks: OrderedDict[str, Break] = OrderedDict()
        if shared is not None:
            shared.listen(self.hear)

    def teach(self, lesson: Lesson) -> None:
        """Let the other processes know what an answer taught."""
        if self._shared is not None:
            self._shared.tell(_encode(lesson))

    def hear(self, lesson: bytes) -> None:
        """Take in what another process has learned. Raises msgspec.MsgspecError for what is no lesson."""
        heard = _LESSONS.decode(lesson)
        if isinstance(heard, Lesson):
            self.forest.of(heard.scope, self._limits_for(heard.scope.model)).hear(heard)
        else:
            self.edits.hear(heard)

    def keep_break(self, found: Break) -> None:
        """Remember a broken prefix for those who ask."""
        self._breaks[found.request_id] = found
        if len(self._breaks) > _MOST_BREAKS:
            self._breaks.popitem(last=False)

    def break_details(self, request_id: str) -> dict[str, object] | None:
        """What broke the prefix of a request, for people; None where this process does not know (any more)."""
        found = self._breaks.get(request_id)
        return None if found is None else msgspec.to_builtins(found)

    def slots_of(self, tenant: str) -> list[dict[str, object]]:
        """Texts of a tenant's prompts that differ from request to request, the dearest first, for people."""
        return [{**msgspec.to_builtins(slot), "template": slot.template} for slot in self.slots.report(tenant)]

    def _limits_for(self, model: str) -> PromptCacheLimits:
        found = self._limits.get(model)
        if found is None:
            if len(self._limits) >= _MOST_MODELS:
                self._limits.clear()
            found = self._limits[model] = self._limits_of(model)
        return found

    def _tell_edit(self, learned: Learned) -> None:
        if self._shared is not None:
            self._shared.tell(_encode(learned))
