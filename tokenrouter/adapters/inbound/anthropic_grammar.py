"""What the insides of a Messages request mean: blocks, marks, tools and top-level fields.

Only what the gateway relies on is checked; the rest is the vendor's to judge. Blocks that are not known here pass on the native lane and
make a request stateful. Cache marks inside a tool result count like any other (the SDK types them, and the vendor counts every
`cache_control` in a request toward its limit), so each takes one of the slots.

Parts of a message are counted without thinking blocks, which take no mark; cache plans count the same way.

Source: anthropic-python 2.11 `types/` and `types/beta/`; Anthropic's documentation of prompt caching, tool use and pricing.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import cast

import msgspec

from tokenrouter.adapters.inbound.client_sessions import user_session
from tokenrouter.adapters.wire.anthropic_tools import fee_of
from tokenrouter.errors import InvalidRequest, UnsupportedField
from tokenrouter.model.chunk import Mark, Shape
from tokenrouter.model.envelope import CallSaid, ParamFacts, PieceFacts
from tokenrouter.model.volatile import Volatile, piece_without_lines

THINKING = frozenset(("thinking", "redacted_thinking"))
_MARK = "cache_control"
_LIFETIMES = {"5m": 300, "1h": 3600}
_ROLES = frozenset(("user", "assistant", "system"))

_DIRECTIVES = frozenset((_MARK,))
_LEAF = Shape()
_INNER = Shape(children={"source": _LEAF, "citations": _LEAF}, directives=_DIRECTIVES)
_SOURCE = Shape(children={"content": _INNER})
_BLOCK = Shape(children={"source": _SOURCE, "content": Shape(children={"source": _SOURCE, "citations": _LEAF}, directives=_DIRECTIVES),
                         "citations": _LEAF, "caller": _LEAF}, directives=_DIRECTIVES)  # fmt: skip
_MESSAGE = Shape(children={"content": _BLOCK})

# Blocks that carry what they say and may carry a mark; `thinking` blocks carry no mark.
_PLAIN = frozenset(("text", "image", "document", "search_result", "tool_use", "tool_result"))
# Blocks of tools that the vendor runs, of what it keeps, or of its own housekeeping; these may carry a mark too.
_VENDOR_MARKABLE = frozenset(
    (
        *("server_tool_use", "web_search_tool_result", "web_fetch_tool_result", "code_execution_tool_result"),
        *("bash_code_execution_tool_result", "text_editor_code_execution_tool_result", "tool_search_tool_result"),
        *("mcp_tool_use", "mcp_tool_result", "advisor_tool_result", "container_upload", "compaction", "tool_addition", "tool_removal"),
    )
)

# Tools whose calls the client runs: they cost tokens only. The vendor runs the others that pass, which cost tokens only as well.
_CLIENT_RUN = ("bash_", "text_editor_", "computer_", "memory_", "browser_")

# Fields that change neither prompt nor answer: transport, bookkeeping, cache steering.
_NOT_HASHED = frozenset(("model", "stream", "metadata", _MARK))
# Of these, the ones with a form that the vendor may refuse.
_SIDE = ("metadata", _MARK)
# What is rendered in front of the messages, or invalidates their cache (the vendor's table "What invalidates the cache").
_IN_PROMPT = frozenset(
    (
        *("tool_choice", "thinking", "output_config", "speed", "context_management", "mcp_servers"),
        *("anthropic-beta", "anthropic-version", ":query"),
    )
)
# Documented defaults: sending one is the same as sending nothing.
_DEFAULTS: Mapping[str, object] = {"temperature": 1, "service_tier": "auto", "speed": "standard", "tool_choice": {"type": "auto"}}
_NUMBERS = frozenset(("temperature", "top_p"))
_STATE = ("diagnostics", "mcp_servers")
_SHARED = frozenset(("text", "image", "document"))
# Objects in the vendor's account, which tenants share, or whom it bills; other models and places, whose price nobody here knows.
_UNSERVED = ("container", "thread", "fallbacks", "fallback_credit_token")


class AnthropicGrammar:
    """See `Grammar`: requests for an answer."""

    places = ("system", "messages", "tools")
    argument_text = False
    system_shape = _BLOCK
    message_shape = _MESSAGE
    tool_shape = Shape(directives=_DIRECTIVES)
    params_shape = Shape(
        children={"thinking": _LEAF, "tool_choice": _LEAF, "output_config": Shape(children={"format": _LEAF}), "metadata": _LEAF},
    )

    def read_system(self, value: object) -> PieceFacts:
        """See `Grammar`. A system prompt that is a string is one piece."""
        if isinstance(value, str):
            return PieceFacts(role="system", answer_value=value, markable=bool(value), texts=(value,))
        block = _block(value, "")
        text = block.get("text")
        stateful, named = _owned(block)
        return PieceFacts(
            role="system",
            answer_value=text if _only_text(block) else block,
            marks=tuple(_marks(block, -1, "")),
            markable=_markable(block),
            stateful=stateful,
            object_id=named,
            texts=(text,) if isinstance(text, str) else (),
        )

    def read_message(self, value: object) -> PieceFacts:
        """See `Grammar`."""
        if not isinstance(value, dict):
            raise InvalidRequest("a message must be an object")
        role, content = value.get("role"), value.get("content")
        if not isinstance(role, str) or role not in _ROLES:
            said = msgspec.json.encode(role).decode()[:80]
            raise InvalidRequest(f"unknown role {said}; one of {', '.join(sorted(_ROLES))}", param="role")
        if isinstance(content, str):
            return PieceFacts(role=role, answer_value=value, markable=bool(content), texts=(content,) if role == "system" else ())
        if not isinstance(content, list):
            raise InvalidRequest(f"a {role} message needs content: a string or an array of blocks", param="content")
        blocks = [_block(item, f"content[{index}]") for index, item in enumerate(content)]
        facts = [_owned(block) for block in blocks]
        texts = [text for block in blocks if isinstance(text := block.get("text"), str)] if role == "system" else []
        answers = tuple([_string(block, "tool_use_id") for block in blocks if block["type"] == "tool_result"])
        return PieceFacts(
            role=role,
            answer_value={**value, "content": blocks[0]["text"]} if len(blocks) == 1 and _only_text(blocks[0]) else value,
            blocks=max(1, sum(block["type"] not in THINKING for block in blocks)),
            images=sum(_images(block) for block in blocks),
            opaque_bytes=sum(_opaque_bytes(block) for block in blocks),
            marks=tuple(_message_marks(blocks)),
            markable=bool(blocks) and _markable(blocks[-1]),
            stateful=any(stateful for stateful, _ in facts),
            object_id=any(named for _, named in facts),
            texts=tuple(texts),
            calls=tuple([_call(block) for block in blocks if block["type"] == "tool_use"]),
            answers=answers,
            bare={**value, "content": [{k: v for k, v in block.items() if k != "tool_use_id"} for block in blocks]} if answers else None,
            signed=any(block["type"] in THINKING and bool(block.get("signature") or block.get("data")) for block in blocks),
            part_ends=_part_ends(blocks) if role != "assistant" and len(blocks) > 1 else (),
        )

    def read_tool(self, value: object) -> PieceFacts:
        """See `Grammar`. Tools of the vendor's whose price is not known here are refused by name."""
        if not isinstance(value, dict):
            raise InvalidRequest("a tool must be an object")
        kind, name = value.get("type"), value.get("name")
        if kind is not None and not isinstance(kind, str):
            raise InvalidRequest("type must be a string", param="type")
        if kind in (None, "custom") and not (isinstance(name, str) and name):
            raise InvalidRequest("a tool needs a name", param="name")
        own = kind in (None, "custom") or str(kind).startswith(_CLIENT_RUN)
        fee = 0 if own else fee_of(str(kind))
        if fee is None:
            raise UnsupportedField(f"tools of the type {str(kind)[:60]!r} are not served here: their price is not known to the gateway", param="type")
        called = next((said for said in (name, value.get("mcp_server_name"), kind) if isinstance(said, str)), "")
        deferred = value.get("defer_loading") is True  # such a tool is no part of the prefix, and takes no mark
        marks = tuple(_marks(value, -1, ""))
        return PieceFacts(role="tool definition", answer_value=value, name=called, marks=marks, markable=not deferred, stateful=not own, fee=fee)

    def without_lines(self, value: object, lines: Sequence[Volatile]) -> object:
        """See `Grammar`: pieces of a system prompt, and system messages."""
        return piece_without_lines(value, lines)

    def read_params(self, fields: Mapping[str, object]) -> ParamFacts:
        """See `Grammar`."""
        model = fields.get("model")
        if not isinstance(model, str) or not 0 < len(model) <= 256:
            raise InvalidRequest("model must be a string of 1 to 256 characters", param="model")
        stream, tier = fields.get("stream"), fields.get("service_tier")
        if stream is not None and not isinstance(stream, bool):
            raise InvalidRequest("stream must be true or false", param="stream")
        if tier is not None and not isinstance(tier, str):
            raise InvalidRequest("service_tier must be a string", param="service_tier")
        present = {name: _plain(name, value) for name, value in fields.items() if value is not None and name not in _NOT_HASHED}
        automatic = _lifetime(fields, "")
        return ParamFacts(
            model=model,
            stream=bool(stream),
            include_usage=True,
            max_output=_max_tokens(fields),
            choices=1,
            deterministic=_number(fields, "temperature") == 0,
            stateful=any(fields.get(name) for name in _STATE),
            own_affinity=False,
            service_tier="fast" if fields.get("speed") == "fast" else "default" if tier == "standard_only" else tier or "",
            unserved=_unserved(fields),
            auto_mark_s=automatic,
            user=_user(fields),
            session=user_session(_user(fields)),
            prompt_value={name: value for name, value in present.items() if name in _IN_PROMPT},
            answer_value={name: value for name, value in present.items() if not _is_default(name, value)},
            side_value={name: fields[name] for name in _SIDE if fields.get(name) is not None},
        )


class AnthropicCountGrammar(AnthropicGrammar):
    """See `Grammar`: requests for a count. The same prompt has the same count, and it never streams."""

    def read_params(self, fields: Mapping[str, object]) -> ParamFacts:
        """See `Grammar`."""
        facts = super().read_params({name: value for name, value in fields.items() if name != "stream"})
        return msgspec.structs.replace(facts, deterministic=True)


def _block(value: object, place: str) -> dict[str, object]:
    if not isinstance(value, dict) or not isinstance(value.get("type"), str):
        raise InvalidRequest("a content block must be an object with a type", param=place or None)
    return cast("dict[str, object]", value)


def _string(block: Mapping[str, object], name: str) -> str:
    value = block.get(name)
    return value if isinstance(value, str) else ""


def _call(block: Mapping[str, object]) -> CallSaid:
    return CallSaid(_string(block, "id"), _string(block, "name"), msgspec.json.encode(block.get("input", {})).decode())


def _only_text(block: Mapping[str, object]) -> bool:
    """A text block without anything that a string could not say."""
    return block["type"] == "text" and isinstance(block.get("text"), str) and not block.keys() - {"type", "text", _MARK}


def _part_ends(blocks: Sequence[Mapping[str, object]]) -> tuple[int, ...]:
    """Of what a user says in several blocks; results of calls belong to their conversation alone."""
    if not all(block["type"] in _SHARED for block in blocks):
        return ()
    return tuple([index for index, block in enumerate(blocks[:-1]) if _markable(block)])


def _markable(block: Mapping[str, object]) -> bool:
    kind = block["type"]
    return block.get("text") != "" if kind == "text" else kind in _PLAIN or kind in _VENDOR_MARKABLE


def _nested(block: Mapping[str, object]) -> Iterator[dict[str, object]]:
    """The blocks inside a tool result, a search result or a document."""
    source = block.get("source")
    for content in (block.get("content"), source.get("content") if isinstance(source, dict) else None):
        if isinstance(content, list):
            yield from (item for item in content if isinstance(item, dict))


def _message_marks(blocks: Sequence[Mapping[str, object]]) -> Iterator[Mark]:
    part = -1
    for index, block in enumerate(blocks):
        part += block["type"] not in THINKING
        yield from _marks(block, part, f"content[{index}].")
        if block["type"] == "tool_result":
            for place, inner in enumerate(_nested(block)):
                for mark in _marks(inner, part, f"content[{index}].content[{place}]."):
                    yield msgspec.structs.replace(mark, inner=place)


def _marks(piece: Mapping[str, object], part: int, place: str) -> list[Mark]:
    lifetime = _lifetime(piece, place)
    return [] if lifetime is None else [Mark(part, lifetime, _MARK)]


def _lifetime(piece: Mapping[str, object], place: str) -> int | None:
    """The lifetime that a mark asks for (0: the vendor's default); None where there is no mark."""
    mark = piece.get(_MARK)
    if mark is None:
        return None
    if not isinstance(mark, dict) or mark.get("type") != "ephemeral":
        raise InvalidRequest('a cache mark is {"type": "ephemeral"}', param=f"{place}{_MARK}")
    ttl = mark.get("ttl")
    if ttl is not None and not (isinstance(ttl, str) and ttl in _LIFETIMES):
        raise InvalidRequest(f"unknown lifetime; one of {', '.join(_LIFETIMES)}", param=f"{place}{_MARK}.ttl")
    return _LIFETIMES[ttl] if ttl else 0


def _owned(block: Mapping[str, object]) -> tuple[bool, bool]:
    """Whether a block refers to what only the vendor holds, to an address or to something not known here; and whether it names an object
    in the vendor's account.
    """
    kind, source = block["type"], block.get("source")
    named = kind == "container_upload" or (isinstance(source, dict) and source.get("type") == "file")
    stateful = named or (kind not in _PLAIN and kind not in THINKING) or (isinstance(source, dict) and source.get("type") == "url")
    for inner in _nested(block):
        if isinstance(inner.get("type"), str):
            deeper, owned = _owned(inner)
            stateful, named = stateful or deeper, named or owned
    return stateful, named


def _images(block: Mapping[str, object]) -> int:
    return (block.get("type") == "image") + sum(_images(inner) for inner in _nested(block))


def _opaque_bytes(block: Mapping[str, object]) -> int:
    """Bytes of pictures. Those of documents count as text, which is more than their tokens."""
    source = block.get("source")
    data = source.get("data") if isinstance(source, dict) and block.get("type") == "image" else None
    return (len(data) if isinstance(data, str) else 0) + sum(_opaque_bytes(inner) for inner in _nested(block))


def _unserved(fields: Mapping[str, object]) -> str:
    """The first field whose price or owner is not known here."""
    found = next((name for name in _UNSERVED if fields.get(name) is not None), "")
    policy = fields.get("billing_policy")
    if not found and isinstance(policy, dict) and policy.get("bill_to") != "self":
        found = "billing_policy"
    if not found and fields.get("speed") not in (None, "standard", "fast"):
        found = "speed"
    if not found and fields.get("inference_geo") not in (None, "global"):
        found = "inference_geo"
    return found


def _user(fields: Mapping[str, object]) -> str:
    metadata = fields.get("metadata")
    user = metadata.get("user_id") if isinstance(metadata, dict) else None
    return user if isinstance(user, str) else ""


def _max_tokens(fields: Mapping[str, object]) -> int | None:
    """0 is a word of its own here: fill the prompt cache, and answer nothing."""
    value = fields.get("max_tokens")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 31:
        raise InvalidRequest("max_tokens must be a whole number, 0 or more", param="max_tokens")
    return value or None


def _is_default(name: str, value: object) -> bool:
    return name in _DEFAULTS and not isinstance(value, bool) and value == _DEFAULTS[name]


def _plain(name: str, value: object) -> object:
    """Sampling numbers by value: 1 and 1.0 ask for the same."""
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
