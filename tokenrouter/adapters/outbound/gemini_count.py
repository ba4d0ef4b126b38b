"""The wire of Gemini's `:countTokens`: native lane, and prompts of any dialect.

Source: https://ai.google.dev/api/tokens.
"""

from typing import Self

import msgspec

from tokenrouter.adapters.base import Outgoing, StreamTap
from tokenrouter.adapters.outbound.gemini_native import JSON, Splice, address
from tokenrouter.adapters.outbound.gemini_render import render
from tokenrouter.adapters.outbound.splice import members
from tokenrouter.adapters.wire.gemini import error_message
from tokenrouter.adapters.wire.gemini_layout import camel, spelled
from tokenrouter.adapters.wire.gemini_request import CountRequest
from tokenrouter.adapters.wire.reading import count, unreadable, words
from tokenrouter.errors import UnsupportedField, UpstreamFailed
from tokenrouter.model.cache_plan import CachePlan
from tokenrouter.model.catalog import Deployment, Model
from tokenrouter.model.chunk import Canonical
from tokenrouter.model.conversation import Conversation
from tokenrouter.model.envelope import Envelope, Operation, ParamWords
from tokenrouter.model.usage import Usage
from tokenrouter.model.volatile import Volatile

_encode = msgspec.json.Encoder().encode
_METHOD = "countTokens"
WHOLE = "generateContentRequest"


class GeminiCountWire:
    """See `OutboundAdapter`, `NativeWire` and `CountWire`."""

    wire = "gemini-count"
    operation: Operation = "count"
    dialect = "gemini-count"

    def __init__(self, volatile: tuple[Volatile, ...] = ()) -> None:
        """`volatile`: the known per-request lines that `volatile.known` may drop."""
        self._volatile = {line.id: line for line in volatile}

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
        """See `NativeWire`. The order of tools changes no count and stays as it came. A whole request inside must name the model again."""
        path = address(model, _METHOD, envelope.outside.get(":query", ""))
        as_it_came = msgspec.structs.replace(canonical, tool_order=None)
        outer = members(envelope.body)
        whole = next((name for name in outer if camel(name) == WHOLE), None) if "contents" not in spelled(outer) else None
        if whole is None:
            return Splice(envelope, as_it_came, model, deployment, edits, self._volatile).outgoing(path)
        inner = msgspec.structs.replace(envelope, body=bytes(outer[whole]), extensions={})
        made = Splice(inner, as_it_came, model, deployment, edits, self._volatile).outgoing(path)
        if made.body == inner.body and not envelope.extensions:
            return msgspec.structs.replace(made, body=envelope.body)
        kept = {name: value for name, value in outer.items() if not name.startswith("x-")}
        return msgspec.structs.replace(made, body=_encode({**kept, whole: msgspec.Raw(made.body)}))

    def verdict(self, body: bytes) -> tuple[Usage, bool]:
        """See `NativeWire`. Counting costs nothing."""
        self.decode_count(body)
        return Usage(), True

    def relay(self, params: ParamWords, *, hide_usage: bool) -> StreamTap:
        """See `NativeWire`. A count never streams."""
        raise UnsupportedField("a count does not stream", param="stream")

    def translate(self, conversation: Conversation, model: Model, deployment: Deployment, plan: CachePlan) -> Outgoing:
        """See `CountWire`."""
        dropped: dict[str, None] = {}
        request = render(conversation, model, dropped)
        request.model = f"models/{model.name}"
        return Outgoing(path=address(model, _METHOD), headers=JSON, body=_encode(CountRequest(request)), dropped=tuple(dropped))

    def decode_count(self, body: bytes) -> int:
        """See `CountWire`."""
        try:
            seen = _count.decode(body)
        except (ValueError, RecursionError) as error:
            raise unreadable(body, "a count of tokens", error) from error
        if seen.error is not None:
            raise UpstreamFailed(words(seen.error) or "the provider answered with an error")
        tokens = count(seen.totalTokens)
        if tokens is None:
            raise unreadable(body, "a count of tokens")
        return tokens

    def error_message(self, body: bytes) -> str | None:
        """See `OutboundAdapter`."""
        return error_message(body)


class _Count(msgspec.Struct):
    totalTokens: object = None  # noqa: N815  # the wire's own name
    error: object = None


_count = msgspec.json.Decoder(_Count)
