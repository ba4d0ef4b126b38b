"""One case as text for people to review: its chunks, its identities, and what each wire would be sent.

Run as a script it prints all cases: the tests compare that with their own view, under another hash seed.
"""

import hashlib
import json

from cases import caching, spelling, talk, work
from cases.building import LINE
from support import GPT, MODELS, Seen, lane, resolve, see

from tokenrouter.adapters.inbound.openai_chat import OpenAIChatGrammar
from tokenrouter.errors import GatewayError
from tokenrouter.pipeline.canonicalizer import canonical_bytes, parse_strict

CASES: dict[str, bytes] = {**talk.CASES, **work.CASES, **caching.CASES, **spelling.CASES}
_GRAMMAR = OpenAIChatGrammar()
_SECRET_HEADERS = ("authorization", "x-api-key")


def body_of(name: str, model: str = GPT) -> bytes:
    """The case's body, addressed to `model`."""
    return CASES[name].replace(b"@MODEL@", model.encode())


def identities(name: str) -> dict[str, object] | None:
    """Both identities under a fixed tenant and seed; None where the case is refused."""
    try:
        seen = see(body_of(name))
    except GatewayError:
        return None
    return {"answer": seen.answer().hex(), "root": seen.root().hex(), "prefix": [link.hex() for link in seen.chain()]}


def show(name: str) -> str:
    """Everything about one case."""
    lines = [f"case: {name}", "", "request", _text(CASES[name])]
    try:
        seen = see(body_of(name))
    except GatewayError as error:
        return "\n".join((*lines, "", f"refused: {error.code}, param {error.param}", error.message, ""))
    lines += ["", *_chunks(seen), ""]
    said = identities(name)
    lines += ["identities", f"  answer {said['answer']}", f"  root   {said['root']}", *(f"  prefix {link}" for link in said["prefix"])]
    for model in MODELS:
        lines += ["", *_sent(name, model)]
    return "\n".join((*lines, ""))


def _chunks(seen: Seen) -> list[str]:
    lines = ["fields", f"  prompt {_text(seen.canonical.prompt_bytes)}", f"  answer {_text(seen.canonical.answer_bytes)}"]
    for piece in seen.canonical.chunks():
        reading = piece.reading
        raw = seen.envelope.tools[piece.index] if piece.kind == "tool" else seen.envelope.messages[piece.index]
        facts = [f"{reading.tokens} tokens", f"{reading.blocks} blocks"]
        facts += [f"mark {mark.spelling} part {mark.part} {mark.lifetime_s} s" for mark in reading.marks]
        facts += [word for word, said in (("stateful", reading.stateful), ("not markable", not reading.markable)) if said]
        facts += [f"volatile {line}" for line in reading.volatile]
        lines += [f"{piece.kind} {piece.index}: {', '.join(facts)}", *_canonical(bytes(raw), tool=piece.kind == "tool")]
    return lines


def _canonical(raw: bytes, *, tool: bool) -> list[str]:
    value = parse_strict(raw, depth=2)
    shape = _GRAMMAR.tool_shape if tool else _GRAMMAR.message_shape
    facts = _GRAMMAR.read_tool(value) if tool else _GRAMMAR.read_message(value)
    prefix, answer = canonical_bytes(value, shape), canonical_bytes(facts.answer_value, shape)
    return [f"  {_text(prefix)}"] + ([f"  answer form {_text(answer)}"] if answer != prefix else [])


def _sent(name: str, model: str) -> list[str]:
    head = f"to {resolve(model).model.vendor}/{model}"
    body = body_of(name, model)
    try:
        opened = lane(see(body), model)
    except GatewayError as error:
        return [head, f"  refused: {error.code}, param {error.param}", f"  {error.message}"]
    sent = opened.outgoing
    headers = ", ".join(f"{key}: {value}" for key, value in sent.headers if key not in _SECRET_HEADERS)
    lines = [f"{head} {sent.path}", f"  headers {headers}", f"  edits   {', '.join(sent.edits) or 'none'}"]
    lines += [f"  dropped {', '.join(sent.dropped)}"] if sent.dropped else []
    return [*lines, "  body    the very bytes that came" if sent.body is body else f"  body    {_text(sent.body)}"]


def _text(data: bytes) -> str:
    """Readable; repeated filler as a count, what is no text as hex."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return f"hex {data.hex()}"
    line = json.dumps(LINE)[1:-1]
    parts = text.split(line)
    out, run = [parts[0]], 0
    for part in parts[1:]:
        run += 1
        if part:
            out += [f"«filler × {run}»", part]
            run = 0
    text = "".join(out) + (f"«filler × {run}»" if run else "")
    return text.replace("\r", "␍").replace("\u007f", "␡")


if __name__ == "__main__":
    everything = {name: [hashlib.sha256(show(name).encode()).hexdigest(), identities(name)] for name in CASES}
    print(json.dumps(everything, indent=0))
