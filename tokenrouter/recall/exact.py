"""Kept answers: bounded memory over a slower store, looked up by answer identity inside one tenant."""

from collections import OrderedDict
from typing import Literal, Protocol

import msgspec

from tokenrouter.clock import Clock
from tokenrouter.model.usage import Usage

AnswerForm = Literal["whole", "stream", "stream+usage"]


class KeptAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A complete, successful answer, as bytes of one dialect in one form.

    body         what the client of that form was sent, the closing frame of a stream left out
    cost         nano-USD it took to get: what each reuse saves
    """

    dialect: str
    form: AnswerForm
    body: bytes
    end: bytes
    usage: Usage
    cost: int
    vendor: str
    model: str
    sandbox: bool
    request_id: str
    kept_ns: int
    expires_ns: int

    @property
    def size(self) -> int:
        """Bytes it takes, roughly."""
        return len(self.body) + 512


class AnswerStore(Protocol):
    """Where answers are kept. Keys are (tenant, answer identity): the tenant is never only hashed in."""

    def get(self, tenant: str, identity: bytes) -> KeptAnswer | None:
        """What is at hand without waiting."""
        ...

    async def fetch(self, tenant: str, identity: bytes) -> KeptAnswer | None:
        """What takes a moment to get: asked after `get` found nothing."""
        ...

    def put(self, tenant: str, identity: bytes, answer: KeptAnswer) -> None:
        """Keep one; an earlier one is replaced."""
        ...


class MemoryAnswers:
    """`AnswerStore` in this process: least recently used go first when `max_bytes` are full."""

    def __init__(self, clock: Clock, max_bytes: int) -> None:
        self._clock = clock
        self._max = max_bytes
        self._held = 0
        self._answers: OrderedDict[tuple[str, bytes], KeptAnswer] = OrderedDict()

    def get(self, tenant: str, identity: bytes) -> KeptAnswer | None:
        """See `AnswerStore`."""
        key = (tenant, identity)
        answer = self._answers.get(key)
        if answer is None:
            return None
        if answer.expires_ns <= self._clock.time_ns():
            self._drop(key)
            return None
        self._answers.move_to_end(key)
        return answer

    async def fetch(self, tenant: str, identity: bytes) -> KeptAnswer | None:
        """See `AnswerStore`: memory has nothing slower."""
        return self.get(tenant, identity)

    def put(self, tenant: str, identity: bytes, answer: KeptAnswer) -> None:
        """See `AnswerStore`. An answer larger than an eighth of the room is not kept."""
        key = (tenant, identity)
        if answer.size > self._max // 8:
            return
        self._drop(key)
        self._answers[key] = answer
        self._held += answer.size
        while self._held > self._max:
            _, oldest = self._answers.popitem(last=False)
            self._held -= oldest.size

    def _drop(self, key: tuple[str, bytes]) -> None:
        old = self._answers.pop(key, None)
        if old is not None:
            self._held -= old.size

    @property
    def held_bytes(self) -> int:
        """Bytes held now."""
        return self._held
