"""Items of a Responses input: which kinds there are, which fields each of them has, and what a message may hold.

Two liberties of the service that the SDK's types do not name are kept: an assistant message may go without `id`, `status` and
annotations, and an image without `detail`.

Source: the published `openai` SDK 3.52.0, types/responses/response_input_item_param.py and its neighbours.
"""

from tokenrouter.sandbox.openai_shapes import (
    Check,
    Checks,
    anything,
    boolean,
    by_type,
    choice,
    identity,
    join,
    maybe,
    missing,
    record,
    rows,
    table,
    text,
    unsupported,
    words_or,
)
from tokenrouter.sandbox.responses_tools import check_tools
from tokenrouter.sandbox.wire import JsonValue

INPUT_ROLES = ("user", "system", "developer")
ROLES = ("assistant", "system", "developer", "user")
EFFORT = choice("none", "minimal", "low", "medium", "high", "xhigh", "max")
_STATUS = choice("in_progress", "completed", "incomplete")
_CALLER = by_type({"direct": record({}, {}), "program": record({"caller_id": text()}, {})})
_CALL_ID = text(most=64)
_MARK = record({"mode": choice("explicit")}, {"ttl": choice("30m", "12h")})
_DETAIL = choice("low", "high", "auto", "original")


def _one_of(check: Check, *names: str) -> Check:
    """A record of which at least one of these fields says something."""

    def checked(value: JsonValue, at: str) -> None:
        check(value, at)
        if isinstance(value, dict) and all(value.get(name) is None for name in names):
            raise missing(join(at, names[0]))

    return checked


_IMAGE = record({}, {"detail": _DETAIL, "file_id": maybe(text()), "image_url": maybe(text()), "prompt_cache_breakpoint": _MARK})
_FILE = record(
    {},
    {
        "detail": choice("auto", "low", "high"),
        "file_data": text(),
        "file_id": maybe(text()),
        "file_url": text(),
        "filename": text(),
        "prompt_cache_breakpoint": _MARK,
    },
)
_INPUT_PARTS = by_type(
    {
        "input_text": record({"text": text()}, {"prompt_cache_breakpoint": _MARK}),
        "input_image": _one_of(_IMAGE, "image_url", "file_id"),
        "input_file": _one_of(_FILE, "file_data", "file_id", "file_url"),
    }
)
_RESULT_IMAGE = record({}, {"detail": maybe(_DETAIL), "file_id": maybe(text()), "image_url": maybe(text()), "prompt_cache_breakpoint": maybe(_MARK)})
_RESULT_FILE = record(
    {},
    {
        "detail": choice("auto", "low", "high"),
        **{name: maybe(text()) for name in ("file_data", "file_id", "file_url", "filename")},
        "prompt_cache_breakpoint": maybe(_MARK),
    },
)
_RESULT_PARTS = by_type(
    {
        "input_text": record({"text": text()}, {"prompt_cache_breakpoint": maybe(_MARK)}),
        "input_image": _one_of(_RESULT_IMAGE, "image_url", "file_id"),
        "input_file": _one_of(_RESULT_FILE, "file_data", "file_id", "file_url"),
    }
)
_RESULT = words_or(rows(_RESULT_PARTS, least=1))
_OUTPUT_PARTS = by_type(
    {
        "output_text": record({"text": text()}, {"annotations": rows(table(anything)), "logprobs": rows(table(anything))}),
        "refusal": record({"refusal": text()}, {}),
    }
)
_PHASE = maybe(choice("commentary", "final_answer"))
_MESSAGE_FIELDS: Checks = {"role": anything, "id": identity("msg"), "status": _STATUS, "phase": _PHASE}
_ASKED = record({"content": words_or(rows(_INPUT_PARTS, least=1))}, _MESSAGE_FIELDS)
_SAID = record({"content": words_or(rows(_OUTPUT_PARTS))}, _MESSAGE_FIELDS)


def _message(value: JsonValue, at: str) -> None:
    role = value.get("role") if isinstance(value, dict) else None
    if role is None:
        raise missing(join(at, "role"))
    if role not in ROLES:
        raise unsupported(role, join(at, "role"), ROLES)
    (_SAID if role == "assistant" else _ASKED)(value, at)


_SUMMARY = rows(by_type({"summary_text": record({"text": text()}, {})}))
_THOUGHT = rows(by_type({"reasoning_text": record({"text": text()}, {})}))
_SCREENSHOT = by_type(
    {
        "computer_screenshot": _one_of(
            record({}, {"file_id": text(), "image_url": text(), "prompt_cache_breakpoint": _MARK}), "image_url", "file_id"
        ),
    }
)


def _hosted(required: tuple[str, ...], optional: tuple[str, ...]) -> Check:
    """An item of a hosted tool: its fields by name, its values unread."""
    return record(dict.fromkeys(required, anything), dict.fromkeys(optional, anything))


KINDS: Checks = {
    "message": _message,
    "reasoning": record(
        {"id": identity("rs"), "summary": _SUMMARY}, {"content": maybe(_THOUGHT), "encrypted_content": maybe(text()), "status": _STATUS}
    ),
    "function_call": record(
        {"arguments": text(), "call_id": _CALL_ID, "name": text(most=64, pattern="[a-zA-Z0-9_-]+")},
        {"id": identity("fc"), "caller": maybe(_CALLER), "namespace": text(), "status": _STATUS, "async": boolean},
    ),
    "function_call_output": record(
        {"output": _RESULT},
        {
            "call_id": maybe(_CALL_ID),
            "id": maybe(text()),
            "caller": maybe(_CALLER),
            "name": maybe(text()),
            "namespace": maybe(text()),
            "status": maybe(_STATUS),
        },
    ),
    "custom_tool_call": record(
        {"call_id": _CALL_ID, "input": text(), "name": text()},
        {"id": identity("ctc"), "caller": maybe(_CALLER), "namespace": text(), "async": boolean},
    ),
    "custom_tool_call_output": record({"call_id": _CALL_ID, "output": _RESULT}, {"id": text(), "caller": maybe(_CALLER)}),
    "item_reference": record({"id": text()}, {}),
    "additional_tools": record({"role": choice("developer"), "tools": check_tools}, {"id": maybe(text())}),
    "configuration_update": record({}, {"id": maybe(text()), "reasoning": record({}, {"effort": maybe(EFFORT)}), "text": table(anything)}),
    "compaction": record({"encrypted_content": text()}, {"id": maybe(text())}),
    "file_search_call": _hosted(("id", "queries", "status"), ("results",)),
    "computer_call": _hosted(("id", "call_id", "pending_safety_checks", "status"), ("action", "actions")),
    "computer_call_output": record(
        {"call_id": _CALL_ID, "output": _SCREENSHOT},
        {"id": maybe(text()), "acknowledged_safety_checks": anything, "status": maybe(_STATUS)},
    ),
    "web_search_call": _hosted(("id", "action", "status"), ()),
    "tool_search_call": _hosted(("arguments",), ("id", "call_id", "execution", "status")),
    "tool_search_output": _hosted(("tools",), ("id", "call_id", "execution", "status")),
    "image_generation_call": _hosted(
        ("id", "result", "status"),
        ("action", "background", "error", "output_format", "quality", "revised_prompt", "size", "svg_usage"),
    ),
    "code_interpreter_call": _hosted(("id", "code", "container_id", "outputs", "status"), ()),
    "local_shell_call": _hosted(("id", "action", "call_id", "status"), ()),
    "local_shell_call_output": _hosted(("id", "output"), ("status",)),
    "shell_call": _hosted(("action", "call_id"), ("id", "caller", "environment", "status")),
    "shell_call_output": _hosted(("call_id", "output"), ("id", "caller", "max_output_length", "status")),
    "apply_patch_call": _hosted(("call_id", "operation", "status"), ("id", "caller")),
    "apply_patch_call_output": _hosted(("call_id", "status"), ("id", "caller", "output")),
    "mcp_list_tools": _hosted(("id", "server_label", "tools"), ("error",)),
    "mcp_approval_request": _hosted(("id", "arguments", "name", "server_label"), ()),
    "mcp_approval_response": _hosted(("approval_request_id", "approve"), ("id", "reason")),
    "mcp_call": _hosted(("id", "arguments", "name", "server_label"), ("approval_request_id", "error", "output", "status")),
    "program": _hosted(("id", "call_id", "code", "fingerprint"), ()),
    "program_output": _hosted(("id", "call_id", "result", "status"), ()),
}
_ITEM = by_type(KINDS)


def check_item(value: JsonValue, at: str) -> None:
    """One item; without a `type` it is a message if it has a role, else a reference."""
    _ITEM(with_type(value), at)


def with_type(value: JsonValue) -> JsonValue:
    """The item with its kind spelled out."""
    if not isinstance(value, dict) or value.get("type") is not None:
        return value
    return {**value, "type": "item_reference" if "id" in value and "role" not in value else "message"}


check_items = rows(check_item)
