"""Conversations of agents and chats, made from a seed, in the words of four dialects. Shares nothing with what is tested."""

import json
import random
from dataclasses import dataclass, field

WORDS = (  # noqa: SIM905
    "account agent allow answer archive array assign balance basket before branch budget build button cache call cancel carrier change check "
    "client close column commit compare config confirm copy create credit customer daily default delete deliver detail disk draft edit email "
    "empty entry error event export extend field file filter final folder format front gather group handle header history image import index "
    "input insert invoice item keep label large layer layout level limit line link list load local lock lookup main manage match member memory "
    "merge message method minor model module month move name network nothing notice number object offer office open option order output owner "
    "package page parse partner passenger path payment people person phone place plain plan point policy price print private process product "
    "profile project public query queue quick range rate read reason record refund region release remote remove rename repair replace reply "
    "report request reserve reset result return review route rule save scale schema search second secret section select send series server "
    "service session setting share ship short simple single sleep small socket sort source space split stable stage start state status step "
    "stock store stream string strong submit subject summary support switch system table target task team template test text thread ticket "
    "time title token tool topic total trace track travel tree trial type under union unit until update upper usage user value verify version "
    "view visit wait warning watch week window word work worker write year zone"
).split()
STANDARD = {"openai-chat": "gpt-4.1", "openai-responses": "gpt-4.1", "anthropic-messages": "claude-opus-4-8", "gemini-generate": "gemini-2.5-pro"}
DIALECTS = tuple(STANDARD)


def sentence(rng, least=5, most=16):
    said = " ".join(rng.choice(WORDS) for _ in range(rng.randint(least, most)))
    return said[0].upper() + said[1:] + "."


def paragraph(rng, sentences=3):
    return " ".join(sentence(rng) for _ in range(sentences))


def system_text(rng, lines):
    out = []
    for number in range(lines):
        style = rng.random()
        if style < 0.12:
            out.append(f"# {rng.choice(WORDS).title()} {rng.choice(WORDS)}")
        elif style < 0.5:
            out.append(f"- {sentence(rng)}")
        elif style < 0.6:
            out.append(f"{number + 1}. Never {sentence(rng).lower()}")
        else:
            out.append(paragraph(rng, rng.randint(1, 3)))
    return "\n".join(out)


def schema(rng):
    names = rng.sample(WORDS, rng.randint(2, 5))
    properties = {}
    for name in names:
        kind = rng.choice(["string", "integer", "boolean"])
        properties[name] = {"type": kind, "description": sentence(rng, 4, 9)}
        if kind == "string" and rng.random() < 0.3:
            properties[name]["enum"] = rng.sample(WORDS, 3)
    return {"type": "object", "properties": properties, "required": names[: rng.randint(1, len(names))]}


@dataclass
class Talk:
    """What is said, in no dialect: `turns` are ("user", text), ("assistant", text, calls), ("tool", id, name, text)."""

    seed: int
    system: str
    tools: list
    turns: list
    session: str = ""
    ids: list = field(default_factory=list)


def talk(seed, *, lines=40, tools=10, rounds=5, app=None, session=None):
    """`app`: seed of the tools and the system text; conversations of one app share it."""
    shared = random.Random(f"app {seed if app is None else app}")
    names = shared.sample(WORDS, tools)
    made = [{"name": f"{name}_{shared.choice(WORDS)}", "description": paragraph(shared, 2), "schema": schema(shared)} for name in names]
    system = system_text(shared, lines)
    rng = random.Random(f"talk {seed}")
    turns = []
    for _ in range(rounds):
        turns.append(("user", paragraph(rng, rng.randint(1, 4))))
        for _ in range(rng.randint(0, 2) if made else 0):
            calls = []
            for _ in range(rng.randint(1, 2)):
                tool = rng.choice(made)
                arguments = {name: rng.choice(WORDS) for name in tool["schema"]["required"]}
                calls.append((f"call_{rng.getrandbits(80):020x}", tool["name"], arguments))
            turns.append(("assistant", sentence(rng) if rng.random() < 0.4 else "", calls))
            for ident, name, _ in calls:
                turns.append(("tool", ident, name, "\n".join(paragraph(rng, 2) for _ in range(rng.randint(2, 8)))))
        turns.append(("assistant", paragraph(rng, rng.randint(1, 4)), []))
    turns.append(("user", paragraph(rng)))
    return Talk(seed, system, made, turns, f"s-{seed}" if session is None else session)


def ends(said):
    """How many turns each request of the conversation has: all before a turn of the model's."""
    return [index for index, turn in enumerate(said.turns) if turn[0] == "assistant"] + [len(said.turns)]


def body(said, dialect, upto):
    """The request with the first `upto` turns."""
    return {"openai-chat": chat, "openai-responses": responses, "anthropic-messages": messages, "gemini-generate": gemini}[dialect](said, upto)


def chat(said, upto):
    out = [{"role": "system", "content": said.system}]
    for turn in said.turns[:upto]:
        match turn:
            case ("user", text):
                out.append({"role": "user", "content": text})
            case ("assistant", text, calls):
                message = {"role": "assistant", "content": text or None}
                if calls:
                    message["tool_calls"] = [
                        {"id": i, "type": "function", "function": {"name": n, "arguments": json.dumps(a, separators=(",", ":"))}} for i, n, a in calls
                    ]
                out.append(message)
            case ("tool", ident, _, text):
                out.append({"role": "tool", "tool_call_id": ident, "content": text})
    tools = [{"type": "function", "function": {"name": t["name"], "description": t["description"], "parameters": t["schema"]}} for t in said.tools]
    return {"model": STANDARD["openai-chat"], "messages": out, "tools": tools, "stream": True}


def responses(said, upto):
    out = []
    for turn in said.turns[:upto]:
        match turn:
            case ("user", text):
                out.append({"role": "user", "content": [{"type": "input_text", "text": text}]})
            case ("assistant", text, calls):
                if text:
                    out.append({"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text, "annotations": []}]})
                out += [{"type": "function_call", "call_id": i, "name": n, "arguments": json.dumps(a)} for i, n, a in calls]
            case ("tool", ident, _, text):
                out.append({"type": "function_call_output", "call_id": ident, "output": text})
    tools = [{"type": "function", "name": t["name"], "description": t["description"], "parameters": t["schema"]} for t in said.tools]
    return {"model": STANDARD["openai-responses"], "instructions": said.system, "input": out, "tools": tools, "store": False}


def messages(said, upto):
    out = []
    for turn in said.turns[:upto]:
        match turn:
            case ("user", text):
                out.append({"role": "user", "content": text})
            case ("assistant", text, calls):
                blocks = [{"type": "text", "text": text}] if text else []
                out.append({"role": "assistant", "content": blocks + [{"type": "tool_use", "id": i, "name": n, "input": a} for i, n, a in calls]})
            case ("tool", ident, _, text):
                block = {"type": "tool_result", "tool_use_id": ident, "content": text}
                if out[-1]["role"] == "user" and isinstance(out[-1]["content"], list):
                    out[-1]["content"].append(block)
                else:
                    out.append({"role": "user", "content": [block]})
    tools = [{"name": t["name"], "description": t["description"], "input_schema": t["schema"]} for t in said.tools]
    system = [{"type": "text", "text": "You are a careful assistant."}, {"type": "text", "text": said.system}]
    return {"model": STANDARD["anthropic-messages"], "max_tokens": 1024, "system": system, "messages": out, "tools": tools}


def gemini(said, upto):
    out = []
    for turn in said.turns[:upto]:
        match turn:
            case ("user", text):
                out.append({"role": "user", "parts": [{"text": text}]})
            case ("assistant", text, calls):
                parts = [{"text": text}] if text else []
                out.append({"role": "model", "parts": parts + [{"functionCall": {"name": n, "args": a}} for _, n, a in calls]})
            case ("tool", _, name, text):
                part = {"functionResponse": {"name": name, "response": {"output": text}}}
                if out[-1]["role"] == "user":
                    out[-1]["parts"].append(part)
                else:
                    out.append({"role": "user", "parts": [part]})
    tools = [{"functionDeclarations": [{"name": t["name"], "description": t["description"], "parameters": t["schema"]}]} for t in said.tools]
    return {"contents": out, "systemInstruction": {"parts": [{"text": said.system}]}, "tools": tools}
