"""Kept answers in this process: least recently used go first."""

from collections import OrderedDict
from collections.abc import Callable

from tokenrouter.clock import Clock
from tokenrouter.model.kept import KeptAnswer, KeptTotals


class MemoryAnswers:
    """`AnswerStore` in this process: least recently used go first when `max_bytes` are full. `leaves` is told of those that go."""

    def __init__(self, clock: Clock, max_bytes: int, leaves: Callable[[str, bytes, KeptAnswer], None] | None = None) -> None:
        self._leaves = leaves
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
            (owner, name), oldest = self._answers.popitem(last=False)
            self._held -= oldest.size
            if self._leaves is not None:
                self._leaves(owner, name, oldest)

    def write_all(self) -> None:
        """Tell of every answer that is still good, as if it left."""
        now = self._clock.time_ns()
        for (tenant, identity), answer in self._answers.items():
            if self._leaves is not None and answer.expires_ns > now:
                self._leaves(tenant, identity, answer)

    async def totals(self, tenant: str = "") -> KeptTotals:
        """See `AnswerStore`."""
        now = self._clock.time_ns()
        sizes = [answer.size for (owner, _), answer in self._answers.items() if tenant in ("", owner) and answer.expires_ns > now]
        return KeptTotals(len(sizes), sum(sizes))

    async def purge(self, tenant: str, *, vendor: str = "", model: str = "", key_id: str = "") -> int:
        """See `AnswerStore`."""
        return len(self.forget(tenant, vendor, model, key_id))

    def forget(self, tenant: str, vendor: str, model: str, key_id: str) -> list[bytes]:
        """See `purge`; which."""
        gone = [
            identity
            for (owner, identity), answer in self._answers.items()
            if owner == tenant and vendor in ("", answer.vendor) and model in ("", answer.model) and key_id in ("", answer.key_id)
        ]
        for identity in gone:
            self._drop((tenant, identity))
        return gone

    @property
    def held(self) -> set[tuple[str, bytes]]:
        """Everything that is here."""
        return set(self._answers)

    def _drop(self, key: tuple[str, bytes]) -> None:
        old = self._answers.pop(key, None)
        if old is not None:
            self._held -= old.size

    @property
    def held_bytes(self) -> int:
        """Bytes held now."""
        return self._held
