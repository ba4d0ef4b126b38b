"""A Responses answer as events, in the order of the service, each with its `sequence_number`. There is no `[DONE]` on this wire.

created, in_progress; per item: output_item.added, its parts and deltas, output_item.done; then completed or incomplete.
Source: https://developers.openai.com/api/reference/resources/responses/streaming-events.
"""

from tokenrouter.sandbox.answers import fragments, pieces
from tokenrouter.sandbox.prompt import text_tokens
from tokenrouter.sandbox.wire import Frame, JsonObject, JsonValue, named_sse

_PADDED_TO = 16


def stream(first: JsonObject, last: JsonObject, thinking_tokens: int, *, pads: bool) -> tuple[Frame, ...]:
    """The events that lead from the response object `first`, still without items, to `last`.

    Args:
        first: the response in progress.
        last: the finished response; its items are streamed.
        thinking_tokens: what the hidden thought cost, in tokens.
        pads: deltas carry padding in `obfuscation`, so that their sizes tell nothing.
    """
    writer = _Writer(pads)
    writer.event("response.created", response=first)
    writer.event("response.in_progress", response=first)
    items = last["output"]
    for index, item in enumerate(items if isinstance(items, list) else []):
        if isinstance(item, dict):
            writer.item(index, item, thinking_tokens)
    usage = last["usage"]
    if isinstance(usage, dict) and isinstance(usage["output_tokens"], int):
        writer.output = usage["output_tokens"]
    writer.event(f"response.{last['status']}", response=last)
    return tuple(writer.frames)


def failure(failed: JsonObject, number: int) -> bytes:
    """The event that ends a stream which went wrong."""
    return named_sse("response.failed", {"type": "response.failed", "sequence_number": number, "response": failed})


class _Writer:
    def __init__(self, pads: bool) -> None:
        self.frames: list[Frame] = []
        self.output = 0
        self.pads = pads

    def event(self, kind: str, **fields: JsonValue) -> None:
        """One event, with the next number."""
        self.frames.append(Frame(named_sse(kind, {"type": kind, "sequence_number": len(self.frames), **fields}), self.output))

    def item(self, index: int, item: JsonObject, thinking_tokens: int) -> None:
        """One item from its first event to its last."""
        self.event("response.output_item.added", output_index=index, item=_begun(item))
        match item["type"]:
            case "reasoning":
                self._reasoning(index, item)
                self.output += thinking_tokens
            case "message":
                self._message(index, item)
            case "function_call":
                self._call(index, item, "function_call_arguments", "arguments")
            case _:
                self._call(index, item, "custom_tool_call_input", "input")
        self.event("response.output_item.done", output_index=index, item=item)

    def _deltas(self, kind: str, parts: list[str], place: JsonObject, **more: JsonValue) -> None:
        before = self.output
        said = ""
        for part in parts:
            said += part
            self.output = before + text_tokens(said)
            padding: JsonObject = {"obfuscation": "x" * (-len(part) % _PADDED_TO)} if self.pads else {}
            self.event(kind, **place, delta=part, **more, **padding)

    def _reasoning(self, index: int, item: JsonObject) -> None:
        parts = item["summary"]
        before = self.output
        for number, part in enumerate(parts if isinstance(parts, list) else []):
            place: JsonObject = {"item_id": item["id"], "output_index": index, "summary_index": number}
            words = str(part["text"]) if isinstance(part, dict) else ""
            self.event("response.reasoning_summary_part.added", **place, part={"type": "summary_text", "text": ""})
            self._deltas("response.reasoning_summary_text.delta", pieces(words), place)
            self.event("response.reasoning_summary_text.done", **place, text=words)
            self.event("response.reasoning_summary_part.done", **place, part=part)
        self.output = before

    def _message(self, index: int, item: JsonObject) -> None:
        parts = item["content"]
        for number, part in enumerate(parts if isinstance(parts, list) else []):
            if not isinstance(part, dict):
                continue
            place: JsonObject = {"item_id": item["id"], "output_index": index, "content_index": number}
            field = "refusal" if part["type"] == "refusal" else "text"
            words = str(part[field])
            more: JsonObject = {"logprobs": []} if field == "text" else {}
            name = "response.output_text" if field == "text" else "response.refusal"
            self.event("response.content_part.added", **place, part={**part, field: ""})
            self._deltas(f"{name}.delta", pieces(words), place, **more)
            self.event(f"{name}.done", **place, **{field: words}, **more)
            self.event("response.content_part.done", **place, part=part)

    def _call(self, index: int, item: JsonObject, kind: str, field: str) -> None:
        place: JsonObject = {"item_id": item["id"], "output_index": index}
        words = str(item[field])
        self.output += text_tokens(str(item["name"]))
        self._deltas(f"response.{kind}.delta", fragments(words), place)
        self.event(f"response.{kind}.done", **place, **{field: words})


def _begun(item: JsonObject) -> JsonObject:
    """An item as it is announced: empty, and a thought's `encrypted_content` still a part of what it will be."""
    match item["type"]:
        case "reasoning":
            sealed = item.get("encrypted_content")
            begun: JsonObject = {**item, "summary": []}
            return {**begun, "encrypted_content": sealed[: len(sealed) // 2]} if isinstance(sealed, str) else begun
        case "message":
            return {**item, "status": "in_progress", "content": []}
        case "function_call":
            return {**item, "status": "in_progress", "arguments": ""}
        case _:
            return {**item, "input": ""}
