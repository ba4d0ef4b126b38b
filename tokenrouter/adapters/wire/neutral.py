"""Whole answers of the gateway's own small API: one message and what it took, in the words of Chat Completions.

    {"id", "created", "model", "message": {"role", "content", …}, "finish_reason", "usage": {"prompt_tokens", …}}

`usage` is left out where the provider told none. Streams are those of Chat Completions (`wire/openai_chat.py`).
"""

import msgspec

from tokenrouter.adapters.wire import openai_chat
from tokenrouter.adapters.wire.openai_chat_usage import usage_to_wire
from tokenrouter.adapters.wire.openai_chat_writer import completion_id, message_to_wire
from tokenrouter.adapters.wire.reading import unreadable
from tokenrouter.model.answer import Answer, Choice

_encode = msgspec.json.Encoder().encode
_NULL = msgspec.Raw(b"null")


class _Whole(msgspec.Struct):
    message: msgspec.Raw
    id: msgspec.Raw = _NULL
    created: msgspec.Raw = _NULL
    model: msgspec.Raw = _NULL
    finish_reason: msgspec.Raw = _NULL
    usage: msgspec.Raw = _NULL


_whole = msgspec.json.Decoder(_Whole)


def encode_answer(answer: Answer) -> bytes:
    """The body for an answer. The message may be put into the next request as it is."""
    choice = answer.choices[0] if answer.choices else Choice(())
    body: dict[str, object] = {
        "id": completion_id(answer.id),
        "created": answer.created_s,
        "model": answer.model,
        "message": message_to_wire(choice),
        "finish_reason": choice.stop,
    }
    usage = usage_to_wire(answer.usage)
    if usage is not None:
        body["usage"] = usage
    return _encode(body)


def decode_answer(body: bytes) -> Answer:
    """The way back. Raises UpstreamFailed where `body` is no such answer."""
    try:
        whole = _whole.decode(body)
    except (ValueError, RecursionError) as error:
        raise unreadable(body, "an answer of this API", error) from error
    choice = {"index": 0, "message": whole.message, "finish_reason": whole.finish_reason}
    return openai_chat.decode_answer(
        _encode({"id": whole.id, "created": whole.created, "model": whole.model, "choices": [choice], "usage": whole.usage})
    )
