"""Every dialect and every wire that there is: adapters are stateless, so one of each serves everybody."""

from tokenrouter.adapters.base import Dialect, ModelLister, OutboundAdapter
from tokenrouter.adapters.inbound.anthropic import AnthropicCountDialect, AnthropicMessagesDialect
from tokenrouter.adapters.inbound.gemini import GeminiGenerate
from tokenrouter.adapters.inbound.gemini_count import GeminiCount
from tokenrouter.adapters.inbound.gemini_embed import GeminiEmbed
from tokenrouter.adapters.inbound.neutral import NeutralChat
from tokenrouter.adapters.inbound.ollama import OllamaChat, OllamaEmbed, OllamaEmbeddings, OllamaGenerate
from tokenrouter.adapters.inbound.openai_chat import OpenAIChat
from tokenrouter.adapters.inbound.openai_embeddings import OpenAIEmbeddings
from tokenrouter.adapters.inbound.openai_responses import OpenAIResponses
from tokenrouter.adapters.outbound.anthropic_count import AnthropicCount
from tokenrouter.adapters.outbound.anthropic_messages import AnthropicMessages
from tokenrouter.adapters.outbound.bedrock_converse import BedrockConverse
from tokenrouter.adapters.outbound.gemini import GeminiWire
from tokenrouter.adapters.outbound.gemini_count import GeminiCountWire
from tokenrouter.adapters.outbound.gemini_embed import GeminiEmbedWire
from tokenrouter.adapters.outbound.gemini_vertex import VertexCountWire, VertexEmbedWire
from tokenrouter.adapters.outbound.ollama import OllamaChatWire, OllamaEmbedWire, OllamaGenerateWire
from tokenrouter.adapters.outbound.ollama_models import OllamaModels
from tokenrouter.adapters.outbound.openai_chat import OpenAIChatWire
from tokenrouter.adapters.outbound.openai_embeddings import OpenAIEmbeddingsWire
from tokenrouter.adapters.outbound.openai_responses import OpenAIResponsesWire
from tokenrouter.adapters.outbound.vertex_anthropic import VertexAnthropic, VertexAnthropicCount
from tokenrouter.model.volatile import Volatile


def known_dialects(default_model: str = "") -> dict[str, Dialect]:
    """Dialects by name. `default_model`: for those whose requests need not name one."""
    dialects: tuple[Dialect, ...] = (
        OpenAIChat(),
        OpenAIResponses(),
        OpenAIEmbeddings(),
        OllamaChat(),
        OllamaGenerate(),
        OllamaEmbed(),
        OllamaEmbeddings(),
        AnthropicMessagesDialect(),
        AnthropicCountDialect(),
        GeminiGenerate(),
        GeminiCount(),
        GeminiEmbed(),
        NeutralChat(default_model),
    )
    return {dialect.dialect: dialect for dialect in dialects}


def known_listers() -> dict[str, ModelLister]:
    """How hosts are asked for their models, by a wire that they speak."""
    return {OllamaModels.wire: OllamaModels()}


def known_wires(volatile: tuple[Volatile, ...]) -> dict[str, OutboundAdapter]:
    """Wires by name. `volatile`: the known per-request lines that `volatile.known` may drop."""
    wires: tuple[OutboundAdapter, ...] = (
        OpenAIChatWire(volatile),
        OpenAIResponsesWire(volatile),
        OpenAIEmbeddingsWire(),
        OllamaChatWire(),
        OllamaGenerateWire(),
        OllamaEmbedWire(),
        AnthropicMessages(volatile),
        AnthropicCount(volatile),
        GeminiWire(volatile),
        GeminiCountWire(volatile),
        GeminiEmbedWire(),
        VertexCountWire(volatile),
        VertexEmbedWire(),
        BedrockConverse(),
        VertexAnthropic(volatile),
        VertexAnthropicCount(volatile),
    )
    return {wire.wire: wire for wire in wires}
