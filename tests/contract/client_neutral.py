"""The gateway's own small API, `POST /v1/chat`: the words of Chat Completions, fewer of them, and one message in the answer."""

import json
from collections.abc import Mapping

import client_openai_chat as chat
from speaking import Client, Json, Say, Seen

TAKEN = frozenset(
    (
        *("messages", "model", "stream", "temperature", "top_p", "max_tokens", "stop", "seed", "reasoning_effort"),
        *("tools", "tool_choice", "parallel_tool_calls", "response_format"),
    )
)


def renamed(fields: Mapping[str, Json]) -> dict[str, Json]:
    """The limit has its old name here."""
    return {"max_tokens" if name == "max_completion_tokens" else name: value for name, value in fields.items()}


def said(row: Say) -> Say:
    return Say(renamed(row.fields), tuple(renamed(dict.fromkeys(row.names))))


SAYS = {name: said(row) for name, row in chat.SAYS.items() if set(renamed(row.fields)) <= TAKEN or name == "unknown"}


def body(model: str, stream: bool) -> dict[str, Json]:
    plain: dict[str, Json] = {"model": model, "messages": [chat.HELLO]}
    return {**plain, "stream": True} if stream else plain


def asks(reasoning: bool) -> Mapping[str, Json]:
    return renamed(chat.asks(reasoning))


def as_chat(raw: bytes) -> bytes:
    """An answer in Chat's form."""
    answer = json.loads(raw)
    assert isinstance(answer["created"], int)
    choice = {"message": answer["message"], "finish_reason": answer["finish_reason"]}
    return json.dumps({"object": "chat.completion", "choices": [choice], "usage": answer.get("usage")}).encode()


def grow(fields: Mapping[str, Json], answer: bytes, results: Mapping[str, tuple[str, str]]) -> Mapping[str, Json]:
    return chat.grow(fields, answer if b'"choices"' in answer else as_chat(answer), results)


def whole(raw: bytes) -> Seen:
    return chat.whole(as_chat(raw))


CLIENT = Client(
    "neutral-chat", lambda model, stream: "/v1/chat", body, SAYS, asks, grow, whole, chat.stream, chat.put_together, chat.error, chat.TELLS
)
