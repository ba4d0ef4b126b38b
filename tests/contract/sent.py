"""What a simulated vendor received, and how to look for something in it."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from features import TURNS
from speaking import Json, at, objects, walk, words

from tokenrouter.sandbox.requests import Received


@dataclass(frozen=True)
class Sent:
    """What a simulated vendor received."""

    received: Received

    @property
    def raw(self) -> bytes:
        return self.received.body

    @cached_property
    def json(self) -> Json:
        return json.loads(self.raw)

    def at(self, path: str) -> Json:
        """The value at a dotted path."""
        return at(self.json, path)

    def all(self, key: str) -> list[Json]:
        """Every value under `key`."""
        return list(walk(self.json, key))

    @property
    def objects(self) -> list[dict[str, Json]]:
        return list(objects(self.json))

    @property
    def wire(self) -> str:
        """Which wire this was sent on, by its path."""
        path = self.received.path
        for end, wire in WIRES.items():
            if end in path:
                return wire
        raise AssertionError(f"no wire known for {path}")


WIRES = {
    "/chat/completions": "openai-chat",
    "/responses": "openai-responses",
    "/v1/messages": "anthropic-messages",
    "awPredict": "anthropic-messages",
    "enerateContent": "gemini-generate",
    "/converse": "bedrock-converse",
    "/api/chat": "ollama-chat",
    "/api/generate": "ollama-generate",
}
Found = Callable[[Sent], bool]


def texts(sent: Sent, items: Json, roles: tuple[str, ...], content: str = "content") -> list[str]:
    return [words(item.get(content)) for item in items or () if isinstance(item, dict) and item.get("role") in roles]


def same_turns(sent: Sent, items: Json, content: str = "content", model: str = "assistant") -> bool:
    said = [(item.get("role"), words(item.get(content))) for item in items or () if item.get("role") != "system"]
    return said == [(model if role == "assistant" else role, text) for role, text in TURNS]


def marked(sent: Sent, fields: tuple[str, ...], text: str, ttl: str | None = None) -> bool:
    """A mark stands on an object that begins with `text`."""
    for one in sent.objects:
        for field in fields:
            mark = one.get(field)
            if isinstance(mark, dict) and text in json.dumps(one)[:400] and (ttl is None or mark.get("ttl") == ttl):
                return True
    return False


def points(items: Json, holds: Callable[[Json], bool], ttl: str | None = None) -> bool:
    """A cachePoint stands right behind an element that `holds`."""
    for before, point in zip(items or (), (items or ())[1:], strict=False):
        if "cachePoint" in point and holds(before) and (ttl is None or point["cachePoint"].get("ttl") == ttl):
            return True
    return False


def told(said: list[str], pairs: tuple[tuple[bytes, str], ...]) -> bool:
    """Results in their order: the text itself, or the object that a client of a dialect with objects for results sent."""
    wanted = [result for _, result in pairs]
    return said == wanted or [text.replace(" ", "") for text in said] == [json.dumps({"output": one}).replace(" ", "") for one in wanted]
