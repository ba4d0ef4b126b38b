"""The wire of OpenAI's `POST /responses`, toward OpenAI and every host that speaks it."""

from typing import Self

from tokenrouter.adapters.base import Aftermath, Outgoing
from tokenrouter.adapters.outbound.openai_responses_relay import ResponsesRelay, aftermath, verdict
from tokenrouter.adapters.outbound.openai_responses_render import HEADERS, RESPONSES_PATH, render
from tokenrouter.adapters.outbound.openai_responses_splice import ResponsesSplice
from tokenrouter.adapters.wire.openai_responses import ResponsesEventDecoder, decode_answer, error_message
from tokenrouter.model.answer import Answer
from tokenrouter.model.cache_plan import CachePlan
from tokenrouter.model.catalog import Deployment, Model
from tokenrouter.model.chunk import Canonical
from tokenrouter.model.conversation import Conversation
from tokenrouter.model.envelope import Envelope, Operation, ParamWords
from tokenrouter.model.usage import Usage
from tokenrouter.model.volatile import Volatile


class OpenAIResponsesWire:
    """See `OutboundAdapter`, `NativeWire` and `TranslatedWire`."""

    wire = "openai-responses"
    operation: Operation = "generate"
    dialect = "openai-responses"

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

    def translate(self, conversation: Conversation, model: Model, deployment: Deployment, plan: CachePlan) -> Outgoing:
        """See `TranslatedWire`."""
        return render(conversation, model, deployment, plan)

    def native_request(
        self, envelope: Envelope, canonical: Canonical, model: Model, deployment: Deployment, plan: CachePlan, edits: frozenset[str]
    ) -> Outgoing:
        """See `NativeWire`."""
        splice = ResponsesSplice(envelope, canonical, model, deployment, plan, edits, self._volatile)
        body = splice.body()
        return Outgoing(path=RESPONSES_PATH, headers=HEADERS, body=body, edits=tuple(splice.applied), dropped=tuple(splice.dropped))

    def relay(self, params: ParamWords, *, hide_usage: bool) -> ResponsesRelay:
        """See `NativeWire`. This wire tells its usage unasked, so there is nothing to hide."""
        return ResponsesRelay()

    def verdict(self, body: bytes) -> tuple[Usage, bool]:
        """See `NativeWire`."""
        return verdict(body)

    def aftermath(self, last: bytes) -> Aftermath:
        """See `KeepingWire`."""
        return aftermath(last)

    def decode_answer(self, body: bytes) -> Answer:
        """See `TranslatedWire`."""
        return decode_answer(body)

    def decoder(self) -> ResponsesEventDecoder:
        """See `TranslatedWire`."""
        return ResponsesEventDecoder()

    def error_message(self, body: bytes) -> str | None:
        """See `OutboundAdapter`."""
        return error_message(body)
