"""Output items of a response as they are written, whole and while they grow.

Ids are made of the answer's id and the item's place, so the same answer has the same ids whenever it is written; an id that a vendor gave
in this wire's own form is kept. Reasoning that another vendor signed travels in `encrypted_content`, sealed.
Source: openai-python 3.52 `types/responses/response_output_item.py`.
"""

from collections.abc import Mapping
from hashlib import blake2b
from typing import Literal

from tokenrouter.adapters.wire.foreign_reasoning import seal
from tokenrouter.adapters.wire.openai_responses import REASONING_FORMAT
from tokenrouter.model.answer import Choice, Declined, Reasoning, Spoken, ToolCall

ItemStatus = Literal["in_progress", "completed", "incomplete"]
Fields = dict[str, object]
Spaces = Mapping[str, tuple[str, str]]
"""(namespace, name) of tools that a client has in a namespace, by the name under which they were sent."""


def response_id(answer_id: str, model: str, created_s: int) -> str:
    """The id of a response. A vendor that gives none gets one made of what it does tell."""
    if answer_id.startswith("resp_"):
        return answer_id
    return "resp_" + (answer_id or _digest(f"{model}/{created_s}"))


def item_id(prefix: str, answer_id: str, index: int) -> str:
    """The id of the `index`-th item of an answer."""
    return f"{prefix}_{_digest(f'{answer_id}/{index}')}"


def reasoning_id(given: str, answer_id: str, index: int) -> str:
    """The id of a reasoning item: the vendor's, where it is one of this wire, because encrypted content is bound to it."""
    return given if given.startswith("rs_") else item_id("rs", answer_id, index)


def text_part(text: str) -> Fields:
    """Visible text."""
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def refusal_part(text: str) -> Fields:
    """Words of refusal."""
    return {"type": "refusal", "refusal": text}


def message_item(name: str, parts: list[Fields], status: ItemStatus) -> Fields:
    """A message of the model."""
    return {"id": name, "type": "message", "status": status, "role": "assistant", "content": parts}


def reasoning_item(name: str, block: Reasoning) -> Fields:
    """A reasoning item: its text as one part of the summary, all else as encrypted content.

    What others think is sealed even where nobody signed it: some vendors want to have it back.
    """
    item: Fields = {"id": name, "type": "reasoning", "summary": [summary_part(block.text)] if block.text else []}
    if block.format == REASONING_FORMAT and block.redacted:
        item["encrypted_content"] = block.redacted
    elif block.format != REASONING_FORMAT:
        item["encrypted_content"] = seal(block)
    return item


def summary_part(text: str) -> Fields:
    """A part of a summary."""
    return {"type": "summary_text", "text": text}


def call_item(name: str, call: ToolCall, status: ItemStatus, spaces: Spaces) -> Fields:
    """A call. Arguments that the model left out are an empty object: clients parse them."""
    kind = "custom_tool_call" if call.custom else "function_call"
    space, own = spaces.get(call.name, ("", call.name))
    item: Fields = {"id": name, "type": kind, "status": status, "call_id": call.id, "name": own}
    if space:
        item["namespace"] = space
    if call.custom:
        item["input"] = call.arguments
    else:
        item["arguments"] = call.arguments or ("" if status == "in_progress" else "{}")
    return item


def call_item_id(call: ToolCall, answer_id: str, index: int) -> str:
    """The id of a call's item."""
    return item_id("ctc" if call.custom else "fc", answer_id, index)


def output_items(answer_id: str, choice: Choice, spaces: Spaces) -> list[Fields]:
    """The items of a whole answer. Texts and refusals side by side share a message; what a limit cut off is incomplete."""
    items: list[Fields] = []
    parts: list[Fields] = []
    for block in choice.blocks:
        if isinstance(block, Spoken | Declined):
            if not parts:
                items.append(message_item(item_id("msg", answer_id, len(items)), parts, "completed"))
            parts.append(text_part(block.text) if isinstance(block, Spoken) else refusal_part(block.text))
            continue
        parts = []
        items.append(_item(block, answer_id, len(items), spaces))
    if choice.stop == "length" and items and "status" in items[-1]:
        items[-1]["status"] = "incomplete"
    return items


def _item(block: Reasoning | ToolCall, answer_id: str, index: int, spaces: Spaces) -> Fields:
    if isinstance(block, Reasoning):
        return reasoning_item(reasoning_id(block.id, answer_id, index), block)
    return call_item(call_item_id(block, answer_id, index), block, "completed", spaces)


def ending(stop: str | None) -> tuple[str, Fields | None]:
    """The status of a response, and the details of an incomplete one. No stop reason: the answer was cut off."""
    if stop == "length":
        return "incomplete", {"reason": "max_output_tokens"}
    if stop == "content_filter":
        return "incomplete", {"reason": "content_filter"}
    return ("completed" if stop else "incomplete"), None


def document(name: str, model: str, created_s: int, status: str, echo: Mapping[str, object], **more: object) -> Fields:
    """A response object. `echo`: what it repeats of the request; `more`: output, usage, incomplete_details, error."""
    return {
        "id": name,
        "object": "response",
        "created_at": created_s,
        "status": status,
        "background": False,
        "error": None,
        "incomplete_details": None,
        "model": model,
        "output": [],
        "usage": None,
        **echo,
        **more,
    }


def _digest(words: str) -> str:
    return blake2b(words.encode("utf-8", "surrogatepass"), digest_size=24).hexdigest()
