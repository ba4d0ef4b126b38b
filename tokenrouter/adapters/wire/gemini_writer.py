"""Gemini's generateContent as it is written: whole answers and both framings of streams, for clients that speak this dialect.

A call is one part here, never pieces: in a stream it is held back until the model has written all of its arguments. Reasoning that
another vendor signed goes out as a thought whose signature is an envelope (`foreign_reasoning`), as base64, which this field must be. The
first call of another vendor's model carries the word that stands for "not signed here", or its history would be refused by newer models.
Usage and finish reasons stand in the last chunk.
Source: google-genai 3.4 `types.py`; https://ai.google.dev/api/generate-content; https://ai.google.dev/gemini-api/docs/thought-signatures.
"""

import base64
from collections.abc import Mapping, Sequence
from typing import Final, assert_never

import msgspec

from tokenrouter.adapters.wire.foreign_reasoning import seal
from tokenrouter.adapters.wire.gemini import SIGNATURE_FORMAT, SKIP_SIGNATURE
from tokenrouter.adapters.wire.gemini_usage import usage_to_wire
from tokenrouter.model.answer import (
    Answer,
    Choice,
    Declined,
    Event,
    Failed,
    Finished,
    Reasoning,
    ReasoningDelta,
    RefusalDelta,
    Said,
    Spoken,
    Started,
    StopReason,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolCallStarted,
    UsageSeen,
)
from tokenrouter.model.usage import NO_USAGE

_encode = msgspec.json.Encoder().encode
_object = msgspec.json.Decoder(dict[str, msgspec.Raw])
_MOST_SHOWN = 2_000

_FINISH: Final[dict[StopReason, str]] = {"stop": "STOP", "tool_calls": "STOP", "length": "MAX_TOKENS", "content_filter": "SAFETY"}

Part = dict[str, object]


def error_object(message: str, status: int, word: str) -> dict[str, object]:
    """Google's error. Strict clients know a failed stream by `error` standing first."""
    return {"error": {"code": status, "message": message, "status": word}}


def encode_answer(answer: Answer) -> bytes:
    """A whole answer. A candidate that was cut off has no finish reason."""
    candidates = [_candidate(number, choice) for number, choice in enumerate(answer.choices)]
    return _encode(_document(candidates, answer.id, answer.model, usage_to_wire(answer.usage)))


def _document(candidates: Sequence[object], origin: str, model: str, usage: Mapping[str, object] | None) -> dict[str, object]:
    document: dict[str, object] = {"candidates": candidates}
    if usage is not None:
        document["usageMetadata"] = usage
    return {**document, "modelVersion": model, "responseId": origin}


def _candidate(number: int, choice: Choice) -> dict[str, object]:
    parts, malformed = _parts(choice.blocks)
    return _framed(number, parts, choice.stop, malformed)


def _framed(number: int, parts: list[Part], stop: StopReason | None, malformed: Sequence[str] = ()) -> dict[str, object]:
    candidate: dict[str, object] = {"content": {"parts": parts or [{"text": ""}], "role": "model"}}
    if stop is not None:
        natural = stop in ("stop", "tool_calls")
        candidate["finishReason"] = "MALFORMED_FUNCTION_CALL" if malformed and natural else _FINISH[stop]
    if malformed:
        candidate["finishMessage"] = ("Malformed function call: " + "; ".join(malformed))[:_MOST_SHOWN]
    return {**candidate, "index": number}


def _parts(blocks: Sequence[Said]) -> tuple[list[Part], list[str]]:
    """The parts, and the calls that are none because their arguments are no JSON object."""
    parts: list[Part] = []
    malformed: list[str] = []
    called = False
    for place, block in enumerate(blocks):
        before = blocks[place - 1] if place else None
        signature = before.signature if isinstance(before, Reasoning) and belongs(before, block) else ""
        following = blocks[place + 1] if place + 1 < len(blocks) else None
        match block:
            case Spoken() | Declined():
                parts.append(_signed({"text": block.text}, signature))
            case Reasoning():
                if following is None or not belongs(block, following):
                    parts.append(thought_part(block))
            case ToolCall():
                part = call_part(block)
                if part is None:
                    malformed.append(f"{block.name}({block.arguments})")
                else:
                    parts.append(_signed(part, signature or ("" if called else SKIP_SIGNATURE)))
                    called = True
    return parts, malformed


def belongs(reasoning: Reasoning, block: Said) -> bool:
    """Whether a block of reasoning is nothing but the signature of what follows it."""
    if reasoning.text or reasoning.format != SIGNATURE_FORMAT or not reasoning.signature:
        return False
    return block.id == reasoning.id if isinstance(block, ToolCall) else isinstance(block, Spoken) and not reasoning.id


def _signed(part: Part, signature: str) -> Part:
    return {**part, "thoughtSignature": signature} if signature else part


def thought_part(block: Reasoning) -> Part:
    """Reasoning that stands for itself: this vendor's bare signature sits on an empty text, all else is a thought."""
    if block.format == SIGNATURE_FORMAT and not block.text:
        return {"text": "", "thoughtSignature": block.signature}
    part: Part = {"text": block.text, "thought": True}
    if block.format == SIGNATURE_FORMAT:
        return _signed(part, block.signature)
    return _signed(part, base64.b64encode(seal(block).encode()).decode()) if block.signature or block.redacted else part


def call_part(call: ToolCall) -> Part | None:
    """A call, its arguments in the spelling in which they came; None where they are no object. Free text becomes an argument `input`."""
    arguments = _encode({"input": call.arguments}).decode() if call.custom else call.arguments.strip() or "{}"
    try:
        _object.decode(arguments)
    except (ValueError, RecursionError):
        return None
    return {"functionCall": {"id": call.id, "name": call.name, "args": msgspec.Raw(arguments.encode())}}


class _Held:
    """One candidate while it streams: a call, a signature or an envelope whose pieces have not all come; and how it ended."""

    def __init__(self) -> None:
        self.call: ToolCallStarted | None = None
        self.arguments: list[str] = []
        self.signature = ""  # of the call
        self.called = False
        self.block = -1
        self.reasoning = Reasoning()
        self.malformed: list[str] = []
        self.stop: StopReason | None = None

    def flush(self, following: TextDelta | ToolCallStarted | None = None) -> tuple[list[Part], str]:
        """What was held back, whole now that something else follows; and the signature that belongs on that."""
        parts: list[Part] = []
        signature = ""
        if self.call is not None:
            parts += self._called(self.call)
        reasoning = self.reasoning
        if reasoning.signature or reasoning.redacted:
            mine = not reasoning.text and reasoning.format == SIGNATURE_FORMAT
            fits = following is not None and (following.id == reasoning.id if isinstance(following, ToolCallStarted) else not reasoning.id)
            if mine and fits:
                signature = reasoning.signature
            else:
                shown = msgspec.structs.replace(reasoning, text="")
                parts.append(thought_part(shown) if mine or reasoning.format != SIGNATURE_FORMAT else _signed_thought(shown))
        self.reasoning, self.block = Reasoning(), -1
        return parts, signature

    def _called(self, call: ToolCallStarted) -> list[Part]:
        arguments = "".join(self.arguments)
        self.call, self.arguments = None, []
        part = call_part(ToolCall(call.id, call.name, arguments, call.custom))
        if part is None:
            self.malformed.append(f"{call.name}({arguments})")
            return []
        signature = self.signature or ("" if self.called else SKIP_SIGNATURE)
        self.signature, self.called = "", True
        return [_signed(part, signature)]


def _signed_thought(block: Reasoning) -> Part:
    return {"text": "", "thought": True, "thoughtSignature": block.signature}


class GeminiEventEncoder:
    """Writes one stream; see `EventEncoder`. `framing`: "" for server-sent events, "array" for one JSON array."""

    __slots__ = ("_array", "_begun", "_failed", "_held", "_model", "_origin", "_usage")

    def __init__(self, framing: str = "") -> None:
        self._array = bool(framing)
        self._begun = self._failed = False
        self._held: dict[int, _Held] = {}
        self._origin = self._model = ""
        self._usage = NO_USAGE

    def encode(self, event: Event) -> bytes:
        """See `EventEncoder`."""
        if self._failed:
            return b""
        match event:
            case Started():
                self._origin, self._model = event.id, event.model
                return self._open()
            case TextDelta():
                parts, signature = self._of(event.choice).flush(event)
                return self._chunk(event.choice, [*parts, _signed({"text": event.text}, signature)])
            case RefusalDelta():
                parts, _ = self._of(event.choice).flush()
                return self._chunk(event.choice, [*parts, {"text": event.text}])
            case ReasoningDelta():
                return self._reasoning(event)
            case ToolCallStarted():
                held = self._of(event.choice)
                parts, signature = held.flush(event)
                held.call, held.signature = event, signature
                return self._chunk(event.choice, parts)
            case ToolCallDelta():
                self._of(event.choice).arguments.append(event.arguments)
                return b""
            case Finished():
                self._of(event.choice).stop = event.reason
                return b""
            case UsageSeen():
                self._usage = event.usage
                return b""
            case Failed():
                self._failed = True
                return self._open() + self._write(error_object(event.message, 502, "UNAVAILABLE"))
            case _:
                assert_never(event)

    def metadata(self, fields: Mapping[str, object]) -> bytes:
        """See `EventEncoder`: an object of its own whose member `x_tokenrouter` holds `fields`."""
        data = _encode({"x_tokenrouter": fields})
        return b"" if self._failed else b",\r\n" + data if self._array else b"data: " + data + b"\r\n\r\n"

    def close(self) -> bytes:
        """See `EventEncoder`."""
        if self._failed:
            return b""
        candidates = []
        for number, held in sorted(self._held.items()):
            parts, _ = held.flush()
            candidates.append(_framed(number, parts, held.stop, held.malformed))
        out = self._open() + self._write(_document(candidates, self._origin, self._model, usage_to_wire(self._usage)))
        return out + b"\r\n]" if self._array else out

    def _of(self, choice: int) -> _Held:
        return self._held.setdefault(choice, _Held())

    def _reasoning(self, event: ReasoningDelta) -> bytes:
        held = self._of(event.choice)
        parts: list[Part] = []
        if held.block != event.block or held.call is not None:
            parts, _ = held.flush()
            held.block = event.block
        known = held.reasoning
        held.reasoning = Reasoning(
            known.text or event.text[:1],  # only whether there was any
            known.signature + event.signature,
            known.redacted + event.redacted,
            known.format or event.format,
            known.id or event.id,
        )
        if event.text:
            parts.append({"text": event.text, "thought": True})
        return self._chunk(event.choice, parts)

    def _open(self) -> bytes:
        """An array begins with a chunk that says nothing, so that whatever comes next can stand behind a comma."""
        if self._begun or not self._array:
            return b""
        self._begun = True
        return b"[" + _encode(_document([_framed(0, [], None)], self._origin, self._model, None))

    def _chunk(self, choice: int, parts: list[Part]) -> bytes:
        if not parts:
            return b""
        return self._open() + self._write(_document([_framed(choice, parts, None)], self._origin, self._model, None))

    def _write(self, document: Mapping[str, object]) -> bytes:
        data = _encode(document)
        return b",\r\n" + data if self._array else b"data: " + data + b"\r\n\r\n"
