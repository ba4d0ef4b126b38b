"""Gemini's generateContent as it is read: whole answers, both framings of streams, and errors.

A signature belongs to the part that carries it. Here it becomes a block of reasoning without text right in front of what that part says
(`Reasoning.id` names the call that it belongs to), so that every dialect which keeps the order of blocks brings it back to its place.
Parts that this model has no place for (pictures, code that the vendor ran) are passed over.
Source: google-genai 3.4 `types.py`; https://ai.google.dev/api/generate-content; https://ai.google.dev/gemini-api/docs/thought-signatures.
"""

import base64
import binascii
from hashlib import blake2b
from typing import Final

import msgspec

from tokenrouter.adapters.json_elements import MAX_ELEMENT, ElementReader
from tokenrouter.adapters.sse import FrameReader
from tokenrouter.adapters.wire.foreign_reasoning import PREFIX, unseal
from tokenrouter.adapters.wire.gemini_usage import usage_from_wire
from tokenrouter.adapters.wire.reading import members, text, unreadable, words
from tokenrouter.errors import UpstreamFailed, UpstreamTruncated
from tokenrouter.model.answer import (
    Answer,
    Event,
    Failed,
    Finished,
    Reasoning,
    ReasoningDelta,
    Started,
    StopReason,
    TextDelta,
    ToolCallDelta,
    ToolCallStarted,
    UsageSeen,
    fold,
)
from tokenrouter.model.usage import NO_USAGE

SIGNATURE_FORMAT = "google-gemini-v1"
"""Who checks the signatures, in OpenRouter's words."""

SKIP_SIGNATURE = "skip_thought_signature_validator"
"""Stands in the place of a signature where a call was not made by this vendor's model (thought-signatures page, FAQ)."""

_EXPECTED = "a generateContent answer"

STOPS: Final[dict[str, StopReason]] = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    **dict.fromkeys(
        (
            *("SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "MODEL_ARMOR", "OTHER"),
            *("IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "IMAGE_OTHER", "IMAGE_RECITATION", "NO_IMAGE"),
        ),
        "content_filter",
    ),
}
"""`OTHER` and words to come are taken alike: the answer may not be whole, and it is not the limit."""

BROKEN = frozenset(("MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS", "MISSING_THOUGHT_SIGNATURE", "MALFORMED_RESPONSE"))
"""The model's answer could not be read by the vendor itself: there is no answer, and asking again may help."""


class WireCall(msgspec.Struct):
    """A call; `args` as the model wrote them."""

    id: object = None
    name: object = None
    args: msgspec.Raw = msgspec.Raw(b"{}")


class WirePart(msgspec.Struct):
    """One part of a content."""

    text: str | None = None
    thought: bool | None = None
    thoughtSignature: str | None = None  # noqa: N815  # the wire's own names, here and below
    functionCall: WireCall | None = None  # noqa: N815


class _Content(msgspec.Struct):
    parts: list[WirePart] | None = None


class _Candidate(msgspec.Struct):
    index: int | None = None
    content: _Content | None = None
    finishReason: str | None = None  # noqa: N815
    finishMessage: object = None  # noqa: N815


class _Body(msgspec.Struct):
    """A whole answer or one chunk. What is cosmetic is typed loosely: a good answer must not fail on it."""

    candidates: list[_Candidate] | None = None
    promptFeedback: object = None  # noqa: N815
    usageMetadata: object = None  # noqa: N815
    modelVersion: object = None  # noqa: N815
    responseId: object = None  # noqa: N815
    error: object = None


_body = msgspec.json.Decoder(_Body)


def signed(signature: str, said: str = "", belongs_to: str = "") -> Reasoning:
    """The reasoning of a `thoughtSignature`: this vendor's own, or another's that was sealed into it.

    `said`: the text of the thought; `belongs_to`: id of the call that carries the signature.
    """
    try:
        envelope = base64.b64decode(signature.translate(_STANDARD) + "=" * (-len(signature) % 4), validate=True)
    except (ValueError, binascii.Error):
        envelope = b""
    if envelope.startswith(PREFIX.encode()):
        foreign = unseal(envelope.decode("ascii", "replace"), said)
        if foreign is not None:
            return foreign
    return Reasoning(said, signature, format=SIGNATURE_FORMAT, id=belongs_to)


_STANDARD = str.maketrans("-_", "+/")


def made_up_id(origin: str, choice: int, number: int) -> str:
    """An id for a call that came without: the same whenever the same answer is read."""
    return "call_" + blake2b(f"{origin}:{choice}:{number}".encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()


class _CandidateReader:
    """What one candidate has said so far, as far as the next part needs it."""

    __slots__ = ("_blocks", "_calls", "_choice", "_origin", "_thinking", "finished")

    def __init__(self, origin: str, choice: int) -> None:
        self._origin, self._choice = origin, choice
        self._blocks = self._calls = 0
        self._thinking = False
        self.finished = False

    def read(self, candidate: _Candidate) -> list[Event]:
        events: list[Event] = []
        for part in (candidate.content.parts if candidate.content else None) or ():
            self._part(part, events)
        reason = candidate.finishReason
        if reason in BROKEN:
            detail = text(candidate.finishMessage)[:500]
            events.append(Failed(f"the provider could not use what its model said ({reason})" + (f": {detail}" if detail else "")))
        elif reason and reason != "FINISH_REASON_UNSPECIFIED" and not self.finished:
            self.finished = True
            stop = STOPS.get(reason, "content_filter")
            events.append(Finished("tool_calls" if stop == "stop" and self._calls else stop, self._choice))
        return events

    def _part(self, part: WirePart, events: list[Event]) -> None:
        signature = part.thoughtSignature or ""
        if part.thought:
            self._thought(part.text or "", signature, events)
            return
        call = part.functionCall
        call_id = (text(call.id) or made_up_id(self._origin, self._choice, self._calls)) if call else ""
        if signature and signature != SKIP_SIGNATURE:
            self._reasoning(signed(signature, belongs_to=call_id), events)
        if call is not None:
            arguments = bytes(call.args).decode()
            events.append(ToolCallStarted(self._calls, call_id, text(call.name), self._choice))
            events.append(ToolCallDelta(self._calls, arguments if arguments != "null" else "{}", self._choice))
            self._calls += 1
            self._thinking = False
        elif part.text:
            events.append(TextDelta(part.text, self._choice))
            self._thinking = False

    def _thought(self, said: str, signature: str, events: list[Event]) -> None:
        """Thoughts that follow each other are one block, until one of them is signed."""
        if not self._thinking:
            self._blocks += 1
            self._thinking = True
        reasoning = signed(signature, said) if signature else Reasoning(said)  # whose it is, the signature behind it says
        self._delta(self._blocks - 1, reasoning, events)
        self._thinking = not signature

    def _reasoning(self, reasoning: Reasoning, events: list[Event]) -> None:
        self._blocks += 1
        self._thinking = False
        self._delta(self._blocks - 1, reasoning, events)

    def _delta(self, block: int, reasoning: Reasoning, events: list[Event]) -> None:
        said, signature, redacted, form, block_id = reasoning.text, reasoning.signature, reasoning.redacted, reasoning.format, reasoning.id
        events.append(ReasoningDelta(block, said, signature, redacted, self._choice, form, block_id))


class _Reader:
    """What one answer has said so far."""

    __slots__ = ("_candidates", "_origin", "_usage", "blocked")

    def __init__(self) -> None:
        self._candidates: dict[int, _CandidateReader] = {}
        self._origin: str | None = None
        self._usage = NO_USAGE
        self.blocked = False

    @property
    def finished(self) -> bool:
        """Every candidate came to an end, or there will be none."""
        return self.blocked or (bool(self._candidates) and all(candidate.finished for candidate in self._candidates.values()))

    def read(self, body: _Body) -> list[Event]:
        """The events of a chunk, or of a whole answer."""
        events: list[Event] = []
        if self._origin is None:
            self._origin = text(body.responseId)
            events.append(Started(self._origin, text(body.modelVersion)))
        for place, candidate in enumerate(body.candidates or ()):
            number = place if candidate.index is None else candidate.index
            reader = self._candidates.get(number)
            if reader is None:
                reader = self._candidates[number] = _CandidateReader(self._origin, number)
            events += reader.read(candidate)
        if members(body.promptFeedback).get("blockReason") and not self._candidates and not self.blocked:
            self.blocked = True
            events.append(Finished("content_filter"))
        if (seen := usage_from_wire(body.usageMetadata)).reported and seen != self._usage:
            self._usage = seen
            events.append(UsageSeen(seen))
        return events


def decode_answer(body: bytes) -> Answer:
    """A whole answer. It is read as a stream of one chunk, so that both forms are understood alike.

    Raises:
        UpstreamFailed: `body` is no such answer, an error that came with a good status, or an answer that the vendor itself could not use.
    """
    try:
        whole = _body.decode(body)
    except (ValueError, RecursionError) as error:
        raise unreadable(body, _EXPECTED, error) from error
    if whole.error is not None:
        raise UpstreamFailed(words(whole.error) or "the provider answered with an error")
    events = _Reader().read(whole)
    for event in events:
        if isinstance(event, Failed):
            raise UpstreamFailed(event.message)
    answer = fold(events)
    if not answer.choices:
        raise unreadable(body, _EXPECTED)
    return answer


class GeminiEventDecoder:
    """Reads one stream; see `EventDecoder`. It has no marker at its end: it is whole when every candidate has a finish reason."""

    __slots__ = ("_elements", "_failed", "_frames", "_reader")

    def __init__(self, framing: str = "") -> None:
        """`framing`: "" for server-sent events, "array" for one JSON array."""
        self._elements = ElementReader() if framing else None
        self._frames = FrameReader(MAX_ELEMENT)
        self._reader = _Reader()
        self._failed = False

    def feed(self, data: bytes) -> list[Event]:
        """See `EventDecoder`. What comes after an error is not read."""
        chunks = [frame.data for frame in self._frames.feed(data)] if self._elements is None else [one for _, one in self._elements.feed(data)]
        events: list[Event] = []
        for chunk in chunks:
            if not self._failed:
                events += self._chunk(chunk)
        return events

    def finish(self) -> list[Event]:
        """See `EventDecoder`."""
        events: list[Event] = []
        for frame in self._frames.tail():
            try:
                events += [] if self._failed else self._chunk(frame.data)
            except UpstreamFailed:
                break  # half a frame: the stream was cut there
        closed = self._elements is None or self._elements.closed
        if not self._failed and not (closed and self._reader.finished):
            raise UpstreamTruncated("the provider's stream ended without a finish reason")
        return events

    def _chunk(self, data: bytes) -> list[Event]:
        try:
            body = _body.decode(data)
        except (ValueError, RecursionError) as error:
            raise unreadable(data, "a generateContent chunk", error) from error
        if body.error is not None:
            self._failed = True
            kind = text(members(body.error).get("status"))[:100]
            return [Failed(words(body.error) or "the provider reported an error in its stream", kind or "upstream_error")]
        events = self._reader.read(body)
        self._failed = any(isinstance(event, Failed) for event in events)
        return events


class _ErrorBody(msgspec.Struct):
    error: object = None


_error_body = msgspec.json.Decoder(_ErrorBody | list[_ErrorBody])


def error_message(body: bytes) -> str | None:
    """The vendor's own words in an error body, which stands in a list where an array was asked for; None where `body` is none.

    Raises:
        UpstreamFailed: the vendor did not take the gateway's own credential, which it says with a 400 of its own.
    """
    try:
        found = _error_body.decode(body)
    except (ValueError, RecursionError):
        return None
    first = (found[0] if found else _ErrorBody()) if isinstance(found, list) else found
    details = members(first.error).get("details")
    if isinstance(details, list) and any(members(detail).get("reason") == "API_KEY_INVALID" for detail in details):
        raise UpstreamFailed("the provider refused the gateway's credential")
    return words(first.error)
