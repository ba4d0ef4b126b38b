"""A text said behind a request that is ready to be sent, in the words of its dialect: the last thing that is done to a body.

Everything in front of it stays as it is, marks above all: the text comes behind them. A mark "at the end of the prompt" that the vendor
would set itself (Anthropic's top-level `cache_control`) moves onto the last block in front of the text, which is where it would have come to
stand without it. The client's own words are never changed; where a host takes a text for content and nothing else, the text follows them
behind an empty line.
"""

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from tokenrouter.adapters.outbound.splice import NULL, as_array, as_object, is_text, items, members, text, text_block
from tokenrouter.adapters.wire.gemini_layout import raw_items, spelled
from tokenrouter.model.volatile import Behind

_encode = msgspec.json.Encoder().encode
_Fields = dict[str, msgspec.Raw]
_MARK = "cache_control"
_INSTRUCTING = ("system", "developer")


def can_say_behind(dialect: str) -> bool:
    """Whether it is built for the native lane of a dialect."""
    return dialect in _DIALECTS


def with_behind(dialect: str, body: bytes, behind: Behind, *, parts_alike: bool) -> bytes:
    """The body with the text behind its newest message.

    parts_alike  a string and one text part render to the same prompt
    """
    fields = members(body)
    _DIALECTS[dialect](fields, behind, parts_alike)
    return as_object(fields)


def _chat(fields: _Fields, behind: Behind, parts_alike: bool) -> None:
    messages = items(fields["messages"])
    if behind.as_system:
        messages.append(_encode({"role": _instructor(messages, "system"), "content": behind.text}))
    elif _role(messages[-1]) != "user":
        messages.append(_encode({"role": "user", "content": behind.text}))
    else:
        messages[-1] = _said_after(messages[-1], behind.text, "text", parts_alike)
    fields["messages"] = msgspec.Raw(as_array(messages))


def _responses(fields: _Fields, behind: Behind, parts_alike: bool) -> None:
    came = fields["input"]
    said = [_encode({"role": "user", "content": came})] if is_text(came) else items(came)
    if behind.as_system:
        said.append(_encode({"role": _instructor(said, "developer"), "content": behind.text}))
    elif _role(said[-1]) != "user":
        said.append(_encode({"role": "user", "content": behind.text}))
    else:
        said[-1] = _said_after(said[-1], behind.text, "input_text", parts_alike)
    fields["input"] = msgspec.Raw(as_array(said))


def _messages(fields: _Fields, behind: Behind, parts_alike: bool) -> None:  # noqa: ARG001
    """A string is shorthand for one text block there, on every host."""
    messages = items(fields["messages"])
    newest = members(messages[-1])
    content = newest["content"]
    blocks = [text_block(content)] if is_text(content) else items(content)
    mark = fields.pop(_MARK, NULL)
    if mark != NULL and members(blocks[-1]).get(_MARK, NULL) == NULL:
        blocks[-1] = as_object({**members(blocks[-1]), _MARK: mark})
    if not behind.as_system:
        blocks.append(_part("text", behind.text))
    if mark != NULL or not behind.as_system:
        messages[-1] = as_object({**newest, "content": msgspec.Raw(as_array(blocks))})
    if behind.as_system:
        messages.append(_encode({"role": "system", "content": behind.text}))
    fields["messages"] = msgspec.Raw(as_array(messages))


def _contents(fields: _Fields, behind: Behind, parts_alike: bool) -> None:  # noqa: ARG001
    """Results and a user's words are contents of their own, as in a translated request."""
    name = spelled(fields)["contents"]
    contents = [bytes(raw) for raw in raw_items(fields[name], "contents")]
    newest = members(contents[-1])
    at = spelled(newest).get("parts", "parts")
    parts = [bytes(part) for part in raw_items(newest[at], "parts")]
    part = _encode({"text": behind.text})
    if any("functionResponse" in spelled(members(one)) for one in parts):
        contents.append(_encode({"role": "user", "parts": [msgspec.Raw(part)]}))
    else:
        contents[-1] = as_object({**newest, at: msgspec.Raw(as_array([*parts, part]))})
    fields[name] = msgspec.Raw(as_array(contents))


def _said_after(message: bytes, said: str, kind: str, parts_alike: bool) -> bytes:
    fields = members(message)
    content = fields["content"]
    if not is_text(content):
        new = as_array([*items(content), _part(kind, said)])
    elif parts_alike:
        new = as_array([_encode({"type": kind, "text": content}), _part(kind, said)])
    else:
        new = bytes(content)[:-1] + _encode(f"\n\n{said}")[1:]
    return as_object({**fields, "content": msgspec.Raw(new)})


def _part(kind: str, said: str) -> bytes:
    return _encode({"type": kind, "text": said})


def _role(message: bytes) -> str:
    role = members(message).get("role") if message[:1] == b"{" else None
    return text(role) if role is not None and is_text(role) else ""


def _instructor(messages: list[bytes], usual: str) -> str:
    """How the client calls who instructs: models take one of the two words in a request."""
    return next((role for message in messages if (role := _role(message)) in _INSTRUCTING), usual)


_DIALECTS: Final[Mapping[str, Callable[[_Fields, Behind, bool], None]]] = {
    "openai-chat": _chat,
    "openai-responses": _responses,
    "anthropic-messages": _messages,
    "gemini-generate": _contents,
}
