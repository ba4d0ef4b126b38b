"""The wire of Gemini's generateContent: native lane, and translation of any dialect's requests; see `OutboundAdapter`."""

from typing import Self

import msgspec

from tokenrouter.adapters.base import Outgoing
from tokenrouter.adapters.outbound.gemini_native import JSON, Splice, address
from tokenrouter.adapters.outbound.gemini_relay import GeminiRelay, verdict
from tokenrouter.adapters.outbound.gemini_render import render
from tokenrouter.adapters.wire.gemini import GeminiEventDecoder, decode_answer, error_message
from tokenrouter.model.answer import Answer
from tokenrouter.model.cache_plan import CachePlan
from tokenrouter.model.catalog import Deployment, Model
from tokenrouter.model.chunk import Canonical
from tokenrouter.model.conversation import Conversation
from tokenrouter.model.envelope import Envelope, Operation, ParamWords
from tokenrouter.model.usage import Usage
from tokenrouter.model.volatile import Volatile

_encode = msgspec.json.Encoder().encode


class GeminiWire:
    """See `OutboundAdapter`, `NativeWire` and `TranslatedWire`."""

    wire = "gemini-generate"
    operation: Operation = "generate"
    dialect = "gemini-generate"

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
        """See `NativeWire`. The method and the query are the client's, the name in the path is the catalog's."""
        method = envelope.outside.get(":method", "generateContent")
        path = address(model, method, envelope.outside.get(":query", ""))
        return Splice(envelope, canonical, model, deployment, edits, self._volatile).outgoing(path)

    def verdict(self, body: bytes) -> tuple[Usage, bool]:
        """See `NativeWire`."""
        return verdict(body)

    def relay(self, params: ParamWords, *, hide_usage: bool) -> GeminiRelay:
        """See `NativeWire`. Usage is always told here, so there is none to hide."""
        return GeminiRelay(framing=params.framing, choices=params.choices)

    def translate(self, conversation: Conversation, model: Model, deployment: Deployment, plan: CachePlan) -> Outgoing:
        """See `TranslatedWire`. The cache of this wire works by itself: there are no marks to write."""
        dropped: dict[str, None] = {}
        body = _encode(render(conversation, model, dropped))
        path = address(model, "streamGenerateContent", "alt=sse") if conversation.stream else address(model, "generateContent")
        return Outgoing(path=path, headers=JSON, body=body, dropped=tuple(dropped))

    def decode_answer(self, body: bytes) -> Answer:
        """See `TranslatedWire`."""
        return decode_answer(body)

    def decoder(self) -> GeminiEventDecoder:
        """See `TranslatedWire`."""
        return GeminiEventDecoder()

    def error_message(self, body: bytes) -> str | None:
        """See `OutboundAdapter`."""
        return error_message(body)
