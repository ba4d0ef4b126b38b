"""Writing a Converse answer: one JSON document, or events of the binary stream.

Blocks of text and reasoning have no start event; only a tool call has one. Usage comes last, in `metadata`.
Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html.
"""

import base64

import msgspec

from tokenrouter.sandbox.answers import fragments, pieces
from tokenrouter.sandbox.anthropic_engine import Said
from tokenrouter.sandbox.bedrock_eventstream import event, exception
from tokenrouter.sandbox.bedrock_request import Converse
from tokenrouter.sandbox.prompt import text_tokens
from tokenrouter.sandbox.wire import Frame, JsonObject, JsonValue, encode

LATENCY_MS = 420
STOP_REASONS = {"stop": "end_turn", "stop_sequence": "stop_sequence", "length": "max_tokens", "tool_calls": "tool_use"}
BROKEN = exception(
    "modelStreamErrorException",
    {"message": "The model stream was interrupted.", "originalStatusCode": 529, "originalMessage": "Overloaded"},
)


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """One answer. `shows`: thinking is shown; `caches`: usage names the cache; `usage` of False: nothing is said about cost."""

    request: Converse
    said: Said
    call_ids: tuple[str, ...]
    shows: bool
    caches: bool
    usage: bool

    @property
    def thinking(self) -> str:
        """The thinking as far as the client sees it."""
        return self.said.answer.thinking if self.shows else ""


def whole(reply: Reply) -> bytes:
    """The answer as one JSON document."""
    said, answer = reply.said, reply.said.answer
    content: list[JsonValue] = []
    if answer.thinking:
        content.append({"reasoningContent": _reasoning(reply)})
    if answer.text and said.citation is not None:
        content.append({"citationsContent": {"content": [{"text": answer.text}], "citations": [_citation(said.citation)]}})
    elif answer.text:
        content.append({"text": answer.text})
    for index, call in enumerate(answer.calls):
        content.append({"toolUse": {"toolUseId": reply.call_ids[index], "name": call.name, "input": said.inputs[index]}})
    document: JsonObject = {"output": {"message": {"role": "assistant", "content": content}}, "stopReason": STOP_REASONS[answer.finish]}
    return encode({**document, **_extra(reply), **_cost(reply)})


def _reasoning(reply: Reply) -> JsonObject:
    if reply.said.redacted:
        return {"redactedContent": _redacted(reply.said)}
    return {"reasoningText": {"text": reply.thinking, "signature": reply.said.signature}}


def _citation(value: JsonObject) -> JsonObject:
    place: JsonObject = {"documentIndex": value["document_index"], "start": value["start_char_index"], "end": value["end_char_index"]}
    return {"title": value["document_title"], "sourceContent": [{"text": value["cited_text"]}], "location": {"documentChar": place}}


def _redacted(said: Said) -> str:
    return base64.b64encode(said.signature.encode()).decode()


def _extra(reply: Reply) -> JsonObject:
    """What the client asked to see of the model's own answer: JSON pointers; what is not there is left out."""
    answer = reply.said.answer
    own: JsonObject = {"stop_reason": STOP_REASONS[answer.finish], "stop_sequence": answer.stop_sequence, "type": "message", "role": "assistant"}
    found: JsonObject = {path[1:]: own[path[1:]] for path in reply.request.paths if path.startswith("/") and path[1:] in own}
    return {"additionalModelResponseFields": found} if found else {}


def _cost(reply: Reply) -> JsonObject:
    fields: JsonObject = {"metrics": {"latencyMs": LATENCY_MS}}
    for name, value in (("serviceTier", reply.request.tier), ("performanceConfig", reply.request.performance)):
        if value is not None:
            fields[name] = value
    if not reply.usage:
        return fields
    tokens = reply.said.tokens
    usage: JsonObject = {"inputTokens": tokens.input, "outputTokens": tokens.output, "totalTokens": tokens.prompt + tokens.output}
    if reply.caches:
        usage["cacheReadInputTokens"] = tokens.cache_read
        usage["cacheWriteInputTokens"] = tokens.cache_write_5m + tokens.cache_write_1h
        written = (("1h", tokens.cache_write_1h), ("5m", tokens.cache_write_5m))
        usage["cacheDetails"] = [{"ttl": ttl, "inputTokens": count} for ttl, count in written if count]
    return {"usage": usage, **fields}


def stream(reply: Reply) -> tuple[Frame, ...]:
    """The answer as events, each with the tokens produced up to it."""
    return _Writer(reply).write()


class _Writer:
    def __init__(self, reply: Reply) -> None:
        self.reply = reply
        self.frames: list[Frame] = []
        self.output = 0
        self.index = 0

    def event(self, kind: str, **fields: JsonValue) -> None:
        self.frames.append(Frame(event(kind, fields), self.output))

    def write(self) -> tuple[Frame, ...]:
        answer = self.reply.said.answer
        self.event("messageStart", role="assistant")
        self._thinking()
        base = answer.reasoning_tokens
        if answer.text:
            said = ""
            for piece in pieces(answer.text):
                said += piece
                self.output = base + text_tokens(said)
                self._delta({"text": piece})
            if self.reply.said.citation is not None:
                self._delta({"citation": _citation(self.reply.said.citation)})
            self._stop()
        self._calls(base + text_tokens(answer.text))
        self.output = self.reply.said.tokens.output
        self.event("messageStop", stopReason=STOP_REASONS[answer.finish], **_extra(self.reply))
        self.event("metadata", **_cost(self.reply))
        return tuple(self.frames)

    def _thinking(self) -> None:
        said = self.reply.said
        if not said.answer.thinking:
            return
        if said.redacted:
            self.output = said.answer.reasoning_tokens
            self._delta({"reasoningContent": {"redactedContent": _redacted(said)}})
            self._stop()
            return
        shown = ""
        for piece in pieces(self.reply.thinking):
            shown += piece
            self.output = text_tokens(shown)
            self._delta({"reasoningContent": {"text": piece}})
        self.output = said.answer.reasoning_tokens
        self._delta({"reasoningContent": {"signature": said.signature}})
        self._stop()

    def _calls(self, base: int) -> None:
        for number, call in enumerate(self.reply.said.answer.calls):
            base += text_tokens(call.name)
            self.output = base
            start: JsonObject = {"toolUse": {"toolUseId": self.reply.call_ids[number], "name": call.name}}
            self.event("contentBlockStart", start=start, contentBlockIndex=self.index)
            said = ""
            for fragment in fragments(call.arguments):
                said += fragment
                self.output = base + text_tokens(said)
                self._delta({"toolUse": {"input": fragment}})
            base += text_tokens(call.arguments)
            self._stop()

    def _delta(self, delta: JsonObject) -> None:
        self.event("contentBlockDelta", delta=delta, contentBlockIndex=self.index)

    def _stop(self) -> None:
        self.event("contentBlockStop", contentBlockIndex=self.index)
        self.index += 1
