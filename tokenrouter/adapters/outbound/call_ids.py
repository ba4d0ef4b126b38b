"""Ids of tool calls as a vendor takes them."""

import re
from hashlib import blake2b


class CallIds:
    """Ids unique in a conversation, the same for a call and its result, and the same in every turn.

    Some clients number the calls of each answer from zero: a repeated id is told apart by how often it stood before, and a result
    belongs to the first call of its id that has none yet.
    """

    def __init__(self, pattern: re.Pattern[str], prefix: str) -> None:
        """`pattern`: ids that the vendor takes; others become `prefix` and their hash."""
        self._pattern, self._prefix = pattern, prefix
        self._seen: dict[str, int] = {}
        self._open: dict[str, list[str]] = {}

    def of_call(self, call_id: str) -> str:
        """The id of the next call that the client calls so."""
        times = self._seen[call_id] = self._seen.get(call_id, 0) + 1
        wire_id = self._wire_id(call_id) if times == 1 else self._wire_id(f"{call_id} #{times}")
        self._open.setdefault(call_id, []).append(wire_id)
        return wire_id

    def of_result(self, call_id: str) -> str:
        """The id of the call that the next result answers."""
        waiting = self._open.get(call_id)
        return waiting.pop(0) if waiting else self._wire_id(call_id)

    def _wire_id(self, call_id: str) -> str:
        if self._pattern.fullmatch(call_id):
            return call_id
        return self._prefix + blake2b(call_id.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
