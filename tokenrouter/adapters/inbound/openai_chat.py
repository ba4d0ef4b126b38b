"""OpenAI Chat Completions, spoken by a client: reading requests from outside, and errors in its words.

Source: openai-python 3.52 `types/chat/completion_create_params.py` and the API reference on errors.
"""

from collections.abc import Mapping, Sequence

import msgspec

from tokenrouter.adapters.base import Wanted
from tokenrouter.adapters.inbound.cache_writing import cache_writing
from tokenrouter.adapters.inbound.client_sessions import field_session
from tokenrouter.adapters.inbound.openai_chat_open import open_chat
from tokenrouter.adapters.json_body import read_extension, read_fields, read_list
from tokenrouter.adapters.wire.openai_chat import ChatEventDecoder, ChatEventEncoder, decode_answer, encode_answer
from tokenrouter.errors import BudgetExhausted, GatewayError, InvalidRequest, QuotaExhausted
from tokenrouter.model.answer import Answer
from tokenrouter.model.chunk import Mark, Shape
from tokenrouter.model.conversation import Conversation
from tokenrouter.model.envelope import NOTHING, CallSaid, Envelope, Operation, ParamFacts, PieceFacts
from tokenrouter.model.volatile import Volatile, piece_without_lines

MAX_MESSAGES = 10_000
"""More would keep the event loop for longer than other callers should wait."""

_NULL = msgspec.Raw(b"null")
_NO_EXTENSIONS: Mapping[str, object] = {}
_DIRECTIVES = frozenset(("cache_control", "prompt_cache_breakpoint"))
_LEAF = Shape(directives=_DIRECTIVES)
_MESSAGE = Shape(
    children={
        "content": Shape(children={"image_url": _LEAF, "input_audio": _LEAF, "file": _LEAF}, directives=_DIRECTIVES),
        "tool_calls": Shape(children={"function": _LEAF, "custom": _LEAF}),
        "function_call": _LEAF,
        "audio": _LEAF,
    },
    directives=_DIRECTIVES,
)
_TOOL = Shape(children={"function": Shape(directives=_DIRECTIVES), "custom": Shape(directives=_DIRECTIVES)}, directives=_DIRECTIVES)

_ROLES = frozenset(("system", "developer", "user", "assistant", "tool", "function"))
_ASKING = frozenset(("user", "system", "developer"))
_PLAIN_ROLES = ("user", "assistant", "system", "developer")
_LIFETIMES = {"5m": 300, "30m": 1800, "1h": 3600, "12h": 43_200}

# Members that the SDKs send as null or empty when they echo an answer back; both mean absent there.
_ECHOED = frozenset(("name", "refusal", "tool_calls", "function_call", "audio", "annotations", "content", "tool_call_id"))

# Top-level fields that change neither prompt nor answer: transport, bookkeeping, cache steering.
_NOT_HASHED = frozenset(
    (
        *("model", "stream", "stream_options", "user", "safety_identifier", "metadata"),
        *("prompt_cache_key", "prompt_cache_options", "prompt_cache_retention"),
    )
)
# Of these, the ones with a form that a provider may refuse; the others are plain strings and checked here.
_SIDE = ("metadata", "prompt_cache_options", "prompt_cache_retention", "stream_options")
# Fields that providers render in front of the messages, or that invalidate their prompt caches (OpenAI's caching guide).
_IN_PROMPT = frozenset(("response_format", "parallel_tool_calls", "reasoning_effort", "verbosity", "service_tier", "functions"))
# Documented defaults: sending one is the same as sending nothing.
_DEFAULTS: dict[str, object] = {
    "temperature": 1,
    "top_p": 1,
    "n": 1,
    "presence_penalty": 0,
    "frequency_penalty": 0,
    "logprobs": False,
    "store": False,
    "response_format": {"type": "text"},
    "modalities": ["text"],
}
_NUMBERS = frozenset(("temperature", "top_p", "presence_penalty", "frequency_penalty"))
_STATE = frozenset(("web_search_options", "conversation", "previous_response_id", "container", "file_ids"))


# Objects in the provider's account, which tenants share; searches, plugins, other models and speech, whose price nobody here knows.
_UNSERVED = (
    *("conversation", "previous_response_id", "container", "file_ids"),
    *("web_search_options", "plugins", "models", "route", "audio"),
)


class OpenAIChatGrammar:
    """What the insides of a Chat Completions request mean; see `Grammar`."""

    places = ("messages", "messages", "tools")
    argument_text = True
    system_shape = _MESSAGE
    message_shape = _MESSAGE
    tool_shape = _TOOL
    params_shape = Shape(children={"response_format": Shape(children={"json_schema": Shape()})})

    def read_message(self, value: object) -> PieceFacts:
        """See `Grammar`. Only what the gateway relies on is checked; the rest is the vendor's to judge."""
        if not isinstance(value, dict):
            raise InvalidRequest("a message must be an object")
        role, content = value.get("role"), value.get("content")
        if type(content) is str and content and len(value) == 2 and role in _PLAIN_ROLES:  # nearly every new message of a conversation
            return PieceFacts(role=role, answer_value=value, texts=(content,) if role in ("system", "developer") else ())
        if not isinstance(role, str) or role not in _ROLES:
            said = msgspec.json.encode(role).decode()[:80]
            raise InvalidRequest(f"unknown role {said}; one of {', '.join(sorted(_ROLES))}", param="role")
        calls = value.get("tool_calls") or []
        if not isinstance(calls, list) or not all(isinstance(call, dict) for call in calls):
            raise InvalidRequest("tool_calls must be an array of objects", param="tool_calls")
        if content is None and role not in ("assistant", "function"):
            raise InvalidRequest(f"a {role} message needs content: a string or an array of parts", param="content")
        parts = _parts(content)
        marks = _marks_of(value, -1) + [mark for i, part in enumerate(parts) for mark in _marks_of(part, i)]
        stateful = any(map(_is_stateful, parts)) or isinstance(value.get("audio"), dict)
        texts = [content] if isinstance(content, str) else [t for part in parts if isinstance(t := part.get("text"), str)]
        return PieceFacts(
            role=role,
            answer_value=_equivalent(value),
            blocks=max(1, (1 if isinstance(content, str) else len(parts)) + len(calls)),
            images=sum(part.get("type") == "image_url" for part in parts),
            opaque_bytes=sum(map(_image_bytes, parts)),
            marks=tuple(marks),
            markable=bool(calls) or (bool(content) and (isinstance(content, str) or parts[-1].get("text") != "")),
            stateful=stateful,
            object_id=any(map(_is_object_id, parts)) or isinstance(value.get("audio"), dict),
            texts=tuple(texts) if role in ("system", "developer") else (),
            calls=tuple(map(_call, calls)),
            answers=(_string(value, "tool_call_id"),) if role == "tool" else (),
            bare={name: inner for name, inner in value.items() if name != "tool_call_id"} if role == "tool" else None,
            signed=_is_signed(value.get("reasoning_details")),
            part_ends=tuple([i for i, part in enumerate(parts[:-1]) if part.get("text") != ""]) if role in _ASKING else (),
        )

    def read_system(self, value: object) -> PieceFacts:
        """See `Grammar`. Here the system prompt is a message like others."""
        return self.read_message(value)

    def read_tool(self, value: object) -> PieceFacts:
        """See `Grammar`. Tools that the vendor runs itself make an answer depend on more than the request."""
        if not isinstance(value, dict):
            raise InvalidRequest("a tool must be an object")
        kind = value.get("type")
        inner = value.get(kind) if kind in ("function", "custom") else None
        if kind in ("function", "custom") and not (isinstance(inner, dict) and isinstance(inner.get("name"), str) and inner["name"]):
            raise InvalidRequest(f"a {kind} tool needs {kind}.name", param=f"{kind}.name")
        name = inner["name"] if isinstance(inner, dict) else kind if isinstance(kind, str) else ""
        marks = _marks_of(value, -1) + (_marks_of(inner, -1) if isinstance(inner, dict) else [])
        return PieceFacts(role="tool definition", answer_value=value, name=name, marks=tuple(marks), stateful=inner is None)

    def without_lines(self, value: object, lines: Sequence[Volatile]) -> object:
        """See `Grammar`."""
        return piece_without_lines(value, lines)

    def read_params(self, fields: Mapping[str, object]) -> ParamFacts:
        """See `Grammar`."""
        model = fields.get("model")
        if not isinstance(model, str) or not 0 < len(model) <= 256:
            raise InvalidRequest("model must be a string of 1 to 256 characters", param="model")
        options = fields.get("stream_options")
        if options is not None and not isinstance(options, dict):
            raise InvalidRequest("stream_options must be an object", param="stream_options")
        temperature = _number(fields, "temperature")
        present = {name: _plain(name, value) for name, value in fields.items() if value is not None and name not in _NOT_HASHED}
        for name in ("user", "safety_identifier", "prompt_cache_key"):
            if not isinstance(fields.get(name), str | None):
                raise InvalidRequest(f"{name} must be a string", param=name)
        return ParamFacts(
            model=model,
            stream=_flag(fields, "stream"),
            include_usage=_flag(options, "include_usage", "stream_options.") if options else False,
            max_output=max(_count(fields, "max_completion_tokens") or 0, _count(fields, "max_tokens") or 0) or None,
            choices=_count(fields, "n") or 1,
            deterministic=temperature == 0 or fields.get("seed") is not None,
            stateful=any(fields.get(name) is not None for name in _STATE),
            own_affinity=fields.get("prompt_cache_key") is not None,
            cache_writing=cache_writing(fields.get("prompt_cache_options")),
            service_tier=str(fields.get("service_tier") or ""),
            unserved=next((name for name in _UNSERVED if fields.get(name) is not None), "modalities" if _wants_audio(fields) else ""),
            user=str(fields.get("safety_identifier") or fields.get("user") or ""),
            session=field_session(fields),
            prompt_value={name: value for name, value in present.items() if name in _IN_PROMPT},
            answer_value={name: value for name, value in present.items() if not _is_default(name, value)},
            side_value={name: fields[name] for name in _SIDE if fields.get(name) is not None},
        )


def _string(fields: Mapping[str, object], name: str) -> str:
    value = fields.get(name)
    return value if isinstance(value, str) else ""


def _call(call: Mapping[str, object]) -> CallSaid:
    custom = call.get("type") == "custom"
    inner = call.get("custom" if custom else "function")
    fields: Mapping[str, object] = inner if isinstance(inner, dict) else {}
    return CallSaid(_string(call, "id"), _string(fields, "name"), _string(fields, "input" if custom else "arguments"), custom)


def _is_signed(details: object) -> bool:
    """Whether there is reasoning in a form that only its vendor can check."""
    listed = details if isinstance(details, list) else []
    return any(isinstance(detail, dict) and bool(detail.get("signature") or detail.get("data")) for detail in listed)


def _parts(content: object) -> list[dict[str, object]]:
    if content is None or isinstance(content, str):
        return []
    if not isinstance(content, list):
        raise InvalidRequest("content must be a string, null or an array of parts", param="content")
    for index, part in enumerate(content):
        if not isinstance(part, dict) or not isinstance(part.get("type"), str):
            raise InvalidRequest("a content part must be an object with a type", param=f"content[{index}]")
    return content


def _marks_of(piece: Mapping[str, object], part: int) -> list[Mark]:
    marks = []
    for spelling, kind, word in (("cache_control", "type", "ephemeral"), ("prompt_cache_breakpoint", "mode", "explicit")):
        value = piece.get(spelling)
        if value is None:
            continue
        place = spelling if part < 0 else f"content[{part}].{spelling}"
        if not isinstance(value, dict) or value.get(kind) != word:
            raise InvalidRequest(f'a cache mark is {{"{kind}": "{word}"}}', param=place)
        ttl = value.get("ttl")
        if ttl is not None and not (isinstance(ttl, str) and ttl in _LIFETIMES):
            raise InvalidRequest(f"unknown lifetime; one of {', '.join(_LIFETIMES)}", param=f"{place}.ttl")
        marks.append(Mark(part, _LIFETIMES[ttl] if ttl else 0, spelling))
    return marks


def _is_stateful(part: Mapping[str, object]) -> bool:
    """Refers to what only the provider holds, to a URL whose content may change, or to something not known here."""
    match part.get("type"):
        case "text" | "refusal" | "input_audio":
            return False
        case "image_url":
            return _url(part)[:5] != "data:"
        case "file":
            file = part.get("file")
            return not isinstance(file, dict) or file.get("file_id") is not None
        case _:
            return True


def _is_object_id(part: Mapping[str, object]) -> bool:
    file = part.get("file")
    return isinstance(file, dict) and file.get("file_id") is not None


def _wants_audio(fields: Mapping[str, object]) -> bool:
    modalities = fields.get("modalities")
    return isinstance(modalities, list) and "audio" in modalities


def _url(part: Mapping[str, object]) -> str:
    image = part.get("image_url")
    url = image.get("url") if isinstance(image, dict) else image
    return url if isinstance(url, str) else ""


def _image_bytes(part: Mapping[str, object]) -> int:
    return len(_url(part)) if part.get("type") == "image_url" else 0


def _equivalent(message: dict[str, object]) -> dict[str, object]:
    """The same message for the answer identity: one text part is a string, an echoed null or empty list is nothing."""
    content = message.get("content")
    single = content[0] if isinstance(content, list) and len(content) == 1 else None
    is_text = isinstance(single, dict) and single.get("type") == "text" and not set(single) - {"type", "text"} - _DIRECTIVES
    if not is_text and not any(message[name] in (None, []) for name in _ECHOED & message.keys()):
        return message
    same = {name: value for name, value in message.items() if not (name in _ECHOED and value in (None, []))}
    if isinstance(single, dict) and is_text:
        same["content"] = single["text"]
    return same


def _is_default(name: str, value: object) -> bool:
    """`True` is no 1 and 0 no `False` here: a vendor refuses them, and that refusal is nobody else's answer."""
    if name not in _DEFAULTS:
        return False
    default = _DEFAULTS[name]
    return isinstance(value, bool) == isinstance(default, bool) and value == default


def _plain(name: str, value: object) -> object:
    """Sampling numbers by value: 0 and 0.0 ask for the same."""
    if name in _NUMBERS and isinstance(value, msgspec.Raw):
        number = float(bytes(value))
        return int(number) if number.is_integer() else number
    return value


def _number(fields: Mapping[str, object], name: str) -> float | None:
    value = fields.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | msgspec.Raw):
        raise InvalidRequest(f"{name} must be a number", param=name)
    return float(bytes(value)) if isinstance(value, msgspec.Raw) else value


def _flag(fields: Mapping[str, object], name: str, path: str = "") -> bool:
    value = fields.get(name)
    if value is not None and not isinstance(value, bool):
        raise InvalidRequest(f"{path}{name} must be true or false", param=path + name)
    return bool(value)


def _count(fields: Mapping[str, object], name: str) -> int | None:
    value = fields.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 1 << 31:
        raise InvalidRequest(f"{name} must be a whole number above 0", param=name)
    return value


class OpenAIChat:
    """The dialect of `POST /v1/chat/completions`; see `InboundAdapter`."""

    dialect = "openai-chat"
    operation: Operation = "generate"
    headers: frozenset[str] = frozenset()
    field_names: Mapping[str, str] = {}
    grammar = OpenAIChatGrammar()

    def parse(self, body: bytes, outside: Mapping[str, str] = NOTHING) -> Envelope:
        """See `InboundAdapter`."""
        fields = read_fields(body)
        extensions = {name: fields.pop(name) for name in [name for name in fields if name.startswith("x-")]}
        if "messages" not in fields:
            raise InvalidRequest("messages is missing", param="messages")
        messages = read_list(fields["messages"], "messages")
        if not 0 < len(messages) <= MAX_MESSAGES:
            raise InvalidRequest(f"messages must hold 1 to {MAX_MESSAGES} messages, not {len(messages)}", param="messages")
        tools = fields.get("tools")
        return Envelope(
            dialect=self.dialect,
            grammar=self.grammar,
            body=body,
            fields=fields,
            messages=messages,
            tools=() if tools is None or tools == _NULL else read_list(tools, "tools"),
            rest=tuple([name for name in fields if name not in ("messages", "tools")]),
            extensions={name: read_extension(name, raw) for name, raw in extensions.items()} if extensions else _NO_EXTENSIONS,
            outside=outside,
        )

    def open(self, envelope: Envelope, tool_order: tuple[int, ...] | None) -> Conversation:
        """See `InboundAdapter`."""
        tools = envelope.tools if tool_order is None else [envelope.tools[i] for i in tool_order]
        return open_chat(envelope.fields, envelope.messages, tools)

    def decode_answer(self, body: bytes) -> Answer:
        """See `InboundAdapter`."""
        return decode_answer(body)

    def decoder(self, framing: str = "") -> ChatEventDecoder:
        """See `InboundAdapter`."""
        return ChatEventDecoder()

    def encode_answer(self, answer: Answer, wanted: Wanted) -> bytes:
        """See `InboundAdapter`."""
        return encode_answer(answer)

    def encoder(self, wanted: Wanted) -> ChatEventEncoder:
        """See `InboundAdapter`."""
        return ChatEventEncoder(include_usage=wanted.include_usage, created_s=wanted.created_s)

    def stream_type(self, framing: str = "") -> bytes:
        """See `Dialect`."""
        return b"text/event-stream; charset=utf-8"

    def keep_alive(self, framing: str = "") -> bytes:
        """See `Dialect`."""
        return b": keep-alive\n\n"

    def encode_error(self, error: GatewayError, request_id: str = "") -> bytes:
        """See `InboundAdapter`."""
        return msgspec.json.encode({"error": error_fields(error)})

    def encode_stream_error(self, error: GatewayError, framing: str = "") -> bytes:
        """See `InboundAdapter`."""
        return b"data: " + msgspec.json.encode({"error": error_fields(error)}) + b"\n\n"


def error_fields(error: GatewayError) -> dict[str, object]:
    """What stands in `error` in the bodies of this vendor's APIs."""
    if isinstance(error, (QuotaExhausted, BudgetExhausted)):
        kind = "insufficient_quota"
    elif error.status == 429:
        kind = "rate_limit_error"
    elif error.status == 401:
        kind = "authentication_error"
    else:
        kind = "invalid_request_error" if error.status < 500 else "api_error"
    return {"message": error.message, "type": kind, "param": error.param, "code": error.code}
