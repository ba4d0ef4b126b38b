"""Clients that never say a thing twice in the same way: unordered maps, shuffled lists of tools, a new id for every call in every request."""

import json
import random
from typing import Any

from rig import Response, Rig, call

PATH = "/v1/messages"
MODEL = "claude-sonnet-5"
SYSTEM = "You look after a house of many rooms, and you say what you see. " * 90


def tool(name: str) -> dict[str, Any]:
    """A tool whose schema has a dozen objects with several keys each."""
    fields = {
        f"{name}_{field}": {"type": "string", "description": f"The {field} of what {name} is about."} for field in ("where", "when", "who", "why")
    }
    inner = {"type": "object", "description": "More of it.", "properties": fields, "required": sorted(fields)}
    room = {"type": "string", "description": "A room."}
    outer = {"type": "object", "properties": {"at": room, "more": inner}, "required": ["at"]}
    return {"name": name, "description": f"{name} does one thing in the house, and it does it well. " * 8, "input_schema": outer}


TOOLS = [tool(name) for name in ("walk", "look", "ask", "open", "close", "count")]


def shuffled(value: Any, rng: random.Random) -> Any:
    """The same value with the keys of its objects in another order, at every depth."""
    if isinstance(value, list):
        return [shuffled(item, rng) for item in value]
    if not isinstance(value, dict):
        return value
    names = list(value)
    rng.shuffle(names)
    return {name: shuffled(value[name], rng) for name in names}


class Shuffler:
    """An agent of the Messages API. It keeps what was said by value, and writes it anew in every request."""

    def __init__(self, rig: Rig, seed: int, *, key: str | None = None, tools: list[Any] | None = None, **headers: str) -> None:
        self.rig, self.rng, self.headers, self.key = rig, random.Random(seed), headers, key or rig.key
        self.tools = TOOLS if tools is None else tools
        self.turns: list[Any] = []
        self.usage: list[dict[str, int]] = []
        self.edits: list[str] = []

    async def say(self, words: str, calls: list[tuple[str, Any]] = (), *, stream: bool = False) -> Response:  # type: ignore[assignment]
        """One question; the model answers with `calls`, and the results follow in the next one."""
        from tokenrouter.sandbox.answers import Scripted, ToolCall

        self.turns.append(("user", words))
        script = [ToolCall(name, json.dumps(arguments)) for name, arguments in calls]
        self.rig.sandbox.script(Scripted(text="" if script else "Well.", calls=tuple(script)))
        response = await self._post(stream)
        self.turns.append(("assistant", [dict(block) for block in response.json["content"]] if not stream else None))
        return response

    async def _post(self, stream: bool) -> Response:
        body = {"model": MODEL, "max_tokens": 2_000, "system": SYSTEM, "tools": self._tools(), "messages": self._messages(), "stream": stream}
        headers = {"x-api-key": self.key, "anthropic-version": "2023-06-01", **self.headers}
        response = await call(self.rig.app, "POST", PATH, json.dumps(body).encode(), headers)
        assert response.status == 200, response.body
        self.usage.append(response.json["usage"])
        self.edits.append(response.headers["x-tokenrouter-edits"])
        return response

    def _tools(self) -> list[Any]:
        tools = [{**shuffled(one, self.rng)} for one in self.tools]
        self.rng.shuffle(tools)
        return tools

    def _messages(self) -> list[Any]:
        messages: list[Any] = []
        waiting: list[str] = []
        for role, said in self.turns:
            if role == "assistant":
                blocks, waiting = [], []
                for block in said:
                    if block["type"] == "tool_use":
                        waiting.append(f"toolu_{self.rng.getrandbits(64):016x}")
                        block = {**block, "id": waiting[-1], "input": shuffled(block["input"], self.rng)}
                    blocks.append(block)
                messages.append({"role": "assistant", "content": blocks})
            else:
                results = [{"type": "tool_result", "tool_use_id": one, "content": f"Seen: {said}"} for one in waiting]
                messages.append({"role": "user", "content": [*results, {"type": "text", "text": said}]})
        return messages

    async def run(self, turns: int) -> None:
        """A conversation in which every answer calls two tools."""
        for turn in range(turns):
            more = {"look_where": f"room {turn}", "look_who": "nobody", "look_when": "today"}
            await self.say(f"Turn {turn}: go on.", [("look", {"at": f"room {turn}", "more": more}), ("ask", {"at": "door", "loud": True, "n": 1.50})])


def totals(usage: dict[str, int]) -> int:
    return usage["input_tokens"] + usage["cache_read_input_tokens"] + usage["cache_creation_input_tokens"]


def cost(usage: list[dict[str, int]]) -> float:
    """What the input cost, of what it would have cost without any cache."""
    paid = sum(one["input_tokens"] + 0.1 * one["cache_read_input_tokens"] + 1.25 * one["cache_creation_input_tokens"] for one in usage)
    return paid / sum(map(totals, usage))
