"""Ollama's answers as they are written: whole ones, and streams of one JSON object a line, for `/api/chat` and `/api/generate`.

Signatures of reasoning have no place on this wire, words of refusal are plain content, and a call's arguments are an object, so a call
goes out when it is complete. Durations are not known here: `total_duration` is 0, and those that Ollama leaves out where they are zero are
left out.
Source: https://github.com/ollama/ollama `api/types.go`.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Literal, assert_never

import msgspec

from tokenrouter.errors import UpstreamFailed
from tokenrouter.model.answer import (
    Answer,
    Choice,
    Event,
    Failed,
    Finished,
    ReasoningDelta,
    RefusalDelta,
    Started,
    StopReason,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolCallStarted,
    UsageSeen,
)
from tokenrouter.model.embedding import Embeddings
from tokenrouter.model.usage import NO_USAGE, Usage

_encode = msgspec.json.Encoder().encode
_object = msgspec.json.Decoder(dict[str, msgspec.Raw])

Endpoint = Literal["chat", "generate"]


def rfc3339(seconds: int) -> str:
    """A Unix time as Ollama writes it.

    >>> rfc3339(1_790_000_000)
    '2026-09-21T14:13:20Z'
    """
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"


def encode_answer(answer: Answer, endpoint: Endpoint) -> bytes:
    """A whole answer; only its first choice, as this dialect can not ask for more.

    Raises:
        UpstreamFailed: a call whose arguments are no JSON object, in an answer that was not cut off.
    """
    choice = answer.choices[0] if answer.choices else Choice()
    shown = "".join([thought.text for thought in choice.reasoning])
    said = (choice.text or "") + (choice.refusal or "")
    calls = [written for place, call in enumerate(choice.tool_calls) if (written := _call(call, place, choice.stop)) is not None]
    body = {**_head(answer.model, answer.created_s), **_said(endpoint, said, shown, calls), **_ending(choice.stop, answer.usage)}
    return _encode(body)


def _head(model: str, created_s: int) -> dict[str, object]:
    return {"model": model, "created_at": rfc3339(created_s)}


def _said(endpoint: Endpoint, content: str, thinking: str = "", calls: list[dict[str, object]] | None = None) -> dict[str, object]:
    thought = {"thinking": thinking} if thinking else {}
    called = {"tool_calls": calls} if calls else {}
    if endpoint == "generate":
        return {"response": content, **thought, **called}
    return {"message": {"role": "assistant", "content": content, **thought, **called}}


def _call(call: ToolCall, place: int, stop: StopReason | None) -> dict[str, object] | None:
    """A call on the wire; None where the token limit cut it off: Ollama, too, gives no half calls, and `done_reason` says why."""
    arguments = call.arguments if call.arguments.strip() else "{}"
    try:
        _object.decode(arguments)
    except (ValueError, RecursionError) as error:
        if stop == "length":
            return None
        raise UpstreamFailed(f"the model called {call.name[:64]!r} with arguments that are no JSON object") from error
    return {"id": call.id, "function": {"index": place, "name": call.name, "arguments": msgspec.Raw(arguments.encode())}}


def _ending(stop: StopReason | None, usage: Usage) -> dict[str, object]:
    """The members of the last line."""
    ending: dict[str, object] = {"done": stop is not None}
    if stop is not None:
        ending["done_reason"] = "stop" if stop == "tool_calls" else stop
    ending["total_duration"] = 0
    if usage.reported:
        ending["prompt_eval_count"] = usage.input_total
        ending["eval_count"] = usage.output
    return ending


class OllamaEventEncoder:
    """Writes one stream; see `EventEncoder`. `close` writes the calls and the last line, as usage may come after the end of the text."""

    __slots__ = ("_created_s", "_endpoint", "_failed", "_model", "_open", "_stop", "_usage")

    def __init__(self, endpoint: Endpoint, created_s: int) -> None:
        """`created_s`: used where the vendor named no time."""
        self._endpoint: Endpoint = endpoint
        self._created_s = created_s
        self._model = ""
        self._open: dict[int, ToolCall] = {}
        self._stop: StopReason | None = None
        self._usage = NO_USAGE
        self._failed = False

    def encode(self, event: Event) -> bytes:
        """See `EventEncoder`."""
        if self._failed:
            return b""
        match event:
            case TextDelta() | RefusalDelta():
                return self._line(_said(self._endpoint, event.text)) if event.choice == 0 else b""
            case ReasoningDelta():
                return self._line(_said(self._endpoint, "", event.text)) if event.text and event.choice == 0 else b""
            case ToolCallStarted():
                if event.choice == 0:
                    self._open[event.index] = ToolCall(event.id, event.name, "", event.custom)
                return b""
            case ToolCallDelta():
                call = self._open.get(event.index)
                if call is not None and event.choice == 0:
                    self._open[event.index] = msgspec.structs.replace(call, arguments=call.arguments + event.arguments)
                return b""
            case Finished():
                self._stop = event.reason if event.choice == 0 else self._stop
                return b""
            case Started():
                self._model, self._created_s = event.model, event.created_s or self._created_s
                return b""
            case UsageSeen():
                self._usage = event.usage
                return b""
            case Failed():
                self._failed = True
                return _encode({"error": event.message}) + b"\n"
            case _:
                assert_never(event)

    def metadata(self, fields: Mapping[str, object]) -> bytes:
        """See `EventEncoder`: a line that says nothing, whose member `x_tokenrouter` holds `fields`."""
        return b"" if self._failed else self._line({**_said(self._endpoint, ""), "x_tokenrouter": fields})

    def close(self) -> bytes:
        """See `EventEncoder`. Raises UpstreamFailed as `encode_answer` does."""
        if self._failed:
            return b""
        ending = {**_head(self._model, self._created_s), **_said(self._endpoint, ""), **_ending(self._stop or "stop", self._usage)}
        return self._called() + _encode(ending) + b"\n"

    def _line(self, said: dict[str, object]) -> bytes:
        return _encode({**_head(self._model, self._created_s), **said, "done": False}) + b"\n"

    def _called(self) -> bytes:
        """The calls, a line each: only the end says that the last of them is complete."""
        calls, self._open = [call for _, call in sorted(self._open.items())], {}
        written = [one for place, call in enumerate(calls) if (one := _call(call, place, self._stop)) is not None]
        return b"".join([self._line(_said(self._endpoint, "", "", [one])) for one in written])


def encode_vectors(embeddings: Embeddings) -> bytes:
    """The body of `/api/embed`."""
    body: dict[str, object] = {"model": embeddings.model, "embeddings": embeddings.vectors, "total_duration": 0}
    if embeddings.usage.reported:
        body["prompt_eval_count"] = embeddings.usage.input_total
    return _encode(body)


def encode_vector(embeddings: Embeddings) -> bytes:
    """The body of the deprecated `/api/embeddings`: one vector and nothing else."""
    return _encode({"embedding": embeddings.vectors[0] if embeddings.vectors else ()})
