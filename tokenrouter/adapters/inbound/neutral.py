"""The gateway's own small API: messages in, one message out, for those who have no SDK. Its words are those of Chat Completions.

What it takes is a short list, and anything else is refused by name. `user_id` and `tenant_id` are labels: whoever calls says there what
it likes, so they change neither who is asked for the money nor who may read which answer, and no model sees them.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from tokenrouter.adapters.base import Wanted
from tokenrouter.adapters.inbound.openai_chat import OpenAIChat, OpenAIChatGrammar
from tokenrouter.adapters.wire.neutral import decode_answer, encode_answer
from tokenrouter.errors import InvalidRequest
from tokenrouter.model.answer import Answer
from tokenrouter.model.conversation import Conversation
from tokenrouter.model.envelope import NOTHING, Envelope, ParamFacts

_LABELS: Final = ("user_id", "tenant_id")
_LONGEST_LABEL = 256
_METADATA = "x-metadata"
FIELDS: Final = (
    *("messages", "model", *_LABELS, "stream"),
    *("temperature", "top_p", "max_tokens", "stop", "seed", "reasoning_effort"),
    *("tools", "tool_choice", "parallel_tool_calls", "response_format"),
)
"""All that a request may hold, beside `x-…` members for the gateway itself."""


class NeutralGrammar(OpenAIChatGrammar):
    """What a request means; see `Grammar`. Its pieces are those of Chat Completions."""

    def __init__(self, default_model: str = "") -> None:
        """`default_model`: for requests that name none; "" where one must be named."""
        self._default_model = default_model

    def read_params(self, fields: Mapping[str, object]) -> ParamFacts:
        """See `Grammar`. A stream always tells its usage."""
        for name in _LABELS:
            label = fields.get(name)
            if label is not None and not (isinstance(label, str) and len(label) <= _LONGEST_LABEL):
                raise InvalidRequest(f"{name} is a label: a string of {_LONGEST_LABEL} characters at most", param=name)
        model = fields.get("model")
        if model is None and not self._default_model:
            raise InvalidRequest(
                "model is missing: name one (GET /v1/models lists what can be called), or have the gateway started with DEFAULT_MODEL set",
                param="model",
            )
        known = {name: value for name, value in fields.items() if name in FIELDS and name not in _LABELS}
        facts = super().read_params({**known, "model": self._default_model if model is None else model})
        labels = tuple((name, str(fields[name])) for name in _LABELS if fields.get(name))
        return msgspec.structs.replace(
            facts, include_usage=True if facts.stream else facts.include_usage, user=str(fields.get("user_id") or ""), labels=labels
        )


class NeutralChat(OpenAIChat):
    """The dialect of `POST /v1/chat`; see `InboundAdapter`. Streams and errors are those of Chat Completions.

    The gateway's own figures (`x_tokenrouter`: what it cost, what was saved) are part of the answer, unless `x-metadata` is off.
    """

    dialect = "neutral-chat"
    headers = frozenset((_METADATA,))
    field_names: Mapping[str, str] = {"max_completion_tokens": "max_tokens"}

    def __init__(self, default_model: str = "") -> None:
        """See `NeutralGrammar`."""
        self.grammar = NeutralGrammar(default_model)

    def parse(self, body: bytes, outside: Mapping[str, str] = NOTHING) -> Envelope:
        """See `Dialect`."""
        envelope = super().parse(body, outside)
        for name in envelope.fields:
            if name not in FIELDS:
                raise InvalidRequest(
                    f"{name[:64]!r} is no field of this API; it takes {', '.join(FIELDS)} (POST /v1/chat/completions takes more)", param=name[:64]
                )
        if _METADATA in envelope.extensions or _METADATA in outside:
            return envelope
        return msgspec.structs.replace(envelope, extensions={**envelope.extensions, _METADATA: True})

    def open(self, envelope: Envelope, tool_order: tuple[int, ...] | None) -> Conversation:
        """See `InboundAdapter`."""
        fields = {name: raw for name, raw in envelope.fields.items() if name not in _LABELS}
        return super().open(msgspec.structs.replace(envelope, fields=fields), tool_order)

    def decode_answer(self, body: bytes) -> Answer:
        """See `InboundAdapter`."""
        return decode_answer(body)

    def encode_answer(self, answer: Answer, wanted: Wanted) -> bytes:
        """See `InboundAdapter`."""
        return encode_answer(answer)
