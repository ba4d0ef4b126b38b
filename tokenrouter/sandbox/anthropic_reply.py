"""Writing a Messages answer, whole or as a stream of named events.

Source: https://platform.claude.com/docs/en/build-with-claude/streaming.
"""

import msgspec

from tokenrouter.sandbox.answers import Answer, fragments, pieces
from tokenrouter.sandbox.anthropic_engine import Said
from tokenrouter.sandbox.prices import Tokens
from tokenrouter.sandbox.prompt import text_tokens
from tokenrouter.sandbox.wire import Frame, JsonObject, JsonValue, encode, named_sse

_STOP_REASONS = {"stop": "end_turn", "stop_sequence": "stop_sequence", "length": "max_tokens", "tool_calls": "tool_use"}
BROKEN = named_sse("error", {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}})

_FETCHED: JsonObject = {
    "type": "web_fetch_result",
    "url": "https://example.com",
    "retrieved_at": "2026-01-01T00:00:00Z",
    "content": {
        "type": "document",
        "source": {"type": "text", "media_type": "text/plain", "data": "An example."},
        "title": None,
        "citations": None,
    },
}


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """The envelope of one answer.

    shows             thinking is shown; if not, only its signature is
    empty             nothing was to be said
    tier              of service: "fast", or "" for the standard one
    transformations   None where nobody asked for them
    diagnostics       why the prompt could not be reused; None: nothing to say
    """

    reply_id: str
    model: str
    said: Said
    call_ids: tuple[str, ...]
    shows: bool
    omit_usage: bool
    empty: bool
    transformations: list[JsonObject] | None
    tier: str = ""
    diagnostics: JsonObject | None = None

    @property
    def answer(self) -> Answer:
        """What was said."""
        return self.said.answer

    @property
    def tokens(self) -> Tokens:
        """What it costs."""
        return self.said.tokens

    @property
    def thinking(self) -> str:
        """The thinking as far as the client sees it."""
        return self.answer.thinking if self.shows else ""

    @property
    def stop_reason(self) -> str:
        """Calls that run at Anthropic's side do not end a turn."""
        names = {call.name for call in self.answer.calls}
        return "end_turn" if names and names <= self.said.server else _STOP_REASONS[self.answer.finish]

    def call_block(self, number: int, *, begun: bool = False) -> JsonObject:
        """A call. `begun`: without its input."""
        name = self.answer.calls[number].name
        kind, call_id = ("server_tool_use", f"srv{self.call_ids[number]}") if name in self.said.server else ("tool_use", self.call_ids[number])
        return {"type": kind, "id": call_id, "name": name, "input": {} if begun else self.said.inputs[number]}

    def result_block(self, number: int) -> JsonObject | None:
        """What a call at Anthropic's side found: a page, or nothing; None for a call that the client has to answer."""
        name = self.answer.calls[number].name
        if name not in self.said.server:
            return None
        family = "tool_search_tool" if name.startswith("tool_search") else f"{name}_tool"
        content: JsonValue = _FETCHED if name == "web_fetch" else []
        return {"type": f"{family}_result", "tool_use_id": f"srv{self.call_ids[number]}", "content": content}


def _input_usage(reply: Reply) -> JsonObject:
    tokens = reply.tokens
    return {
        "input_tokens": tokens.input,
        "cache_creation_input_tokens": tokens.cache_write_5m + tokens.cache_write_1h,
        "cache_read_input_tokens": tokens.cache_read,
        "cache_creation": {"ephemeral_5m_input_tokens": tokens.cache_write_5m, "ephemeral_1h_input_tokens": tokens.cache_write_1h},
    }


def _usage(reply: Reply, output: int) -> JsonObject:
    searches = sum(call.name == "web_search" for call in reply.answer.calls if call.name in reply.said.server)
    fetches = sum(call.name == "web_fetch" for call in reply.answer.calls if call.name in reply.said.server)
    server: JsonObject = {"server_tool_use": {"web_search_requests": searches, "web_fetch_requests": fetches}} if searches + fetches else {}
    return {
        **_input_usage(reply),
        **server,
        "output_tokens": output,
        "output_tokens_details": {"thinking_tokens": reply.answer.reasoning_tokens if output > 1 else 0},
        "service_tier": "standard",
        **({"speed": reply.tier} if reply.tier else {}),
    }


def _message(reply: Reply, content: list[JsonValue], stop_reason: str | None, output: int) -> JsonObject:
    message: JsonObject = {
        "id": reply.reply_id,
        "type": "message",
        "role": "assistant",
        "model": reply.model,
        "content": content,
        "stop_reason": stop_reason,
        "stop_sequence": reply.answer.stop_sequence if stop_reason else None,
    }
    if reply.diagnostics is not None:
        message["diagnostics"] = reply.diagnostics
    if not reply.omit_usage:
        message["usage"] = _usage(reply, output)
    if reply.transformations is not None:
        message["input_transformations"] = [*reply.transformations]
    return message


def whole(reply: Reply) -> bytes:
    """The answer as one JSON document."""
    answer, said = reply.answer, reply.said
    content: list[JsonValue] = []
    if answer.thinking and said.redacted:
        content.append({"type": "redacted_thinking", "data": said.signature})
    elif answer.thinking:
        content.append({"type": "thinking", "thinking": reply.thinking, "signature": said.signature})
    calls: list[JsonValue] = []
    for number, call in enumerate(answer.calls):
        block, result = reply.call_block(number), reply.result_block(number)
        (content if call.name in said.server else calls).extend([block] if result is None else [block, result])
    if answer.text and not reply.empty:
        text: JsonObject = {"type": "text", "text": answer.text}
        content.append(text if said.citation is None else {**text, "citations": [said.citation]})
    return encode(_message(reply, [*content, *calls], reply.stop_reason, reply.tokens.output))


def stream(reply: Reply) -> tuple[Frame, ...]:
    """The answer as events, each with the tokens produced up to it."""
    return _Writer(reply).write()


class _Writer:
    def __init__(self, reply: Reply) -> None:
        self.reply = reply
        self.frames: list[Frame] = []
        self.output = 0
        self.index = 0

    def event(self, name: str, **fields: JsonValue) -> None:
        self.frames.append(Frame(named_sse(name, {"type": name, **fields}), self.output))

    def write(self) -> tuple[Frame, ...]:
        reply, answer = self.reply, self.reply.answer
        self.output = 1
        self.event("message_start", message=_message(reply, [], None, 1))
        self._thinking()
        base = self._calls(answer.reasoning_tokens, at_server=True)
        self._text(base)
        self._calls(base + text_tokens(answer.text), at_server=False)
        self.output = reply.tokens.output
        delta: JsonObject = {"stop_reason": reply.stop_reason, "stop_sequence": answer.stop_sequence}
        if reply.omit_usage:
            self.event("message_delta", delta=delta)
        else:
            self.event("message_delta", delta=delta, usage=_usage(reply, self.output))
        self.event("message_stop")
        return tuple(self.frames)

    def _text(self, base: int) -> None:
        answer, citation = self.reply.answer, self.reply.said.citation
        if not answer.text:
            return
        said = ""
        start: JsonObject = {"type": "text", "text": ""}
        self._start(start if citation is None else {**start, "citations": []})
        for piece in pieces(answer.text):
            said += piece
            self.output = base + text_tokens(said)
            self._delta({"type": "text_delta", "text": piece})
        if citation is not None:
            self._delta({"type": "citations_delta", "citation": citation})
        self._stop()

    def _thinking(self) -> None:
        answer, said = self.reply.answer, self.reply.said
        if not answer.thinking:
            return
        if said.redacted:
            self.output = max(1, answer.reasoning_tokens)
            self._start({"type": "redacted_thinking", "data": said.signature})
            self._stop()
            return
        shown = ""
        self._start({"type": "thinking", "thinking": "", "signature": ""})
        for piece in pieces(self.reply.thinking):
            shown += piece
            self.output = max(1, text_tokens(shown))
            self._delta({"type": "thinking_delta", "thinking": piece})
        self.output = max(1, answer.reasoning_tokens)
        self._delta({"type": "signature_delta", "signature": said.signature})
        self._stop()

    def _calls(self, base: int, *, at_server: bool) -> int:
        """Calls of one side; the tokens produced when they are out."""
        for number, call in enumerate(self.reply.answer.calls):
            if (call.name in self.reply.said.server) != at_server:
                continue
            base += text_tokens(call.name)
            self.output = base
            self._start(self.reply.call_block(number, begun=True))
            said = ""
            self._delta({"type": "input_json_delta", "partial_json": ""})
            for fragment in fragments(call.arguments):
                said += fragment
                self.output = base + text_tokens(said)
                self._delta({"type": "input_json_delta", "partial_json": fragment})
            base += text_tokens(call.arguments)
            self._stop()
            result = self.reply.result_block(number)
            if result is not None:
                self._start(result)
                self._stop()
        return base

    def _start(self, block: JsonObject) -> None:
        self.event("content_block_start", index=self.index, content_block=block)
        if self.index == 0:
            self.event("ping")

    def _delta(self, delta: JsonObject) -> None:
        self.event("content_block_delta", index=self.index, delta=delta)

    def _stop(self) -> None:
        self.event("content_block_stop", index=self.index)
        self.index += 1
