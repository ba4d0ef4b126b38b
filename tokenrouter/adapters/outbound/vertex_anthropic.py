"""Claude on Google's Vertex AI: Anthropic's Messages, with the model in the address and the version of the API in the body.

Feature flags stay the header `anthropic-beta`, as Anthropic's own client for Vertex sends them.

Source: anthropic-python 2.11 `lib/vertex/_client.py`; https://platform.claude.com/docs/en/build-with-claude/claude-on-vertex-ai.
"""

from typing import Final, Self
from urllib.parse import quote

import msgspec

from tokenrouter.adapters.base import Outgoing, StreamTap
from tokenrouter.adapters.outbound.anthropic_count import AnthropicCount
from tokenrouter.adapters.outbound.anthropic_messages import AnthropicMessages
from tokenrouter.adapters.outbound.anthropic_native import VERSION
from tokenrouter.adapters.outbound.splice import as_object, members
from tokenrouter.adapters.wire.anthropic import MessageEventDecoder
from tokenrouter.model.answer import Answer
from tokenrouter.model.cache_plan import CachePlan
from tokenrouter.model.catalog import Deployment, Model
from tokenrouter.model.chunk import Canonical
from tokenrouter.model.conversation import Conversation
from tokenrouter.model.envelope import Envelope, Operation, ParamWords
from tokenrouter.model.usage import Usage
from tokenrouter.model.volatile import Volatile

_HERE: Final = "vertex-2023-10-16"
"""What Anthropic's `2023-06-01` is called here; later versions go by their own name."""

_TRUE = msgspec.Raw(b"true")
_COUNT_PATH: Final = "/models/count-tokens:rawPredict"


class VertexAnthropic:
    """The wire of `POST …/publishers/anthropic/models/{model}:rawPredict` and `:streamRawPredict`; see `OutboundAdapter`."""

    wire = "vertex-anthropic"
    operation: Operation = "generate"
    dialect = "anthropic-messages"

    def __init__(self, volatile: tuple[Volatile, ...] = ()) -> None:
        """`volatile`: the known per-request lines that `volatile.known` may drop."""
        self._messages = AnthropicMessages(volatile)

    @property
    def native(self) -> Self:
        """See `OutboundAdapter`."""
        return self

    @property
    def translated(self) -> Self:
        """See `OutboundAdapter`."""
        return self

    def native_request(
        self, envelope: Envelope, canonical: Canonical, model: Model, deployment: Deployment, plan: CachePlan, edits: frozenset[str]
    ) -> Outgoing:
        """See `NativeWire`."""
        return _moved(self._messages.native.native_request(envelope, canonical, model, deployment, plan, edits), model)

    def verdict(self, body: bytes) -> tuple[Usage, bool]:
        """See `NativeWire`."""
        return self._messages.native.verdict(body)

    def relay(self, params: ParamWords, *, hide_usage: bool) -> StreamTap:
        """See `NativeWire`."""
        return self._messages.native.relay(params, hide_usage=hide_usage)

    def translate(self, conversation: Conversation, model: Model, deployment: Deployment, plan: CachePlan) -> Outgoing:
        """See `TranslatedWire`."""
        return _moved(self._messages.translate(conversation, model, deployment, plan), model)

    def decode_answer(self, body: bytes) -> Answer:
        """See `TranslatedWire`."""
        return self._messages.decode_answer(body)

    def decoder(self) -> MessageEventDecoder:
        """See `TranslatedWire`."""
        return self._messages.decoder()

    def error_message(self, body: bytes) -> str | None:
        """See `OutboundAdapter`. Google's own errors have their words in the same place."""
        return self._messages.error_message(body)

    def own_error(self, body: bytes) -> bool:
        """See `GuestWire`."""
        return _is_anthropics(body)


class VertexAnthropicCount:
    """The wire of `POST …/publishers/anthropic/models/count-tokens:rawPredict`; see `OutboundAdapter` and `CountWire`."""

    wire = "vertex-anthropic-count"
    operation: Operation = "count"
    dialect = "anthropic-count"

    def __init__(self, volatile: tuple[Volatile, ...] = ()) -> None:
        """`volatile`: the known per-request lines that `volatile.known` may drop."""
        self._count = AnthropicCount(volatile)

    @property
    def native(self) -> Self:
        """See `OutboundAdapter`."""
        return self

    @property
    def translated(self) -> Self:
        """See `OutboundAdapter`."""
        return self

    def native_request(
        self, envelope: Envelope, canonical: Canonical, model: Model, deployment: Deployment, plan: CachePlan, edits: frozenset[str]
    ) -> Outgoing:
        """See `NativeWire`."""
        return _versioned(self._count.native.native_request(envelope, canonical, model, deployment, plan, edits), _COUNT_PATH)

    def verdict(self, body: bytes) -> tuple[Usage, bool]:
        """See `NativeWire`."""
        return self._count.native.verdict(body)

    def relay(self, params: ParamWords, *, hide_usage: bool) -> StreamTap:
        """See `NativeWire`. A count never streams."""
        return self._count.native.relay(params, hide_usage=hide_usage)

    def translate(self, conversation: Conversation, model: Model, deployment: Deployment, plan: CachePlan) -> Outgoing:
        """See `CountWire`."""
        return _versioned(self._count.translate(conversation, model, deployment, plan), _COUNT_PATH)

    def decode_count(self, body: bytes) -> int:
        """See `CountWire`."""
        return self._count.decode_count(body)

    def error_message(self, body: bytes) -> str | None:
        """See `OutboundAdapter`."""
        return self._count.error_message(body)

    def own_error(self, body: bytes) -> bool:
        """See `GuestWire`."""
        return _is_anthropics(body)


class _Error(msgspec.Struct):
    type: object = None


_error = msgspec.json.Decoder(_Error)


def _is_anthropics(body: bytes) -> bool:
    """Google's errors have no type."""
    try:
        return _error.decode(body).type == "error"
    except (ValueError, RecursionError):
        return False


def _moved(outgoing: Outgoing, model: Model) -> Outgoing:
    """The model from the body into the address, and the action by whether the answer streams."""
    action = "streamRawPredict" if members(outgoing.body).get("stream") == _TRUE else "rawPredict"
    return _versioned(outgoing, f"/models/{quote(model.name, safe='@')}:{action}", without="model")


def _versioned(outgoing: Outgoing, path: str, *, without: str = "") -> Outgoing:
    """The version from its header into the body. Every other member keeps its bytes."""
    headers = dict(outgoing.headers)
    version = headers.pop("anthropic-version", VERSION)
    said = {"anthropic_version": msgspec.Raw(msgspec.json.encode(_HERE if version == VERSION else version))}
    said |= {name: value for name, value in members(outgoing.body).items() if name != without}
    return msgspec.structs.replace(outgoing, path=path, headers=tuple(headers.items()), body=as_object(said))
