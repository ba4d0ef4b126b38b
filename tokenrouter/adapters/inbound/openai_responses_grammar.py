"""What the insides of a Responses request mean: items, tools and top-level fields, as far as the gateway relies on them.

Source: openai-python 3.52 `types/responses/response_create_params.py`, `response_input_item_param.py` and their neighbours.
"""

from collections.abc import Mapping, Sequence
from typing import cast

import msgspec

from tokenrouter.adapters.inbound.cache_writing import cache_writing
from tokenrouter.adapters.inbound.client_sessions import field_session
from tokenrouter.adapters.inbound.openai_responses_namespaces import flat_name
from tokenrouter.adapters.wire.openai_responses_tools import dearest, fee_of
from tokenrouter.errors import InvalidRequest
from tokenrouter.model.chunk import Mark, Shape
from tokenrouter.model.envelope import CallSaid, ParamFacts, PieceFacts
from tokenrouter.model.volatile import Volatile, piece_without_lines

DIRECTIVES = frozenset(("cache_control", "prompt_cache_breakpoint"))
"""Cache marks."""

_Fields = Mapping[str, object]
_PART = Shape(directives=DIRECTIVES)
_ITEM = Shape(children={"content": _PART, "output": _PART, "summary": Shape()}, directives=DIRECTIVES)
_MESSAGE_ROLES = ("user", "assistant", "system", "developer")
_INSTRUCTING = ("system", "developer")
_LIFETIMES = {"5m": 300, "30m": 1800, "1h": 3600, "12h": 43_200}
_IMAGES = frozenset(("input_image", "computer_screenshot"))
_PLAIN_PARTS = frozenset(("input_text", "output_text", "refusal", "input_audio", "text", "summary_text", "reasoning_text"))

# Whose turn an item belongs to; an output's kind ends in "_output", and whatever else the vendor's side made is the model's.
_TOOL_SIDE = frozenset(("mcp_approval_response", "program_output"))
_CLIENT_SIDE = {"additional_tools": "developer", "configuration_update": "developer", "compaction_trigger": "user"}
_CLOSED = frozenset(("message", "function_call", "custom_tool_call", "function_call_output", "custom_tool_call_output", "reasoning"))
"""Items that say everything themselves. All others refer to what only the provider holds, or are not known here."""

_BRINGS_TOOLS = frozenset(("additional_tools", "tool_search_output"))
_STANDS_FOR = {"reasoning": "encrypted_content", "compaction": "encrypted_content", "image_generation_call": "result"}
"""Items that stand for what is stored under their id where the member that holds them is missing."""

_BARE = frozenset(("type", "id", "status"))
_BOOKKEEPING = frozenset(("id", "status"))
_RESULTS = frozenset(("function_call_output", "custom_tool_call_output"))
_NAMING = frozenset(("call_id", "id", "status"))
_PAYLOAD = frozenset(("arguments", "parameters", "annotations", "tools"))
_OBJECT_IDS = frozenset(("file_id", "file_ids", "container_id", "vector_store_ids"))
"""Members that name something in the provider's account, beside stored answers and their items."""

# Top-level fields that change neither prompt nor answer: transport, bookkeeping, cache steering.
_NOT_HASHED = frozenset(
    (
        *("model", "stream", "stream_options", "user", "safety_identifier", "metadata", "client_metadata"),
        *("prompt_cache_key", "prompt_cache_options", "prompt_cache_retention"),
    )
)
_SIDE = ("metadata", "prompt_cache_options", "prompt_cache_retention", "stream_options")
# Fields that are rendered in front of the input, or that invalidate a prompt cache (OpenAI's caching guide).
_IN_PROMPT = frozenset(("text", "parallel_tool_calls", "reasoning", "service_tier"))
# Documented defaults: sending one is the same as sending nothing.
_DEFAULTS: _Fields = {
    "temperature": 1,
    "top_p": 1,
    "top_logprobs": 0,
    "store": True,
    "background": False,
    "truncation": "disabled",
    "text": {"format": {"type": "text"}},
    "include": [],
}
_NUMBERS = frozenset(("temperature", "top_p"))
# Objects in the provider's account, which tenants share; work that goes on when nobody waits for it.
_UNSERVED = ("conversation", "prompt", "container", "file_ids")


class ResponsesGrammar:
    """See `Grammar`. The input's items are its messages; `instructions` stand apart. A text alone is a user's message."""

    places = ("instructions", "input", "tools")
    argument_text = True
    system_shape = Shape()
    message_shape = _ITEM
    tool_shape = Shape(children={"format": Shape()}, directives=DIRECTIVES)
    params_shape = Shape(children={"text": Shape(children={"format": Shape()}), "reasoning": Shape()})

    def read_system(self, value: object) -> PieceFacts:
        """See `Grammar`. Instructions are a string, which can carry no mark."""
        if not isinstance(value, str):
            raise InvalidRequest("instructions must be a string")
        return PieceFacts(role="system", answer_value=value, markable=False, texts=(value,))

    def read_message(self, value: object) -> PieceFacts:
        """See `Grammar`. Only what the gateway relies on is checked; the rest is the vendor's to judge."""
        if isinstance(value, str):
            return PieceFacts(role="user", answer_value={"type": "message", "role": "user", "content": value}, markable=bool(value))
        if not isinstance(value, dict):
            raise InvalidRequest("an item of input must be an object")
        kind = kind_of(value)
        role = _role(kind, value)
        parts = [*_parts(value, "content"), *_parts(value, "output")]
        marks = _marks_of(value, -1, "") + [mark for i, part in enumerate(parts) for mark in _marks_of(part, i, _list_name(value))]
        texts = _texts(value, parts) if role in _INSTRUCTING else []
        return PieceFacts(
            role=role,
            answer_value=_equivalent(value) if kind == "message" else value,
            blocks=max(1, len(parts)),
            images=sum(part.get("type") in _IMAGES for part in parts),
            opaque_bytes=sum(map(_media_bytes, parts)),
            marks=tuple(marks),
            markable=role != "assistant" and kind in _CLOSED and _can_carry(value, parts),
            stateful=kind not in _CLOSED or any(map(_is_stateful, parts)) or state_of(kind, value) != "",
            object_id=any(part.get("file_id") is not None for part in parts) or (kind not in _CLOSED and _names_object(value)),
            state=state_of(kind, value),
            fee=dearest(value.get("tools")) if kind in _BRINGS_TOOLS else 0,
            texts=tuple(texts),
            calls=(_call(value, kind == "custom_tool_call"),) if kind in ("function_call", "custom_tool_call") else (),
            answers=(_string(value, "call_id"),) if kind in _RESULTS else (),
            bare={name: inner for name, inner in value.items() if name not in _NAMING} if kind in _RESULTS else None,
            signed=kind == "reasoning" and bool(value.get("encrypted_content")),
            prompt_value=_prompted(kind, value),
            part_ends=tuple([i for i, part in enumerate(parts[:-1]) if part.get("text") != ""]) if kind == "message" and role != "assistant" else (),
        )

    def read_tool(self, value: object) -> PieceFacts:
        """See `Grammar`. Tools that the vendor runs itself make an answer depend on more than the request."""
        if not isinstance(value, dict) or not isinstance(value.get("type"), str):
            raise InvalidRequest("a tool must be an object with a type")
        kind, name = value["type"], value.get("name")
        if kind in ("function", "custom") and not (isinstance(name, str) and name):
            raise InvalidRequest(f"a {kind} tool needs a name", param="name")
        return PieceFacts(
            role="tool definition",
            answer_value=value,
            name=name if isinstance(name, str) else kind,
            marks=tuple(_marks_of(value, -1, "")),
            stateful=kind not in ("function", "custom", "namespace") or fee_of(value) != 0,
            fee=fee_of(value),
        )

    def without_lines(self, value: object, lines: Sequence[Volatile]) -> object:
        """See `Grammar`."""
        return piece_without_lines(value, lines)

    def read_params(self, fields: Mapping[str, object]) -> ParamFacts:
        """See `Grammar`."""
        model = fields.get("model")
        if not isinstance(model, str) or not 0 < len(model) <= 256:
            raise InvalidRequest("model must be a string of 1 to 256 characters", param="model")
        for name in ("user", "safety_identifier", "prompt_cache_key", "previous_response_id"):
            if not isinstance(fields.get(name), str | None):
                raise InvalidRequest(f"{name} must be a string", param=name)
        temperature, background = _number(fields, "temperature"), _flag(fields, "background")
        present = {name: _plain(name, value) for name, value in fields.items() if value is not None and name not in _NOT_HASHED}
        state, store = str(fields.get("previous_response_id") or ""), fields.get("store")
        if not isinstance(store, bool | None):
            raise InvalidRequest("store must be true or false", param="store")
        unserved = next((name for name in _UNSERVED if fields.get(name) is not None), "background" if background else _compared(fields))
        return ParamFacts(
            model=model,
            stream=_flag(fields, "stream"),
            include_usage=True,
            max_output=_count(fields, "max_output_tokens"),
            choices=1,
            deterministic=temperature == 0,
            stateful=bool(state or unserved),
            own_affinity=fields.get("prompt_cache_key") is not None,
            cache_writing=cache_writing(fields.get("prompt_cache_options")),
            service_tier=str(fields.get("service_tier") or ""),
            unserved=unserved,
            state=state,
            stores=store is not False,
            most_uses=_count(fields, "max_tool_calls"),
            user=str(fields.get("safety_identifier") or fields.get("user") or ""),
            session=field_session(fields),
            prompt_value={name: value for name, value in present.items() if name in _IN_PROMPT},
            answer_value={name: value for name, value in present.items() if not _is_default(name, value)},
            side_value={name: fields[name] for name in _SIDE if fields.get(name) is not None},
        )


def _call(item: _Fields, custom: bool) -> CallSaid:
    name = flat_name(_string(item, "namespace"), _string(item, "name"))
    return CallSaid(_string(item, "call_id"), name, _string(item, "input" if custom else "arguments"), custom)


def kind_of(item: _Fields) -> str:
    """An item's type; without one it is a message if it has a role, else a reference."""
    kind = item.get("type")
    if kind is None:
        return "item_reference" if "id" in item and "role" not in item else "message"
    if not isinstance(kind, str):
        raise InvalidRequest("type must be a string", param="type")
    return kind


def _role(kind: str, item: _Fields) -> str:
    if kind == "message":
        role = item.get("role")
        if role not in _MESSAGE_ROLES:
            said = msgspec.json.encode(role).decode()[:80]
            raise InvalidRequest(f"unknown role {said}; one of {', '.join(_MESSAGE_ROLES)}", param="role")
        if item.get("content") is None:
            raise InvalidRequest("a message needs content: a string or an array of parts", param="content")
        return str(role)
    if kind in _CLIENT_SIDE:
        return _CLIENT_SIDE[kind]
    return "tool" if kind.endswith("_output") or kind in _TOOL_SIDE else "assistant"


def _list_name(item: _Fields) -> str:
    return "content" if item.get("content") is not None else "output"


def _parts(item: _Fields, name: str) -> list[dict[str, object]]:
    """The parts of a message or of a tool's output. Other items have members of these names with other things in them."""
    value = item.get(name)
    kind = kind_of(item)
    if value is None or isinstance(value, str) or kind not in _CLOSED:
        return []
    if not isinstance(value, list):
        raise InvalidRequest(f"{name} must be a string or an array of parts", param=name)
    for index, part in enumerate(value):
        if not isinstance(part, dict) or not isinstance(part.get("type"), str):
            raise InvalidRequest("a content part must be an object with a type", param=f"{name}[{index}]")
    return cast("list[dict[str, object]]", value)


def _texts(item: _Fields, parts: list[dict[str, object]]) -> list[str]:
    content = item.get("content")
    return [content] if isinstance(content, str) else [text for part in parts if isinstance(text := part.get("text"), str)]


def _marks_of(piece: _Fields, part: int, name: str) -> list[Mark]:
    marks = []
    for spelling, kind, word in (("cache_control", "type", "ephemeral"), ("prompt_cache_breakpoint", "mode", "explicit")):
        value = piece.get(spelling)
        if value is None:
            continue
        place = spelling if part < 0 else f"{name}[{part}].{spelling}"
        if not isinstance(value, dict) or value.get(kind) != word:
            raise InvalidRequest(f'a cache mark is {{"{kind}": "{word}"}}', param=place)
        ttl = value.get("ttl")
        if ttl is not None and not (isinstance(ttl, str) and ttl in _LIFETIMES):
            raise InvalidRequest(f"unknown lifetime; one of {', '.join(_LIFETIMES)}", param=f"{place}.ttl")
        marks.append(Mark(part, _LIFETIMES[ttl] if ttl else 0, spelling))
    return marks


def _can_carry(item: _Fields, parts: list[dict[str, object]]) -> bool:
    """There is something at the end of it that a mark could sit on."""
    if parts:
        return parts[-1].get("text") != ""
    return bool(item.get("content") or item.get("output"))


def _is_stateful(part: _Fields) -> bool:
    """Refers to what only the provider holds, to a URL whose content may change, or to something not known here."""
    match part.get("type"):
        case kind if kind in _PLAIN_PARTS:
            return False
        case "input_image":
            return part.get("file_id") is not None or _string(part, "image_url")[:5] != "data:"
        case "input_file":
            return part.get("file_id") is not None or part.get("file_url") is not None
        case _:
            return True


def _media_bytes(part: _Fields) -> int:
    return len(_string(part, "image_url")) if part.get("type") in _IMAGES else 0


def state_of(kind: str, item: _Fields) -> str:
    """The id of what is stored at the provider, for a reference and for an item that does not say itself what it stands for."""
    if kind == "mcp_approval_response":
        return _string(item, "approval_request_id")
    stands_for = kind == "item_reference" or (kind in _STANDS_FOR and not item.get(_STANDS_FOR[kind]))
    return _string(item, "id") if stands_for or (kind not in _CLOSED and _BARE.issuperset(item)) else ""


def _names_object(value: object) -> bool:
    """Whether an object in the provider's account is named anywhere inside. What a tool's arguments hold is the client's own business."""
    if isinstance(value, list):
        return any(map(_names_object, value))
    if not isinstance(value, dict):
        return False
    return any((name in _OBJECT_IDS and inner is not None) or (name not in _PAYLOAD and _names_object(inner)) for name, inner in value.items())


def _string(fields: _Fields, name: str) -> str:
    value = fields.get(name)
    return value if isinstance(value, str) else ""


def _prompted(kind: str, item: dict[str, object]) -> object:
    """What of an item is prompt: its own id and status are the books' alone, where the item says everything itself. Clients invent such ids
    per conversation (Codex: for each message of its prompt).
    """
    if kind not in _CLOSED or _BOOKKEEPING.isdisjoint(item) or state_of(kind, item):
        return None
    return {name: inner for name, inner in item.items() if name not in _BOOKKEEPING}


def _equivalent(message: dict[str, object]) -> dict[str, object]:
    """The same message for the answer identity: a part of input text alone is a string, and the type is spelled out."""
    same = {**message, "type": "message"}
    content = message.get("content")
    single = content[0] if isinstance(content, list) and len(content) == 1 else None
    if isinstance(single, dict) and single.get("type") == "input_text" and not set(single) - {"type", "text"} - DIRECTIVES:
        same["content"] = single.get("text")
    return same


def _compared(fields: _Fields) -> str:
    """A response that another one is compared with is an object in the provider's account too."""
    options = fields.get("prompt_cache_options")
    compared = isinstance(options, dict) and options.get("comparison_response_id") is not None
    return "prompt_cache_options.comparison_response_id" if compared else ""


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


def _number(fields: _Fields, name: str) -> float | None:
    value = fields.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | msgspec.Raw):
        raise InvalidRequest(f"{name} must be a number", param=name)
    return float(bytes(value)) if isinstance(value, msgspec.Raw) else value


def _flag(fields: _Fields, name: str) -> bool:
    value = fields.get(name)
    if value is not None and not isinstance(value, bool):
        raise InvalidRequest(f"{name} must be true or false", param=name)
    return bool(value)


def _count(fields: _Fields, name: str) -> int | None:
    value = fields.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 1 << 31:
        raise InvalidRequest(f"{name} must be a whole number above 0", param=name)
    return value
