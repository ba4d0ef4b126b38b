"""What the service keeps of answers that may be stored: for `previous_response_id`, for references to items, and for reading them again.

Source: https://developers.openai.com/api/reference/resources/responses.
"""

from collections import OrderedDict
from collections.abc import Iterator

import msgspec

from tokenrouter.sandbox.wire import JsonObject, Refusal


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """One stored answer. `input`: everything that led to it, earlier turns included; `output`: its own items."""

    document: JsonObject
    input: tuple[JsonObject, ...]
    output: tuple[JsonObject, ...]


class Store:
    """The newest answers of all accounts; what was kept longest goes first."""

    __slots__ = ("_capacity", "_items", "_kept", "_thought_of")

    def __init__(self, capacity: int = 10_000) -> None:
        self._capacity = capacity
        self._kept: OrderedDict[tuple[str, str], Kept] = OrderedDict()
        self._items: dict[str, dict[str, JsonObject]] = {}
        self._thought_of: dict[str, dict[str, str]] = {}

    def put(self, account: str, kept: Kept) -> None:
        """Keep an answer."""
        self._kept[account, str(kept.document["id"])] = kept
        for item, thought in _with_thoughts(kept.output):
            self._items.setdefault(account, {})[str(item["id"])] = item
            if thought:
                self._thought_of.setdefault(account, {})[str(item["id"])] = thought
        while len(self._kept) > self._capacity:
            (owner, name), _ = next(iter(self._kept.items()))
            self.drop(owner, name)

    def find(self, account: str, name: str) -> Kept | None:
        """A stored answer of this account."""
        return self._kept.get((account, name))

    def get(self, account: str, name: str) -> Kept:
        """A stored answer, or 404."""
        kept = self.find(account, name)
        if kept is None:
            raise Refusal(404, f"Response with id '{name}' not found.")
        return kept

    def drop(self, account: str, name: str) -> None:
        """Forget an answer and its items, or 404."""
        kept = self.get(account, name)
        del self._kept[account, name]
        for item in kept.output:
            self._items.get(account, {}).pop(str(item["id"]), None)
            self._thought_of.get(account, {}).pop(str(item["id"]), None)

    def item(self, account: str, name: str) -> JsonObject:
        """A stored item, or 404."""
        item = self._items.get(account, {}).get(name)
        if item is None:
            raise Refusal(
                404,
                f"Item with id '{name}' not found. Items are not persisted when `store` is set to false. "
                "Try again with `store` set to true, or remove this item from your input.",
                param="input",
            )
        return item

    def thought_of(self, account: str) -> dict[str, str]:
        """Stored items that came from a thought, by id, with the thought's id."""
        return self._thought_of.get(account, {})

    def clear(self) -> None:
        """Forget everything."""
        self._kept.clear()
        self._items.clear()
        self._thought_of.clear()


def _with_thoughts(output: tuple[JsonObject, ...]) -> Iterator[tuple[JsonObject, str]]:
    before = ""
    for item in output:
        yield item, before
        before = str(item["id"]) if item["type"] == "reasoning" else ""
