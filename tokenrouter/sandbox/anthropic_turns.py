"""The turns of a Messages request: blocks in order, neighbours of one role merged, tool calls and results matched, marks checked.

Source: https://platform.claude.com/docs/en/api/messages, .../agents-and-tools/tool-use/overview, .../prompt-caching.
"""

import msgspec

from tokenrouter.sandbox.anthropic_models import Model
from tokenrouter.sandbox.anthropic_request import NEW_VERSION, MessagesRequest, bad, mark_ttl
from tokenrouter.sandbox.wire import JsonObject

MOST_MARKS = 4
TYPES = {
    "user": frozenset({"text", "image", "document", "search_result", "tool_result", "container_upload"}),
    "system": frozenset({"text", "tool_addition", "tool_removal"}),
    "assistant": frozenset(
        {
            "text",
            "thinking",
            "redacted_thinking",
            "tool_use",
            "server_tool_use",
            "web_search_tool_result",
            "web_fetch_tool_result",
            "code_execution_tool_result",
            "bash_code_execution_tool_result",
            "text_editor_code_execution_tool_result",
            "tool_search_tool_result",
            "advisor_tool_result",
            "mcp_tool_use",
            "mcp_tool_result",
            "container_upload",
            "compaction",
            "document",
        }
    ),
}
_RESULT_TYPES = ("text", "image", "document", "search_result", "tool_reference")
THINKING = frozenset({"thinking", "redacted_thinking"})


class Block(msgspec.Struct, frozen=True):
    """One content block. `message` and `index` say where it stands in the request; `turn` counts merged turns."""

    role: str
    turn: int
    message: int
    index: int
    value: JsonObject
    ttl: str | None

    @property
    def kind(self) -> str:
        """The block's type."""
        return str(self.value["type"])

    @property
    def path(self) -> str:
        """As error messages name it."""
        return f"messages.{self.message}.content.{self.index}"


def read_turns(request: MessagesRequest, model: Model, version: str) -> list[Block]:
    """All blocks of all messages, checked."""
    blocks: list[Block] = []
    turn, previous = -1, ""
    for number, message in enumerate(request.messages):
        role = str(message["role"])
        if role != previous:
            turn += 1
            previous = role
        blocks.extend(_blocks(message, role, turn, number, last=number == len(request.messages) - 1))
    if request.messages[0]["role"] != "user":
        raise bad('messages: first message must use the "user" role')
    _check_system_messages(request.messages, model)
    _check_prefill(blocks, model)
    _check_tools(blocks)
    if version == NEW_VERSION and any(block.role == "assistant" and block.kind == "document" for block in blocks):
        raise bad("messages: document blocks are not permitted in assistant turns")
    return blocks


def _blocks(message: JsonObject, role: str, turn: int, number: int, *, last: bool) -> list[Block]:
    content = message.get("content")
    if isinstance(content, str):
        if not content:
            if last and role == "assistant":
                return []
            raise bad(f"messages.{number}: {role} messages must have non-empty content")
        return [Block(role, turn, number, 0, {"type": "text", "text": content}, None)]
    if not isinstance(content, list):
        raise bad(f"messages.{number}.content: Field required" if content is None else f"messages.{number}.content: Input should be a valid list")
    if not content and not (last and role == "assistant"):
        raise bad(f"messages.{number}: {role} messages must have non-empty content")
    blocks: list[Block] = []
    for index, value in enumerate(content):
        at = f"messages.{number}.content.{index}"
        if not isinstance(value, dict):
            raise bad(f"{at}: Input should be a valid dictionary")
        kind = value.get("type")
        if not isinstance(kind, str) or kind not in TYPES[role]:
            raise bad(f"{at}: Input tag '{kind}' found using 'type' does not match any of the expected tags: {', '.join(sorted(TYPES[role]))}")
        blocks.append(Block(role, turn, number, index, value, _check_block(value, kind, at)))
    return blocks


def _check_block(value: JsonObject, kind: str, at: str) -> str | None:
    if kind in THINKING:
        if "cache_control" in value:
            raise bad(f"{at}.{kind}.cache_control: Extra inputs are not permitted")
        wanted = ("thinking", "signature") if kind == "thinking" else ("data",)
        for name in wanted:
            if not isinstance(value.get(name), str):
                raise bad(f"{at}.{kind}.{name}: Field required")
        return None
    ttl = mark_ttl(value, f"{at}.cache_control")
    if kind == "text":
        text = value.get("text")
        if not isinstance(text, str):
            raise bad(f"{at}.text.text: Field required")
        if not text and ttl is not None:
            raise bad(f"{at}: cache_control cannot be set for empty text blocks")
        if not text:
            raise bad("messages: text content blocks must be non-empty")
        if not text.strip():
            raise bad("messages: text content blocks must contain non-whitespace text")
    elif kind == "tool_use":
        for name, wanted_type in (("id", str), ("name", str), ("input", dict)):
            if not isinstance(value.get(name), wanted_type):
                raise bad(f"{at}.tool_use.{name}: Field required")
    elif kind == "tool_result":
        if not isinstance(value.get("tool_use_id"), str):
            raise bad(f"{at}.tool_result.tool_use_id: Field required")
        _check_result(value, at)
    elif kind in ("image", "document") and not isinstance(value.get("source"), dict):
        raise bad(f"{at}.{kind}.source: Field required")
    elif kind == "search_result":
        _check_search_result(value, f"{at}.search_result")
    return ttl


def _check_search_result(value: JsonObject, at: str) -> None:
    for name in ("source", "title"):
        if not isinstance(value.get(name), str):
            raise bad(f"{at}.{name}: Field required")
    content = value.get("content")
    if not isinstance(content, list) or not content:
        raise bad(f"{at}.content: Field required")
    for index, item in enumerate(content):
        if not isinstance(item, dict) or item.get("type") != "text" or not isinstance(item.get("text"), str):
            raise bad(f"{at}.content.{index}: Input should be a text block")


def _check_result(value: JsonObject, at: str) -> None:
    content = value.get("content")
    if content is None or isinstance(content, str):
        return
    if not isinstance(content, list):
        raise bad(f"{at}.tool_result.content: Input should be a valid string or list")
    for index, inner in enumerate(content):
        if not isinstance(inner, dict) or inner.get("type") not in _RESULT_TYPES:
            raise bad(f"{at}.tool_result.content.{index}: Input should be a text, image, document, search_result or tool_reference block")
        if inner["type"] == "search_result":
            _check_search_result(inner, f"{at}.tool_result.content.{index}.search_result")
        if inner["type"] == "text" and not isinstance(inner.get("text"), str):
            raise bad(f"{at}.tool_result.content.{index}.text.text: Field required")
        mark_ttl(inner, f"{at}.tool_result.content.{index}.cache_control")


def _check_system_messages(messages: list[JsonObject], model: Model) -> None:
    for index, message in enumerate(messages):
        if message["role"] != "system":
            continue
        if not model.mid_system:
            raise bad(f"messages.{index}.role: Input should be 'user' or 'assistant'. This model does not support system messages in `messages`.")
        before = messages[index - 1] if index else None
        if before is None or (before["role"] != "user" and not _ends_in_server_result(before)):
            raise bad(f"messages.{index}: a system message must follow a user turn or a server tool result")
        if index + 1 < len(messages) and messages[index + 1]["role"] != "assistant":
            raise bad(f"messages.{index}: a system message must be followed by an assistant turn or end the list")


def _ends_in_server_result(message: JsonObject) -> bool:
    content = message.get("content")
    last = content[-1] if isinstance(content, list) and content else None
    return message["role"] == "assistant" and isinstance(last, dict) and str(last.get("type")).endswith("_tool_result")


def _check_prefill(blocks: list[Block], model: Model) -> None:
    last = blocks[-1] if blocks else None
    if last is None or last.role != "assistant" or last.kind.endswith("_tool_result"):
        return
    if model.bound:
        raise bad("This model does not support assistant message prefill. The conversation must end with a user message.")
    if last.kind == "text" and str(last.value["text"]) != str(last.value["text"]).rstrip():
        raise bad("messages: final assistant content cannot end with trailing whitespace")


def _check_tools(blocks: list[Block]) -> None:
    """Every call of a turn is answered first thing in the next one, and every result answers a call of the turn before."""
    open_calls: dict[str, None] = {}
    seen: set[str] = set()
    turn = -1
    for block in blocks:
        if block.turn != turn:
            if open_calls and block.role != "user":
                raise _unanswered(block, open_calls)
            turn = block.turn
        if block.kind == "tool_use":
            call_id = str(block.value["id"])
            if call_id in seen:
                raise bad("messages: `tool_use` ids must be unique")
            seen.add(call_id)
            open_calls[call_id] = None
        elif block.kind == "tool_result":
            call_id = str(block.value["tool_use_id"])
            if call_id not in open_calls:
                raise bad(
                    f"{block.path}: unexpected `tool_use_id` found in `tool_result` blocks: {call_id}. "
                    "Each `tool_result` block must have a corresponding `tool_use` block in the previous message."
                )
            del open_calls[call_id]
        elif block.role == "user" and open_calls:
            raise _unanswered(block, open_calls)
    if open_calls:
        raise _unanswered(blocks[-1], open_calls)


def _unanswered(block: Block, open_calls: dict[str, None]) -> Exception:
    return bad(
        f"messages.{block.message}: `tool_use` ids were found without `tool_result` blocks immediately after: {', '.join(open_calls)}. "
        "Each `tool_use` block must have a corresponding `tool_result` block in the next message."
    )


def check_marks(ttls: list[tuple[str, str]], automatic: str | None, last: str | None) -> None:
    """Marks in prompt order as (path, lifetime); `automatic` is the top-level mark, `last` what its target carries already."""
    explicit = len(ttls)
    if explicit > MOST_MARKS or (automatic is not None and explicit >= MOST_MARKS):
        found = explicit + (automatic is not None)
        raise bad(f"A maximum of {MOST_MARKS} blocks with cache_control may be provided. Found {found}.")
    if automatic is not None and last is not None and automatic != last:
        raise bad(f"cache_control: the last block already has a cache_control with ttl='{last}', which conflicts with ttl='{automatic}'")
    short = False
    for path, ttl in [*ttls, *([("cache_control", automatic)] if automatic is not None else [])]:
        if ttl == "1h" and short:
            raise bad(
                f"{path}.cache_control.ttl: a ttl='1h' cache_control block must not come after a ttl='5m' cache_control block. "
                "Note that blocks are processed in the following order: `tools`, `system`, `messages`."
            )
        short = short or ttl == "5m"
