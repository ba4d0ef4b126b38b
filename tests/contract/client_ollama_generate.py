"""Ollama's `/api/generate` by hand: docs.ollama.com/api/generate. One prompt, no tools, no history."""

import json
from collections.abc import Mapping

import client_ollama as chat
from features import PNG, SYSTEM
from speaking import Client, Json, Seen, say

_SAME = ("temperature", "top_p", "top_k", "seed", "stop", "limit", "frequency_penalty", "presence_penalty")
SAYS = {
    **{name: chat.SAYS[name] for name in (*_SAME, "logprobs", "schema", "json_mode", "effort", "unknown")},
    "system": say(system=SYSTEM),
    "image": say("images", images=[PNG]),
}


def body(model: str, stream: bool) -> dict[str, Json]:
    plain: dict[str, Json] = {"model": model, "prompt": "hello"}
    return plain if stream else {**plain, "stream": False}


def asks(reasoning: bool) -> Mapping[str, Json]:
    return {"think": True} if reasoning else {}


def grow(fields: Mapping[str, Json], answer: bytes, results: Mapping[str, tuple[str, str]]) -> Mapping[str, Json]:
    raise AssertionError("a prompt has no turns: nobody may ask for a second one here")


def as_chat(piece: bytes) -> bytes:
    """One object in the chat's form."""
    said = json.loads(piece)
    if "error" in said:
        return piece
    message = {"role": "assistant", "content": said.pop("response"), "thinking": said.pop("thinking", "")}
    return json.dumps({**said, "message": message}).encode()


def whole(raw: bytes) -> Seen:
    return chat.whole(as_chat(raw))


def stream(raw: bytes) -> Seen:
    return chat.stream(b"\n".join(as_chat(line) for line in raw.split(b"\n") if line))


CLIENT = Client(
    "ollama-generate",
    lambda model, stream: "/api/generate",
    body,
    SAYS,
    asks,
    grow,
    whole,
    stream,
    lambda raw: raw,
    chat.error,
    frozenset(),
    content_type="application/x-ndjson",
    calls=False,
)
