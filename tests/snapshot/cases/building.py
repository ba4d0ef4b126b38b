"""How cases are written down: `@MODEL@` stands for the model, long texts are made by repeating one line."""

import json

LINE = "Handbook: answer from the documents given, name the section, say so when nothing fits, never guess a figure.\n"
MODEL = "@MODEL@"
PIXEL = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII="


def long(tokens: int) -> str:
    """Text of at least that many estimated tokens."""
    return LINE * -(-tokens * 4 // len(LINE))


def chat(*messages: dict, **fields: object) -> bytes:
    """A compact body: model, messages, then the fields as they are given."""
    request = {"model": MODEL, "messages": list(messages), **fields}
    return json.dumps(request, ensure_ascii=False, separators=(",", ":")).encode()


def system(content: object, **more: object) -> dict:
    return {"role": "system", "content": content, **more}


def user(content: object, **more: object) -> dict:
    return {"role": "user", "content": content, **more}


def says(content: object, **more: object) -> dict:
    return {"role": "assistant", "content": content, **more}


def text(words: str, **more: object) -> dict:
    return {"type": "text", "text": words, **more}


def call(call_id: str, name: str, arguments: str) -> dict:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def result(call_id: str, content: object, **more: object) -> dict:
    return {"role": "tool", "tool_call_id": call_id, "content": content, **more}


def tool(name: str, properties: dict | None = None, **more: object) -> dict:
    parameters = {"type": "object", "properties": properties or {"q": {"type": "string"}}, "required": sorted(properties or {"q": 0})}
    return {"type": "function", "function": {"name": name, "description": f"Runs {name}.", "parameters": parameters}, **more}
