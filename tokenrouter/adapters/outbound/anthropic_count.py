"""How many tokens a prompt takes, asked of Anthropic: for its own clients as they ask, for those of any dialect translated.

Source: anthropic-python 2.11 `types/message_count_tokens_params.py`.
"""

from typing import Self

import msgspec

from tokenrouter.adapters.base import Outgoing
from tokenrouter.adapters.outbound.anthropic_messages import AnthropicMessages
from tokenrouter.adapters.outbound.anthropic_native import COUNT_PATH, AnthropicCountNative, count_of
from tokenrouter.adapters.outbound.splice import as_object, members
from tokenrouter.adapters.wire.anthropic import error_message
from tokenrouter.model.cache_plan import NO_PLAN, CachePlan
from tokenrouter.model.catalog import Deployment, Model
from tokenrouter.model.conversation import Conversation
from tokenrouter.model.envelope import Operation
from tokenrouter.model.volatile import Volatile

_FIELDS = frozenset(("model", "messages", "system", "tools", "tool_choice", "thinking", "output_config"))
"""What the endpoint takes of a request for an answer; it refuses the rest."""


class AnthropicCount:
    """The wire of `POST /v1/messages/count_tokens`; see `OutboundAdapter` and `CountWire`."""

    wire = "anthropic-count"
    operation: Operation = "count"

    def __init__(self, volatile: tuple[Volatile, ...] = ()) -> None:
        """`volatile`: the known per-request lines that `volatile.known` may drop."""
        self._native = AnthropicCountNative(volatile)
        self._messages = AnthropicMessages()

    @property
    def native(self) -> AnthropicCountNative:
        """See `OutboundAdapter`."""
        return self._native

    @property
    def translated(self) -> Self:
        """See `OutboundAdapter`."""
        return self

    def translate(self, conversation: Conversation, model: Model, deployment: Deployment, plan: CachePlan) -> Outgoing:
        """See `CountWire`. What is counted is the very prompt that the answer would be asked with; marks change nothing and are left out."""
        rendered = self._messages.translate(conversation, model, deployment, NO_PLAN)
        kept = {name: value for name, value in members(rendered.body).items() if name in _FIELDS}
        return msgspec.structs.replace(rendered, path=COUNT_PATH, body=as_object(kept))

    def decode_count(self, body: bytes) -> int:
        """See `CountWire`."""
        return count_of(body)

    def error_message(self, body: bytes) -> str | None:
        """See `OutboundAdapter`."""
        return error_message(body)
