"""What injectors work with: requests of a conversation, the places in them, and the judgement of a diagnosis."""

import copy
from dataclasses import dataclass

from desk import Asked
from talks import body, ends

STEP_S = 20


@dataclass
class Case:
    """`cause`, `place` (how the path begins; "" for none) and, where told, `kind`, `line` and the whole `path`."""

    asked: list
    cause: str
    place: str = ""
    kind: str | None = None
    line: int | None = None
    path: str | None = None
    sort_tools: bool = False
    name: str = ""


def asks(said, dialect, requests, **more):
    """A request for each body, at a steady pace."""
    return [Asked(dialect, request, 1000.0 + STEP_S * number, session=said.session, **more) for number, request in enumerate(requests)]


def bodies(said, dialect, rng, least=2):
    """The requests of a conversation up to some turn; each is its own copy."""
    stops = ends(said)
    last = rng.randint(least, len(stops) - 1)
    return [copy.deepcopy(body(said, dialect, upto)) for upto in stops[: last + 1]]


def listed(request):
    return request[next(name for name in ("messages", "input", "contents") if name in request)]


def messages_of(dialect):
    return {"openai-chat": "messages", "openai-responses": "input", "anthropic-messages": "messages", "gemini-generate": "contents"}[dialect]


def system_place(dialect):
    return {
        "openai-chat": "messages[0].content",
        "openai-responses": "instructions[0]",
        "anthropic-messages": "system[1].text",
        "gemini-generate": "systemInstruction.parts[0].text",
    }[dialect]


def system_of(request):
    if "instructions" in request:
        return request["instructions"]
    if "systemInstruction" in request:
        return request["systemInstruction"]["parts"][0]["text"]
    if "system" in request:
        return request["system"][-1]["text"]
    return request["messages"][0]["content"]


def set_system(request, text):
    if "instructions" in request:
        request["instructions"] = text
    elif "systemInstruction" in request:
        request["systemInstruction"]["parts"][0]["text"] = text
    elif "system" in request:
        request["system"][-1]["text"] = text
    else:
        request["messages"][0]["content"] = text


def tool_inside(tool):
    """The object that holds a tool's name, and the name of the member that holds its schema; and the path to it."""
    if "functionDeclarations" in tool:
        return tool["functionDeclarations"][0], "parameters", ""
    if "function" in tool:
        return tool["function"], "parameters", ".function"
    return tool, "input_schema" if "input_schema" in tool else "parameters", ""


def texts_of(message):
    """(holder, key) of every text in a message."""
    found = []
    for name in ("content", "output"):
        if isinstance(message.get(name), str):
            found.append((message, name))
    for block in message.get("content") if isinstance(message.get("content"), list) else message.get("parts", []):
        if isinstance(block.get("text"), str):
            found.append((block, "text"))
        if isinstance(block.get("content"), str):
            found.append((block, "content"))
        if "functionResponse" in block:
            found.append((block["functionResponse"]["response"], "output"))
    return found


def verdict(found, wanted):
    """What is wrong with a diagnosis; "" where it is right."""
    if found is None:
        return f"nothing found, {wanted.cause} at {wanted.place} was there"
    if found.cause != wanted.cause:
        return f"{found.cause} at {found.path}, not {wanted.cause} at {wanted.place}"
    if wanted.place and not (found.path + ".").replace("[", ".[").startswith((wanted.place + ".").replace("[", ".[")):
        return f"{found.cause} at {found.path}, not at {wanted.place}"
    if wanted.path is not None and found.path != wanted.path:
        return f"{found.cause} at {found.path}, not at {wanted.path}"
    if wanted.line is not None and found.line != wanted.line:
        return f"{found.cause} in line {found.line}, not {wanted.line}"
    kinds = (wanted.kind,) if isinstance(wanted.kind, str) else wanted.kind
    if kinds is not None and found.kind not in kinds:
        return f"{found.cause} of kind {found.kind!r}, not {kinds}"
    return ""
