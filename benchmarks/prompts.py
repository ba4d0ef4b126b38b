"""Requests with words in them, made of the workloads' pieces: bodies of the vendors' own APIs, damages that clients do to them, and fixed markings.

A piece is known by its digest: the same digest always becomes the same text. Tools and opening text come first; behind them user and assistant
take turns, as tool calls and their results where there are tools. The newest piece is always the user's.
"""

import json
import random
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from benchmarks.vendor_cache import Ask

Body = dict[str, Any]  # JSON
Damage = Callable[[Body, random.Random, float], None]
_WORDS = [
    "amber",
    "bridge",
    "candle",
    "dragon",
    "ember",
    "forest",
    "garden",
    "harbor",
    "island",
    "jungle",
    "kettle",
    "lantern",
    "meadow",
    "nectar",
    "orchard",
    "pepper",
    "quartz",
    "river",
    "stone",
    "timber",
]
_BYTES_PER_TOKEN = 4


@lru_cache(maxsize=50_000)
def text(digest: bytes, tokens: int) -> str:
    """Words for a piece: `tokens` of them by the simulator's count."""
    chance = random.Random(digest)
    size = tokens * _BYTES_PER_TOKEN
    found = f"{digest.hex()[:12]} "
    while len(found) < size:
        found += " ".join(chance.choices(_WORDS, k=48)) + ". "
    return found[: max(size, 14)]


def _tool(digest: bytes, tokens: int) -> Body:
    name = f"tool_{digest.hex()[:10]}"
    words = {word: {"type": "string", "description": f"The {word} that is meant, word for word."} for word in ("subject", "place", "order")}
    schema = {"type": "object", "properties": words, "required": ["subject"]}
    rest = tokens - (len(json.dumps({"name": name, "description": "", "input_schema": schema})) // _BYTES_PER_TOKEN)
    return {"name": name, "description": text(digest, max(rest, 8)), "input_schema": schema}


def messages_body(ask: Ask, model: str) -> Body:
    """A request of Anthropic's Messages API. Pieces that need calls name the first tool."""
    pieces = list(zip(ask.links, ask.tokens, strict=True))
    tools = [_tool(digest, tokens) for digest, tokens in pieces[: ask.tools]]
    system = [{"type": "text", "text": text(digest, tokens)} for digest, tokens in pieces[ask.tools : ask.tools + ask.opening]]
    turns: list[Body] = []
    rest = pieces[ask.tools + ask.opening :]
    for index, (digest, tokens) in enumerate(rest):
        words, call = text(digest, tokens), f"toolu_{rest[index - 1][0].hex()[:16]}"
        if index % 2 and index < len(rest) - 1:
            given = {"subject": words, "place": "here", "limit": 5, "deep": {"b": 1, "a": True}}
            own = f"toolu_{digest.hex()[:16]}"
            content: list[Body] = (
                [{"type": "tool_use", "id": own, "name": tools[0]["name"], "input": given}] if tools else [{"type": "text", "text": words}]
            )
            turns.append({"role": "assistant", "content": content})
        elif tools and index % 2 == 0 and index:
            turns.append({"role": "user", "content": [{"type": "tool_result", "tool_use_id": call, "content": words}]})
        else:
            turns.append({"role": "user", "content": [{"type": "text", "text": words}]})
    body: Body = {"model": model, "max_tokens": 32, "messages": turns}
    if system:
        body["system"] = system
    if tools:
        body["tools"] = tools
    return body


def chat_body(ask: Ask, model: str) -> Body:
    """The same as Chat Completions have it."""
    given = messages_body(ask, model)
    messages: list[Body] = [{"role": "system", "content": [dict(part) for part in given.get("system", ())]}] if given.get("system") else []
    for turn in given["messages"]:
        part = turn["content"][0]
        match part["type"]:
            case "tool_use":
                function = {"name": part["name"], "arguments": json.dumps(part["input"])}
                messages.append({"role": "assistant", "content": None, "tool_calls": [{"id": part["id"], "type": "function", "function": function}]})
            case "tool_result":
                messages.append({"role": "tool", "tool_call_id": part["tool_use_id"], "content": part["content"]})
            case _:
                messages.append({"role": turn["role"], "content": part["text"]})
    tools = [
        {"type": "function", "function": {"name": tool["name"], "description": tool["description"], "parameters": tool["input_schema"]}}
        for tool in given.get("tools", ())
    ]
    return {"model": model, "max_completion_tokens": 32, "messages": messages, **({"tools": tools} if tools else {})}


def gemini_body(ask: Ask, model: str) -> Body:
    """The same as Gemini's API has it, words only."""
    given = messages_body(Ask(ask.at_s, ask.links[ask.tools :], ask.tokens[ask.tools :], 0, ask.opening), model)
    contents = [
        {"role": "model" if turn["role"] == "assistant" else "user", "parts": [{"text": turn["content"][0]["text"]}]} for turn in given["messages"]
    ]
    declared = [
        {"name": tool["name"], "description": tool["description"], "parameters": tool["input_schema"]}
        for tool in messages_body(ask, model).get("tools", ())
    ]
    body: Body = {"contents": contents}
    if given.get("system"):
        body["systemInstruction"] = {"parts": [{"text": part["text"]} for part in given["system"]]}
    if declared:
        body["tools"] = [{"functionDeclarations": declared}]
    return body


# What clients do to their own prefixes. Each changes a body in place; `chance` is new for every request, so nothing stays as it was.


def _reordered(value: object, chance: random.Random) -> object:
    if isinstance(value, dict):
        names = list(value)
        chance.shuffle(names)
        return {name: _reordered(value[name], chance) for name in names}
    return [_reordered(each, chance) for each in value] if isinstance(value, list) else value


def _tool_lists(body: Body) -> list[list[Body]]:
    tools = body.get("tools", [])
    return [one["functionDeclarations"] for one in tools if "functionDeclarations" in one] or ([tools] if tools else [])


def shuffled(body: Body, chance: random.Random, at_s: float) -> None:
    """Tools in another order."""
    for tools in _tool_lists(body):
        chance.shuffle(tools)


def unordered_schemas(body: Body, chance: random.Random, at_s: float) -> None:
    """Keys of schemas in another order, as clients with unordered maps send them."""
    for tools in _tool_lists(body):
        for tool in tools:
            place = tool.get("function", tool)
            for name in ("input_schema", "parameters"):
                if name in place:
                    place[name] = _reordered(place[name], chance)


def new_call_ids(body: Body, chance: random.Random, at_s: float) -> None:
    """Other ids for the same calls, and arguments with their keys in another order."""
    made: dict[str, str] = {}
    for turn in body.get("messages", ()):
        for call in turn.get("tool_calls") or ():
            call["id"] = made.setdefault(call["id"], f"call_{chance.getrandbits(64):016x}")
            call["function"]["arguments"] = json.dumps(_reordered(json.loads(call["function"]["arguments"]), chance))
        if "tool_call_id" in turn:
            turn["tool_call_id"] = made[turn["tool_call_id"]]
        for part in turn["content"] if isinstance(turn["content"], list) else ():
            if part["type"] == "tool_use":
                part["id"] = made.setdefault(part["id"], f"toolu_{chance.getrandbits(64):016x}")
                part["input"] = _reordered(part["input"], chance)
            elif part["type"] == "tool_result":
                part["tool_use_id"] = made[part["tool_use_id"]]


def restless(body: Body, chance: random.Random, at_s: float) -> None:
    """All of it."""
    for damage in (shuffled, unordered_schemas, new_call_ids):
        damage(body, chance, at_s)


def unordered(body: Body, chance: random.Random, at_s: float) -> None:
    """Schemas only."""
    unordered_schemas(body, chance, at_s)


def _system_texts(body: Body) -> list[Body]:
    if "systemInstruction" in body:
        found: list[Body] = body["systemInstruction"]["parts"]
        return found
    if isinstance(body.get("system"), list):
        return list(body["system"])
    first = body["messages"][0]
    return list(first["content"]) if first["role"] == "system" and isinstance(first["content"], list) else []


def clock_at_tail(body: Body, chance: random.Random, at_s: float) -> None:
    """The time, to the second, at the end of the system text."""
    for part in _system_texts(body)[-1:]:
        part["text"] += f"\nThe current time is {_time(at_s)}."


def clock_inside(body: Body, chance: random.Random, at_s: float) -> None:
    """The time in the middle of the system text."""
    for part in _system_texts(body)[:1]:
        half = part["text"].find(". ", len(part["text"]) // 2) + 2
        part["text"] = f"{part['text'][:half]}The current time is {_time(at_s)}. {part['text'][half:]}"


def request_id_first(body: Body, chance: random.Random, at_s: float) -> None:
    """A request's id in front of everything."""
    for part in _system_texts(body)[:1]:
        part["text"] = f"Request {chance.getrandbits(64):016x}.\n{part['text']}"


def user_line(body: Body, chance: random.Random, at_s: float) -> None:
    """Who asks, at the end of the system text: one of nine users."""
    for part in _system_texts(body)[-1:]:
        part["text"] += f"\nYou are talking to user number {chance.randint(1, 9)} of this shop."


def one_message(body: Body, chance: random.Random, at_s: float) -> None:
    """What a user says in several messages in a row is one message in several parts."""
    turns: list[Body] = []
    for turn in body["messages"]:
        if turns and turn["role"] == turns[-1]["role"] == "user":
            both = [
                each["content"] if isinstance(each["content"], list) else [{"type": "text", "text": each["content"]}] for each in (turns[-1], turn)
            ]
            turns[-1]["content"] = both[0] + both[1]
        else:
            turns.append(turn)
    body["messages"] = turns


def _time(at_s: float) -> str:
    seconds = int(at_s)
    return f"2026-03-{1 + seconds // 86400:02d} {seconds // 3600 % 24:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


# Fixed markings, as a client or a proxy may set them.


def _ends(body: Body) -> list[Body]:
    """Parts of the conversation that may carry a mark, in order."""
    found: list[Body] = []
    for turn in body["messages"]:
        if turn["role"] == "system":
            continue
        if isinstance(turn["content"], str):
            turn["content"] = [{"type": "text", "text": turn["content"]}]
        if turn["content"]:
            found.append(turn["content"][-1])
    return found


def _system_end(body: Body) -> list[Body]:
    return _system_texts(body)[-1:]


def _mark(parts: list[Body], spelling: str, value: Body) -> None:
    for part in parts:
        part[spelling] = value


def marked(body: Body, policy: str) -> None:
    """A fixed marking on a request, by its name. "never" marks nothing; on gpt-5.6 and later it turns the automatic write off."""
    breakpoints = "max_completion_tokens" in body
    spelling = "prompt_cache_breakpoint" if breakpoints else "cache_control"
    short: Body = {"mode": "explicit"} if breakpoints else {"type": "ephemeral"}
    if breakpoints and policy != "implicit":
        body["prompt_cache_options"] = {"mode": "explicit"}
    if policy in ("never", "implicit"):
        return
    if policy == "automatic":
        body["cache_control"] = short
        return
    ends = _ends(body)
    match policy:
        case "end" | "end-5m":
            _mark(ends[-1:], spelling, short)
        case "end-1h":
            _mark(ends[-1:], spelling, {**short, "ttl": "1h"})
        case "spread-4":
            last = len(ends) - 1
            _mark([ends[place] for place in sorted({last, last * 3 // 4, last // 2, last // 4})], spelling, short)
        case "layout":
            _mark([] if breakpoints else body.get("tools", [])[-1:], spelling, short)
            _mark(_system_end(body), spelling, short)
            _mark(ends[-1:] + ends[-3:-2], spelling, short)
        case _:
            raise ValueError(f"no such marking: {policy}")
